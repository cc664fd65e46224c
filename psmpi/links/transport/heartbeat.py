"""Signs of life: who waits in vain finds out which rank it is that is gone.

When one rank stops, soon all wait, most of them for others that wait as well. So a rank
that has waited for half of the time asks whom it waits for. A rank that waits, or looks
for messages, answers; one that is stopped or computes doesn't, and who was asked and
neither answers nor sends in the other half is the one to be named.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np

from psmpi.base import LinkError
from psmpi.links.transport.base import name
from psmpi.links.transport.mpi_library import MPI
from psmpi.links.transport.polling import wait

_ASK, _HERE = 0, 1  # tags
_LOOKS = 50  # at whom this rank waits for, in the time of a timeout


class Heartbeat:
    """Asks and answers on a communicator of its own; made by all ranks together.

    A rank that is waited for has ``seconds`` for a sign of life.
    """

    def __init__(self, comm: MPI.Comm, seconds: float) -> None:
        self._comm = comm
        self._seconds = seconds
        self._heard = [0.0] * comm.Get_size()
        self._sent = np.zeros(comm.Get_size(), np.int64)
        self._taken = np.zeros(comm.Get_size(), np.int64)
        self._flying: list[MPI.Request] = []
        self._nothing = np.zeros(0, np.uint8)
        self._closing = False
        self._status = MPI.Status()
        self._post()

    def look(self) -> None:
        """Take in all signs that are there; answer who asks."""
        while self._request.Test(self._status):
            source, tag = self._status.Get_source(), self._status.Get_tag()
            self._post()
            self._taken[source] += 1
            self._heard[source] = time.monotonic()
            if tag == _ASK and not self._closing:
                self._send(source, _HERE)
        if self._flying:
            self._flying = [request for request in self._flying if not request.Test()]

    def wait(
        self,
        ready: Callable[[], bool],
        what: str,
        whom: Callable[[], Iterable[int]],
        nbytes: int,
    ) -> None:
        """Return once ``ready()``; a ``LinkError`` names who of ``whom()`` is gone."""
        half = self._seconds / 2
        since = last = time.monotonic()  # when it began to wait, and looked
        asked: dict[int, float] = {}

        def look() -> bool:
            nonlocal since, last
            self.look()
            if ready():
                return True
            now = time.monotonic()
            if now - last > half / 2:  # it has been stopped itself: nobody's fault
                since = now
                asked.clear()
            elif now - last < self._seconds / _LOOKS:
                return False
            last = now
            for node in whom():
                if asked.get(node, 0.0) < self._heard[node]:
                    asked.pop(node, None)
                if now - max(since, self._heard[node]) < half:
                    continue
                if node not in asked:
                    asked[node] = now
                    self._send(node, _ASK)
                elif now - asked[node] > half:
                    raise LinkError(
                        f"{what}: nothing happened for {self._seconds:g} s, and "
                        f"{name(node)} gives no sign of life"
                    )
            return False

        wait(look, nbytes=nbytes)

    def close(self) -> None:
        """Take in what is still under way, and end; on all ranks, when none waits."""
        self._closing = True
        everybody = np.empty((self._sent.size, self._sent.size), np.int64)
        gathering = self._comm.Iallgather(self._sent, everybody)
        wait(gathering.Test)
        due = everybody[:, self._comm.Get_rank()]

        def taken() -> bool:
            self.look()
            return not self._flying and bool((self._taken == due).all())

        wait(taken)
        self._request.Cancel()
        wait(self._request.Test)
        self._comm.Free()

    def _post(self) -> None:
        inbox = [self._nothing, MPI.BYTE]
        self._request = self._comm.Irecv(inbox, MPI.ANY_SOURCE, MPI.ANY_TAG)

    def _send(self, node: int, tag: int) -> None:
        self._sent[node] += 1
        self._flying.append(self._comm.Isend([self._nothing, MPI.BYTE], node, tag))
