"""Starts runs as an MPI job, follows their records, and collects their results."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from psmpi.base import ConfigError, PsmpiError
from psmpi.errors import EXIT_PREEMPTED, RunPreempted
from psmpi.processes import mpiexec, scratch
from psmpi.runs import config, job, launch_checks, resumption, setup, status
from psmpi.runs.record import MODEL, SUMMARY
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


class EndedEarly(RunPreempted):
    """A rank has said where the run is saved."""

    reported = True


def run_mpi(
    runs: Sequence[config.RunConfig],
    outs: Sequence[Path],
    *,
    hosts: str | None = None,
    on_row: OnRow | None = None,
    on_status: status.OnStatus | None = None,
    goes_on: Sequence[Path] = (),
    restarts: int = 0,
) -> list[Result]:
    """Do ``runs``, one after the other, in one MPI job, and wait for its end.

    All runs have the same number of workers and threads; run number i is recorded in
    ``outs[i]``; those in ``goes_on`` have begun there before. Where a rank fails, a new
    job goes on from the last checkpoint, at most ``restarts`` times. Raises
    ``PsmpiError`` if a rank failed, which has printed the reason on stderr by then,
    ``EndedEarly`` if the runs are saved and go on later, and ``Interrupted`` if a
    signal ended the job.
    """
    for out in outs:
        if out not in goes_on:
            launch_checks.check_out(out)
    for run in runs:
        setup.refuse_simulation(run.run_options)
    setup.warn(launch_checks.cautions(runs[0], hosts))
    watch = _Watch(runs, outs, on_row, on_status)
    left = list(range(len(runs)))
    for attempt in itertools.count():
        code = _one_job(
            [runs[i] for i in left],
            [outs[i] for i in left],
            [attempt > 0 or outs[i] in goes_on for i in left],
            hosts,
            watch,
        )
        if code == 0:
            return [read_result(out) for out in outs]
        if code == EXIT_PREEMPTED:
            raise EndedEarly("the run was asked to end early")
        if code == ConfigError.exit_status:
            raise Refused(f"the MPI job ended with status {code}")
        if attempt == restarts:
            raise RankFailed(f"the MPI job ended with status {code}")
        left = [i for i in left if not (outs[i] / SUMMARY).exists()]
        watch.say(f"a rank has failed: restart {attempt + 1} of {restarts}")
    raise AssertionError


def _one_job(
    runs: Sequence[config.RunConfig],
    outs: Sequence[Path],
    goes_on: Sequence[bool],
    hosts: str | None,
    watch: _Watch,
) -> int:
    """Start ranks that do the runs, wait for their end, and return their status."""
    options = runs[0].run_options
    begun = [
        again and resumption.exists(o) for o, again in zip(outs, goes_on, strict=True)
    ]
    word = job.encode(runs, outs, begun)
    watch.say(f"starting {options.workers + 1} ranks")
    with scratch.folder() as folder:
        status_file = folder.path / "status"
        tick = watch.ticks(status_file)
        try:
            return mpiexec.launch(
                [sys.executable, "-m", "psmpi.runs.rank", word, str(status_file)],
                options.workers + 1,
                hosts=hosts,
                threads=options.threads,
                on_tick=tick,
                saves=any(any(run.run_options.checkpoint_cadence) for run in runs),
            )
        finally:
            tick()  # the last rows, also of a job that was interrupted


class _Watch:
    """Passes on the rows and lines of jobs while they run."""

    def __init__(
        self,
        runs: Sequence[config.RunConfig],
        outs: Sequence[Path],
        on_row: OnRow | None,
        on_status: status.OnStatus | None,
    ) -> None:
        self._new_rows = [
            (run, follow(out)) for run, out in zip(runs, outs, strict=True)
        ]
        self._on_row, self._on_status = on_row, on_status
        for _, rows in self._new_rows:
            next(rows)  # what a run that goes on has recorded before

    def say(self, line: str) -> None:
        """Pass on a line of the launcher's own."""
        if self._on_status is not None:
            self._on_status(line)

    def ticks(self, status_file: Path) -> Callable[[], None]:
        """Return a function that passes on what is new, of one job."""
        new_lines = status.reader(status_file)

        def tick() -> None:
            for line in next(new_lines):
                self.say(line)
            for run, rows in self._new_rows:
                for row in next(rows):
                    if self._on_row is not None:
                        self._on_row(run, cast(Row, row))

        return tick


def read_result(out: Path) -> Result:
    """Return the result that a finished run left in its directory."""
    recorded = read_run(out)
    if recorded.summary is None:
        raise PsmpiError(f"{out}: the run ended without a summary")
    totals = cast(Summary, recorded.summary)
    rows = cast(list[Row], recorded.rows)
    return Result(totals, rows, np.load(out / MODEL), out, tuple(totals["unmet"]))
