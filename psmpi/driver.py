"""Runs an algorithm: the same for every link, and in process as a whole.

Over MPI the ranks do this in ``psmpi.rank``.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import resource
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from psmpi import config, problems
from psmpi.base import (
    Algorithm,
    ConfigError,
    Plan,
    Problem,
    Stopped,
    Wire,
)
from psmpi.base import Vector as Vector
from psmpi.evaluate import Diverged, Evaluation, Row
from psmpi.links import pace
from psmpi.links.clock import Network
from psmpi.links.journal import Journal
from psmpi.links.metering import MeteredProblem
from psmpi.links.server import Server
from psmpi.links.transport import Transport
from psmpi.links.worker import Worker
from psmpi.record import MODEL, RunWriter, code_digest

Summary = dict[str, Any]
Loader = Callable[[str, Any], problems.Dataset]
UNMET = 4  # exit status: a target was not reached


@dataclass(frozen=True)
class Job:
    """A run made ready: everything that all ranks have in common."""

    run: config.Run
    algorithm: Algorithm
    problem: Problem  # the whole one
    plan: Plan
    wire: Wire

    def facts(self) -> dict[str, Any]:
        """Return what all ranks have to agree on, as flat plain data."""
        given = self.run.as_dict()
        options = given.pop("options")
        return {
            **given,
            **{f"{self.run.algorithm} {name}": v for name, v in options.items()},
            "wire": f"{self.wire}",
            **{
                name: hashlib.sha256(array.tobytes()).hexdigest()
                for name, array in self.algorithm.arrays(self.plan).items()
            },
            "dim": self.plan.dim,
            "data digest": self.problem.digest(),
        }

    def digest(self) -> str:
        """Return a hex digest of the facts."""
        text = json.dumps(self.facts(), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def digests(self) -> dict[str, str]:
        """Return hex digests of what a run comes from, by name."""
        return {
            "data": self.problem.digest(),
            "code": code_digest(),
            "configuration": self.digest(),
        }


@dataclass(frozen=True)
class Result:
    """How a run went.

    ``summary`` is what ``summary.json`` holds, ``rows`` what ``rows.jsonl`` does; ``x``
    is the final model, shape (dim,); ``path`` the run's directory, if it has one;
    ``unmet`` holds the targets that were not reached.
    """

    summary: Summary
    rows: list[Row]
    x: Vector
    path: Path | None = None
    unmet: tuple[str, ...] = ()


def prepare(
    run: config.Run, problem: Problem | None = None, loader: Loader = problems.load
) -> Job:
    """Load the data and check everything that can be checked without a link."""
    how = run.how
    algorithm = run.build()
    if problem is None:
        problem = problems.make_problem(
            how.data,
            l2=how.l2,
            l1=how.l1,
            hidden=how.hidden,
            activation=how.activation,
            loss=how.loss,
            init=how.init,
            partition=how.partition,
            dirichlet_alpha=how.dirichlet_alpha,
            dtype=how.scalar,
            seed=how.seed,
            loader=loader,
        )
    speeds, slow = _speeds(how)
    plan = Plan(
        workers=how.workers,
        rounds=how.rounds,
        dim=problem.dim,
        bounds=problem.bounds,
        dtype=how.scalar,
        seed=how.seed,
        check_every=how.check_every,
        evaluate_every=how.evaluate_every,
        mean_speed=pace.average(speeds, slow, how.workers),
        top_speed=pace.fastest(speeds, slow, how.workers),
    )
    wire = algorithm.wire(plan)
    for codec in (wire.up, wire.down):
        codec.max_nbytes(plan.dim)
    job = Job(run, algorithm, problem, plan, wire)
    _check_l1(job)
    _check_targets(job)
    return job


def refuse_simulation(how: config.RunOptions) -> None:
    """Refuse what only a run in one process can do: to have a simulated network."""
    for name in ("link_rate", "link_latency", "link_sharing"):
        if getattr(how, name) != getattr(config.RunOptions, name):
            raise ConfigError(
                f"{name.replace('_', '-')}: {getattr(how, name)} is of a simulated "
                "network, and MPI has a real one; add --local, or leave it out"
            )


def shard(job: Job, worker: int) -> Problem:
    """Return a worker's part of the problem, and check that batches fit into it."""
    part = job.problem.shard(worker, job.plan.workers)
    batch = getattr(job.algorithm, "batch", None)
    if batch is not None and batch > part.samples:
        raise ConfigError(
            f"batch: {batch} is more than the {part.samples} samples of worker {worker}"
        )
    return part


def _speeds(how: config.RunOptions) -> tuple[pace.Speeds | None, dict[int, float]]:
    speeds = pace.Speeds.parse(how.speeds) if how.speeds else None
    return speeds, pace.slowdowns(how.slow, how.workers)


@dataclass(frozen=True)
class Served:
    """What the server's role leaves: rows and targets, its end, its last state."""

    evaluation: Evaluation
    link: Server
    state: Any


def serve(
    job: Job,
    transport: Transport,
    on_row: Callable[[Row], None],
    optimum: float | None,
    journal: Journal | None = None,
    stop_at: int | None = None,
) -> Served:
    """Run the server's role to the end of the run, evaluation and farewell included.

    ``stop_at``: end in this round, whatever the targets say.
    """
    server = Server(transport, job.wire, job.plan, journal)
    state = job.algorithm.server_state(server, job.problem, job.plan)
    evaluation = Evaluation(
        job.problem, job.run.how, optimum, server.meter, transport.now, on_row
    )
    more = partial(job.algorithm.row, server, state)
    every = job.run.how.evaluate_every
    with _telling(lambda: f"the server, round {state.round}"):
        for iterate in job.algorithm.server(server, job.plan, state):
            due = iterate.round % every == 0
            enough = due and evaluation.take(iterate.round, iterate.x, more)
            if iterate.round == stop_at if stop_at is not None else enough:
                break
        else:
            evaluation.take(state.round, state.x, more)
    server.stop()
    return Served(evaluation, server, state)


def work(
    job: Job, transport: Transport, part: Problem, journal: Journal | None = None
) -> Worker:
    """Run a worker's role until the server ends the run."""
    number = transport.node - 1
    speeds, slow = _speeds(job.run.how)
    own = pace.Pace(number, job.plan.seed, speeds, slow.get(number, 1.0))
    worker = Worker(transport, job.wire, job.plan, own, journal)
    metered = MeteredProblem(part, worker.meter, worker.hold)
    state = job.algorithm.worker_state(worker, metered, job.plan)
    try:
        with _telling(lambda: f"worker {worker.worker}, round {worker.round}"):
            job.algorithm.worker(worker, metered, job.plan, state)
    except Stopped:
        worker.leave()
    return worker


def find_optimum(job: Job) -> float | None:
    """Return the least loss, if it is wanted and known.

    Raises ``ConfigError`` if it is not known and a target needs it.
    """
    optimum = job.problem.optimum() if job.run.how.optimum else None
    for target in job.run.how.targets:
        if target.metric == "residual" and optimum is None:
            raise ConfigError(
                f"until: {target} needs the least loss, which is not known here; "
                "take another metric"
                if job.run.how.optimum
                else f"until: {target} needs the optimum; drop --no-optimum"
            )
    return optimum


def network(how: config.RunOptions) -> Network:
    """Return the simulated network of a run."""
    rate = how.link_rate or math.inf
    return Network(rate=rate, latency=how.link_latency, kind=how.link_sharing)


def caution(job: Job) -> None:
    """Say on stderr what is allowed but likely not meant."""
    for line in job.algorithm.cautions(job.plan):
        print(f"psmpi: warning: {line}", file=sys.stderr)  # noqa: T201


def finish(
    job: Job,
    writer: RunWriter,
    served: Served,
    summary: Summary,
    decisions: Sequence[Sequence[int]],
) -> None:
    """Write all that a run's directory has in the end; ``decisions`` of each rank."""
    writer.save(MODEL, served.state.x)
    for name, array in job.algorithm.arrays(job.plan).items():
        writer.save(name, array)
    writer.save_decisions(decisions)
    writer.finish(summary)


def rank_report(
    rank: int, transport: Transport, end: Server | Worker
) -> dict[str, Any]:
    """Return one rank's entry of the summary; bytes are as handed to the transport."""
    meter = end.meter
    rounds = end.round if isinstance(end, Server) else end.rounds_done
    entry = {
        "rank": rank,
        "host": socket.gethostname(),
        "rounds": rounds,
        "frames_sent": transport.sent_messages,
        "bytes_sent": transport.sent_bytes,
        "bytes_received": transport.received_bytes,
        "seconds": meter.seconds,
        "cpu_seconds": meter.cpu_seconds,
        "max_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    if isinstance(end, Worker):
        entry["samples"] = meter.samples
        entry["overshoot"] = meter.overshoot
        entry["behind"] = end.pace.behind
        entry["superseded"] = transport.superseded
    return entry


def summarise(
    job: Job, served: Served, ranks: Sequence[dict[str, Any]], *, clock: str = "real"
) -> Summary:
    """Return the contract's summary. Seconds by phase are means over the workers."""
    evaluation, meter = served.evaluation, served.link.meter
    last = evaluation.rows[-1]
    phases = {
        name: float(np.mean([rank["seconds"][name] for rank in ranks[1:]]))
        for name in meter.seconds
    }
    phases["evaluate"] = meter.seconds["evaluate"]
    return {
        "algorithm": job.run.algorithm,
        "name": job.run.name,
        "workers": job.plan.workers,
        "rounds": last["round"],
        "uploads": last["uploads"],
        "paper_bits_up": last["paper_bits_up"],
        "paper_bits_down": last["paper_bits_down"],
        "wire_bytes_up": meter.wire_bytes_up,
        "wire_bytes_down": meter.wire_bytes_down,
        "seconds": {"total": last["seconds"], **phases},
        "loss": last["loss"],
        "residual": last["residual"],
        "accuracy": last["accuracy"],
        "gradient_norm": last["gradient_norm"],
        "reached": evaluation.reached,
        "unmet": [str(target) for target in evaluation.unmet()],
        "ranks": list(ranks),
        "dim": job.plan.dim,
        "data": job.run.how.data,
        "options": dict(job.run.as_dict()["options"]),
        "dtype": job.run.how.dtype,
        "seed": job.run.how.seed,
        "clock": clock,
        "dense_frames": job.algorithm.frames(job.plan, last["round"]),
        "wire_bytes_observed": meter.wire_bytes_observed,
        "warnings": list(job.algorithm.cautions(job.plan)),
        **_arrivals(served.link),
        **job.algorithm.record(served.state),
    }


def _arrivals(link: Server) -> dict[str, Any]:
    """Return how an asynchronous server was served: ages of frames, counts, bursts."""
    if not link.arrivals:
        return {}
    counts = np.bincount(link.arrivals, minlength=link.workers)
    bursts = [0] * link.workers
    for worker, run in itertools.groupby(link.arrivals):
        bursts[worker] = max(bursts[worker], sum(1 for _ in run))
    return {
        "staleness": {str(age): n for age, n in sorted(link.staleness.items())},
        "arrivals": counts.tolist(),
        "bursts": bursts,
        "late": link.late,
    }


@contextmanager
def _telling(where: Callable[[], str]) -> Iterator[None]:
    """Say where a run broke that was well configured: its numbers did not stay finite.

    A codec refuses what is not finite as it refuses any bad input; once rounds have
    begun that is a failed run, not a wrong command.
    """
    try:
        yield
    except ConfigError as error:
        raise Diverged(f"{where()}: {error}; if it diverged, lower --lr") from error


def _check_l1(job: Job) -> None:
    """Refuse an l1 term that the algorithm, or the caller's own problem, leaves out."""
    asked, has = job.run.how.l1, job.problem.l1
    if asked and asked != has:
        raise ConfigError(
            f"l1: {asked} was asked for, but the problem that was given has {has}; set "
            "it there alone"
        )
    if has and not job.algorithm.proximal:
        raise ConfigError(
            f"l1: {job.run.algorithm} has no proximal step; take asylpg, or leave --l1 "
            "out"
        )


def _check_targets(job: Job) -> None:
    """Refuse targets that this problem can never report."""
    for target in job.run.how.targets:
        if target.metric in ("accuracy", "error"):
            start = job.problem.start(job.plan.seed)
            if job.problem.accuracy(start) is None:
                raise ConfigError(
                    f"until: {target} needs test data, and {job.run.how.data} has none"
                )
