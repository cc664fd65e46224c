"""Running rank programs under mpiexec, and what a hanging one was doing."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from psmpi.base import ConfigError
from psmpi.processes import mpiexec as launcher
from psmpi.processes.supervisor import descendants

# They start MPI, and end the process, when they are imported.
collect_ignore = ["mpi_programs"]
PROGRAMS = Path(__file__).parent / "mpi_programs"
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
    """A job that has ended: its status, all it printed, and when."""

    status: int
    output: str
    time: float

    def since_misdeed(self) -> float:
        """Return the seconds from the program's misdeed to the job's end."""
        times = re.findall(r"misdeed at ([0-9.]+)", self.output)
        return self.time - float(times[-1])

    def pids(self) -> list[int]:
        """Return the processes of the ranks, as they printed them."""
        return [int(pid) for pid in re.findall(r"pid (\d+)", self.output)]


class Running:
    """A job that has been started; ``finish`` waits for it, or explains its hanging."""

    def __init__(self, line: list[str]) -> None:
        self.process = subprocess.Popen(
            line,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, **launcher.environment(threads=1)},
        )
        self.seen = ""

    def wait_for(self, text: str, times: int = 1) -> None:
        """Read the output until ``text`` has come ``times`` times."""
        while self.seen.count(text) < times:
            line = self.process.stdout.readline()
            assert line, f"ended before {text!r} came:\n{self.seen}"
            self.seen += line

    def finish(self, limit: float) -> Ended:
        try:
            output = self.process.communicate(timeout=limit)[0]
        except subprocess.TimeoutExpired:
            below = descendants(self.process.pid)
            _kill(below, signal.SIGABRT, only="python")  # faulthandler shows the stacks
            time.sleep(1)
            _kill([*below, self.process.pid], signal.SIGKILL)
            output = self.process.communicate(timeout=10)[0]
            pytest.fail(f"still running after {limit} s:\n{self.seen}{output}")
        return Ended(self.process.returncode, self.seen + output, time.time())


def _kill(pids: list[int], signum: int, only: str = "") -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            if only in Path(f"/proc/{pid}/comm").read_text():
                os.kill(pid, signum)


@pytest.fixture
def start():
    """Start ``mpi_programs/PROGRAM`` on some ranks; whatever is left is killed."""
    jobs = []

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
        _kill([*descendants(job.process.pid), job.process.pid], signal.SIGKILL)
        job.process.wait()
        job.process.stdout.close()


@pytest.fixture
def mpiexec(start):
    """Run ``mpi_programs/PROGRAM`` on some ranks, within ``limit`` seconds."""

    def run(program: str, *args: object, ranks: int, limit: float = 30) -> Ended:
        return start(program, *args, ranks=ranks).finish(limit)

    return run
