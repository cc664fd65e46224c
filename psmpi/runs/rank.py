"""What every rank of an MPI job runs: ``python -m psmpi.runs.rank JOB.json``.

The job file holds the runs, one after the other in one MPI session; rank 0 serves,
records and speaks, the others work.
"""

from __future__ import annotations

import functools
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import threadpoolctl

from psmpi import kernels, problems
from psmpi.base import ConfigError, PsmpiError
from psmpi.errors import EXIT_UNMET
from psmpi.links.mpi_job import World
from psmpi.links.protocol import longest
from psmpi.links.transport.mpi import MpiTransport
from psmpi.report import console, table
from psmpi.runs import config, roles, setup, summary
from psmpi.runs.record import RunWriter, versions
from psmpi.runs.recorded import read_run
from psmpi.runs.setup import Job
from psmpi.runs.summary import Summary

# Runs of one job mostly share their data.
_load = functools.lru_cache(maxsize=1)(problems.load)


def take_part(world: World, run: config.RunConfig, out: Path | None) -> Summary | None:
    """Do this rank's part of one run; the server's rank returns the summary."""
    with threadpoolctl.threadpool_limits(run.how.threads):
        job = _prepare(world, run)
        _warm_up(world, job)
        server = world.rank == 0
        optimum = setup.find_optimum(job) if server else None
        if not server:
            part = setup.shard(job, world.rank - 1)
        transport = _transport(world, job)
        if server:
            return _serve(world, job, transport, optimum, out)
        worker = roles.work(job, transport, part)
        report = summary.rank_report(world.rank, transport, worker)
        world.allgather((report, worker.journal.entries))
        transport.close()
        return None


def _serve(
    world: World,
    job: Job,
    transport: MpiTransport,
    optimum: float | None,
    out: Path | None,
) -> Summary:
    writer = None
    if out is not None:
        writer = RunWriter(
            out,
            job.run.as_dict(),
            hosts=world.hosts,
            digests=job.digests(),
            mpi=world.library,
        )
    record = (lambda row: None) if writer is None else writer.append
    setup.caution(job)
    served = roles.serve(job, transport, record, optimum)
    report = summary.rank_report(0, transport, served.link)
    ranks = world.allgather((report, served.link.journal.entries))
    transport.close()
    totals = summary.summarise(job, served, [entry for entry, _ in ranks])
    if writer is not None:
        decisions = [journal for _, journal in ranks]
        summary.finish(job, writer, served, totals, decisions)
    return totals


def _transport(world: World, job: Job) -> MpiTransport:
    up, down = longest(job.wire, job.plan)
    how = job.run.how
    peers = []
    if world.rank and job.wire.peers and not job.wire.relay:
        peers = [peer + 1 for peer in job.wire.peers[world.rank - 1]]
    return world.transport(
        up, down, broadcast=how.broadcast, timeout=how.timeout or None, peers=peers
    )


def _prepare(world: World, run: config.RunConfig) -> Job:
    """Prepare on every rank, and compare before anybody waits for a message."""
    job, failure = None, None
    try:
        if world.size != run.how.workers + 1:
            raise ConfigError(
                f"workers: {run.how.workers} workers and a server are "
                f"{run.how.workers + 1} ranks, but MPI started {world.size}"
            )
        setup.refuse_simulation(run.how)
        job = setup.prepare(run, loader=_load)
        if world.rank > 0:
            setup.shard(job, world.rank - 1)
    except PsmpiError as error:
        failure = error
    facts: dict[str, Any] = {
        **versions(world.library),
        "python": platform.python_version().rpartition(".")[0],
        "byteorder": sys.byteorder,
        **({} if job is None else job.facts()),
    }
    everybody = world.allgather((world.hostname, failure, facts))
    trouble = _compare(everybody)
    if trouble is not None:
        if world.rank == 0:
            raise trouble
        world.leave(trouble.exit_status)
    assert job is not None
    return job


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


def _warm_up(world: World, job: Job) -> None:
    """Compile kernels once per node, before the clock starts; the rest load them."""
    if world.first_on_node:
        kernels.warmup((job.run.how.scalar,))
    world.barrier()
    if not world.first_on_node:
        kernels.warmup((job.run.how.scalar,))


def join(run: config.RunConfig, out: Path) -> NoReturn:
    """Run one run as a rank of an MPI job that psmpi has not started itself."""
    world = World()
    try:
        totals = take_part(world, run, out)
    except Exception:
        # To the guard, which ends the job; the command line would just leave it.
        sys.excepthook(*sys.exc_info())
        raise
    status = 0
    if totals is not None:
        console().print(table([read_run(out)]))
        status = EXIT_UNMET if totals["unmet"] else 0
    world.leave(status)


def main(argv: Sequence[str]) -> NoReturn:
    """Run the job file ``argv[0]`` as one rank."""
    world = World()
    for entry in json.loads(Path(argv[0]).read_text()):
        run = config.configure(entry["algorithm"], name=entry["name"], **entry["given"])
        take_part(world, run, None if entry["out"] is None else Path(entry["out"]))
    world.leave(0)


if __name__ == "__main__":
    main(sys.argv[1:])
