"""The link between processes: messages over MPI, segment by segment."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from psmpi.base import Frame, LinkError
from psmpi.links.transport.base import Transport, name
from psmpi.links.transport.heartbeat import Heartbeat
from psmpi.links.transport.mpi_library import MPI
from psmpi.links.transport.mpi_queues import AHEAD, Incoming, Outgoing, Whole, parts
from psmpi.links.transport.polling import wait
from psmpi.links.transport.settings import Settings
from psmpi.links.transport.tree import tree_children, tree_parent

_BUFFERED = 256 << 10  # bytes up to which a message is copied instead of waited for
_PENDING = 64  # such messages on their way


class MpiTransport(Transport):
    """The transport of an MPI job; ``MpiJob.transport`` makes it, on all ranks at once.

    A rank is a node. ``sent_bytes`` holds what this node hands to MPI: in a tree, inner
    nodes count what they forward. With ``broadcast="mpi"`` MPI forwards unseen, so one
    copy per worker, with the eight bytes of its size, is booked at the server.
    """

    def __init__(
        self,
        points: MPI.Comm,
        tree: MPI.Comm,
        settings: Settings,
        peers: Sequence[int] = (),
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self.node = points.Get_rank()
        self.nodes = points.Get_size()
        self._points, self._tree = points, tree
        self._settings = settings
        self._heartbeat = heartbeat
        heard = [0, *peers] if self.node else range(1, self.nodes)
        self._inboxes = {
            node: Incoming(
                points,
                node,
                settings.max_up if node else settings.max_down,
                settings.segment,
            )
            for node in heard
        }
        self._outboxes = {node: Outgoing() for node in peers}
        if settings.broadcast == "mpi":
            self.bcast_overhead = np.int64().nbytes  # the size goes ahead
        self._flying: list[tuple[int, MPI.Request]] = []  # what was sent
        self._turn = 0  # the node that was served last by recv_any
        self._lent: list[Incoming] = []
        self._parent: Incoming | None = None
        parent: int | None = 0 if self.node else None
        self._children = [] if self.node else list(range(1, self.nodes))
        self._tree_segment = settings.segment
        if settings.broadcast == "tree":
            parent = tree_parent(self.node, self.nodes)
            self._children = tree_children(self.node, self.nodes)
            self._tree_segment = settings.tree_segment
        if parent is not None and settings.broadcast != "mpi":
            self._parent = Incoming(tree, parent, settings.max_down, self._tree_segment)

    def send(self, node: int, message: Frame, *, free: bool = False) -> None:
        self.send_all([node], message)

    def send_all(self, nodes: Sequence[int], message: Frame) -> None:
        # Open MPI takes a message of more than 256 bytes for sent when its receiver has
        # looked, which one that computes does late: a copy need not be waited for.
        buffered = message.size <= _BUFFERED
        message = message.copy() if buffered else message
        for node in nodes:
            self._flying += self._isend(node, message)
        self._land(_PENDING if buffered else 0, message.size)

    def post(self, node: int, message: Frame) -> bool:
        box = self._outboxes[node]
        superseded = box.put(message)
        self.superseded += superseded
        self._launch(node, box)
        return superseded

    def drop(self, node: int) -> bool:
        dropped = self._outboxes[node].drop()
        self.superseded += dropped
        return dropped

    def flush(self) -> None:
        def late() -> list[int]:
            return [node for node, box in self._outboxes.items() if not box.done()]

        self._land(0)
        self._wait(lambda: not late(), "sending to its peers", late)

    def recv(self, node: int) -> Frame:
        if node not in self._inboxes:
            raise LinkError(f"{name(self.node)}: has no way to hear {name(node)}")
        if self._inboxes[node].lent:
            raise LinkError(f"{name(node)}: its last message was not released")
        return self._receive(self._inboxes[node])

    def recv_any(self, nodes: Sequence[int]) -> tuple[int, Frame]:
        # Beginning after the node that was served last: whoever waits is served before
        # any other node comes twice.
        order = sorted(nodes, key=lambda node: (node <= self._turn, node))
        heard = [self._inboxes[node] for node in order]
        heard = [inbox for inbox in heard if not inbox.lent]
        if not heard:
            raise LinkError("no node can be heard: all their messages are lent")
        found: list[Incoming] = []

        def look() -> bool:
            found.extend(itertools.islice(filter(Incoming.begun, heard), 1))
            return bool(found)

        names = ", ".join(name(inbox.peer) for inbox in heard)
        peers = [inbox.peer for inbox in heard]
        self._wait(look, f"receiving from any of {names}", lambda: peers)
        self._turn = found[0].peer
        return self._turn, self._receive(found[0])

    def poll(self, node: int) -> Frame | None:
        self._launch_all()
        if self._heartbeat is not None:
            self._heartbeat.look()
        inbox = self._inboxes[node]
        if inbox.lent or not inbox.begun():
            return None
        return self._receive(inbox)

    def bcast(self, message: Frame | None) -> Frame:
        if (message is None) != bool(self.node):
            raise LinkError(f"bcast: node {self.node} is not the one to give a message")
        if message is not None:
            self._check(message, self._settings.max_down)
        if self._settings.broadcast == "mpi":
            return self._bcast_by_mpi(message)
        if message is not None:
            self._forward(Whole(message))
            return message
        if self._parent is None:
            raise LinkError(f"bcast: node {self.node} has nobody to hear from")
        return self._receive(self._parent)

    def release(self) -> None:
        while self._lent:
            self._lent.pop().post()

    def now(self) -> float:
        return time.perf_counter()

    def spend(self, seconds: float) -> None:
        time.sleep(seconds)

    def exclude_from_clock(self) -> None:
        pass  # this clock can't be stopped

    def close(self) -> None:
        """Withdraw posted receives and give the communicators back; on all ranks."""
        self._land(0)
        for inbox in [*self._inboxes.values(), self._parent]:
            if inbox is not None:
                inbox.cancel()
        if self._heartbeat is not None:
            self._heartbeat.close()
        self._points.Free()
        self._tree.Free()

    def _land(self, left: int, nbytes: int = 0) -> None:
        """Wait until no more than ``left`` requests are not done of what was sent."""

        def landed() -> bool:
            # Peers that send to each other: the segments of long messages come in.
            for inbox in self._inboxes.values():
                if not left and not inbox.lent:
                    inbox.advance()
            self._flying = [pair for pair in self._flying if not pair[1].Test()]
            return len(self._flying) <= left

        def late() -> list[int]:
            return [node for node, _ in self._flying]

        self._wait(landed, "sending", late, nbytes)

    def _receive(self, inbox: Incoming) -> Frame:
        what = f"receiving from {name(inbox.peer)}"
        whom = [inbox.peer]
        self._wait(inbox.begun, what, lambda: whom)
        if inbox is self._parent:
            self._forward(inbox)
        else:
            self._wait(inbox.advance, what, lambda: whom, inbox.total)
        inbox.lent = True
        self._lent.append(inbox)
        self.received_bytes += inbox.total
        return inbox.buffer[: inbox.total]

    def _forward(self, source: Incoming | Whole) -> None:
        """Pass a message on to the children, its segments as they come in."""
        flying: list[tuple[int, MPI.Request]] = []
        sent = 0

        def advance() -> bool:
            nonlocal sent, flying
            complete = source.advance()
            flying = [
                (child, request) for child, request in flying if not request.Test()
            ]
            while sent < source.filled and len(flying) < AHEAD * len(self._children):
                end = min(sent + self._tree_segment, source.filled)
                part = [source.buffer[sent:end], MPI.BYTE]
                flying += [
                    (child, self._tree.Isend(part, child, 0))
                    for child in self._children
                ]
                sent = end
            return complete and not flying and (sent == end_of_message or leaf)

        def late() -> list[int]:
            return (
                [source.peer]
                if source.filled < source.total
                else [c for c, _ in flying]
            )

        leaf = not self._children
        end_of_message = source.total
        self._wait(advance, "broadcasting", late, source.total)
        self._book(source.total, len(self._children))

    def _bcast_by_mpi(self, message: Frame | None) -> Frame:
        size = np.array([0 if message is None else message.size], np.int64)
        # Who forwards to whom is MPI's secret.
        whom = [0] if self.node else range(1, self.nodes)
        request = self._tree.Ibcast([size, MPI.INT64_T])
        self._wait(request.Test, "broadcasting", lambda: whom)
        total = int(size[0])
        whole: Frame = np.empty(total, np.uint8) if message is None else message
        for part in parts(whole, self._settings.segment):
            request = self._tree.Ibcast([part, MPI.BYTE])
            self._wait(request.Test, "broadcasting", lambda: whom, total)
        if message is None:
            self.received_bytes += total + self.bcast_overhead
        else:
            self._book(total + self.bcast_overhead, self.nodes - 1)
        return whole

    def _isend(self, node: int, message: Frame) -> list[tuple[int, MPI.Request]]:
        up = not node or node in self._outboxes
        self._check(message, self._settings.max_up if up else self._settings.max_down)
        self._book(message.size, 1)
        return [
            (node, self._points.Isend([part, MPI.BYTE], node, 0))
            for part in parts(message, self._settings.segment)
        ]

    def _launch(self, node: int, box: Outgoing) -> None:
        """Send what waits for a node, if the message before it is gone."""
        if box.waiting is not None and box.idle():
            message = box.launch()
            box.flying = [request for _, request in self._isend(node, message)]

    def _launch_all(self) -> None:
        for node, box in self._outboxes.items():
            self._launch(node, box)

    def _book(self, nbytes: int, copies: int) -> None:
        self.sent_bytes += nbytes * copies
        self.sent_messages += copies

    def _wait(
        self,
        ready: Callable[[], bool],
        what: str,
        whom: Callable[[], Iterable[int]],
        nbytes: int = 0,
    ) -> None:
        """Wait until ``ready()``; ``whom()`` are the nodes that it is for, or up to."""
        if any(box.waiting is not None for box in self._outboxes.values()):
            first, then = self._launch_all, ready

            def ready() -> bool:
                first()
                return then()

        try:
            if self._heartbeat is None:
                wait(ready, nbytes=nbytes)
            else:
                self._heartbeat.wait(ready, what, whom, nbytes)
        except MPI.Exception as error:
            raise LinkError(f"{what}: {error.Get_error_string()}") from error

    def _check(self, message: Frame, limit: int) -> None:
        if message.size > limit:
            raise LinkError(
                f"node {self.node}: a message of {message.size} bytes is longer than "
                f"the {limit} agreed on"
            )
