"""Runs all ranks of a run in this process, as threads of which one runs at a time."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

from psmpi.base import ConfigError, Problem
from psmpi.errors import RunPreempted
from psmpi.links.replay_log import ReplayLog
from psmpi.links.transport import local
from psmpi.links.transport.scheduler import Scheduler
from psmpi.runs import (
    config,
    effective,
    replay_versions,
    roles,
    setup,
    status,
    summary,
    threads,
    warmup,
)
from psmpi.runs.keeper import Keeper, keeper_of
from psmpi.runs.record import RunWriter
from psmpi.runs.recorded import Recorded
from psmpi.runs.resumption import Resumption, clear
from psmpi.runs.schema import Row
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
    resumption: Resumption | None = None,
) -> Result:
    """Run server and workers as threads of this process, one at a time.

    Synchronous algorithms compute the same bits as over MPI. ``schedule`` seeds the
    order in which ranks take turns, which has no effect on these. ``replay``: the
    decisions of another run, for all that depended on time. ``resumption``: the run in
    ``out`` goes on.
    """
    with (
        status.forwarded(on_status),
        threads.limited(run.run_options.threads),
    ):
        prepared = setup.prepare(run, problem)
        if resumption is not None:
            prepared = resumption.apply(prepared)
        return run_prepared(
            prepared,
            out=out,
            on_row=on_row,
            schedule=schedule,
            replay=replay,
        )


def run_prepared(
    prepared: PreparedRun,
    *,
    out: str | os.PathLike[str] | None = None,
    on_row: OnRow | None = None,
    schedule: int | None = None,
    replay: Recorded | None = None,
) -> Result:
    """Run a run that has been prepared; see ``run_local``."""
    warmup.load(prepared)
    measure = setup.measure(prepared)
    # These refuse what can't be run, so that it leaves no directory behind.
    parts = [setup.shard(prepared, m) for m in range(prepared.plan.workers)]
    server_log, *logs = _replay_logs(replay, prepared.plan.workers)
    simulated = replay is None and _simulates(prepared)
    scheduler, transports = _connect(prepared, schedule, simulated)
    with contextlib.ExitStack() as stack:
        # Once more, for what the problem has loaded.
        stack.enter_context(threads.limited(prepared.run.run_options.threads))
        writer = None
        if out is not None:
            writer = stack.enter_context(new_writer(prepared, out))
        keepers: list[Keeper | None] = [
            None
            if replay is not None
            else stack.enter_context(keeper_of(prepared, out, rank))
            for rank in range(prepared.plan.workers + 1)
        ]
        setup.caution(prepared)
        status.LOG.info("training")
        serve = partial(
            roles.serve,
            prepared,
            transports[0],
            roles.Record(writer, on_row),
            measure,
            server_log,
            None if replay is None else replay.rounds,
            keeper=keepers[0],
            asked=stack.enter_context(requests(any(keepers))),
        )
        work = [
            partial(roles.work, prepared, transport, part, log, keeper)
            for transport, part, log, keeper in zip(
                transports[1:], parts, logs, keepers[1:], strict=True
            )
        ]
        served, *ends = scheduler.run([serve, *work])
        early = served.early_end(out)
        if early is not None:
            raise RunPreempted(early)
        links = [served.link, *ends]
        ranks = [
            (summary.rank_report(rank, transport, end), end.replay_log.entries)
            for rank, (transport, end) in enumerate(zip(transports, links, strict=True))
        ]
        clock = "simulated" if simulated else "real"
        return summary.conclude(prepared, writer, served, ranks, clock=clock)


def _simulates(prepared: PreparedRun) -> bool:
    """Return whether a run has a simulated clock, unless it repeats another run."""
    return prepared.run.run_options.simulates or prepared.algorithm.timed()


def _connect(
    prepared: PreparedRun, schedule: int | None, simulated: bool
) -> tuple[Scheduler, list[local.LocalTransport]]:
    options = prepared.run.run_options
    return local.connect(
        options.workers + 1,
        seed=schedule,
        network=setup.network(options) if simulated else None,
        measured=not options.speeds,
        tree=options.broadcast == "tree",
    )


@contextlib.contextmanager
def requests(accepted: bool) -> Iterator[Callable[[], bool]]:
    """Let SIGTERM, SIGUSR1 and Ctrl-C ask for an early end in the block, if accepted.

    Gives what says whether one has asked. A second Ctrl-C ends the run at once.
    """
    asked: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        if asked and signum == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(signum)

    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT) if accepted else ()
    if threading.current_thread() is not threading.main_thread():
        numbers = ()
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def new_writer(
    prepared: PreparedRun,
    out: str | os.PathLike[str],
    hosts: Sequence[str] | None = None,
    mpi: str | None = None,
) -> RunWriter:
    """Create the run's directory with its manifest, unless the run goes on there."""
    if prepared.goes_on:
        clear(prepared, Path(out))
    return RunWriter(
        out,
        prepared.config(),
        hosts=[socket.gethostname()] if hosts is None else hosts,
        digests={**prepared.digests(), "code": replay_versions.digest(prepared)},
        mpi=mpi,
        replay=replay_versions.declared(prepared),
        given=list(prepared.run.given),
        effective=effective.effective(prepared),
        goes_on=prepared.goes_on,
    )


def _replay_logs(replay: Recorded | None, workers: int) -> list[ReplayLog | None]:
    """Return each rank's recorded decisions, the server's first."""
    if replay is None:
        return [None] * (workers + 1)
    if len(replay.decisions) != workers + 1:
        raise ConfigError(
            f"replay: the recorded run has {len(replay.decisions) - 1} workers, and "
            f"this run has {workers}"
        )
    return [ReplayLog(entries) for entries in replay.decisions]
