"""Launches configured runs and shows their progress: in process, or as MPI jobs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from psmpi import report
from psmpi.cli import folders
from psmpi.cli.progress import Progress
from psmpi.errors import PsmpiError
from psmpi.processes import mpiexec
from psmpi.runs.config import RunConfig
from psmpi.runs.local import run_local
from psmpi.runs.mpi import run_mpi
from psmpi.runs.recorded import read_run
from psmpi.runs.resumption import Resumption
from psmpi.runs.summary import Result

_SIGNALLED = (129, 130, 143)  # exit statuses after SIGHUP, SIGINT and SIGTERM


def launch(
    runs: Sequence[RunConfig],
    paths: Sequence[Path],
    local: bool,
    hosts: str | None,
    *,
    restarts: int = 0,
    begun: Mapping[Path, Resumption] | None = None,
) -> list[Result]:
    """Do the runs and show their progress; say where an interrupted one is recorded.

    Those in the directories ``begun`` go on from there.
    """
    begun = begun or {}
    progress = Progress(runs)
    try:
        with progress:
            if local:
                return _in_process(runs, paths, begun, progress)
            return _over_mpi(runs, paths, begun, hosts, restarts, progress)
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, KeyboardInterrupt) or end.code in _SIGNALLED:
            print(  # noqa: T201
                f"psmpi: interrupted; {_recorded(runs, paths, progress)}",
                file=sys.stderr,
            )
        raise
    except OSError as error:  # a full disk, for one, whose error names no file
        raise PsmpiError(
            f"{error.filename or paths[0].parent}: {error.strerror or error}; "
            f"{_recorded(runs, paths, progress)}"
        ) from error


def _in_process(
    runs: Sequence[RunConfig],
    paths: Sequence[Path],
    begun: Mapping[Path, Resumption],
    progress: Progress,
) -> list[Result]:
    results = []
    for run, path in zip(runs, paths, strict=True):
        progress.begin(run, f"starting {run.run_options.workers + 1} ranks here")
        on_row = partial(progress.row, run)
        results.append(
            run_local(run, out=path, on_row=on_row, resumption=begun.get(path))
        )
    return results


def _over_mpi(
    runs: Sequence[RunConfig],
    paths: Sequence[Path],
    begun: Mapping[Path, Resumption],
    hosts: str | None,
    restarts: int,
    progress: Progress,
) -> list[Result]:
    """Do the runs with one MPI job for each number of ranks and threads."""
    jobs: dict[tuple[int, int], list[int]] = {}
    for place, run in enumerate(runs):
        shape = (run.run_options.workers, run.run_options.threads)
        jobs.setdefault(shape, []).append(place)
    results: dict[int, Result] = {}
    for places in jobs.values():
        progress.begin(runs[places[0]])
        done = run_mpi(
            [runs[place] for place in places],
            [paths[place] for place in places],
            hosts=hosts,
            on_row=progress.row,
            on_status=progress.status,
            goes_on=[path for path in paths if path in begun],
            restarts=restarts,
        )
        results.update(zip(places, done, strict=True))
    return [results[place] for place in range(len(runs))]


def _recorded(
    runs: Sequence[RunConfig], paths: Sequence[Path], progress: Progress
) -> str:
    """Return in words what is recorded of runs that have not ended."""
    kept = [
        f"{rounds} rounds are recorded in {path}"
        for run, path in zip(runs, paths, strict=True)
        if (rounds := progress.rounds(run)) is not None
    ]
    return "; ".join(kept) or "nothing is recorded"


def join(run: RunConfig, folder: Path, *, goes_on: bool = False) -> NoReturn:
    """Be one rank of an MPI job that somebody else has started.

    The run ``goes_on`` in the directory, or begins there.
    """
    from psmpi.runs import rank

    # Ranks write into mpiexec's output, which may look like a terminal and is a log.
    console = Console(width=200, force_terminal=False, color_system=None)
    progress = Progress([run], plain=True)
    if not mpiexec.world_rank():
        progress.start()
        progress.begin(run, f"{run.run_options.workers + 1} ranks of mpiexec")

    def end(path: Path) -> None:
        progress.stop()
        console.print(report.table([read_run(path)]))
        console.print(f"recorded: {path}")
        folders.release(path)  # the rank ends without leaving any ``with``

    rank.join(run, folder, end, partial(progress.row, run), goes_on=goes_on)
