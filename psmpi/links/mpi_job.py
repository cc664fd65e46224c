"""The ranks of one MPI job: how they start, agree, and end."""

from __future__ import annotations

import io
import os
import pickle
import platform
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from psmpi.base import LinkError
from psmpi.links.transport.heartbeat import Heartbeat
from psmpi.links.transport.mpi import MpiTransport
from psmpi.links.transport.mpi_library import MPI
from psmpi.links.transport.polling import wait
from psmpi.links.transport.settings import SEGMENT, TREE_SEGMENT, Broadcast, Settings
from psmpi.processes.failfast import Guard, precise_sleep

_LAST = 0.3  # seconds


class MpiJob:
    """The ranks of this MPI job: start, agreement, and the end."""

    def __init__(self) -> None:
        self.hostname = platform.node()
        self._guard = Guard(self.abort, self.describe)
        self._guard.install()
        precise_sleep()
        if isinstance(sys.stdout, io.TextIOWrapper):  # a line is one write, and at once
            sys.stdout.reconfigure(line_buffering=True, write_through=False)
        MPI.Init_thread(MPI.THREAD_MULTIPLE)
        self.rank = MPI.COMM_WORLD.Get_rank()
        self.size = MPI.COMM_WORLD.Get_size()
        self.library = MPI.Get_library_version().splitlines()[0].strip()
        self._guard.announce()
        self._comm = self._duplicate()
        self.hosts: list[str] = self.allgather(self.hostname)
        self.first_on_node = self.hosts.index(self.hostname) == self.rank

    def describe(self) -> str:
        """Return this rank's name for people, in terms of the parameter server."""
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

        ``max_up`` and ``max_down``: bytes of the longest message to and from the
        server, envelope included; to ``peers``, nodes that this one exchanges messages
        with, it is ``max_up``. Raises ``LinkError`` where ranks want different ones.
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
        up = MPI.Is_initialized() and not MPI.Is_finalized()
        if up and (main or MPI.Query_thread() == MPI.THREAD_MULTIPLE):
            MPI.COMM_WORLD.Abort(status)

    def end(self, status: int = 0) -> int:
        """Leave MPI in order, all ranks together; return the greatest ``status``."""
        status = max(self.allgather(status))
        sys.stdout.flush()
        sys.stderr.flush()
        self._guard.leaving(status)
        MPI.Finalize()
        return status

    def leave(self, status: int = 0) -> NoReturn:
        """End this process in order: the job's status is the greatest of all ranks'."""
        status = self.end(status)
        # One rank reports the status, and does so last: MPICH kills those on their
        # way out, and then returns the kill's status instead.
        if status and self.rank == 0:
            time.sleep(_LAST)
        os._exit(status if self.rank == 0 else 0)

    def _duplicate(self) -> MPI.Comm:
        source = getattr(self, "_comm", MPI.COMM_WORLD)
        comm, request = source.Idup()
        wait(request.Test)
        comm.Set_errhandler(MPI.ERRORS_RETURN)
        return comm
