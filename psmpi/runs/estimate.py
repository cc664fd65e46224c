"""What a run would do and how much memory it would take, without starting it.

Everything that ``psmpi run`` checks before ranks start is checked. Sizes come from the
objects themselves: the problem is loaded, each role's link and state are made as a rank
makes them and their arrays counted, and the temporaries of one gradient, one evaluation
and one message each way are measured. What a process takes before it has any data is
measured in a process that loads the same libraries.

``role_memory`` has the details.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from psmpi.base import Problem
from psmpi.data import memory
from psmpi.links.envelope import NBYTES
from psmpi.processes.hosts import is_local, parse_hosts, ranks_here
from psmpi.runs import (
    config,
    effective,
    footprint,
    launch_checks,
    role_memory,
    setup,
    threads,
)
from psmpi.runs.role_memory import Memory

#: Bytes that MPI and a run's kernels add to a rank's libraries. Measured for Open MPI 5
#: and MPICH 5 with 2 to 9 ranks (bench/memory.py): 13 and 19 MB.
MPI_NBYTES = 16_000_000
#: Libraries that only some problems load: counted where this process has them.
_HEAVY = ("scipy.sparse", "torch", "jax", "sklearn")


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run would do, and its memory in bytes.

    ``per_worker`` is what one more worker adds to the server. ``ranks_here`` of all
    ranks are on this host and need ``needed`` bytes together; ``available`` is what
    this host has free, None if it doesn't tell.
    """

    algorithm: str
    workers: int
    local: bool
    dim: int
    dtype: str
    samples: int
    settings: Mapping[str, Any]  # of the algorithm, as used
    message_up: int  # bytes of the longest message with a frame, envelope included
    message_down: int
    dense: int  # bytes of a vector as it is in memory
    server: Memory
    worker: Memory  # of the worker with the most samples
    per_worker: int
    ranks_here: int
    needed: int
    available: int | None
    warnings: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether this host has the memory, as far as it tells."""
        return self.available is None or self.needed <= self.available


def estimate(
    algorithm: str,
    *,
    local: bool = False,
    problem: Problem | str | None = None,
    hosts: str | None = None,
    **options: Any,
) -> Estimate:
    """Return what ``psmpi.run`` with these arguments would do, and the memory it needs.

    No rank is started and no run recorded. The data are loaded, one gradient and one
    evaluation are computed, and one process measures a rank's libraries: that takes
    about the memory of the largest rank, and the time of a round. Raises
    ``ConfigError`` for what can't be run, as ``psmpi.run`` does before rounds begin.
    """
    if isinstance(problem, str):
        options, problem = {**options, "problem": problem}, None
    run = config.configure(algorithm, **options)
    own = problem is not None
    launch_checks.check_launch(run, local=local, hosts=hosts, own_problem=own)
    return of_run(run, local=local, problem=problem, hosts=hosts)


def of_run(
    run: config.RunConfig,
    *,
    local: bool = False,
    problem: Problem | None = None,
    hosts: str | None = None,
) -> Estimate:
    """Return the estimate of a configuration whose launch has been checked."""
    with threads.limited(run.run_options.threads):
        prepared = setup.prepare(run, problem)
        modules = ["psmpi.runs.local" if local else "psmpi.runs.rank"]
        modules += [name for name in _HEAVY if name in sys.modules]
        base = footprint.of_process(modules) + (0 if local else MPI_NBYTES)
        ranks = role_memory.Ranks(prepared, base)
    plan, wire = prepared.plan, prepared.wire
    servers, workers = _ranks_here(plan.workers, None if local else hosts)
    needed = servers * ranks.server.total + workers * ranks.worker.total
    return Estimate(
        algorithm=run.algorithm,
        workers=plan.workers,
        local=local,
        dim=plan.dim,
        dtype=run.run_options.dtype,
        samples=prepared.problem.samples,
        settings={**prepared.config()["options"], **effective.effective(prepared)},
        message_up=NBYTES + wire.up.max_nbytes(plan.dim),
        message_down=NBYTES + wire.down.max_nbytes(plan.dim),
        dense=plan.dim * np.dtype(plan.dtype).itemsize,
        server=ranks.server,
        worker=ranks.worker,
        per_worker=ranks.per_worker(),
        ranks_here=servers + workers,
        needed=ranks.in_one_process() if local else needed,
        available=memory.free(),
        warnings=(
            *(() if local else launch_checks.cautions(run, hosts)),
            *prepared.algorithm.cautions(plan),
        ),
    )


def _ranks_here(workers: int, hosts: str | None) -> tuple[int, int]:
    """Return how many servers (0 or 1) and workers are on this host.

    mpiexec fills the hosts in their order, so that the server is on the first one.
    """
    if hosts is None:
        return 1, workers
    server = int(is_local(parse_hosts(hosts)[0][0]))
    return server, min(ranks_here(workers + 1, hosts) - server, workers)
