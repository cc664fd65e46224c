"""What rank 0 does while the other ranks run a caller's script: it serves sessions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from psmpi.base import ConfigError, LinkError
from psmpi.errors import EXIT_PREEMPTED, EXIT_UNMET, RunPreempted
from psmpi.links.intents import Intent
from psmpi.links.mpi_job import MpiJob
from psmpi.runs import rank
from psmpi.runs.summary import Result
from psmpi.sessions.over_mpi import agree


def follow(
    out: Path | None = None,
    run_script: Callable[[], None] | None = None,
    resume: bool = False,
) -> int:
    """Serve the sessions that workers open, until their scripts have ended.

    If their script calls ``psmpi.run`` instead, in which rank 0 takes part as all ranks
    do, ``run_script`` runs the script here as well. Returns the exit status.

    A session that says nothing of its directory is recorded in ``out``, the second one
    in ``out``-2, and so on; without ``out`` it is not recorded. With ``resume`` a run
    that has begun there goes on.
    """
    job = MpiJob.current()
    if job.size < 2:
        raise ConfigError(
            f"session: MPI started {job.size} rank; a server and at least one worker "
            "are 2: mpiexec -n 5 for four workers, or psmpi launch --workers 4"
        )
    status, number = 0, 0
    while (intent := job.follow()) is not Intent.EXIT:
        if intent is Intent.RUN:
            if run_script is None or number:
                raise LinkError(
                    "psmpi.run: was called on the workers, where sessions have been "
                    "opened before; start the script with mpiexec on all ranks, or do "
                    "one of both in a script"
                )
            run_script()
            return status
        number += 1
        folder = out
        if out is not None and number > 1:
            folder = out.with_name(f"{out.name}-{number}")
        try:
            result = _serve(job, folder, resume)
        except RunPreempted as early:
            print(f"psmpi: {early}", file=sys.stderr)  # noqa: T201
            status = EXIT_PREEMPTED
            continue
        except ConfigError as error:
            if not job.is_agreed(error):
                raise
            continue  # every worker has raised it, and goes on or ends
        if result.unmet:
            status = EXIT_UNMET
            for target in result.unmet:
                print(  # noqa: T201
                    f"psmpi: {result.summary['name']}: {target} was not reached in "
                    f"{result.summary['rounds']} rounds",
                    file=sys.stderr,
                )
    job.leave_with(status)
    return status


def _serve(job: MpiJob, out: Path | None, resume: bool) -> Result:
    """Serve one session, and return its result."""
    with job.run(Intent.SESSION):
        prepared, folder, _ = agree(job, None, None, out=out, resume=resume)
        try:
            result = rank.take_part(job, prepared, folder)
        except RunPreempted as early:
            raise job.agreed(early) from None
        assert result is not None
        # Workers have the model; what they need is the record.
        job.allgather(replace(result, x=result.x[:0]))
        return result
