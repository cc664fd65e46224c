"""The link inside one process: queues instead of MPI, a baton instead of a scheduler.

It is there for tests, notebooks, replay and figures with tens of workers, and stricter
than MPI: a frame that is used after its loan has ended reads 0xFF bytes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from psmpi.base import Frame, LinkError
from psmpi.links.baton import Baton
from psmpi.links.transport import Transport

_POISON = 0xFF


class LocalTransport(Transport):
    """One node's end; make all of them with ``connect``."""

    def __init__(self, node: int, nodes: int, baton: Baton) -> None:
        self.node = node
        self.nodes = nodes
        self._baton = baton
        self._peers: list[LocalTransport] = []
        self._inboxes: list[deque[Frame]] = [deque() for _ in range(nodes)]
        self._arrived: deque[int] = deque()  # sources, in the order of sending
        self._lent: list[Frame] = []
        self._order: deque[int] | None = None  # of a recorded run, to be replayed

    def send(self, node: int, message: Frame) -> None:
        self._peers[node]._deliver(self.node, message.copy())
        self.sent_bytes += message.size
        self.sent_messages += 1
        self._baton.pause(self.node)

    def recv(self, node: int) -> Frame:
        inbox = self._inboxes[node]
        self._baton.wait(self.node, f"for node {node}", lambda: bool(inbox))
        self._arrived.remove(node)
        return self._lend(inbox.popleft())

    def recv_any(self) -> tuple[int, Frame]:
        if self._order is None:
            self._baton.wait(self.node, "for any node", lambda: bool(self._arrived))
            return self._arrived[0], self.recv(self._arrived[0])
        if not self._order:
            raise LinkError("replay: the recorded order of arrival is used up")
        node = self._order.popleft()
        return node, self.recv(node)

    def bcast(self, message: Frame | None) -> Frame:
        if self.node != 0:
            return self.recv(0)
        if message is None:
            raise LinkError("bcast: node 0 has to give the message")
        for node in range(1, self.nodes):
            self.send(node, message)
        return message

    def release(self) -> None:
        for message in self._lent:
            message[:] = _POISON
        self._lent.clear()

    def now(self) -> float:
        return time.perf_counter()

    def _deliver(self, source: int, message: Frame) -> None:
        self._inboxes[source].append(message)
        self._arrived.append(source)

    def _lend(self, message: Frame) -> Frame:
        self.received_bytes += message.size
        self._lent.append(message)
        return message


def connect(
    nodes: int, seed: int | None = None, replay: Sequence[int] | None = None
) -> tuple[Baton, list[LocalTransport]]:
    """Return a baton and the transports of ``nodes`` nodes that share it.

    ``seed`` chooses a schedule (see ``Baton``). ``replay`` is the order in which node 0
    is to receive from the others with ``recv_any``: workers as ``Server.arrivals``
    recorded them, 0-based.
    """
    names = ["the server", *(f"worker {m}" for m in range(nodes - 1))]
    baton = Baton(names, seed)
    transports = [LocalTransport(node, nodes, baton) for node in range(nodes)]
    for transport in transports:
        transport._peers = transports
    if replay is not None:
        transports[0]._order = deque(worker + 1 for worker in replay)
    return baton, transports
