"""The queues of an MPI transport: messages being received, and messages to be sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from psmpi.base import Frame, LinkError
from psmpi.links.envelope import NBYTES, message_nbytes
from psmpi.links.transport.mpi_library import MPI
from psmpi.links.transport.polling import wait

AHEAD = 4  # segments of one message that are under way at once


class ReceiveQueue:
    """Receives messages of one peer, one at a time, segment by segment.

    The first receive is posted before the message is sent, with room for the longest
    one; the message's envelope then states how many segments follow.
    """

    def __init__(self, comm: MPI.Comm, peer: int, capacity: int, segment: int) -> None:
        self.peer = peer
        self.buffer: Frame = np.empty(capacity, np.uint8)
        self._comm = comm
        self._segment = segment
        self._status = MPI.Status()
        self._requests: deque[MPI.Request] = deque()
        self.post()

    def post(self) -> None:
        """Start to receive the next message; the loan of the last one has ended."""
        self.total = -1  # bytes of the message; unknown before the first segment
        self.filled = 0
        self.lent = False
        self._posted = 0
        self._post_segment(self.buffer.size)

    def has_begun(self) -> bool:
        """Whether the first segment has arrived, so that the size is known."""
        return self.advance() or self.total >= 0

    def advance(self) -> bool:
        """Take in arrived segments; return whether the message is complete."""
        while self._requests and self._requests[0].Test(self._status):
            self._requests.popleft()
            self._take(self._status.Get_count(MPI.BYTE))
        return self.filled == self.total

    def cancel(self) -> None:
        """Cancel the posted receives."""
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
                raise self._error(f"{nbytes} bytes came, the envelope has {NBYTES}")
            total = message_nbytes(self.buffer[:nbytes])
            if total > self.buffer.size:
                raise self._error(
                    f"{total} bytes were announced, the limit is {self.buffer.size}"
                )
            self.total = total
            self._posted = min(total, self._segment)
        if nbytes != min(self._segment, self.total - self.filled):
            raise self._error(
                f"{self.filled + nbytes} bytes came, {self.total} were announced"
            )
        self.filled += nbytes
        while self._posted < self.total and len(self._requests) < AHEAD:
            self._post_segment(self.total)

    def _error(self, what: str) -> LinkError:
        return LinkError(f"message from node {self.peer}: {what}")


class SendQueue:
    """Posted messages to one peer: one under way, and the newest one, which waits."""

    def __init__(self) -> None:
        self.requests: list[MPI.Request] = []  # of the message under way
        self.waiting: Frame | None = None
        self._sent: Frame | None = None  # keeps the bytes alive that MPI reads

    def put(self, message: Frame) -> bool:
        """Let a copy of ``message`` wait; return whether it supersedes another one."""
        superseded = self.waiting is not None
        self.waiting = message.copy()
        return superseded

    def drop(self) -> bool:
        """Drop the message that waits; return whether there was one."""
        dropped, self.waiting = self.waiting is not None, None
        return dropped

    def is_idle(self) -> bool:
        """Whether no message is under way."""
        self.requests = [request for request in self.requests if not request.Test()]
        return not self.requests

    def is_empty(self) -> bool:
        """Whether all messages are sent."""
        return self.waiting is None and self.is_idle()

    def next_message(self) -> Frame:
        """Return the message that waits, which is under way from now on."""
        assert self.waiting is not None
        self._sent, self.waiting = self.waiting, None
        return self._sent


def parts(message: Frame, nbytes: int) -> Iterator[Frame]:
    """Yield a message in parts of up to ``nbytes``, as views."""
    for start in range(0, message.size, nbytes):
        yield message[start : start + nbytes]
