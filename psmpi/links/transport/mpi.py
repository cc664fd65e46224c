"""The transport between processes: messages over MPI, segment by segment."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence

from psmpi.base import Frame, LinkError
from psmpi.links.transport.base import Transport, name
from psmpi.links.transport.heartbeat import Heartbeat
from psmpi.links.transport.mpi_broadcast import CollectiveBroadcast, SegmentedBroadcast
from psmpi.links.transport.mpi_library import MPI
from psmpi.links.transport.mpi_queues import ReceiveQueue, SendQueue, parts
from psmpi.links.transport.polling import wait
from psmpi.links.transport.settings import Settings

_BUFFERED = 256 << 10  # bytes up to which a message is copied instead of waited for
_PENDING = 64  # such messages that may be under way


class MpiTransport(Transport):
    """The transport of an MPI job; ``MpiJob.transport`` makes it, on all ranks at once.

    A rank is a node. ``sent_bytes`` counts what this node passes to MPI: in a tree,
    inner nodes count what they forward. With ``broadcast="mpi"`` the messages that MPI
    forwards can't be observed, so the server counts one copy per worker, with the eight
    bytes of its size.
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
        senders = [0, *peers] if self.node else range(1, self.nodes)
        self._received = {
            node: ReceiveQueue(
                points,
                node,
                settings.max_up if node else settings.max_down,
                settings.segment,
            )
            for node in senders
        }
        self._posted = {node: SendQueue() for node in peers}
        self._sending: list[tuple[int, MPI.Request]] = []  # by send, not by post
        self._last_served = 0  # node that recv_any served last
        self._lent: list[ReceiveQueue] = []
        self._broadcast: SegmentedBroadcast | CollectiveBroadcast
        if settings.broadcast == "mpi":
            self._broadcast = CollectiveBroadcast(tree, settings, self._wait)
        else:
            self._broadcast = SegmentedBroadcast(tree, settings, self._wait)
        self.bcast_overhead = self._broadcast.overhead

    def send(self, node: int, message: Frame, *, free: bool = False) -> None:
        self.send_all([node], message)

    def send_all(self, nodes: Sequence[int], message: Frame) -> None:
        # Open MPI completes a send of more than 256 bytes only when the receiver calls
        # MPI, which is late if the receiver computes: a copy need not be waited for.
        buffered = message.size <= _BUFFERED
        message = message.copy() if buffered else message
        for node in nodes:
            self._sending += self._isend(node, message)
        self._wait_for_sends(_PENDING if buffered else 0, message.size)

    def post(self, node: int, message: Frame) -> bool:
        queue = self._posted[node]
        superseded = queue.put(message)
        self.superseded += superseded
        self._send_posted(node, queue)
        return superseded

    def drop(self, node: int) -> bool:
        dropped = self._posted[node].drop()
        self.superseded += dropped
        return dropped

    def flush(self) -> None:
        def unsent() -> list[int]:
            return [
                node for node, queue in self._posted.items() if not queue.is_empty()
            ]

        self._wait_for_sends(0)
        self._wait(lambda: not unsent(), "sending to its peers", unsent)

    def recv(self, node: int) -> Frame:
        if node not in self._received:
            raise LinkError(f"{name(self.node)}: has no way to hear {name(node)}")
        if self._received[node].lent:
            raise LinkError(f"{name(node)}: its last message was not released")
        return self._receive(self._received[node])

    def recv_any(self, nodes: Sequence[int]) -> tuple[int, Frame]:
        # In order from the node after the one that was served last, so that no node is
        # served twice while another one waits.
        order = sorted(nodes, key=lambda node: (node <= self._last_served, node))
        queues = [self._received[node] for node in order]
        queues = [queue for queue in queues if not queue.lent]
        if not queues:
            raise LinkError("no node can be heard: all their messages are lent")
        ready: list[ReceiveQueue] = []

        def any_has_begun() -> bool:
            ready.extend(itertools.islice(filter(ReceiveQueue.has_begun, queues), 1))
            return bool(ready)

        peers = [queue.peer for queue in queues]
        activity = f"receiving from any of {', '.join(map(name, peers))}"
        self._wait(any_has_begun, activity, lambda: peers)
        self._last_served = ready[0].peer
        return self._last_served, self._receive(ready[0])

    def poll(self, node: int) -> Frame | None:
        self._send_all_posted()
        if self._heartbeat is not None:
            self._heartbeat.answer()
        queue = self._received[node]
        if queue.lent or not queue.has_begun():
            return None
        return self._receive(queue)

    def bcast(self, message: Frame | None) -> Frame:
        if (message is None) != bool(self.node):
            raise LinkError(f"bcast: node {self.node} is not the one to give a message")
        if message is not None:
            self._check(message, self._settings.max_down)
            self._broadcast.send(message)
            nbytes = message.size + self._broadcast.overhead
            self._count(nbytes, self._broadcast.copies)
            return message
        received = self._broadcast.receive()
        if isinstance(received, ReceiveQueue):
            self._count(received.total, self._broadcast.copies)
            return self._lend(received)
        self.received_bytes += received.size + self._broadcast.overhead
        return received

    def release(self) -> None:
        while self._lent:
            self._lent.pop().post()

    def now(self) -> float:
        return time.perf_counter()

    def spend(self, seconds: float) -> None:
        time.sleep(seconds)

    def exclude_from_clock(self) -> None:
        pass  # a real clock can't be stopped

    def close(self) -> None:
        """Cancel posted receives and free the communicators; called on all ranks."""
        self._wait_for_sends(0)
        for queue in self._received.values():
            queue.cancel()
        self._broadcast.close()
        if self._heartbeat is not None:
            self._heartbeat.close()
        self._points.Free()
        self._tree.Free()

    def _receive(self, queue: ReceiveQueue) -> Frame:
        activity = f"receiving from {name(queue.peer)}"
        peers = [queue.peer]
        self._wait(queue.has_begun, activity, lambda: peers)
        self._wait(queue.advance, activity, lambda: peers, queue.total)
        return self._lend(queue)

    def _lend(self, queue: ReceiveQueue) -> Frame:
        queue.lent = True
        self._lent.append(queue)
        self.received_bytes += queue.total
        return queue.buffer[: queue.total]

    def _isend(self, node: int, message: Frame) -> list[tuple[int, MPI.Request]]:
        up = not node or node in self._posted
        self._check(message, self._settings.max_up if up else self._settings.max_down)
        self._count(message.size, 1)
        return [
            (node, self._points.Isend([part, MPI.BYTE], node, 0))
            for part in parts(message, self._settings.segment)
        ]

    def _send_posted(self, node: int, queue: SendQueue) -> None:
        """Send the message that waits for a node, if the one before it is sent."""
        if queue.waiting is not None and queue.is_idle():
            message = queue.next_message()
            queue.requests = [request for _, request in self._isend(node, message)]

    def _send_all_posted(self) -> None:
        for node, queue in self._posted.items():
            self._send_posted(node, queue)

    def _wait_for_sends(self, pending: int, nbytes: int = 0) -> None:
        """Wait until no more than ``pending`` sends are incomplete."""

        def few_pending() -> bool:
            # Two peers that send to each other: both must receive while they send.
            for queue in self._received.values():
                if not pending and not queue.lent:
                    queue.advance()
            self._sending = [pair for pair in self._sending if not pair[1].Test()]
            return len(self._sending) <= pending

        def receivers() -> list[int]:
            return [node for node, _ in self._sending]

        self._wait(few_pending, "sending", receivers, nbytes)

    def _wait(
        self,
        ready: Callable[[], bool],
        activity: str,
        nodes: Callable[[], Iterable[int]],
        nbytes: int = 0,
    ) -> None:
        """Wait until ``ready()``; ``nodes()`` are the nodes that this depends on."""
        if any(queue.waiting is not None for queue in self._posted.values()):
            only_ready = ready

            def ready() -> bool:
                self._send_all_posted()
                return only_ready()

        try:
            if self._heartbeat is None:
                wait(ready, nbytes=nbytes)
            else:
                self._heartbeat.wait(ready, activity, nodes, nbytes)
        except MPI.Exception as error:
            raise LinkError(f"{activity}: {error.Get_error_string()}") from error

    def _count(self, nbytes: int, copies: int) -> None:
        self.sent_bytes += nbytes * copies
        self.sent_messages += copies

    def _check(self, message: Frame, limit: int) -> None:
        if message.size > limit:
            raise LinkError(
                f"node {self.node}: a message of {message.size} bytes is longer than "
                f"the {limit} agreed on"
            )
