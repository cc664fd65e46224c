"""Fail fast: a rank that fails ends the whole job at once and says who it was.

Plain MPI hangs when one rank raises, or leaves, while the others wait for it. Here the
culprit prints one report headed by its name and aborts the job; ranks that are ended
because of it stay silent. Where psmpi's own launcher started the job, it is told over a
local socket, so that it can name even a rank that was killed without a last word.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import faulthandler
import fcntl
import os
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from types import TracebackType

from psmpi.base import PsmpiError

FAILED = 3  # exit status of a rank that failed for any reason but a usage error
SOCKET = "PSMPI_LAUNCHER"  # environment: where the launcher listens, if it is ours
_SPARE_FILES = 24  # numbers of files left above the launcher's connection
_SPOKEN_SECONDS = 0.05  # for a report to get from a pipe to the launcher's output
_ABORT_SECONDS = 2.0  # an MPI_Abort that takes longer will not return
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG, _PR_SET_TIMERSLACK = 1, 29


def prctl(option: int, value: int) -> None:
    """Set one attribute of this process; does nothing where the system is not Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def die_with_parent(signum: int = signal.SIGKILL) -> None:
    """Have the system send ``signum`` to this process when its parent ends."""
    prctl(_PR_SET_PDEATHSIG, signum)


def precise_sleep() -> None:
    """Make this thread's sleeps end within a microsecond; the default is 50."""
    prctl(_PR_SET_TIMERSLACK, 1)


class Guard:
    """Watches over this process from ``install`` until ``leaving``."""

    def __init__(self, abort: Callable[[int], None], describe: Callable[[], str]):
        self._abort = abort
        self._describe = describe
        self._pid = os.getpid()
        self._left = False
        self._ending = threading.Lock()
        self._launcher = _connect()

    def install(self) -> None:
        """Take over exceptions, signals and the end of the process.

        Call it before MPI starts: threads that MPI makes must inherit the signal mask,
        or they would be handed the signals that the guard waits for.
        """
        die_with_parent()
        with contextlib.suppress(ValueError, AttributeError):  # stderr is no real file
            faulthandler.enable()
        # With the signals blocked everywhere, one thread receives them even while the
        # main thread is in compiled code, and learns who sent them.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        os.register_at_fork(after_in_child=_unblock)
        threading.Thread(target=self._watch, name="psmpi-guard", daemon=True).start()
        sys.excepthook = self._on_exception
        threading.excepthook = self._on_thread_exception
        atexit.register(self._on_exit)

    def announce(self) -> None:
        """Tell the launcher this rank's name, now that it has one."""
        self._tell("name", self._describe())

    def leaving(self, status: int) -> None:
        """Declare the end orderly: the shutdown handshake is done."""
        if not self._ending.acquire(blocking=False):
            threading.Event().wait()  # too late: a thread has failed
        self._left = True
        self._tell("left", str(status))

    def fail(self, report: str, status: int = FAILED) -> None:
        """Print ``report`` under this rank's name and end the job. Never returns."""
        if not self._ending.acquire(blocking=False):
            threading.Event().wait()  # another thread is ending this process
        _write(f"{self._describe()}: {report.rstrip()}\n")
        self._tell("failed", str(status))
        self._end(status)

    def _end(self, status: int) -> None:
        # After MPI_Abort code may go on running for a while, and it may hang.
        threading.Thread(
            target=self._exit_late, args=(status,), name="psmpi-abort", daemon=True
        ).start()
        # MPICH's launcher may close its pipes before it has read the last words.
        threading.Event().wait(_SPOKEN_SECONDS)
        try:
            self._abort(status)
        finally:
            os._exit(status)

    @staticmethod
    def _exit_late(status: int) -> None:
        threading.Event().wait(_ABORT_SECONDS)
        os._exit(status)

    def _on_exception(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
    ) -> None:
        if (
            self._left or os.getpid() != self._pid
        ):  # a forked child is its parent's affair
            sys.__excepthook__(kind, error, trace)
            return
        self.fail(_report(error, trace), getattr(error, "exit_status", FAILED))

    def _on_thread_exception(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            self._on_exception(args.exc_type, args.exc_value, args.exc_traceback)

    def _on_exit(self) -> None:
        if os.getpid() == self._pid and not self._left:
            self.fail("left in the middle of the run, without the shutdown handshake")

    def _watch(self) -> None:
        info = signal.sigwaitinfo(_SIGNALS)
        if self._left or not self._ending.acquire(blocking=False):
            os._exit(128 + info.si_signo)
        status = 128 + info.si_signo
        # mpiexec (our parent) and the terminal end all ranks alike: nothing to explain.
        if info.si_pid in (0, os.getppid()):
            os._exit(status)
        _write(
            f"{self._describe()}: ended by {signal.Signals(info.si_signo).name} "
            f"from process {info.si_pid}, in\n{_main_stack()}"
        )
        self._tell("failed", str(status))
        self._end(status)

    def _tell(self, *words: str) -> None:
        if self._launcher is not None:
            with contextlib.suppress(OSError):
                self._launcher.sendall(" ".join(words).encode() + b"\n")


def _connect() -> socket.socket | None:
    """Return a connection to the launcher; None without one on this host."""
    path = os.environ.get(SOCKET)
    if not path or not os.path.exists(path):
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        return None
    return _closed_first(connection)


def _closed_first(connection: socket.socket) -> socket.socket:
    """Return ``connection`` under a number above those that MPI's sockets get.

    When a process ends, Linux lets go of its files from the highest number down. If
    mpiexec heard of the end before the launcher did, it could have killed another rank
    by then, which the launcher would take for the culprit.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    number = min(limit, 1024) - _SPARE_FILES
    with connection:
        high = fcntl.fcntl(connection.fileno(), fcntl.F_DUPFD_CLOEXEC, number)
    return socket.socket(fileno=high)


def _report(error: BaseException, trace: TracebackType | None) -> str:
    if isinstance(error, PsmpiError) and os.environ.get("PSMPI_TRACEBACK") != "1":
        return str(error)
    lines = traceback.format_exception(type(error), error, trace)
    return f"{type(error).__name__}: {error}\n" + "".join(lines)


def _write(text: str) -> None:
    """Write in one call, so that the lines of several ranks do not mix."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    with contextlib.suppress(OSError):
        os.write(2, text.encode(errors="backslashreplace"))


def _main_stack() -> str:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return "".join(traceback.format_stack(frame)) if frame is not None else ""


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
