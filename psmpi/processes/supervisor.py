"""A running mpiexec with its ranks: their output, their reports, and their end."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable

from psmpi.errors import EXIT_FAILED
from psmpi.processes.mpiexec_notices import NoticeFilter, end_reason, start_failure
from psmpi.processes.scratch import SHARED_FILES

_DRAIN = 0.5  # seconds for output that is still under way when mpiexec has ended


class _Rank:
    """A connected rank: its name, and whether it has reported its end."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.pid: int = struct.unpack("3i", credentials)[0]
        self.name = f"a rank (process {self.pid})"
        self.text = b""
        self.done = False
        self.accepts = False  # whether it can be asked to end the run early


class MpiexecJob:
    """Supervises one mpiexec; ``step`` does all the work, in the caller's thread."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        listener: socket.socket | None,
        note_shared: Callable[[set[str]], None] = lambda names: None,
    ) -> None:
        self.failed: int | None = None  # status of the rank that failed first
        self.left: int | None = None  # status agreed on in the shutdown handshake
        self.leaving = False  # whether a rank has done the shutdown handshake
        self.vanished: _Rank | None = None  # the first that ended without a report
        self.interrupted = False
        self.start_failure = ""  # why mpiexec could not start the ranks, after finish
        self._child = child
        self._selector = selectors.DefaultSelector()
        self._shared: set[str] = set()
        self._note_shared = note_shared  # for who cleans up after this process
        self._filters: list[NoticeFilter] = []
        for pipe, out in ((child.stdout, sys.stdout), (child.stderr, sys.stderr)):
            if pipe is not None:
                output = NoticeFilter(out.buffer)
                self._filters.append(output)
                self._selector.register(pipe, selectors.EVENT_READ, output)
        if listener is not None:
            self._selector.register(listener, selectors.EVENT_READ)

    def running(self) -> bool:
        """Return whether mpiexec is still running."""
        return self._child.poll() is None

    def over(self) -> bool:
        """Return whether the ranks are known to have ended, in order or by failure."""
        failed = self.failed is not None or self.vanished is not None
        return failed or self.left is not None

    def step(self, seconds: float) -> None:
        """Handle events that occur within ``seconds``; return after the first ones."""
        ended = []
        for key, _ in self._selector.select(seconds):
            if isinstance(key.data, NoticeFilter):
                self._read_output(key.fd, key.data)
            elif isinstance(key.data, _Rank):
                if self._read_rank(key.data):
                    ended.append(key.data)
            elif isinstance(key.fileobj, socket.socket):
                rank = _Rank(key.fileobj.accept()[0])
                self._selector.register(rank.connection, selectors.EVENT_READ, rank)
        # Reports first: a rank that ends without one at the same moment was ended
        # because of the rank that failed.
        for rank in ended:
            self._selector.unregister(rank.connection)
            rank.connection.close()
            if not (rank.done or self.over() or self.interrupted):
                self.vanished = rank

    def request_end(self, saves: bool) -> bool:
        """Ask the ranks to save the run and to end it early; return whether they can.

        ``saves``: what is known of them if rank 0 is on another host.
        """
        server = [rank for rank in self._ranks() if rank.name.startswith("server")]
        if server:
            if server[0].accepts:
                os.kill(server[0].pid, signal.SIGUSR1)
            return server[0].accepts
        if saves:  # mpiexec passes this signal on
            self._child.send_signal(signal.SIGUSR1)
        return saves

    def terminate(self) -> None:
        """Ask mpiexec to end the job."""
        self.interrupted = True
        self._child.terminate()

    def kill(self) -> None:
        """Kill every process of the job on this host."""
        pids = [*descendants(self._child.pid), *(r.pid for r in self._ranks())]
        for pid in {*pids, self._child.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def finish(self) -> int:
        """Clean up after mpiexec's end and return the job's status."""
        deadline = time.monotonic() + _DRAIN
        while self._busy() and time.monotonic() < deadline:
            self.step(_DRAIN / 10)
        for rank in self._ranks():  # that have outlived mpiexec
            with contextlib.suppress(ProcessLookupError):
                os.kill(rank.pid, signal.SIGKILL)
        for path in self._shared:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        self._selector.close()
        return self._conclude()

    def _conclude(self) -> int:
        """Report what no rank has reported, and return the status."""
        status = self._child.wait()
        known = self.interrupted or self.over()
        notices = b"".join(output.held for output in self._filters)
        if not known and status:
            self.start_failure = start_failure(notices.decode(errors="replace"))
        for output in self._filters:
            output.finish()
        if not known and not self.start_failure:
            sys.stderr.buffer.write(notices)
            sys.stderr.buffer.flush()
        if self.failed is not None:
            return self.failed
        if self.vanished is not None:
            reason = end_reason(notices.decode(errors="replace"), self.vanished.pid)
            sys.stderr.write(
                f"{self.vanished.name}: went away without the shutdown handshake"
                + (f" ({reason})\n" if reason else "\n")
            )
            return EXIT_FAILED
        if self.left is not None:
            return self.left
        return status if status >= 0 else 128 - status

    def _ranks(self) -> list[_Rank]:
        entries = self._selector.get_map().values()
        return [key.data for key in entries if isinstance(key.data, _Rank)]

    def _busy(self) -> bool:
        entries = self._selector.get_map().values()
        return any(key.data is not None for key in entries)

    def _read_output(self, fd: int, output: NoticeFilter) -> None:
        data = os.read(fd, 1 << 16)
        if data:
            output.feed(data)
        else:
            self._selector.unregister(fd)

    def _read_rank(self, rank: _Rank) -> bool:
        """Take in what a rank sends; return whether its connection has ended.

        A line is "name NAME", "accepts" or "refuses" requests to end early, "left
        STATUS" or "finished" after the shutdown handshake, or "failed STATUS".
        """
        try:
            data = rank.connection.recv(4096)
        except ConnectionError:
            data = b""
        *lines, rank.text = (rank.text + data).split(b"\n")
        for line in lines:
            word, _, rest = line.decode().partition(" ")
            if word == "name":
                rank.name = rest
                fresh = _shared_files(rank.pid) - self._shared
                if fresh:
                    self._note_shared(fresh)
                self._shared |= fresh
                continue
            if word in ("accepts", "refuses"):
                rank.accepts = word == "accepts"
                continue
            rank.done = True
            if word == "failed":
                if not self.over():
                    self.failed = int(rest)
                continue
            self.leaving = True
            if word == "left":
                self.left = int(rest)
        return not data


def descendants(pid: int) -> list[int]:
    """Return the processes below ``pid``, including those in sessions of their own."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        with contextlib.suppress(OSError, ValueError):
            with open(f"/proc/{int(name)}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(name))
    below = [pid]
    for one in below:
        below += children.get(one, [])
    return below[1:]


def _shared_files(pid: int) -> set[str]:
    """Return the files of MPI's shared memory of a rank, which MPICH may leave."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/maps") as file:
        return set(SHARED_FILES.findall(file.read()))
    return set()
