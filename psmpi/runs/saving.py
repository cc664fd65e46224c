"""What saves a rank's role in an MPI job."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from psmpi.base import LinkError
from psmpi.links.mpi_job import MpiJob
from psmpi.runs.keeper import Keeper, keeper_of
from psmpi.runs.setup import PreparedRun


@contextlib.contextmanager
def keeper_of_rank(
    mpi_job: MpiJob, prepared: PreparedRun, out: str | os.PathLike[str] | None
) -> Iterator[Keeper | None]:
    """Give what saves this rank's role, in the directory that rank 0 records in.

    Called by all ranks, on rank 0 after the directory has been created.
    """
    if not any(prepared.run.run_options.checkpoint_cadence):
        yield None
        return
    own = None if out is None else os.path.abspath(out)
    folder = mpi_job.allgather(own)[0]
    if folder is not None and not os.path.isdir(folder):
        raise LinkError(
            f"checkpoint-every: {folder} is not there on {mpi_job.hostname}, and every "
            "rank writes its part of a checkpoint; record the run on a file system "
            "that all hosts share"
        )
    saving = keeper_of(prepared, folder, mpi_job.rank)
    with saving as keeper, mpi_job.accepting_requests():
        yield keeper
