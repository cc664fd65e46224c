"""Starts runs as an MPI job of their own, follows their records, collects results."""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from psmpi.base import ConfigError, PsmpiError
from psmpi.processes import mpiexec
from psmpi.runs import config, setup, status
from psmpi.runs.evaluation import Row
from psmpi.runs.record import MODEL
from psmpi.runs.recorded import follow, read_run
from psmpi.runs.summary import Result

OnRow = Callable[[config.RunConfig, Row], None]


class RankFailed(PsmpiError):
    """A rank failed; it has said why."""

    reported = True


class Refused(ConfigError):
    """The ranks found the configuration wrong; one has said what is."""

    reported = True


def run_mpi(
    runs: Sequence[config.RunConfig],
    outs: Sequence[Path],
    *,
    hosts: str | None = None,
    on_row: OnRow | None = None,
    on_status: status.OnStatus | None = None,
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
    for run in runs:
        setup.refuse_simulation(run.run_options)
    workers, threads = runs[0].run_options.workers, runs[0].run_options.threads
    new_rows = [follow(out) for out in outs]
    if on_status is not None:
        on_status(f"starting {workers + 1} ranks")

    with tempfile.TemporaryDirectory(prefix="psmpi-") as folder:
        job, status_file = Path(folder) / "job.json", Path(folder) / "status"
        job.write_text(json.dumps(job_file(runs, outs)))
        new_lines = status.reader(status_file)

        def tick() -> None:
            for line in next(new_lines):
                if on_status is not None:
                    on_status(line)
            for run, rows in zip(runs, new_rows, strict=True):
                for row in next(rows):
                    if on_row is not None:
                        on_row(run, row)

        code = mpiexec.launch(
            [sys.executable, "-m", "psmpi.runs.rank", str(job), str(status_file)],
            workers + 1,
            hosts=hosts,
            threads=threads,
            on_tick=tick,
        )
        tick()
    if code != 0:
        kind = Refused if code == ConfigError.exit_status else RankFailed
        raise kind(f"the MPI job ended with status {code}")
    return [read_result(out) for out in outs]


def job_file(
    runs: Sequence[config.RunConfig], outs: Sequence[Path | None]
) -> list[dict[str, Any]]:
    """Return what ``psmpi.runs.rank`` reads, as plain data."""
    return [
        {
            "algorithm": run.algorithm,
            "name": run.name,
            "options": {
                **run.algorithm_options,
                **dataclasses.asdict(run.run_options),
            },
            "given": list(run.given),
            "out": None if out is None else str(out.absolute()),
        }
        for run, out in zip(runs, outs, strict=True)
    ]


def read_result(out: Path) -> Result:
    """Return the result that a finished run left in its directory."""
    recorded = read_run(out)
    if recorded.summary is None:
        raise PsmpiError(f"{out}: the run ended without a summary")
    return Result(
        recorded.summary,
        recorded.rows,
        np.load(out / MODEL),
        out,
        tuple(recorded.summary["unmet"]),
    )
