"""One rank's part of a run in an MPI job, for all three ways to start a job.

``python -m psmpi.runs.rank JOB STATUS_FILE`` is the program of a job that psmpi has
started; ``job`` holds its runs, which share one MPI session. ``join`` is for the
command line under mpiexec or srun, ``run_on_all_ranks`` for a script there. Rank 0 is
the server, and records the run; the other ranks are workers.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from psmpi.base import ConfigError, Problem, PsmpiError
from psmpi.errors import EXIT_PREEMPTED, EXIT_UNMET, RunPreempted
from psmpi.links.mpi_job import MpiJob
from psmpi.links.protocol import longest
from psmpi.links.transport.mpi import MpiTransport
from psmpi.links.worker import WorkerEnd
from psmpi.runs import (
    config,
    job,
    role_state,
    roles,
    setup,
    status,
    summary,
    threads,
    warmup,
)
from psmpi.runs.agreement import prepare_together
from psmpi.runs.local import new_writer
from psmpi.runs.saving import keeper_of_rank
from psmpi.runs.schema import Row
from psmpi.runs.setup import PreparedRun
from psmpi.runs.summary import Result

OnRow = Callable[[Row], None]


def take_part(
    mpi_job: MpiJob,
    prepared: PreparedRun,
    out: str | os.PathLike[str] | None,
    on_row: OnRow | None = None,
) -> Result | None:
    """Do this rank's part of one run; the server's rank returns the result.

    On the server's rank the run is recorded in ``out``, and ``on_row`` gets each row.
    """
    with threads.limited(prepared.run.run_options.threads):
        warm_up(mpi_job, prepared)
        if mpi_job.rank == 0:
            return _serve(mpi_job, prepared, out, on_row)
        # From here on, nothing of a job that psmpi has started refers to the whole
        # problem.
        prepared = setup.of_worker(prepared, mpi_job.rank - 1)
        _work(mpi_job, prepared)
        return None


def _serve(
    mpi_job: MpiJob,
    prepared: PreparedRun,
    out: str | os.PathLike[str] | None,
    on_row: OnRow | None,
) -> Result:
    callers_own = prepared.plan.step_size is not None
    # The workers wait for this.
    measure = None if callers_own else setup.measure(prepared)
    transport = transport_of(mpi_job, prepared)
    with contextlib.ExitStack() as stack:
        writer = None
        if out is not None:
            writer = stack.enter_context(
                new_writer(prepared, out, mpi_job.hosts, mpi_job.library)
            )
        keeper = stack.enter_context(keeper_of_rank(mpi_job, prepared, out))
        setup.caution(prepared)
        status.LOG.info("training")
        record = roles.Record(writer, on_row)
        served = roles.serve(
            prepared,
            transport,
            record,
            measure,
            send_state=lambda state, worker: mpi_job.send(
                worker + 1, role_state.pack(role_state.collect(state))
            ),
            keeper=keeper,
            asked=mpi_job.asked_to_end,
        )
        report = summary.rank_report(0, transport, served.link)
        early = served.early_end(out)
        ranks = mpi_job.allgather((report, served.link.replay_log.entries, early))
        transport.close()
        if early is not None:
            raise RunPreempted(early)
        reports = [(report, decisions) for report, decisions, _ in ranks]
        return summary.conclude(prepared, writer, served, reports)


def _work(mpi_job: MpiJob, prepared: PreparedRun) -> None:
    transport = transport_of(mpi_job, prepared)
    with keeper_of_rank(mpi_job, prepared, None) as keeper:
        worker = roles.work(prepared, transport, prepared.problem, keeper=keeper)
    conclude_work(mpi_job, transport, worker)


def conclude_work(mpi_job: MpiJob, transport: MpiTransport, worker: WorkerEnd) -> None:
    """Report to rank 0 after the last round; all ranks call this or its counterpart.

    Raises ``RunPreempted`` if the run was asked to end early.
    """
    report = summary.rank_report(mpi_job.rank, transport, worker)
    everybody = mpi_job.allgather((report, worker.replay_log.entries, None))
    transport.close()
    early = everybody[0][2]
    if early is not None:
        raise RunPreempted(early)


def transport_of(mpi_job: MpiJob, prepared: PreparedRun) -> MpiTransport:
    """Return this rank's transport for a run; called by all ranks."""
    up, down = longest(prepared.wire, prepared.plan)
    options = prepared.run.run_options
    peers = []
    if mpi_job.rank and prepared.wire.peers and not prepared.wire.relay:
        peers = [peer + 1 for peer in prepared.wire.peers[mpi_job.rank - 1]]
    return mpi_job.transport(
        up,
        down,
        broadcast=options.broadcast,
        timeout=options.timeout or None,
        peers=peers,
    )


def warm_up(mpi_job: MpiJob, prepared: PreparedRun) -> None:
    """Compile kernels once per node, and load them, before the clock starts."""
    if mpi_job.first_on_node:
        warmup.load(prepared)
    mpi_job.barrier()
    if not mpi_job.first_on_node:
        with warnings.catch_warnings():  # that rank has warned of what this one meets
            warnings.filterwarnings("ignore", message="kernels: can't be kept")
            warmup.load(prepared)


def _require(mpi_job: MpiJob, prepared: PreparedRun | PsmpiError) -> PreparedRun:
    """Return the run; end the job if it can't be run, and say on rank 0 why."""
    if isinstance(prepared, PreparedRun):
        return prepared
    if mpi_job.rank != 0:
        mpi_job.leave(prepared.exit_status)
    raise prepared


def _agreed(mpi_job: MpiJob, prepared: PreparedRun | PsmpiError) -> PreparedRun:
    """Return the run; raise what is wrong with it, on all ranks alike."""
    if isinstance(prepared, PreparedRun):
        return prepared
    raise mpi_job.agreed(prepared)


def run_on_all_ranks(
    configure: Callable[[int], config.RunConfig],
    *,
    out: str | os.PathLike[str] | None = None,
    problem: Problem | None = None,
    on_row: OnRow | None = None,
    on_status: status.OnStatus | None = None,
    goes_on: bool = False,
) -> Result:
    """Run one run as a rank of a script that mpiexec has started on all ranks.

    All ranks return the same result. ``on_row`` and ``on_status`` are called on the
    server's rank alone; a ``ConfigError`` is raised on all ranks. ``configure`` returns
    the run's configuration; the run ``goes_on`` in the directory ``out``.
    """
    mpi_job = MpiJob.current()
    if mpi_job.size < 2:
        raise ConfigError(
            f"workers: MPI started {mpi_job.size} rank; a server and at least one "
            "worker are 2"
        )
    with mpi_job.run(), status.forwarded(on_status if mpi_job.rank == 0 else None):
        goes_on_in = Path(out) if goes_on and out is not None else None
        try:
            own = take_part(
                mpi_job,
                _agreed(
                    mpi_job,
                    prepare_together(
                        mpi_job,
                        lambda: configure(mpi_job.size - 1),
                        problem,
                        goes_on_in,
                    ),
                ),
                out,
                on_row,
            )
        except RunPreempted as preempted:
            raise mpi_job.agreed(preempted) from None
        result: Result = mpi_job.allgather(own)[0]
        return result


def join(
    run: config.RunConfig,
    out: Path,
    on_end: Callable[[Path], None],
    on_row: OnRow | None = None,
    goes_on: bool = False,
) -> NoReturn:
    """Run one run as a rank of an MPI job that psmpi has not started itself.

    Both functions are called on the server's rank: ``on_row`` with each row, and
    ``on_end`` with the run's directory, after the last one.
    """
    mpi_job = MpiJob()
    try:
        goes_on_in = out if goes_on else None
        result = take_part(
            mpi_job,
            _require(
                mpi_job, prepare_together(mpi_job, lambda: run, goes_on=goes_on_in)
            ),
            out,
            on_row,
        )
    except RunPreempted as preempted:
        _leave_early(mpi_job, preempted)
    except Exception:
        # The guard ends the job; the command line would leave the other ranks waiting.
        sys.excepthook(*sys.exc_info())
        raise
    code = 0
    if result is not None:
        on_end(out)
        code = EXIT_UNMET if result.unmet else 0
    mpi_job.leave(code)


def _leave_early(mpi_job: MpiJob, preempted: RunPreempted) -> NoReturn:
    if mpi_job.rank == 0:
        print(f"psmpi: {preempted}", file=sys.stderr)  # noqa: T201
    mpi_job.leave(EXIT_PREEMPTED)


def main(argv: Sequence[str]) -> NoReturn:
    """Do the runs ``argv[0]`` as one rank; rank 0 writes phases to ``argv[1]``."""
    mpi_job = MpiJob()
    on_status = status.writer(Path(argv[1])) if mpi_job.rank == 0 else None
    with status.forwarded(on_status):
        for run in job.decode(argv[0]):
            goes_on = Path(run.out) if run.goes_on else None
            try:
                # In one expression, so that a worker's whole problem is not kept here.
                take_part(
                    mpi_job,
                    _require(
                        mpi_job,
                        prepare_together(mpi_job, run.configure, goes_on=goes_on),
                    ),
                    run.out,
                )
            except RunPreempted as preempted:
                _leave_early(mpi_job, preempted)
    mpi_job.leave(0)


if __name__ == "__main__":
    main(sys.argv[1:])
