"""Starts runs: in process, or as an MPI job of their own, and collects the results."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from psmpi import config, driver, kernels, launcher
from psmpi.base import ConfigError, Problem, PsmpiError
from psmpi.driver import MODEL, Result
from psmpi.evaluate import Row
from psmpi.links import local
from psmpi.record import RunWriter, follow, read_run

OnRow = Callable[[config.Run, Row], None]


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
        Run all ranks in this process, one at a time, instead of under mpiexec.
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
    made = config.run(algorithm, **options)
    if local:
        return run_local(made, problem=problem, out=out)
    if problem is not None:
        raise ConfigError(
            "problem: an object can't be handed to other processes; use local=True, "
            "or write the data to a file and name it in data"
        )
    if out is not None:
        return run_mpi([made], [Path(out)], hosts=hosts)[0]
    with tempfile.TemporaryDirectory(prefix="psmpi-") as folder:
        result = run_mpi([made], [Path(folder) / "run"], hosts=hosts)[0]
        return dataclasses.replace(result, path=None)


def run_local(
    run: config.Run,
    *,
    problem: Problem | None = None,
    out: str | os.PathLike[str] | None = None,
    on_row: Callable[[Row], None] | None = None,
    schedule: int | None = None,
) -> Result:
    """Run server and workers as threads of this process, one at a time.

    Synchronous algorithms give the same bits as over MPI. ``schedule`` seeds the order
    in which ranks get their turn, which must not matter.
    """
    with threadpoolctl.threadpool_limits(run.how.threads):
        job = driver.prepare(run, problem)
        kernels.warmup((job.run.how.scalar,))
        optimum = driver.find_optimum(job)
        shards = [driver.shard(job, m) for m in range(job.plan.workers)]
        baton, transports = local.connect(job.plan.workers + 1, seed=schedule)
        writer = None
        if out is not None:
            host = [socket.gethostname()]
            writer = RunWriter(out, run.as_dict(), hosts=host, digest=job.digest())

        def record(row: Row) -> None:
            if writer is not None:
                writer.append(row)
            if on_row is not None:
                on_row(row)

        ended = baton.run(
            [
                partial(driver.serve, job, transports[0], record, optimum),
                *(
                    partial(driver.work, job, transport, part)
                    for transport, part in zip(transports[1:], shards, strict=True)
                ),
            ]
        )
    evaluation, server, x = ended[0]
    ranks = [
        driver.rank_report(
            0, evaluation.rows[-1]["round"], transports[0], server.meter
        ),
        *(
            driver.rank_report(w.worker + 1, w.pulls, transports[w.worker + 1], w.meter)
            for w in ended[1:]
        ),
    ]
    summary = driver.summarise(job, evaluation, server.meter, ranks)
    if writer is not None:
        np.save(writer.path / MODEL, x)
        writer.finish(summary)
    return Result(
        summary,
        evaluation.rows,
        x,
        None if writer is None else writer.path,
        tuple(summary["unmet"]),
    )


def run_mpi(
    runs: Sequence[config.Run],
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
    workers, threads = runs[0].how.workers, runs[0].how.threads
    news = [follow(out) for out in outs]

    def tick() -> None:
        for made, fresh in zip(runs, news, strict=True):
            for row in next(fresh):
                if on_row is not None:
                    on_row(made, row)

    with tempfile.TemporaryDirectory(prefix="psmpi-") as folder:
        job = Path(folder) / "job.json"
        job.write_text(json.dumps(job_file(runs, outs)))
        status = launcher.launch(
            [sys.executable, "-m", "psmpi.rank", str(job)],
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
    runs: Sequence[config.Run], outs: Sequence[Path | None]
) -> list[dict[str, Any]]:
    """Return what ``psmpi.rank`` reads, as plain data."""
    return [
        {
            "algorithm": made.algorithm,
            "name": made.name,
            "given": {**made.options, **dataclasses.asdict(made.how)},
            "out": None if out is None else str(out.absolute()),
        }
        for made, out in zip(runs, outs, strict=True)
    ]


class RankFailed(PsmpiError):
    """A rank failed; it has said why."""


class Refused(ConfigError):
    """The ranks found the configuration wrong; one has said what is."""


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
