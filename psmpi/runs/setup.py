"""Makes a run ready: loads its problem, and checks what can be checked without a link."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from psmpi import problems
from psmpi.base import Algorithm, ConfigError, Plan, Problem, Wire
from psmpi.links import compute_speed
from psmpi.links.transport.simulation import Network
from psmpi.runs import config
from psmpi.runs.record import code_digest

Loader = Callable[[str, Any], problems.Dataset]


@dataclass(frozen=True)
class Job:
    """A run made ready: everything that all ranks have in common."""

    run: config.RunConfig
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


def prepare(
    run: config.RunConfig,
    problem: Problem | None = None,
    loader: Loader = problems.load,
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
    speeds, slow = speeds_of(how)
    plan = Plan(
        workers=how.workers,
        rounds=how.rounds,
        dim=problem.dim,
        bounds=problem.bounds,
        dtype=how.scalar,
        seed=how.seed,
        check_every=how.check_every,
        evaluate_every=how.evaluate_every,
        mean_speed=compute_speed.average(speeds, slow, how.workers),
        top_speed=compute_speed.fastest(speeds, slow, how.workers),
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


def speeds_of(
    how: config.RunOptions,
) -> tuple[compute_speed.Speeds | None, dict[int, float]]:
    speeds = compute_speed.Speeds.parse(how.speeds) if how.speeds else None
    return speeds, compute_speed.slowdowns(how.slow, how.workers)


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
