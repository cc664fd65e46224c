"""What one rank of an MPI job does of a run, whoever has started the job.

``python -m psmpi.runs.rank JOB.json STATUS`` is the program of a job that psmpi has
started: the file holds the runs, one after the other in one MPI session. ``join`` is
for the command line under mpiexec or srun, ``run_on_all_ranks`` for a script there.
Rank 0 serves, records and reports; the others work.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import threadpoolctl

from psmpi.base import ConfigError, Problem, PsmpiError
from psmpi.errors import EXIT_UNMET
from psmpi.links.mpi_job import MpiJob
from psmpi.links.protocol import longest
from psmpi.links.transport.mpi import MpiTransport
from psmpi.runs import config, roles, setup, status, summary, warmup
from psmpi.runs.evaluation import Row
from psmpi.runs.local import new_writer
from psmpi.runs.record import versions
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

    ``on_row`` gets each row on the server's rank, besides the run directory.
    """
    with threadpoolctl.threadpool_limits(prepared.run.run_options.threads):
        _warm_up(mpi_job, prepared)
        if mpi_job.rank == 0:
            optimum = setup.find_optimum(prepared)
            transport = _transport(mpi_job, prepared)
            return _serve(mpi_job, prepared, transport, optimum, out, on_row)
        part = setup.shard(prepared, mpi_job.rank - 1)
        transport = _transport(mpi_job, prepared)
        worker = roles.work(prepared, transport, part)
        report = summary.rank_report(mpi_job.rank, transport, worker)
        mpi_job.allgather((report, worker.replay_log.entries))
        transport.close()
        return None


def _serve(
    mpi_job: MpiJob,
    prepared: PreparedRun,
    transport: MpiTransport,
    optimum: float | None,
    out: str | os.PathLike[str] | None,
    on_row: OnRow | None,
) -> Result:
    writer = None
    if out is not None:
        writer = new_writer(prepared, out, mpi_job.hosts, mpi_job.library)
    setup.caution(prepared)
    status.LOG.info("training")
    record = roles.Record(writer, on_row)
    served = roles.serve(prepared, transport, record, optimum)
    report = summary.rank_report(0, transport, served.link)
    ranks = mpi_job.allgather((report, served.link.replay_log.entries))
    transport.close()
    totals = summary.summarise(prepared, served, [entry for entry, _ in ranks])
    setup.warn(summary.divergence(prepared, served.evaluation.rows))
    if writer is not None:
        decisions = [replay_log for _, replay_log in ranks]
        summary.finish(prepared, writer, served, totals, decisions)
    path = None if writer is None else writer.path
    unmet = tuple(totals["unmet"])
    return Result(totals, served.evaluation.rows, served.state.x, path, unmet)


def _transport(mpi_job: MpiJob, prepared: PreparedRun) -> MpiTransport:
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


def prepare_together(
    mpi_job: MpiJob,
    configure: Callable[[], config.RunConfig],
    problem: Problem | None = None,
) -> PreparedRun | PsmpiError:
    """Prepare a run on every rank, and compare before anybody waits for a message.

    Returns what is wrong instead, the same on all ranks, if anything is.
    """
    prepared, failure = None, None
    try:
        run = configure()
        workers = run.run_options.workers
        if mpi_job.size != workers + 1:
            raise ConfigError(
                f"workers: {workers} workers and a server are {workers + 1} ranks, but "
                f"MPI started {mpi_job.size}"
            )
        setup.refuse_simulation(run.run_options)
        prepared = setup.prepare(run, problem)
        if mpi_job.rank > 0:
            setup.shard(prepared, mpi_job.rank - 1)
    except PsmpiError as error:
        failure = error
    facts: dict[str, Any] = {
        **versions(mpi_job.library),
        "python": platform.python_version().rpartition(".")[0],
        "byteorder": sys.byteorder,
        **({} if prepared is None else prepared.facts()),
    }
    everybody = mpi_job.allgather((mpi_job.hostname, failure, facts))
    trouble = _compare(everybody)
    if trouble is not None:
        return trouble
    assert prepared is not None
    return prepared


def _compare(
    everybody: Sequence[tuple[str, PsmpiError | None, dict[str, Any]]],
) -> PsmpiError | None:
    """Return the first failure or difference among ranks as one line, or None."""
    failed = {r: e for r, (_, e, _) in enumerate(everybody) if e is not None}
    if failed:
        rank, error = next(iter(failed.items()))
        if len(failed) == len(everybody):
            return error
        host = everybody[rank][0]
        return type(error)(f"rank {rank} on {host}: {error}")
    first = everybody[0][2]
    for rank, (host, _, facts) in enumerate(everybody):
        for name in {**first, **facts}:  # in their order: causes before consequences
            mine, theirs = first.get(name), facts.get(name)
            if mine == theirs:
                continue
            text = f"{name} is {theirs!r} on rank {rank} ({host}), {mine!r} on rank 0"
            if name in ("numpy", "numba", "mpi4py", "mpi"):
                setup.warn([text])
            else:
                return ConfigError(f"ranks disagree: {text}")
    return None


def _warm_up(mpi_job: MpiJob, prepared: PreparedRun) -> None:
    """Compile kernels once per node, before the clock starts; the rest load them."""
    if mpi_job.first_on_node:
        warmup.compile_all()
    mpi_job.barrier()
    warmup.load(prepared)


def _require(mpi_job: MpiJob, prepared: PreparedRun | PsmpiError) -> PreparedRun:
    """Return the run, or end this job of psmpi's own: rank 0 says what is wrong."""
    if isinstance(prepared, PreparedRun):
        return prepared
    if mpi_job.rank != 0:
        mpi_job.leave(prepared.exit_status)
    raise prepared


def run_on_all_ranks(
    algorithm: str,
    options: Mapping[str, Any],
    *,
    out: str | os.PathLike[str] | None = None,
    problem: Problem | None = None,
    on_row: OnRow | None = None,
) -> Result:
    """Run one run as a rank of a script that mpiexec has started on all ranks.

    All ranks return the same result. ``ConfigError`` is raised on all of them.
    """
    mpi_job = MpiJob.current()
    with mpi_job.run():
        prepared = prepare_together(
            mpi_job,
            lambda: config.configure(
                algorithm, **{"workers": mpi_job.size - 1, **options}
            ),
            problem,
        )
        if not isinstance(prepared, PreparedRun):
            raise mpi_job.agreed(prepared)
        own = take_part(mpi_job, prepared, out, on_row)
        result: Result = mpi_job.allgather(own)[0]
        return result


def join(
    run: config.RunConfig,
    out: Path,
    on_end: Callable[[Path], None],
    on_row: OnRow | None = None,
) -> NoReturn:
    """Run one run as a rank of an MPI job that psmpi has not started itself.

    Both functions are called on the server's rank: ``on_row`` with each row,
    ``on_end`` with the run's directory, to show the result.
    """
    mpi_job = MpiJob()
    try:
        prepared = _require(mpi_job, prepare_together(mpi_job, lambda: run))
        result = take_part(mpi_job, prepared, out, on_row)
    except Exception:
        # To the guard, which ends the job; the command line would just leave it.
        sys.excepthook(*sys.exc_info())
        raise
    code = 0
    if result is not None:
        on_end(out)
        code = EXIT_UNMET if result.unmet else 0
    mpi_job.leave(code)


def main(argv: Sequence[str]) -> NoReturn:
    """Run the job file ``argv[0]`` as one rank; rank 0 writes phases to ``argv[1]``."""
    mpi_job = MpiJob()
    on_status = status.writer(Path(argv[1])) if mpi_job.rank == 0 else None
    with status.forwarded(on_status):
        for entry in json.loads(Path(argv[0]).read_text()):
            _run_entry(mpi_job, entry)
    mpi_job.leave(0)


def _run_entry(mpi_job: MpiJob, entry: Mapping[str, Any]) -> None:
    def configure() -> config.RunConfig:
        run = config.configure(
            entry["algorithm"], name=entry["name"], **entry["options"]
        )
        return dataclasses.replace(run, given=tuple(entry["given"]))

    prepared = _require(mpi_job, prepare_together(mpi_job, configure))
    take_part(mpi_job, prepared, entry["out"])


if __name__ == "__main__":
    main(sys.argv[1:])
