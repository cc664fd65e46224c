"""What every rank of an MPI job runs: ``python -m psmpi.runs.rank JOB.json``.

The job file holds the runs, one after the other in one MPI session; rank 0 serves,
records and speaks, the others work.
"""

from __future__ import annotations

import functools
import json
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import threadpoolctl

from psmpi import problems
from psmpi.base import ConfigError, PsmpiError
from psmpi.errors import EXIT_UNMET
from psmpi.links.mpi_job import MpiJob
from psmpi.links.protocol import longest
from psmpi.links.transport.mpi import MpiTransport
from psmpi.runs import config, roles, setup, summary, warmup
from psmpi.runs.evaluation import Row
from psmpi.runs.record import RunWriter, versions
from psmpi.runs.setup import PreparedRun
from psmpi.runs.summary import Summary

# Runs of one job mostly share their data.
_load = functools.lru_cache(maxsize=1)(problems.load)


def take_part(
    mpi_job: MpiJob,
    run: config.RunConfig,
    out: Path | None,
    on_row: Callable[[Row], None] | None = None,
) -> Summary | None:
    """Do this rank's part of one run; the server's rank returns the summary.

    ``on_row`` gets each row on the server's rank, besides the run directory.
    """
    with threadpoolctl.threadpool_limits(run.run_options.threads):
        prepared = _prepare(mpi_job, run)
        _warm_up(mpi_job, prepared)
        server = mpi_job.rank == 0
        optimum = setup.find_optimum(prepared) if server else None
        if not server:
            part = setup.shard(prepared, mpi_job.rank - 1)
        transport = _transport(mpi_job, prepared)
        if server:
            return _serve(mpi_job, prepared, transport, optimum, out, on_row)
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
    out: Path | None,
    on_row: Callable[[Row], None] | None,
) -> Summary:
    writer = None
    if out is not None:
        writer = RunWriter(
            out,
            prepared.run.as_dict(),
            hosts=mpi_job.hosts,
            digests=prepared.digests(),
            mpi=mpi_job.library,
        )

    def record(row: Row) -> None:
        if writer is not None:
            writer.append(row)
        if on_row is not None:
            on_row(row)

    setup.caution(prepared)
    served = roles.serve(prepared, transport, record, optimum)
    report = summary.rank_report(0, transport, served.link)
    ranks = mpi_job.allgather((report, served.link.replay_log.entries))
    transport.close()
    totals = summary.summarise(prepared, served, [entry for entry, _ in ranks])
    if writer is not None:
        decisions = [replay_log for _, replay_log in ranks]
        summary.finish(prepared, writer, served, totals, decisions)
    return totals


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


def _prepare(mpi_job: MpiJob, run: config.RunConfig) -> PreparedRun:
    """Prepare on every rank, and compare before anybody waits for a message."""
    prepared, failure = None, None
    try:
        if mpi_job.size != run.run_options.workers + 1:
            raise ConfigError(
                f"workers: {run.run_options.workers} workers and a server are "
                f"{run.run_options.workers + 1} ranks, but MPI started {mpi_job.size}"
            )
        setup.refuse_simulation(run.run_options)
        prepared = setup.prepare(run, loader=_load)
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
        if mpi_job.rank == 0:
            raise trouble
        mpi_job.leave(trouble.exit_status)
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
                print(f"psmpi: warning: {text}", file=sys.stderr)  # noqa: T201
            else:
                return ConfigError(f"ranks disagree: {text}")
    return None


def _warm_up(mpi_job: MpiJob, prepared: PreparedRun) -> None:
    """Compile kernels once per node, before the clock starts; the rest load them."""
    if mpi_job.first_on_node:
        warmup.compile_all()
    mpi_job.barrier()
    warmup.load(prepared)


def join(
    run: config.RunConfig,
    out: Path,
    on_end: Callable[[Path], None],
    on_row: Callable[[Row], None] | None = None,
) -> NoReturn:
    """Run one run as a rank of an MPI job that psmpi has not started itself.

    Both functions are called on the server's rank: ``on_row`` with each row,
    ``on_end`` with the run's directory, to show the result.
    """
    mpi_job = MpiJob()
    try:
        totals = take_part(mpi_job, run, out, on_row)
    except Exception:
        # To the guard, which ends the job; the command line would just leave it.
        sys.excepthook(*sys.exc_info())
        raise
    status = 0
    if totals is not None:
        on_end(out)
        status = EXIT_UNMET if totals["unmet"] else 0
    mpi_job.leave(status)


def main(argv: Sequence[str]) -> NoReturn:
    """Run the job file ``argv[0]`` as one rank."""
    mpi_job = MpiJob()
    for entry in json.loads(Path(argv[0]).read_text()):
        run = config.configure(entry["algorithm"], name=entry["name"], **entry["given"])
        take_part(mpi_job, run, None if entry["out"] is None else Path(entry["out"]))
    mpi_job.leave(0)


if __name__ == "__main__":
    main(sys.argv[1:])
