"""Fail fast: a rank that fails ends the whole job at once, and is named.

Plain MPI hangs when one rank raises an exception, or leaves, while the others wait for
it. Here the failing rank prints one report headed by its name and aborts the job; ranks
that are ended because of it print nothing. Where psmpi's own launcher started the job,
each rank is connected to it by a local socket, so that the launcher can name even a
rank that was killed without a report.
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

from psmpi.errors import EXIT_FAILED, PsmpiError

SOCKET = "PSMPI_LAUNCHER"  # environment variable: path of the launcher's socket
_SPARE_FILES = 24  # file numbers that are left above the launcher's connection
_REPORT_SECONDS = 0.05  # for a report to get through a pipe to the launcher's output
_ABORT_SECONDS = 2.0  # an MPI_Abort that takes longer will not return
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_PR_SET_PDEATHSIG, _PR_SET_TIMERSLACK = 1, 29
LEFT_EARLY = "left in the middle of the run, without the shutdown handshake"


def prctl(option: int, value: int) -> None:
    """Set one attribute of this process; does nothing where the system is not Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def die_with_parent(signum: int = signal.SIGKILL) -> None:
    """Let the system send ``signum`` to this process when its parent ends."""
    prctl(_PR_SET_PDEATHSIG, signum)


def precise_sleep() -> None:
    """Let this thread's sleeps end within a microsecond; the default is 50."""
    prctl(_PR_SET_TIMERSLACK, 1)


class Guard:
    """Ends the whole job if this process fails between ``install`` and ``leaving``.

    ``abort`` ends the MPI job with a status; ``describe`` returns this rank's name.
    ``on_exit`` is called when the interpreter exits before ``leaving``: it may leave in
    order, or call ``fail``, which is the default.
    """

    def __init__(
        self,
        abort: Callable[[int], None],
        describe: Callable[[], str],
        on_exit: Callable[[], None] | None = None,
    ) -> None:
        self._abort = abort
        self._describe = describe
        self._at_exit = on_exit or (lambda: self.fail(LEFT_EARLY))
        self._pid = os.getpid()
        self._left = False
        self._ending = threading.Lock()
        self._launcher = _connect()
        self._accepting = False  # whether a signal asks the run to end early
        self.asked = threading.Event()  # whether one has

    def install(self) -> None:
        """Handle exceptions, signals and the end of the process from now on.

        Call it before MPI starts: threads that MPI makes must inherit the signal mask,
        or they would receive the signals that the guard's thread waits for.
        """
        die_with_parent()
        with contextlib.suppress(ValueError, AttributeError):  # stderr is no real file
            faulthandler.enable()
        # With the signals blocked in all threads, one thread receives them even while
        # the main thread is in compiled code, and learns which process sent them.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        os.register_at_fork(after_in_child=_unblock)
        threading.Thread(target=self._watch, name="psmpi-guard", daemon=True).start()
        sys.excepthook = self._on_exception
        threading.excepthook = self._on_thread_exception
        atexit.register(self._on_exit)

    def announce(self) -> None:
        """Send the launcher this rank's name, which is known once MPI has started."""
        self._send("name", self._describe())

    def accept_requests(self, accepting: bool) -> None:
        """Let a signal ask the run to end early, or end the job as ever."""
        self._accepting = accepting
        self._send("accepts" if accepting else "refuses")

    def leaving(self, status: int | None) -> None:
        """Declare the end of this process orderly: the shutdown handshake is done.

        ``status`` is the job's status; None if each process has its own exit status.
        """
        if not self._ending.acquire(blocking=False):
            threading.Event().wait()  # another thread has failed and ends the process
        self._left = True
        if status is None:
            self._send("finished")
        else:
            self._send("left", str(status))

    def fail(self, report: str, status: int = EXIT_FAILED) -> None:
        """Print ``report`` under this rank's name and end the job. Never returns."""
        if not self._ending.acquire(blocking=False):
            threading.Event().wait()  # another thread has failed and ends the process
        _write(f"{self._describe()}: {report.rstrip()}\n")
        self._send("failed", str(status))
        self._end(status)

    def fail_with(self, error: BaseException) -> None:
        """Report an exception and end the job. Never returns."""
        if isinstance(error, SystemExit):
            self.fail(LEFT_EARLY)
        status = getattr(error, "exit_status", EXIT_FAILED)
        self.fail(_report(error, error.__traceback__), status)

    def _end(self, status: int) -> None:
        # MPI_Abort may let other threads run on for a while, and it may hang.
        threading.Thread(
            target=self._exit_late, args=(status,), name="psmpi-abort", daemon=True
        ).start()
        # MPICH's launcher may close its pipes before it has read the report.
        threading.Event().wait(_REPORT_SECONDS)
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
        if self._left or os.getpid() != self._pid:  # a forked child is not a rank
            sys.__excepthook__(kind, error, trace)
            return
        self.fail_with(error)

    def _on_thread_exception(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            self._on_exception(args.exc_type, args.exc_value, args.exc_traceback)

    def _on_exit(self) -> None:
        if os.getpid() == self._pid and not self._left:
            self._at_exit()

    def _is_request(self, info: signal.struct_siginfo) -> bool:
        """Return whether a signal asks for an early end, and doesn't end the job."""
        if not self._accepting:
            return False
        if info.si_signo == signal.SIGUSR1:
            return True
        # psmpi's launcher asks by SIGUSR1; what else mpiexec passes on ends the job.
        from_mpiexec = info.si_pid in (0, os.getppid())
        return not self.asked.is_set() and not (self._launcher and from_mpiexec)

    def _watch(self) -> None:
        while self._is_request(info := signal.sigwaitinfo(_SIGNALS)):
            self.asked.set()
        status = 128 + info.si_signo
        if self._left or not self._ending.acquire(blocking=False):
            os._exit(status)
        # A signal from mpiexec (the parent) or from the terminal ends all ranks, so
        # there is nothing to report.
        if info.si_pid in (0, os.getppid()):
            os._exit(status)
        _write(
            f"{self._describe()}: ended by {signal.Signals(info.si_signo).name} "
            f"from process {info.si_pid}, in\n{_main_stack()}"
        )
        self._send("failed", str(status))
        self._end(status)

    def _send(self, *words: str) -> None:
        """Send one line to the launcher, if there is one."""
        if self._launcher is not None:
            with contextlib.suppress(OSError):
                self._launcher.sendall(" ".join(words).encode() + b"\n")


def _connect() -> socket.socket | None:
    """Return a connection to the launcher; None if there is none on this host."""
    path = os.environ.get(SOCKET)
    if not path or not os.path.exists(path):
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        return None
    return _renumber(connection)


def _renumber(connection: socket.socket) -> socket.socket:
    """Return ``connection`` with a file number above those of MPI's sockets.

    When a process ends, Linux closes its files from the highest number down. The
    launcher must learn of the end before mpiexec does: mpiexec could kill another rank
    first, which the launcher would then name as the one that failed.
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
    """Write to stderr in one call, so that the lines of several ranks do not mix."""
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
