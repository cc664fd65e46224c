"""Prepares a run: loads its problem, and checks all that needs no other rank."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psmpi import problems
from psmpi.base import Algorithm, Codec, ConfigError, Plan, Problem, Wire
from psmpi.links import compute_speed
from psmpi.links.transport.simulation import SimulatedNetwork
from psmpi.runs import tolerance
from psmpi.runs.config import RunConfig, RunOptions
from psmpi.runs.evaluation import ProblemMeasure
from psmpi.runs.options import OF_DATA
from psmpi.runs.record import plain
from psmpi.runs.role_state import Saved
from psmpi.runs.schema import Row
from psmpi.storage.checkpoints import Checkpoint

Loader = Callable[[str, Any], problems.Dataset]


@dataclass(frozen=True)
class PreparedRun:
    """A run that is ready to start: everything that all ranks have in common."""

    run: RunConfig
    algorithm: Algorithm
    problem: Problem  # the whole one
    plan: Plan
    wire: Wire
    own_problem: bool = False  # whether the caller made the problem
    saved: Saved | None = None  # the state from which this rank's role goes on
    goes_on: bool = False  # in the directory of a run that has not ended,
    resumed: Checkpoint | None = None  # from this, or from round 0,
    rows: Sequence[Row] = ()  # with these rows, which rank 0 knows

    def facts(self) -> dict[str, Any]:
        """Return what must be equal on all ranks, by name, causes first."""
        values = self.config()
        options = values.pop("options")
        return {
            **values,
            **{f"{self.run.algorithm} {name}": v for name, v in options.items()},
            "wire": f"{self.wire}",
            **{
                name: hashlib.sha256(array.tobytes()).hexdigest()
                for name, array in self.algorithm.arrays(self.plan).items()
            },
            "dim": self.plan.dim,
            "bounds of tensors": self.plan.bounds,
            "samples": self.problem.samples,
            "data digest": self.problem.digest(),
            **({} if self.resumed is None else {"checkpoint": self.resumed.parts}),
        }

    def config(self) -> dict[str, Any]:
        """Return the configuration as plain data.

        A problem that is an object of the caller has ``data`` None, and in ``problem``
        its class and sizes; one that is named by text has ``data`` None, and that text.
        """
        if not self.own_problem:
            values = self.run.as_dict()
            if values["problem"] is None:
                return values
            kept = {name: v for name, v in values.items() if name not in OF_DATA}
            return {**kept, "data": None}
        problem = {
            "class": f"{type(self.problem).__module__}.{type(self.problem).__name__}",
            "dim": self.problem.dim,
            "samples": self.problem.samples,
        }
        return {**self.run.as_dict(), "data": None, "problem": problem}

    def codecs(self) -> Iterator[Codec]:
        """Yield the codecs of both directions, and all codecs inside of them."""
        return _with_parts((self.wire.up, self.wire.down))

    def digests(self) -> dict[str, str]:
        """Return hex digests of what a run comes from, by name."""
        named = self.run.run_options.problem
        file = None if named is None else problems.file_digest(named)
        return {
            **({} if file is None else {"problem file": file}),
            "data": self.problem.digest(),
            "configuration": config_digest(self.config()),
        }


def _with_parts(codecs: Iterable[Codec]) -> Iterator[Codec]:
    for codec in codecs:
        yield codec
        for field in dataclasses.fields(codec):  # type: ignore[arg-type]
            value = getattr(codec, field.name)
            inside = value if isinstance(value, tuple) else (value,)
            yield from _with_parts(part for part in inside if isinstance(part, Codec))


def config_digest(config: Mapping[str, Any]) -> str:
    """Return a hex digest of a configuration, the same before and after a manifest.

    It is over names and values of options alone: modules, classes and options that are
    added later have no part in it.
    """
    text = json.dumps(plain(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def prepare(
    run: RunConfig,
    problem: Problem | None = None,
    loader: Loader = problems.load,
) -> PreparedRun:
    """Load the problem, unless it is given, and check all that needs no other rank.

    ``loader`` reads a data set. Raises ``ConfigError`` for what can't be run.
    """
    algorithm, options = run.build(), run.run_options
    whole = _load(options, loader) if problem is None else problem
    plan = _plan(options, whole)
    wire = algorithm.wire(plan)
    for codec in (wire.up, wire.down):
        codec.max_nbytes(plan.dim)
    prepared = PreparedRun(run, algorithm, whole, plan, wire, problem is not None)
    _check_l1(prepared)
    _check_targets(prepared)
    _check_checkpoints(prepared)
    tolerance.check(run, algorithm, wire)
    return prepared


def _load(options: RunOptions, loader: Loader) -> Problem:
    if options.problem is not None:
        return problems.make_own(
            options.problem, options.problem_options, options.scalar, options.seed
        )
    return problems.make_problem(
        options.data,
        l2=options.l2,
        l1=options.l1,
        hidden=options.hidden,
        activation=options.activation,
        loss=options.loss,
        init=options.init,
        partition=options.partition,
        dirichlet_alpha=options.dirichlet_alpha,
        dtype=options.scalar,
        seed=options.seed,
        loader=loader,
    )


def _plan(options: RunOptions, problem: Problem) -> Plan:
    speeds, slow = speeds_of(options)
    return Plan(
        workers=options.workers,
        rounds=options.rounds,
        dim=problem.dim,
        bounds=problem.bounds,
        dtype=options.scalar,
        seed=options.seed,
        partition=options.partition,
        check_every=options.check_every,
        on_nan=options.on_nan,
        heal=options.heal,
        evaluate_every=options.evaluate_every,
        mean_speed=compute_speed.average(speeds, slow, options.workers),
        top_speed=compute_speed.fastest(speeds, slow, options.workers),
    )


def refuse_simulation(options: RunOptions) -> None:
    """Refuse a simulated network, which only a run in one process can have."""
    for name in ("link_rate", "link_latency", "link_sharing"):
        if getattr(options, name) != getattr(RunOptions, name):
            raise ConfigError(
                f"{name.replace('_', '-')}: {getattr(options, name)} is of a simulated "
                "network, and MPI has a real one; add --local, or leave it out"
            )


def of_worker(prepared: PreparedRun, worker: int) -> PreparedRun:
    """Return the run with the worker's part of the problem in place of the whole one.

    Whoever keeps no reference to ``prepared`` gives up the memory of the whole problem,
    which takes most of a rank's where data are large.
    """
    return dataclasses.replace(prepared, problem=shard(prepared, worker))


def shard(prepared: PreparedRun, worker: int) -> Problem:
    """Return a worker's part of the problem; refuse a batch that is larger."""
    part = prepared.problem.shard(worker, prepared.plan.workers)
    batch = getattr(prepared.algorithm, "batch", None)
    if batch is not None and batch > part.samples:
        raise ConfigError(
            f"batch: {batch} is more than the {part.samples} samples of worker {worker}"
        )
    return part


def speeds_of(
    options: RunOptions,
) -> tuple[compute_speed.Speeds | None, dict[int, float]]:
    """Return the distribution of speeds, if set, and the slowdown of each worker."""
    speeds = compute_speed.Speeds.parse(options.speeds) if options.speeds else None
    return speeds, compute_speed.slowdowns(options.slow, options.workers)


def find_optimum(prepared: PreparedRun) -> float | None:
    """Return the least loss; None if it is unknown, or left out by ``--no-optimum``.

    The first computation of a data set's optimum takes seconds. Raises ``ConfigError``
    if a target needs the optimum and it is None.
    """
    optimum = prepared.problem.optimum() if prepared.run.run_options.optimum else None
    for target in prepared.run.run_options.targets:
        if target.metric == "residual" and optimum is None:
            raise ConfigError(
                f"until: {target} needs the least loss, which is not known here; "
                "take another metric"
            )
    return optimum


def measure(prepared: PreparedRun) -> ProblemMeasure:
    """Return what measures the models of a run, by its problem and its optimum."""
    optimum = find_optimum(prepared)
    return ProblemMeasure(prepared.problem, prepared.run.run_options, optimum)


def network(options: RunOptions) -> SimulatedNetwork:
    """Return the simulated network of a run."""
    rate = options.link_rate or math.inf
    return SimulatedNetwork(
        rate=rate, latency=options.link_latency, kind=options.link_sharing
    )


def caution(prepared: PreparedRun) -> None:
    """Print on stderr what is allowed but probably not intended."""
    warn(prepared.algorithm.cautions(prepared.plan))


def warn(lines: Iterable[str]) -> None:
    """Print warnings on stderr, a line each."""
    for line in lines:
        print(f"psmpi: warning: {line}", file=sys.stderr)  # noqa: T201


def _check_l1(prepared: PreparedRun) -> None:
    """Refuse an l1 term that the algorithm, or the caller's problem, would ignore."""
    asked, has = prepared.run.run_options.l1, prepared.problem.l1
    if asked and asked != has:
        raise ConfigError(
            f"l1: {asked} was asked for, but the problem that was given has {has}; set "
            "it there alone"
        )
    if has and not prepared.algorithm.proximal:
        raise ConfigError(
            f"l1: {prepared.run.algorithm} has no proximal step; take asylpg, or leave "
            "--l1 out"
        )


def _check_checkpoints(prepared: PreparedRun) -> None:
    """Refuse checkpoints by the clock where workers have no common round."""
    _, seconds = prepared.run.run_options.checkpoint_cadence
    if seconds and prepared.wire.free:
        raise ConfigError(
            f"checkpoint-every: {prepared.run.run_options.checkpoint_every}, but the "
            f"workers of {prepared.run.algorithm} don't wait for one another, and are "
            "saved every so many rounds of their own; give a number of rounds"
        )


def _check_targets(prepared: PreparedRun) -> None:
    """Refuse targets on metrics that this problem does not have."""
    options = prepared.run.run_options
    for target in options.targets:
        if target.metric == "residual" and not options.optimum:
            raise ConfigError(f"until: {target} needs the optimum; drop --no-optimum")
        if target.metric in ("accuracy", "error"):
            start = prepared.problem.start(prepared.plan.seed)
            if prepared.problem.accuracy(start) is None:
                named = prepared.run.run_options.problem
                data = (
                    prepared.config()["data"] or named or "the problem that was given"
                )
                raise ConfigError(
                    f"until: {target} needs test data, and {data} has none"
                )
