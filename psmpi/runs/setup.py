"""Makes a run ready: loads its problem, checks what can be checked without a link."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from psmpi import problems
from psmpi.base import Algorithm, ConfigError, Plan, Problem, Wire
from psmpi.links import compute_speed
from psmpi.links.transport.simulation import SimulatedNetwork
from psmpi.runs import config

Loader = Callable[[str, Any], problems.Dataset]


@dataclass(frozen=True)
class PreparedRun:
    """A run made ready: everything that all ranks have in common."""

    run: config.RunConfig
    algorithm: Algorithm
    problem: Problem  # the whole one
    plan: Plan
    wire: Wire
    own_problem: bool = False  # whether the caller made the problem

    def facts(self) -> dict[str, Any]:
        """Return what all ranks have to agree on, as flat plain data."""
        config = self.config()
        options = config.pop("options")
        return {
            **config,
            **{f"{self.run.algorithm} {name}": v for name, v in options.items()},
            "wire": f"{self.wire}",
            **{
                name: hashlib.sha256(array.tobytes()).hexdigest()
                for name, array in self.algorithm.arrays(self.plan).items()
            },
            "dim": self.plan.dim,
            "data digest": self.problem.digest(),
        }

    def config(self) -> dict[str, Any]:
        """Return the configuration as plain data; ``data`` is None for an object.

        A problem that the caller made is described by its class and sizes instead.
        """
        if not self.own_problem:
            return self.run.as_dict()
        problem = {
            "class": f"{type(self.problem).__module__}.{type(self.problem).__name__}",
            "dim": self.problem.dim,
            "samples": self.problem.samples,
        }
        return {**self.run.as_dict(), "data": None, "problem": problem}

    def digest(self) -> str:
        """Return a hex digest of the facts."""
        text = json.dumps(self.facts(), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def digests(self) -> dict[str, str]:
        """Return hex digests of what a run comes from, by name."""
        return {
            "data": self.problem.digest(),
            "configuration": self.digest(),
        }


def prepare(
    run: config.RunConfig,
    problem: Problem | None = None,
    loader: Loader = problems.load,
) -> PreparedRun:
    """Load the data and check everything that can be checked without a link."""
    options = run.run_options
    algorithm = run.build()
    own_problem = problem is not None
    if problem is None:
        problem = problems.make_problem(
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
    speeds, slow = speeds_of(options)
    plan = Plan(
        workers=options.workers,
        rounds=options.rounds,
        dim=problem.dim,
        bounds=problem.bounds,
        dtype=options.scalar,
        seed=options.seed,
        check_every=options.check_every,
        evaluate_every=options.evaluate_every,
        mean_speed=compute_speed.average(speeds, slow, options.workers),
        top_speed=compute_speed.fastest(speeds, slow, options.workers),
    )
    wire = algorithm.wire(plan)
    for codec in (wire.up, wire.down):
        codec.max_nbytes(plan.dim)
    prepared = PreparedRun(run, algorithm, problem, plan, wire, own_problem)
    _check_l1(prepared)
    _check_targets(prepared)
    return prepared


def refuse_simulation(options: config.RunOptions) -> None:
    """Refuse what only a run in one process can do: to have a simulated network."""
    for name in ("link_rate", "link_latency", "link_sharing"):
        if getattr(options, name) != getattr(config.RunOptions, name):
            raise ConfigError(
                f"{name.replace('_', '-')}: {getattr(options, name)} is of a simulated "
                "network, and MPI has a real one; add --local, or leave it out"
            )


def shard(prepared: PreparedRun, worker: int) -> Problem:
    """Return a worker's part of the problem, and check that batches fit into it."""
    part = prepared.problem.shard(worker, prepared.plan.workers)
    batch = getattr(prepared.algorithm, "batch", None)
    if batch is not None and batch > part.samples:
        raise ConfigError(
            f"batch: {batch} is more than the {part.samples} samples of worker {worker}"
        )
    return part


def speeds_of(
    options: config.RunOptions,
) -> tuple[compute_speed.Speeds | None, dict[int, float]]:
    """Return the distribution of speeds, if set, and the slowdown of each worker."""
    speeds = compute_speed.Speeds.parse(options.speeds) if options.speeds else None
    return speeds, compute_speed.slowdowns(options.slow, options.workers)


def find_optimum(prepared: PreparedRun) -> float | None:
    """Return the least loss, if it is wanted and known.

    Raises ``ConfigError`` if it is not known and a target needs it.
    """
    optimum = prepared.problem.optimum() if prepared.run.run_options.optimum else None
    for target in prepared.run.run_options.targets:
        if target.metric == "residual" and optimum is None:
            raise ConfigError(
                f"until: {target} needs the least loss, which is not known here; "
                "take another metric"
                if prepared.run.run_options.optimum
                else f"until: {target} needs the optimum; drop --no-optimum"
            )
    return optimum


def network(options: config.RunOptions) -> SimulatedNetwork:
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
    """Refuse an l1 term that the algorithm, or the caller's own problem, leaves out."""
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


def _check_targets(prepared: PreparedRun) -> None:
    """Refuse targets that this problem can never report."""
    for target in prepared.run.run_options.targets:
        if target.metric in ("accuracy", "error"):
            start = prepared.problem.start(prepared.plan.seed)
            if prepared.problem.accuracy(start) is None:
                raise ConfigError(
                    f"until: {target} needs test data, and "
                    f"{prepared.run.run_options.data} has none"
                )
