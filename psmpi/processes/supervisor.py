"""A running mpiexec with its ranks: their output, their last words, their end."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time

from psmpi.processes.failfast import FAILED
from psmpi.processes.mpiexec_notices import Filter, reason

_SHARED = re.compile(r"/dev/shm/(?:mpich_shm_|sm_segment\.|vader_segment\.)\S+")
_DRAIN = 0.5  # seconds for output that is still under way when mpiexec has ended


class _Rank:
    """A connected rank: its name, and whether it has taken its leave."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.pid: int = struct.unpack("3i", credentials)[0]
        self.name = f"a rank (process {self.pid})"
        self.text = b""
        self.done = False


class MpiexecJob:
    """Watches over one mpiexec; ``step`` does all the work, in the caller's thread."""

    def __init__(
        self, child: subprocess.Popen[bytes], listener: socket.socket | None
    ) -> None:
        self.failed: int | None = None  # status told by the rank that failed first
        self.left: int | None = None  # status agreed on in the shutdown handshake
        self.vanished: _Rank | None = None  # the first that went without a word
        self.interrupted = False
        self._child = child
        self._selector = selectors.DefaultSelector()
        self._shared: set[str] = set()
        self._filters: list[Filter] = []
        for pipe, out in ((child.stdout, sys.stdout), (child.stderr, sys.stderr)):
            if pipe is not None:
                self._filters.append(Filter(out.buffer))
                self._selector.register(pipe, selectors.EVENT_READ, self._filters[-1])
        if listener is not None:
            self._selector.register(listener, selectors.EVENT_READ)

    def running(self) -> bool:
        """Return whether mpiexec is still there."""
        return self._child.poll() is None

    def over(self) -> bool:
        """Return whether the ranks are known to be done, or to have failed."""
        return any(x is not None for x in (self.failed, self.vanished, self.left))

    def step(self, seconds: float) -> None:
        """Handle what happens within ``seconds``; return after the first events."""
        ended = []
        for key, _ in self._selector.select(seconds):
            if isinstance(key.data, Filter):
                self._read_output(key.fd, key.data)
            elif isinstance(key.data, _Rank):
                if self._read_rank(key.data):
                    ended.append(key.data)
            elif isinstance(key.fileobj, socket.socket):
                rank = _Rank(key.fileobj.accept()[0])
                self._selector.register(rank.connection, selectors.EVENT_READ, rank)
        # Last words first: a rank that vanishes in the same moment did so because of
        # the one that failed.
        for rank in ended:
            self._selector.unregister(rank.connection)
            rank.connection.close()
            if not (rank.done or self.over() or self.interrupted):
                self.vanished = rank

    def ask(self) -> None:
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
        """Collect what is left after mpiexec's end and return the job's status."""
        deadline = time.monotonic() + _DRAIN
        while self._busy() and time.monotonic() < deadline:
            self.step(_DRAIN / 10)
        for rank in self._ranks():  # outlived its mpiexec
            with contextlib.suppress(ProcessLookupError):
                os.kill(rank.pid, signal.SIGKILL)
        for path in self._shared:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        self._selector.close()
        return self._conclude()

    def _conclude(self) -> int:
        """Say what nobody has said yet, and return the status."""
        known = self.interrupted or self.over()
        for output in self._filters:
            output.finish(show=not known)
        if self.failed is not None:
            return self.failed
        if self.vanished is not None:
            notices = b"".join(output.held for output in self._filters).decode()
            how = reason(notices, self.vanished.pid)
            sys.stderr.write(
                f"{self.vanished.name}: went away without the shutdown handshake"
                + (f" ({how})\n" if how else "\n")
            )
            return FAILED
        if self.left is not None:
            return self.left
        status = self._child.wait()
        return status if status >= 0 else 128 - status

    def _ranks(self) -> list[_Rank]:
        entries = self._selector.get_map().values()
        return [key.data for key in entries if isinstance(key.data, _Rank)]

    def _busy(self) -> bool:
        entries = self._selector.get_map().values()
        return any(key.data is not None for key in entries)

    def _read_output(self, fd: int, output: Filter) -> None:
        data = os.read(fd, 1 << 16)
        if data:
            output.feed(data)
        else:
            self._selector.unregister(fd)

    def _read_rank(self, rank: _Rank) -> bool:
        """Take in a rank's words; true at their end."""
        try:
            data = rank.connection.recv(4096)
        except ConnectionError:
            data = b""
        *lines, rank.text = (rank.text + data).split(b"\n")
        for line in lines:
            word, _, rest = line.decode().partition(" ")
            if word == "name":
                rank.name = rest
                self._shared |= _shared_files(rank.pid)
                continue
            rank.done = True
            if word == "left":
                self.left = int(rest)
            elif not self.over():
                self.failed = int(rest)
        return not data


def descendants(pid: int) -> list[int]:
    """Return the processes below ``pid``, also those in sessions of their own."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        with contextlib.suppress(OSError, ValueError):
            with open(f"/proc/{int(name)}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found[1:]


def _shared_files(pid: int) -> set[str]:
    """Return MPI's shared-memory files of a rank: MPICH leaves them when killed."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/maps") as file:
        return set(_SHARED.findall(file.read()))
    return set()
