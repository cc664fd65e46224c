"""Starts runs: in process, or as an MPI job of their own, and collects the results."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from psmpi import algorithms
from psmpi.base import ConfigError, Problem, PsmpiError
from psmpi.links.replay_log import ReplayLog
from psmpi.links.transport import local
from psmpi.processes import mpiexec
from psmpi.runs import config, launch_checks, roles, setup, summary, warmup
from psmpi.runs.evaluation import Row
from psmpi.runs.record import MODEL, RunWriter
from psmpi.runs.recorded import Recorded, RecordedRun, follow, read_decisions, read_run
from psmpi.runs.summary import Result

OnRow = Callable[[config.RunConfig, Row], None]


def run(
    algorithm: str,
    *,
    local: bool = False,
    out: str | os.PathLike[str] | None = None,
    problem: Problem | None = None,
    hosts: str | None = None,
    **options: Any,
) -> Result:
    """Run an algorithm and return how it went.

    Parameters
    ----------
    algorithm
        Its id, as ``psmpi list`` shows it.
    local
        RecordedRun all ranks in this process, one at a time, instead of under mpiexec.
    out
        Directory to record the run in; must not exist.
    problem
        A ``psmpi.base.Problem`` of your own, in place of ``data``; only with ``local``.
    hosts
        Hosts for mpiexec, comma-separated.
    options
        The algorithm's options and the run's (``workers``, ``data``, ``rounds``,
        ``until``, ``seed``, ...), named as in the command line.

    Raises ``ConfigError`` for what can't be run, ``PsmpiError`` if a rank failed.
    """
    made = config.configure(algorithm, **options)
    if local:
        own = problem is not None
        launch_checks.check_launch(made, local=True, hosts=hosts, own_problem=own)
        return run_local(made, problem=problem, out=out)
    if problem is not None:
        raise ConfigError(
            "problem: an object can't be handed to other processes; use local=True, "
            "or write the data to a file and name it in data"
        )
    launch_checks.check_launch(made, local=False, hosts=hosts)
    if out is not None:
        return run_mpi([made], [Path(out)], hosts=hosts)[0]
    with tempfile.TemporaryDirectory(prefix="psmpi-") as folder:
        result = run_mpi([made], [Path(folder) / "run"], hosts=hosts)[0]
        return dataclasses.replace(result, path=None)


def run_local(
    run: config.RunConfig,
    *,
    problem: Problem | None = None,
    out: str | os.PathLike[str] | None = None,
    on_row: Callable[[Row], None] | None = None,
    schedule: int | None = None,
    replay: Recorded | None = None,
) -> Result:
    """Run server and workers as threads of this process, one at a time.

    Synchronous algorithms give the same bits as over MPI. ``schedule`` seeds the order
    in which ranks get their turn, which must not matter to these. ``replay``: decide
    all that depended on time as another run did.
    """
    options = run.run_options
    with threadpoolctl.threadpool_limits(options.threads):
        job = setup.prepare(run, problem)
        warmup.compile_all()
        warmup.load(job)
        optimum = setup.find_optimum(job)
        shards = [setup.shard(job, m) for m in range(options.workers)]
        virtual = replay is None and (options.simulates or job.algorithm.timed())
        scheduler, transports = local.connect(
            options.workers + 1,
            seed=schedule,
            network=setup.network(options) if virtual else None,
            measured=not options.speeds,
            tree=options.broadcast == "tree",
        )
        replay_logs: list[ReplayLog | None] = [None] * (options.workers + 1)
        if replay is not None:
            if len(replay.decisions) != options.workers + 1:
                raise ConfigError(
                    f"replay: recorded of {len(replay.decisions) - 1} workers, and "
                    f"this run has {options.workers}"
                )
            replay_logs = [ReplayLog(entries) for entries in replay.decisions]
        stop_at = None if replay is None else replay.rounds
        writer = None
        if out is not None:
            host = [socket.gethostname()]
            writer = RunWriter(out, run.as_dict(), hosts=host, digests=job.digests())
        setup.caution(job)

        def record(row: Row) -> None:
            if writer is not None:
                writer.append(row)
            if on_row is not None:
                on_row(row)

        first, *others = transports
        served, *workers = scheduler.run(
            [
                partial(
                    roles.serve, job, first, record, optimum, replay_logs[0], stop_at
                ),
                *(
                    partial(roles.work, job, transport, part, replay_log)
                    for transport, part, replay_log in zip(
                        others, shards, replay_logs[1:], strict=True
                    )
                ),
            ]
        )
    reports = [
        summary.rank_report(rank, transport, end)
        for rank, (transport, end) in enumerate(
            zip(transports, [served.link, *workers], strict=True)
        )
    ]
    clock = "simulated" if virtual else "real"
    totals = summary.summarise(job, served, reports, clock=clock)
    if writer is not None:
        decisions = [end.replay_log.entries for end in (served.link, *workers)]
        summary.finish(job, writer, served, totals, decisions)
    path = None if writer is None else writer.path
    unmet = tuple(totals["unmet"])
    return Result(totals, served.evaluation.rows, served.state.x, path, unmet)


def replay(
    path: str | os.PathLike[str], out: str | os.PathLike[str] | None = None
) -> Result:
    """Do a recorded run again in this process, with the decisions that time made then.

    Raises ``ConfigError`` if data, code or configuration are not those of the run, and
    ``PsmpiError`` if the result is not the same, bit for bit.
    """
    found = read_run(path)
    recorded = read_decisions(found)
    given = dict(found.manifest["config"])
    algorithm, name = given.pop("algorithm"), given.pop("name")
    own = {field.name for field in algorithms.options(algorithms.find(algorithm))}
    options = {k: v for k, v in given.pop("options").items() if k in own}
    made = config.configure(algorithm, name, **options, **given)
    _require_same(found, setup.prepare(made).digests())
    try:
        model = np.load(found.path / MODEL)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(
            f"{found.path / MODEL}: can't be read ({error}); a replay compares with it"
        ) from None
    result = run_local(made, out=out, replay=recorded)
    if len(found.rows) != len(result.rows):
        raise PsmpiError(
            f"replay: {path} has {len(found.rows)} rows, and the run again "
            f"{len(result.rows)}; is all of its rows.jsonl there?"
        )
    for then, now in zip(found.rows, result.rows, strict=True):
        if (then["round"], then["loss"]) != (now["round"], now["loss"]):
            raise PsmpiError(
                f"replay: differs from {path} since round {then['round']}: the loss "
                f"was {then['loss']} and is {now['loss']}"
            )
    if result.x.tobytes() != model.tobytes():
        raise PsmpiError(f"replay: the final model differs from that of {path}")
    return result


def _require_same(found: RecordedRun, digests: Mapping[str, str]) -> None:
    """Refuse to replay a run that came from something else."""
    recorded = found.manifest.get("digests", {})
    for what, now in digests.items():
        then = recorded.get(what)
        if then != now:
            raise ConfigError(
                f"replay: the {what} of {found.path} has changed: its digest was "
                f"{then}, and is {now}; replay with what the run was made with"
            )


def run_mpi(
    runs: Sequence[config.RunConfig],
    outs: Sequence[Path],
    *,
    hosts: str | None = None,
    on_row: OnRow | None = None,
) -> list[Result]:
    """Start mpiexec on ``runs``, one after the other in one job, and wait for it.

    All runs have the same number of workers. Raises ``PsmpiError`` if a rank failed;
    what it had to say is on stderr by then.
    """
    for out in outs:
        if out.exists():
            raise ConfigError(
                f"{out}: already exists, and nothing is overwritten; "
                "give another directory, or move this one away"
            )
    for made in runs:
        setup.refuse_simulation(made.run_options)
    workers, threads = runs[0].run_options.workers, runs[0].run_options.threads
    news = [follow(out) for out in outs]

    def tick() -> None:
        for made, fresh in zip(runs, news, strict=True):
            for row in next(fresh):
                if on_row is not None:
                    on_row(made, row)

    with tempfile.TemporaryDirectory(prefix="psmpi-") as folder:
        job = Path(folder) / "job.json"
        job.write_text(json.dumps(job_file(runs, outs)))
        status = mpiexec.launch(
            [sys.executable, "-m", "psmpi.runs.rank", str(job)],
            workers + 1,
            hosts=hosts,
            threads=threads,
            on_tick=tick,
        )
    tick()
    if status != 0:
        kind = Refused if status == ConfigError.exit_status else RankFailed
        raise kind(f"the MPI job ended with status {status}")
    return [read_result(out) for out in outs]


def job_file(
    runs: Sequence[config.RunConfig], outs: Sequence[Path | None]
) -> list[dict[str, Any]]:
    """Return what ``psmpi.runs.rank`` reads, as plain data."""
    return [
        {
            "algorithm": made.algorithm,
            "name": made.name,
            "given": {**made.algorithm_options, **dataclasses.asdict(made.run_options)},
            "out": None if out is None else str(out.absolute()),
        }
        for made, out in zip(runs, outs, strict=True)
    ]


class RankFailed(PsmpiError):
    """A rank failed; it has said why."""


class Refused(ConfigError):
    """The ranks found the configuration wrong; one has said what is."""

    reported = True


def read_result(out: Path) -> Result:
    """Return the result that a finished run left in its directory."""
    found = read_run(out)
    if found.summary is None:
        raise PsmpiError(f"{out}: the run ended without a summary")
    return Result(
        found.summary,
        found.rows,
        np.load(out / MODEL),
        out,
        tuple(found.summary["unmet"]),
    )
