"""Messages on their way over MPI: where they come in, and where they wait to leave."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from psmpi.base import Frame, LinkError
from psmpi.links.envelope import NBYTES, message_nbytes
from psmpi.links.transport.mpi_library import MPI
from psmpi.links.transport.polling import wait

AHEAD = 4  # segments of one message in flight on one edge


class Whole:
    """A message to be forwarded that is all there: the root's."""

    peer = 0

    def __init__(self, message: Frame) -> None:
        self.buffer = message
        self.filled = self.total = message.size

    def advance(self) -> bool:
        return True


class Incoming:
    """The next message of one peer: posted ahead and filled segment by segment."""

    def __init__(self, comm: MPI.Comm, peer: int, capacity: int, segment: int) -> None:
        self.peer = peer
        self.buffer: Frame = np.empty(capacity, np.uint8)
        self._comm = comm
        self._segment = segment
        self._status = MPI.Status()
        self._requests: deque[MPI.Request] = deque()
        self.post()

    def post(self) -> None:
        """Wait for a new message: the last one's loan is over."""
        self.total = -1  # bytes; unknown before the first segment is there
        self.filled = 0
        self.lent = False
        self._posted = 0
        self._post_segment(self.buffer.size)

    def begun(self) -> bool:
        """Whether the message's size is known."""
        return self.advance() or self.total >= 0

    def advance(self) -> bool:
        """Take in what has arrived; true once the whole message is there."""
        while self._requests and self._requests[0].Test(self._status):
            self._requests.popleft()
            self._take(self._status.Get_count(MPI.BYTE))
        return self.filled == self.total

    def cancel(self) -> None:
        """Withdraw the posted receives."""
        for request in self._requests:
            request.Cancel()
            wait(request.Test)
        self._requests.clear()

    def _post_segment(self, end: int) -> None:
        part = self.buffer[self._posted : min(self._posted + self._segment, end)]
        self._requests.append(self._comm.Irecv([part, MPI.BYTE], self.peer, 0))
        self._posted += part.size

    def _take(self, nbytes: int) -> None:
        if self.total < 0:
            if nbytes < NBYTES:
                raise self._wrong(f"{nbytes} bytes came, the envelope has {NBYTES}")
            total = message_nbytes(self.buffer[:nbytes])
            if total > self.buffer.size:
                raise self._wrong(
                    f"{total} bytes were announced, the limit is {self.buffer.size}"
                )
            self.total = total
            self._posted = min(total, self._segment)
        if nbytes != min(self._segment, self.total - self.filled):
            raise self._wrong(
                f"{self.filled + nbytes} bytes came, {self.total} were announced"
            )
        self.filled += nbytes
        while self._posted < self.total and len(self._requests) < AHEAD:
            self._post_segment(self.total)

    def _wrong(self, what: str) -> LinkError:
        return LinkError(f"message from node {self.peer}: {what}")


class Outgoing:
    """Posted messages to one peer: one on its way, and the newest that waits for it."""

    def __init__(self) -> None:
        self.flying: list[MPI.Request] = []
        self.waiting: Frame | None = None
        self._sent: Frame | None = None  # whose bytes MPI may still read

    def put(self, message: Frame) -> bool:
        """Keep a copy to be sent; return whether another one lost its place."""
        superseded = self.waiting is not None
        self.waiting = message.copy()
        return superseded

    def drop(self) -> bool:
        """Give up what waits; return whether there was any."""
        dropped, self.waiting = self.waiting is not None, None
        return dropped

    def idle(self) -> bool:
        """Whether nothing is on its way."""
        self.flying = [request for request in self.flying if not request.Test()]
        return not self.flying

    def done(self) -> bool:
        """Whether all is gone that was to be sent."""
        return self.waiting is None and self.idle()

    def launch(self) -> Frame:
        """Return what waits, as what is on its way from now on."""
        assert self.waiting is not None
        self._sent, self.waiting = self.waiting, None
        return self._sent


def parts(message: Frame, nbytes: int) -> Iterator[Frame]:
    """Yield a message in pieces of up to ``nbytes``, views of it."""
    for start in range(0, message.size, nbytes):
        yield message[start : start + nbytes]
