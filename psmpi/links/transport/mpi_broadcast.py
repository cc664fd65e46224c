"""Broadcasts of an MPI transport: forwarded by psmpi, or by MPI itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np

from psmpi.base import Frame, LinkError
from psmpi.links.transport.base import name
from psmpi.links.transport.mpi_library import MPI
from psmpi.links.transport.mpi_queues import AHEAD, ReceiveQueue, parts
from psmpi.links.transport.settings import Settings
from psmpi.links.transport.tree import tree_children, tree_parent


class Wait(Protocol):
    """Waits until ``ready()``; ``nodes()`` are the nodes that this may depend on."""

    def __call__(
        self,
        ready: Callable[[], bool],
        activity: str,
        nodes: Callable[[], Iterable[int]],
        nbytes: int = 0,
    ) -> None: ...


class _WholeMessage:
    """The root's message, which is complete before it is forwarded."""

    peer = 0

    def __init__(self, message: Frame) -> None:
        self.buffer = message
        self.filled = self.total = message.size

    def advance(self) -> bool:
        return True


class SegmentedBroadcast:
    """Messages from node 0 to all, in segments that every node forwards as they come.

    With the setting "tree" they go along the binomial tree; with "linear" node 0 sends
    to every other node. The receivers need not know the size: the first receive is
    posted for the longest message. There is one message per edge.
    """

    overhead = 0  # bytes per receiver besides the message

    def __init__(self, comm: MPI.Comm, settings: Settings, wait: Wait) -> None:
        node, nodes = comm.Get_rank(), comm.Get_size()
        self._comm, self._wait = comm, wait
        parent: int | None = 0 if node else None
        self._children = [] if node else list(range(1, nodes))
        self._segment = settings.segment
        if settings.broadcast == "tree":
            parent, self._children = (
                tree_parent(node, nodes),
                tree_children(node, nodes),
            )
            self._segment = settings.tree_segment
        self.copies = len(self._children)  # messages that this node sends
        self._parent: ReceiveQueue | None = None
        if parent is not None:
            self._parent = ReceiveQueue(comm, parent, settings.max_down, self._segment)

    def send(self, message: Frame) -> None:
        """Send node 0's message to its children."""
        self._forward(_WholeMessage(message))

    def receive(self) -> ReceiveQueue:
        """Receive a message and forward it; return the queue that holds it."""
        parent = self._parent
        if parent is None:
            raise LinkError(f"bcast: node {self._comm.Get_rank()} has no parent")
        activity = f"receiving from {name(parent.peer)}"
        self._wait(parent.has_begun, activity, lambda: [parent.peer])
        self._forward(parent)
        return parent

    def close(self) -> None:
        """Cancel the posted receives."""
        if self._parent is not None:
            self._parent.cancel()

    def _forward(self, source: ReceiveQueue | _WholeMessage) -> None:
        """Send the segments of a message to all children, each when it has arrived."""
        sending: list[tuple[int, MPI.Request]] = []
        sent = 0

        def advance() -> bool:
            nonlocal sent, sending
            complete = source.advance()
            sending = [pair for pair in sending if not pair[1].Test()]
            while sent < source.filled and len(sending) < AHEAD * self.copies:
                end = min(sent + self._segment, source.filled)
                part = [source.buffer[sent:end], MPI.BYTE]
                sending += [
                    (child, self._comm.Isend(part, child, 0))
                    for child in self._children
                ]
                sent = end
            forwarded = sent == source.total or not self._children
            return complete and forwarded and not sending

        def waited_for() -> list[int]:
            if source.filled < source.total:
                return [source.peer]
            return [child for child, _ in sending]

        self._wait(advance, "broadcasting", waited_for, source.total)


class CollectiveBroadcast:
    """Messages from node 0 to all by ``MPI_Ibcast``, each preceded by its size.

    MPI does not tell which node forwards to which. So node 0 counts one copy for every
    other node.
    """

    overhead = np.int64().nbytes

    def __init__(self, comm: MPI.Comm, settings: Settings, wait: Wait) -> None:
        self._comm, self._wait = comm, wait
        self._segment = settings.segment
        root = comm.Get_rank() == 0
        self._waited_for = range(1, comm.Get_size()) if root else range(1)
        self.copies = comm.Get_size() - 1 if root else 0

    def send(self, message: Frame) -> None:
        """Send node 0's message to all."""
        self._bcast(np.array([message.size], np.int64), message)

    def receive(self) -> Frame:
        """Receive a message."""
        return self._bcast(np.zeros(1, np.int64), None)

    def close(self) -> None:
        """Do nothing: no receive is posted ahead."""

    def _bcast(self, size: np.ndarray, message: Frame | None) -> Frame:
        request = self._comm.Ibcast([size, MPI.INT64_T])
        self._wait(request.Test, "broadcasting", lambda: self._waited_for)
        total = int(size[0])
        whole: Frame = np.empty(total, np.uint8) if message is None else message
        for part in parts(whole, self._segment):
            request = self._comm.Ibcast([part, MPI.BYTE])
            self._wait(request.Test, "broadcasting", lambda: self._waited_for, total)
        return whole
