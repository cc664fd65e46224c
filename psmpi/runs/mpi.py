"""Starts runs as an MPI job, follows their records, and collects their results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from psmpi.base import ConfigError, PsmpiError
from psmpi.processes import mpiexec, scratch
from psmpi.runs import config, job, launch_checks, setup, status
from psmpi.runs.record import MODEL
from psmpi.runs.recorded import follow, read_run
from psmpi.runs.schema import Row, Summary
from psmpi.runs.summary import Result

OnRow = Callable[[config.RunConfig, Row], None]


class RankFailed(PsmpiError):
    """A rank failed, and has printed the reason."""

    reported = True


class Refused(ConfigError):
    """The ranks found the configuration wrong, and one has printed the reason."""

    reported = True


def run_mpi(
    runs: Sequence[config.RunConfig],
    outs: Sequence[Path],
    *,
    hosts: str | None = None,
    on_row: OnRow | None = None,
    on_status: status.OnStatus | None = None,
) -> list[Result]:
    """Do ``runs``, one after the other, in one MPI job, and wait for its end.

    All runs have the same number of workers and threads; run number i is recorded in
    ``outs[i]``. Raises ``PsmpiError`` if a rank failed, which has printed the reason on
    stderr by then, and ``Interrupted`` if a signal ended the job.
    """
    for out in outs:
        launch_checks.check_out(out)
    for run in runs:
        setup.refuse_simulation(run.run_options)
    options, word = runs[0].run_options, job.encode(runs, outs)
    setup.warn(launch_checks.cautions(runs[0], hosts))
    if on_status is not None:
        on_status(f"starting {options.workers + 1} ranks")
    with scratch.folder() as folder:
        status_file = folder.path / "status"
        tick = _watcher(runs, outs, status_file, on_row, on_status)
        try:
            code = mpiexec.launch(
                [sys.executable, "-m", "psmpi.runs.rank", word, str(status_file)],
                options.workers + 1,
                hosts=hosts,
                threads=options.threads,
                on_tick=tick,
            )
        finally:
            tick()  # the last rows, also of a job that was interrupted
    if code != 0:
        kind = Refused if code == ConfigError.exit_status else RankFailed
        raise kind(f"the MPI job ended with status {code}")
    return [read_result(out) for out in outs]


def _watcher(
    runs: Sequence[config.RunConfig],
    outs: Sequence[Path],
    status_file: Path,
    on_row: OnRow | None,
    on_status: status.OnStatus | None,
) -> Callable[[], None]:
    """Return a function that passes on the rows and lines since its last call."""
    new_lines = status.reader(status_file)
    new_rows = [follow(out) for out in outs]

    def tick() -> None:
        for line in next(new_lines):
            if on_status is not None:
                on_status(line)
        for run, rows in zip(runs, new_rows, strict=True):
            for row in next(rows):
                if on_row is not None:
                    on_row(run, cast(Row, row))

    return tick


def read_result(out: Path) -> Result:
    """Return the result that a finished run left in its directory."""
    recorded = read_run(out)
    if recorded.summary is None:
        raise PsmpiError(f"{out}: the run ended without a summary")
    totals = cast(Summary, recorded.summary)
    rows = cast(list[Row], recorded.rows)
    return Result(totals, rows, np.load(out / MODEL), out, tuple(totals["unmet"]))
