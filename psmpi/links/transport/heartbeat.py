"""Heartbeats: finding out which rank does not respond.

When one rank stops, soon all ranks wait, most of them for others that wait as well. So
a rank that has waited for half of the timeout sends a request to the ranks that it
waits for. A rank that waits or polls answers requests; a rank that is stopped or that
computes does not. A rank that neither answers nor sends a message in the other half of
the timeout is named in the error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np

from psmpi.base import LinkError
from psmpi.links.transport.base import name
from psmpi.links.transport.mpi_library import MPI
from psmpi.links.transport.polling import wait

_REQUEST, _RESPONSE = 0, 1  # tags
_CHECKS = 50  # checks of the ranks that this one waits for, per timeout


class Heartbeat:
    """Sends and answers heartbeats on a communicator of its own.

    All ranks create it together. ``seconds`` is the timeout.
    """

    def __init__(self, comm: MPI.Comm, seconds: float) -> None:
        self._comm = comm
        self._seconds = seconds
        self._last_received = [0.0] * comm.Get_size()  # time of the last heartbeat
        self._sent = np.zeros(comm.Get_size(), np.int64)  # number by rank
        self._received = np.zeros(comm.Get_size(), np.int64)
        self._sending: list[MPI.Request] = []
        self._empty = np.zeros(0, np.uint8)
        self._closing = False
        self._status = MPI.Status()
        self._post_receive()

    def answer(self) -> None:
        """Receive all heartbeats that have arrived, and answer requests."""
        while self._request.Test(self._status):
            source, tag = self._status.Get_source(), self._status.Get_tag()
            self._post_receive()
            self._received[source] += 1
            self._last_received[source] = time.monotonic()
            if tag == _REQUEST and not self._closing:
                self._send(source, _RESPONSE)
        if self._sending:
            self._sending = [request for request in self._sending if not request.Test()]

    def wait(
        self,
        ready: Callable[[], bool],
        activity: str,
        nodes: Callable[[], Iterable[int]],
        nbytes: int,
    ) -> None:
        """Return once ``ready()``; ``LinkError`` names a node that does not respond.

        ``nodes()`` are the nodes that ``ready`` depends on.
        """
        half = self._seconds / 2
        begin = last_check = time.monotonic()
        requested: dict[int, float] = {}  # time of the request by node

        def check() -> bool:
            nonlocal begin, last_check
            self.answer()
            if ready():
                return True
            now = time.monotonic()
            if now - last_check > half / 2:  # this rank was stopped itself: start again
                begin = now
                requested.clear()
            elif now - last_check < self._seconds / _CHECKS:
                return False
            last_check = now
            for node in nodes():
                last = self._last_received[node]
                if requested.get(node, 0.0) < last:
                    requested.pop(node, None)
                if now - max(begin, last) < half:
                    continue
                if node not in requested:
                    requested[node] = now
                    self._send(node, _REQUEST)
                elif now - requested[node] > half:
                    raise LinkError(
                        f"{activity}: nothing happened for {self._seconds:g} s, and "
                        f"{name(node)} gives no sign of life"
                    )
            return False

        wait(check, nbytes=nbytes)

    def close(self) -> None:
        """Receive all heartbeats that are under way; all ranks call this together."""
        self._closing = True
        all_sent = np.empty((self._sent.size, self._sent.size), np.int64)
        gathering = self._comm.Iallgather(self._sent, all_sent)
        wait(gathering.Test)
        expected = all_sent[:, self._comm.Get_rank()]

        def all_received() -> bool:
            self.answer()
            return not self._sending and bool((self._received == expected).all())

        wait(all_received)
        self._request.Cancel()
        wait(self._request.Test)
        self._comm.Free()

    def _post_receive(self) -> None:
        buffer = [self._empty, MPI.BYTE]
        self._request = self._comm.Irecv(buffer, MPI.ANY_SOURCE, MPI.ANY_TAG)

    def _send(self, node: int, tag: int) -> None:
        self._sent[node] += 1
        self._sending.append(self._comm.Isend([self._empty, MPI.BYTE], node, tag))
