"""The MPI job of this process: start, agreement of the ranks, and the end."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import platform
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NoReturn, TypeVar

import numpy as np

from psmpi.base import LinkError
from psmpi.links.intents import Intent, common, exiting
from psmpi.links.transport.heartbeat import Heartbeat
from psmpi.links.transport.mpi import MpiTransport
from psmpi.links.transport.mpi_library import MPI
from psmpi.links.transport.polling import wait
from psmpi.links.transport.settings import SEGMENT, TREE_SEGMENT, Broadcast, Settings
from psmpi.processes.failfast import LEFT_EARLY, Guard, precise_sleep

_PART = 1 << 30  # bytes of a message that are sent at once
_LAST_SECONDS = 0.3  # that rank 0 ends after the others
_NAMED_SECONDS = 3.0  # for a rank that left early to end the job itself
_E = TypeVar("_E", bound=BaseException)


class MpiJob:
    """The ranks of this MPI job. A process has at most one such object.

    ``MpiJob()`` starts MPI for a process that belongs to psmpi: it is in a run until
    ``end`` or ``leave``, and any other end of the process is a failure that ends the
    job.

    ``MpiJob.current()`` is for a script that mpiexec has started on all ranks, and that
    does several runs: between them the job is idle, and a rank may exit if all do.
    """

    _current: ClassVar[MpiJob | None] = None

    def __init__(self, *, idle: bool = False) -> None:
        self.hostname = platform.node()
        self._idle = idle
        self._agreed: BaseException | None = None
        self._followed: Intent | None = None  # what this rank has agreed to do next
        self._guard = Guard(self.abort, self.describe, self._on_exit)
        self._guard.install()
        precise_sleep()
        if isinstance(sys.stdout, io.TextIOWrapper):  # write each line at once
            sys.stdout.reconfigure(line_buffering=True, write_through=False)
        self._owns_mpi = not MPI.Is_initialized()  # else the script has imported mpi4py
        if self._owns_mpi:
            MPI.Init_thread(MPI.THREAD_MULTIPLE)
        self.rank = MPI.COMM_WORLD.Get_rank()
        self.size = MPI.COMM_WORLD.Get_size()
        self.library = library_version()
        self._guard.announce()
        self._comm = self._duplicate()
        self.hosts: list[str] = self.allgather(self.hostname)
        self.first_on_node = self.hosts.index(self.hostname) == self.rank
        MpiJob._current = self

    @classmethod
    def current(cls) -> MpiJob:
        """Return this process's job; start MPI, idle, if there is none yet.

        The first call must be made on all ranks.
        """
        return cls._current or cls(idle=True)

    @contextlib.contextmanager
    def run(self, intent: Intent = Intent.RUN) -> Iterator[MpiJob]:
        """Take part in a run with all other ranks, in a session if that is the intent.

        Raises ``LinkError`` if another rank exits instead of taking part; that rank
        ends the job. An exception inside the run ends the whole job at once, under this
        rank's name, unless all ranks raise it alike (see ``agreed``).
        """
        if self._followed is not intent:
            self._announce(intent)
        self._followed = None
        before, self._idle = self._idle, False
        try:
            yield self
        except BaseException as error:
            if error is not self._agreed:
                self._guard.fail_with(error)
            raise
        finally:
            self._idle = before

    def follow(self) -> Intent:
        """Wait for what all other ranks do next, and return it.

        This rank then does the same: it enters ``run``, or calls ``leave_with``.
        """
        self._followed = self._announce(Intent.FOLLOW)
        return self._followed

    def leave_with(self, status: int) -> None:
        """Leave MPI when all others exit; the caller then exits with this status.

        The other ranks exit by themselves.
        """
        self._finalize(status or None)
        if status:  # see ``leave``
            time.sleep(_LAST_SECONDS)

    @contextlib.contextmanager
    def accepting_requests(self) -> Iterator[None]:
        """Let SIGTERM, SIGUSR1 and Ctrl-C ask for an early end in the block.

        A second signal ends the job as ever, and so does mpiexec, if psmpi started it.
        """
        self._guard.accept_requests(True)
        try:
            yield
        finally:
            self._guard.accept_requests(False)

    def asked_to_end(self) -> bool:
        """Return whether a signal has asked for an early end of the run."""
        return self._guard.asked.is_set()

    def is_agreed(self, error: BaseException) -> bool:
        """Return whether all ranks have raised this error alike."""
        return error is self._agreed

    def agreed(self, error: _E) -> _E:
        """Return ``error`` for raising inside a run, when all ranks raise it alike.

        It ends the run, but not the job: the caller's script may handle it.
        """
        self._agreed = error
        return error

    def describe(self) -> str:
        """Return this rank's name for messages, in terms of the parameter server."""
        if not hasattr(self, "size"):
            return f"a rank on {self.hostname}, before MPI was up"
        where = f"(rank {self.rank} on {self.hostname})"
        if self.rank == 0:
            return f"server of {self.size - 1} {where}"
        return f"worker {self.rank - 1} of {self.size - 1} {where}"

    def allgather(self, item: Any) -> list[Any]:
        """Return every rank's ``item``, pickled, in rank order. Not for training."""
        data = np.frombuffer(pickle.dumps(item), np.uint8)
        sizes = np.empty(self.size, np.int64)
        sizes[self.rank] = data.size
        wait(self._comm.Iallgather(MPI.IN_PLACE, sizes).Test)
        ends = np.cumsum(sizes)
        starts = ends - sizes
        everything = np.empty(ends[-1], np.uint8)
        layout = [everything, sizes, starts, MPI.BYTE]
        wait(self._comm.Iallgatherv([data, MPI.BYTE], layout).Test)
        return [
            pickle.loads(everything[start:end].data)
            for start, end in zip(starts, ends, strict=True)
        ]

    def send(self, rank: int, message: bytes) -> None:
        """Send a message of any length to one rank. Not for training."""
        data = np.frombuffer(message, np.uint8)
        size = np.array([data.size])
        wait(self._comm.Isend([size, MPI.INT64_T], rank, 0).Test)
        for start in range(0, data.size, _PART):
            part = data[start : start + _PART]
            wait(self._comm.Isend([part, MPI.BYTE], rank, 0).Test, nbytes=part.size)

    def receive(self, rank: int) -> bytes:
        """Return the message that one rank sends."""
        size = np.empty(1, np.int64)
        wait(self._comm.Irecv([size, MPI.INT64_T], rank, 0).Test)
        data = np.empty(int(size[0]), np.uint8)
        for start in range(0, data.size, _PART):
            part = data[start : start + _PART]
            wait(self._comm.Irecv([part, MPI.BYTE], rank, 0).Test, nbytes=part.size)
        return data.tobytes()

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        wait(self._comm.Ibarrier().Test)

    def transport(
        self,
        max_up: int,
        max_down: int,
        *,
        broadcast: Broadcast = "tree",
        segment: int = SEGMENT,
        tree_segment: int = TREE_SEGMENT,
        timeout: float | None = None,
        peers: Sequence[int] = (),
    ) -> MpiTransport:
        """Return a transport on communicators of its own; called by all ranks.

        ``max_up`` and ``max_down`` are the bytes of the longest message to and from the
        server, envelope included. ``peers`` are the nodes that this one exchanges
        messages with, of up to ``max_up`` bytes. Raises ``LinkError`` where ranks
        differ in their settings.
        """
        settings = Settings(
            max_up=max_up,
            max_down=max_down,
            broadcast=broadcast,
            segment=segment,
            tree_segment=tree_segment,
            timeout=timeout,
        )
        for rank, other in enumerate(self.allgather(settings)):
            if other != settings:
                raise LinkError(
                    f"transport: rank {rank} wants {other}, rank {self.rank} {settings}"
                )
        points, tree = self._duplicate(), self._duplicate()
        heartbeat = None if timeout is None else Heartbeat(self._duplicate(), timeout)
        return MpiTransport(points, tree, settings, peers, heartbeat)

    def abort(self, status: int) -> None:
        """End the job now. The caller must ``os._exit``: MPI may let code run on."""
        main = threading.current_thread() is threading.main_thread()
        running = MPI.Is_initialized() and not MPI.Is_finalized()
        if running and (main or MPI.Query_thread() == MPI.THREAD_MULTIPLE):
            MPI.COMM_WORLD.Abort(status)

    def end(self, status: int = 0) -> int:
        """Leave MPI in order, all ranks together; return the greatest ``status``."""
        status = max(self.allgather(status))
        self._finalize(status)
        return status

    def leave(self, status: int = 0) -> NoReturn:
        """End this process in order: the job's status is the greatest of all ranks'."""
        status = self.end(status)
        # One rank returns the status, and ends last: MPICH kills ranks that are still
        # ending when another one returns a status, and then returns the kill's status.
        if status and self.rank == 0:
            time.sleep(_LAST_SECONDS)
        os._exit(status if self.rank == 0 else 0)

    def _on_exit(self) -> None:
        """Leave in order if all ranks exit between runs; otherwise end the job."""
        if not self._idle:
            self._guard.fail(LEFT_EARLY)
        self._announce(Intent.EXIT)
        self._finalize(None)

    def _announce(self, intent: Intent) -> Intent:
        """Tell all ranks what this one does next; return what all do.

        Ranks that exit while others begin a run end the job.
        """
        intents = self.allgather(intent)
        leaving = exiting(intents)
        if not leaving:
            return common(intents)
        if intent is Intent.EXIT:
            self._guard.fail("left, while other ranks began the next run")
        time.sleep(_NAMED_SECONDS)  # the rank that left ends the job
        ranks = ", ".join(map(str, leaving))
        raise LinkError(f"run: rank {ranks} of the job left instead of taking part")

    def _finalize(self, status: int | None) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._guard.leaving(status)
        if self._owns_mpi:
            MPI.Finalize()

    def _duplicate(self) -> MPI.Comm:
        source = getattr(self, "_comm", MPI.COMM_WORLD)
        comm, request = source.Idup()
        wait(request.Test)
        comm.Set_errhandler(MPI.ERRORS_RETURN)
        return comm


def library_version() -> str:
    """Return the first line of the MPI library's version, without NUL bytes."""
    return MPI.Get_library_version().splitlines()[0].replace("\0", "").strip()
