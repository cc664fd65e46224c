"""Runs all ranks of a run in this process, as threads of which one runs at a time."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial

import threadpoolctl

from psmpi.base import ConfigError, Problem
from psmpi.links.replay_log import ReplayLog
from psmpi.links.transport import local
from psmpi.runs import (
    config,
    effective,
    replay_versions,
    roles,
    setup,
    status,
    summary,
    warmup,
)
from psmpi.runs.evaluation import Row
from psmpi.runs.record import RunWriter
from psmpi.runs.recorded import Recorded
from psmpi.runs.setup import PreparedRun
from psmpi.runs.summary import Result

OnRow = Callable[[Row], None]


def run_local(
    run: config.RunConfig,
    *,
    problem: Problem | None = None,
    out: str | os.PathLike[str] | None = None,
    on_row: OnRow | None = None,
    on_status: status.OnStatus | None = None,
    schedule: int | None = None,
    replay: Recorded | None = None,
) -> Result:
    """Run server and workers as threads of this process, one at a time.

    Synchronous algorithms give the same bits as over MPI. ``schedule`` seeds the order
    in which ranks get their turn, which must not matter to these. ``replay``: decide
    all that depended on time as another run did.
    """
    with (
        status.forwarded(on_status),
        threadpoolctl.threadpool_limits(run.run_options.threads),
    ):
        prepared = setup.prepare(run, problem)
        return run_prepared(
            prepared, out=out, on_row=on_row, schedule=schedule, replay=replay
        )


def run_prepared(
    prepared: PreparedRun,
    *,
    out: str | os.PathLike[str] | None = None,
    on_row: OnRow | None = None,
    schedule: int | None = None,
    replay: Recorded | None = None,
) -> Result:
    """Run a run that has been made ready; see ``run_local``."""
    options, workers = prepared.run.run_options, prepared.plan.workers
    warmup.compile_all()
    warmup.load(prepared)
    optimum = setup.find_optimum(prepared)
    shards = [setup.shard(prepared, m) for m in range(workers)]
    replay_logs = _replay_logs(replay, workers)
    simulated = replay is None and (options.simulates or prepared.algorithm.timed())
    scheduler, transports = local.connect(
        workers + 1,
        seed=schedule,
        network=setup.network(options) if simulated else None,
        measured=not options.speeds,
        tree=options.broadcast == "tree",
    )
    with contextlib.ExitStack() as stack:
        writer = None
        if out is not None:
            writer = stack.enter_context(new_writer(prepared, out))
        record = roles.Record(writer, on_row)
        setup.caution(prepared)
        status.LOG.info("training")
        first, *others = transports
        stop_at = None if replay is None else replay.rounds
        serve = partial(
            roles.serve, prepared, first, record, optimum, replay_logs[0], stop_at
        )
        work = [
            partial(roles.work, prepared, transport, part, replay_log)
            for transport, part, replay_log in zip(
                others, shards, replay_logs[1:], strict=True
            )
        ]
        served, *ends = scheduler.run([serve, *work])
        links = [served.link, *ends]
        reports = [
            summary.rank_report(rank, transport, end)
            for rank, (transport, end) in enumerate(zip(transports, links, strict=True))
        ]
        clock = "simulated" if simulated else "real"
        totals = summary.summarise(prepared, served, reports, clock=clock)
        setup.warn(summary.divergence(prepared, served.evaluation.rows))
        if writer is not None:
            decisions = [end.replay_log.entries for end in links]
            summary.finish(prepared, writer, served, totals, decisions)
    path = None if writer is None else writer.path
    unmet = tuple(totals["unmet"])
    return Result(totals, served.evaluation.rows, served.state.x, path, unmet)


def new_writer(
    prepared: PreparedRun,
    out: str | os.PathLike[str],
    hosts: Sequence[str] | None = None,
    mpi: str | None = None,
) -> RunWriter:
    """Create the run's directory with its manifest."""
    return RunWriter(
        out,
        prepared.config(),
        hosts=[socket.gethostname()] if hosts is None else hosts,
        digests={**prepared.digests(), "code": replay_versions.digest(prepared)},
        mpi=mpi,
        replay=replay_versions.declared(prepared),
        given=list(prepared.run.given),
        effective=effective.effective(prepared),
    )


def _replay_logs(replay: Recorded | None, workers: int) -> list[ReplayLog | None]:
    """Return each rank's recorded decisions, the server's first."""
    if replay is None:
        return [None] * (workers + 1)
    if len(replay.decisions) != workers + 1:
        raise ConfigError(
            f"replay: recorded of {len(replay.decisions) - 1} workers, and "
            f"this run has {workers}"
        )
    return [ReplayLog(entries) for entries in replay.decisions]
