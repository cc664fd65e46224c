"""Prepares a run on all ranks of an MPI job, which must come to the same run."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from psmpi.base import ConfigError, Problem, PsmpiError
from psmpi.links.mpi_job import MpiJob
from psmpi.runs import resumption, setup
from psmpi.runs.config import RunConfig
from psmpi.runs.record import versions
from psmpi.runs.resumption import Resumption
from psmpi.runs.setup import PreparedRun

_MAY_DIFFER = ("numpy", "numba", "mpi4py", "mpi")  # a warning, not an error


def prepare_together(
    mpi_job: MpiJob,
    configure: Callable[[], RunConfig],
    problem: Problem | None = None,
    goes_on: Path | None = None,
) -> PreparedRun | PsmpiError:
    """Prepare a run on every rank, and compare before any rank waits for a message.

    The run in the directory ``goes_on`` is continued, from the checkpoint that rank 0
    chooses. Returns what is wrong instead, the same on all ranks, if anything is.
    """
    prepared, failure = None, None
    try:
        if goes_on is not None:
            found = _find_together(mpi_job, goes_on)
        prepared = _prepare(mpi_job, configure(), problem)
        if goes_on is not None:
            prepared = found.apply(prepared)
    except PsmpiError as error:
        failure = error
    facts: dict[str, Any] = {
        **versions(mpi_job.library),
        "python": platform.python_version().rpartition(".")[0],
        "byteorder": sys.byteorder,
        **({} if prepared is None else prepared.facts()),
    }
    everybody = mpi_job.allgather((mpi_job.hostname, failure, facts))
    trouble, warnings = _compare(everybody)
    if mpi_job.rank == 0:
        setup.warn(warnings)
    if trouble is not None:
        return trouble
    assert prepared is not None
    return prepared


def _find_together(mpi_job: MpiJob, out: Path) -> Resumption:
    """Return how the run in ``out`` goes on: rank 0 looks, and the others follow."""
    found, failure = None, None
    try:
        found = resumption.find(out) if mpi_job.rank == 0 else None
    except ConfigError as error:
        failure = str(error)
    refused, round_ = mpi_job.allgather((failure, 0 if found is None else found.round))[
        0
    ]
    if refused is not None:
        raise ConfigError(refused)
    return resumption.at(out, round_) if found is None else found


def _prepare(mpi_job: MpiJob, run: RunConfig, problem: Problem | None) -> PreparedRun:
    workers = run.run_options.workers
    if mpi_job.size != workers + 1:
        raise ConfigError(
            f"workers: {workers} workers and a server are {workers + 1} ranks, but MPI "
            f"started {mpi_job.size}"
        )
    setup.refuse_simulation(run.run_options)
    prepared = setup.prepare(run, problem)
    if mpi_job.rank > 0:
        setup.shard(prepared, mpi_job.rank - 1)
    return prepared


def _compare(
    everybody: Sequence[tuple[str, PsmpiError | None, dict[str, Any]]],
) -> tuple[PsmpiError | None, list[str]]:
    """Return the first failure or difference among ranks, if any, and warnings.

    ``everybody`` holds each rank's host, failure and facts.
    """
    failed = {r: e for r, (_, e, _) in enumerate(everybody) if e is not None}
    if failed:
        rank, error = next(iter(failed.items()))
        if len(failed) < len(everybody):
            error = type(error)(f"rank {rank} on {everybody[rank][0]}: {error}")
        return error, []
    first = everybody[0][2]
    warnings: list[str] = []
    for rank, (host, _, facts) in enumerate(everybody):
        for name in {**first, **facts}:  # in their order: causes before consequences
            mine, theirs = first.get(name), facts.get(name)
            if mine == theirs:
                continue
            text = f"{name} is {theirs!r} on rank {rank} ({host}), {mine!r} on rank 0"
            if name not in _MAY_DIFFER:
                return ConfigError(f"ranks disagree: {text}"), warnings
            warnings.append(text)
    return None, warnings
