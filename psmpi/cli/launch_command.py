"""``psmpi launch``: a script of the user's own, with psmpi's server beside it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from psmpi import report
from psmpi.cli import folders
from psmpi.errors import EXIT_UNMET, ConfigError
from psmpi.processes import mpiexec
from psmpi.runs import launch_checks
from psmpi.runs.mpi import RankFailed, Refused
from psmpi.runs.recorded import read_run

_SIGNALLED = (129, 130, 143)  # exit statuses after SIGHUP, SIGINT and SIGTERM


def launch(
    script: Path,
    arguments: Sequence[str],
    *,
    workers: int,
    hosts: str | None,
    threads: int,
    out: Path | None,
) -> int:
    """Run a script on all workers beside the server; see ``psmpi launch``."""
    if mpiexec.inside_mpi():
        raise ConfigError(
            "launch: it starts the ranks itself, and was started by mpiexec; start the "
            f"script on all ranks instead: mpiexec -n {workers + 1} python {script}"
        )
    if not script.is_file():
        raise ConfigError(f"{script}: no such file; give a Python script")
    for name, value in (("workers", workers), ("threads", threads)):
        if value < 1:
            raise ConfigError(f"{name}: must be at least 1, got {value}")
    if out is not None:
        launch_checks.check_out(out)
    folder = contextlib.nullcontext(out) if out else folders.reserve(script.stem)
    with folder as place:
        program = [sys.executable, "-m", "psmpi.sessions.program"]
        try:
            status = mpiexec.launch(
                [*program, str(place.absolute()), str(script), *arguments],
                workers + 1,
                hosts=hosts,
                threads=threads,
            )
        except SystemExit as end:
            if end.code in _SIGNALLED:
                print(f"psmpi: interrupted; {_recorded(place)}", file=sys.stderr)  # noqa: T201
            raise
        if status not in (0, EXIT_UNMET):
            kind = Refused if status == ConfigError.exit_status else RankFailed
            raise kind(f"the MPI job ended with status {status}")
        runs = [read_run(run) for run in _runs(place)]
        if runs:
            console = report.console()
            console.print(report.table(runs))
            console.print("recorded: " + " ".join(str(run.path) for run in runs))
        return status


def _runs(place: Path) -> list[Path]:
    """Return the directories in which the script's sessions were recorded."""
    later = sorted(
        place.parent.glob(f"{place.name}-[0-9]*"),
        key=lambda path: int(path.name.rpartition("-")[2]),
    )
    return [path for path in (place, *later) if path.is_dir()]


def _recorded(place: Path) -> str:
    runs = _runs(place)
    if not runs:
        return "nothing is recorded"
    return "what was recorded is in " + " ".join(map(str, runs))
