"""``psmpi launch``: a script of the user's own, with psmpi's server beside it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from psmpi import report
from psmpi.cli import folders
from psmpi.errors import EXIT_PREEMPTED, EXIT_UNMET, ConfigError
from psmpi.processes import mpiexec
from psmpi.runs import launch_checks, resumption
from psmpi.runs.mpi import EndedEarly, RankFailed, Refused
from psmpi.runs.recorded import read_run

#: Exit statuses after which a restart would come to the same.
_FINAL = (0, EXIT_UNMET, EXIT_PREEMPTED, ConfigError.exit_status)
_SIGNALLED = (129, 130, 143)  # exit statuses after SIGHUP, SIGINT and SIGTERM


def launch(
    script: Path,
    arguments: Sequence[str],
    *,
    workers: int,
    hosts: str | None,
    threads: int,
    out: Path | None,
    resume: Path | None,
    restarts: int,
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
    launch_checks.check_restarts(restarts, local=False)
    if resume is not None and out is not None:
        raise ConfigError(f"out: {out}, but the run goes on in {resume}; give one")
    if resume is not None:
        resumption.find(resume)  # says what is wrong, before ranks start
    if out is not None:
        launch_checks.check_out(out)
    given = resume or out
    folder = contextlib.nullcontext(given) if given else folders.reserve(script.stem)
    with folder as place:
        program = [sys.executable, "-m", "psmpi.sessions.program"]
        words = [str(script), *arguments]
        try:
            for attempt in range(restarts + 1):
                how = "resume" if attempt or resume else "new"
                status = mpiexec.launch(
                    [*program, str(place.absolute()), how, *words],
                    workers + 1,
                    hosts=hosts,
                    threads=threads,
                )
                if status in _FINAL or attempt == restarts:
                    break
                print(  # noqa: T201
                    f"psmpi: a rank has failed: restart {attempt + 1} of {restarts}",
                    file=sys.stderr,
                )
        except SystemExit as end:
            if end.code in _SIGNALLED:
                print(f"psmpi: interrupted; {_recorded(place)}", file=sys.stderr)  # noqa: T201
            raise
        if status == EXIT_PREEMPTED:
            raise EndedEarly("the run was asked to end early")
        if status not in (0, EXIT_UNMET):
            kind = Refused if status == ConfigError.exit_status else RankFailed
            raise kind(f"the MPI job ended with status {status}")
        runs = [read_run(run) for run in _runs(place)]
        if runs:
            console = report.console()
            console.print(report.table(runs))
            console.print("recorded: " + " ".join(str(run.path) for run in runs))
        else:
            print(  # noqa: T201
                "psmpi: nothing is recorded, since the script has opened no session",
                file=sys.stderr,
            )
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
