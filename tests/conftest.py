"""Runs rank programs under mpiexec, and shows the stacks of ranks that hang."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from psmpi.base import ConfigError
from psmpi.processes import mpiexec as launcher
from psmpi.processes.supervisor import descendants

# These programs start MPI, and end the process, when they are imported.
collect_ignore = ["mpi_programs"]
PROGRAMS = Path(__file__).parent / "mpi_programs"
# Programs may import helpers, which are found from the folder above ``tests``.
_PATHS = [str(PROGRAMS.parents[1]), os.environ.get("PYTHONPATH", "")]
_PYTHONPATH = os.pathsep.join(path for path in _PATHS if path)
LAUNCH = (
    "import sys; from psmpi.processes.mpiexec import launch; "
    "sys.exit(launch([sys.executable, *sys.argv[2:]], int(sys.argv[1])))"
)


def pytest_addoption(parser):
    parser.addoption(
        "--regen-golden", action="store_true", help="rewrite the frames of tests/golden"
    )


def pytest_report_header():
    try:
        mpiexec = launcher.find_mpiexec()
    except ConfigError as error:
        return f"MPI: {error}"
    return f"MPI: {launcher.vendor(mpiexec)} ({mpiexec})"


@dataclass
class Ended:
    """A job that has ended: its status, its output, and the time of its end."""

    status: int
    output: str
    time: float

    def since_misdeed(self) -> float:
        """Return the seconds from the program's misdeed to the job's end."""
        times = re.findall(r"misdeed at ([0-9.]+)", self.output)
        return self.time - float(times[-1])

    def pids(self) -> list[int]:
        """Return the process numbers that the ranks printed."""
        return [int(pid) for pid in re.findall(r"pid (\d+)", self.output)]


class Running:
    """A job that was started; a thread reads its output and waits for its end."""

    def __init__(self, line: list[str]) -> None:
        # A killed mpiexec leaves its folder behind, and a later one that gets the same
        # process number would find it there and refuse to start.
        self._folder = tempfile.TemporaryDirectory(prefix="psmpi-", dir="/tmp")
        self.process = subprocess.Popen(
            line,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={
                **os.environ,
                **launcher.environment(threads=1),
                "PYTHONPATH": _PYTHONPATH,
                "TMPDIR": self._folder.name,
                "PSMPI_OVERSUBSCRIBE": "1",  # whatever the number of cores here
            },
        )
        self.output = ""
        self._end = 0.0
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, text: str, times: int = 1, limit: float = 60) -> None:
        """Wait until the output has ``text`` at least ``times`` times."""
        with self._news:
            self._news.wait_for(
                lambda: self.output.count(text) >= times or self._end, limit
            )
        assert self.output.count(text) >= times, f"no {text!r} in:\n{self.output}"

    def finish(self, limit: float) -> Ended:
        """Wait for the job's end; if it takes too long, fail with all ranks' stacks."""
        self._reader.join(limit)
        if self._reader.is_alive():
            below = descendants(self.process.pid)
            _kill(below, signal.SIGABRT, only="python")  # faulthandler prints stacks
            time.sleep(1)
            self.kill()
            pytest.fail(f"still running after {limit} s:\n{self.output}")
        return Ended(self.process.returncode, self.output, self._end)

    def kill(self) -> None:
        """Kill all processes of the job."""
        pids = [*descendants(self.process.pid), self.process.pid]
        _kill(pids, signal.SIGKILL)
        self._reader.join(10)
        self._folder.cleanup()

    def _read(self) -> None:
        for line in self.process.stdout:
            with self._news:
                self.output += line
                self._news.notify_all()
        self.process.wait()
        with self._news:
            self._end = time.time()
            self._news.notify_all()


def _kill(pids: list[int], signum: int, only: str = "") -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            if only in Path(f"/proc/{pid}/comm").read_text():
                os.kill(pid, signum)


@contextlib.contextmanager
def starting() -> Iterator[Callable[..., Running]]:
    """Yield a function that starts ``mpi_programs/PROGRAM``; kill jobs at the end."""
    jobs: list[Running] = []

    def start(program: str, *args: object, ranks: int, bare: bool = False) -> Running:
        python = [str(PROGRAMS / program), *map(str, args)]
        if bare:
            mpiexec = launcher.find_mpiexec()
            line = launcher.command(mpiexec, [sys.executable, *python], ranks)
        else:
            line = [sys.executable, "-c", LAUNCH, str(ranks), *python]
        jobs.append(Running(line))
        return jobs[-1]

    yield start
    for job in jobs:
        job.kill()
        job.process.stdout.close()


@pytest.fixture
def start():
    """Start ``mpi_programs/PROGRAM`` on some ranks; the jobs end with the test."""
    with starting() as start:
        yield start


@pytest.fixture(scope="module")
def start_for_module():
    """Start ``mpi_programs/PROGRAM`` on some ranks; the jobs end with the module."""
    with starting() as start:
        yield start


@pytest.fixture
def mpiexec(start):
    """Run ``mpi_programs/PROGRAM`` on some ranks, within ``limit`` seconds."""

    def run(program: str, *args: object, ranks: int, limit: float = 30) -> Ended:
        return start(program, *args, ranks=ranks).finish(limit)

    return run
