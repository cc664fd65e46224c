"""The transport inside one process: queues between threads instead of MPI.

It is for tests, notebooks, replay and figures with tens of workers. It is stricter than
MPI: a frame that is used after its loan has ended reads 0xFF bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psmpi.base import Frame, LinkError
from psmpi.links.transport.base import Transport, name
from psmpi.links.transport.scheduler import Scheduler, When
from psmpi.links.transport.simulation import Clock, SimulatedNetwork, VirtualClock
from psmpi.links.transport.tree import tree_children, tree_parent

_POISON = 0xFF


@dataclass(frozen=True)
class _Transfer:
    """A message on its way from ``begin`` to ``when``, in seconds.

    ``number`` is the count of messages that were sent before it.
    """

    begin: float
    when: float
    number: int
    message: Frame


class _Shared:
    """What the nodes of one process share: scheduler, network and the list of nodes."""

    def __init__(
        self, scheduler: Scheduler, network: SimulatedNetwork | None, tree: bool
    ) -> None:
        self.scheduler, self.network, self.tree = scheduler, network, tree
        self.nodes: list[LocalTransport] = []
        self.sent = 0

    def deliver(self, source: int, target: int, message: Frame, free: bool) -> None:
        begin = when = 0.0
        if self.network is not None:
            begin = when = self.nodes[source].now()
            if not free:
                begin = self.network.departure(source, target, when)
                when = self.network.arrival(source, target, message.size, when)
        transfer = _Transfer(begin, when, self.sent, message.copy())
        self.sent += 1
        self.nodes[target]._received[source].append(transfer)

    def supersede(self, source: int, target: int, message: Frame) -> bool:
        """Replace the last message by ``message`` if its transfer has not begun."""
        queue = self.nodes[target]._received[source]
        if self.network is None or not queue:
            return False
        last, now = queue[-1], self.nodes[source].now()
        if last.begin <= now or last.message.size != message.size:
            return False
        last.message[:] = message
        return True


class LocalTransport(Transport):
    """One node's end; ``connect`` creates all of them."""

    def __init__(self, node: int, nodes: int, shared: _Shared, clock: Clock) -> None:
        self.node = node
        self.nodes = nodes
        self.virtual = clock.virtual
        self._shared = shared
        self._clock = clock
        self._received: list[deque[_Transfer]] = [deque() for _ in range(nodes)]
        self._lent: list[Frame] = []
        self._turn = -1.0  # the time of the last turn: no node was earlier

    def send(self, node: int, message: Frame, *, free: bool = False) -> None:
        self._wait_for_turn()  # a shared line is used in the order of sending
        self._shared.deliver(self.node, node, message, free)
        self.sent_bytes += message.size
        self.sent_messages += 1
        self._shared.scheduler.pause(self.node)

    def send_all(self, nodes: Sequence[int], message: Frame) -> None:
        for node in nodes:
            self.send(node, message)

    def post(self, node: int, message: Frame) -> bool:
        self._wait_for_turn()
        superseded = self._shared.supersede(self.node, node, message)
        self.superseded += superseded
        if not superseded:
            self.send(node, message)
        return superseded

    def drop(self, node: int) -> bool:
        return False

    def flush(self) -> None:
        pass  # a sent message is in its receiver's queue at once

    def recv(self, node: int) -> Frame:
        queue = self._received[node]
        self._wait(f"for {name(node)}", lambda: queue[0].when if queue else None)
        return self._lend(queue.popleft())

    def recv_any(self, nodes: Sequence[int]) -> tuple[int, Frame]:
        def head() -> tuple[float, int, int] | None:
            waiting = (
                (self._received[node][0].when, self._received[node][0].number, node)
                for node in nodes
                if self._received[node]
            )
            return min(waiting, default=None)

        def when() -> float | None:
            first = head()
            return None if first is None else first[0]

        self._wait(f"for any of {', '.join(map(name, nodes))}", when)
        first = head()
        assert first is not None
        return first[2], self._lend(self._received[first[2]].popleft())

    def poll(self, node: int) -> Frame | None:
        if self.virtual:  # Earlier nodes go first: their messages may arrive in time.
            self._wait_for_turn()
        else:  # A node that polls in a loop must not keep the others from running.
            self._shared.scheduler.yield_turn(self.node)
        queue = self._received[node]
        if not queue or queue[0].when > self._clock.latest:
            return None
        return self._lend(queue.popleft())

    def bcast(self, message: Frame | None) -> Frame:
        parent, children = 0, list(range(1, self.nodes)) if self.node == 0 else []
        if self._shared.tree:
            parent = tree_parent(self.node, self.nodes) or 0
            children = tree_children(self.node, self.nodes)
        if self.node:
            message = self.recv(parent)
        elif message is None:
            raise LinkError("bcast: node 0 has to give the message")
        self.send_all(children, message)
        return message

    def release(self) -> None:
        for message in self._lent:
            message[:] = _POISON
        self._lent.clear()

    def now(self) -> float:
        return self._clock.now()

    def spend(self, seconds: float) -> None:
        self._clock.spend(seconds)
        if self.virtual:
            self._wait("for its clock", lambda: 0.0)

    def exclude_from_clock(self) -> None:
        self._clock.exclude_from_clock()

    def saved(self) -> dict[str, Any]:
        network = self._shared.network
        lines = {} if network is None or self.node else network.saved()
        return {**super().saved(), "clock": self._clock.latest, "lines": lines}

    def resume(self, saved: dict[str, Any]) -> None:
        super().resume(saved)
        # A run may go on in process that was begun over MPI.
        self._clock.latest = saved.get("clock", 0.0)
        if self._shared.network is not None and not self.node:
            self._shared.network.resume(saved.get("lines", {}))

    def _wait_for_turn(self) -> None:
        """On a simulated clock, let nodes go first whose time is earlier."""
        if self.virtual and self._clock.now() > self._turn:
            self._wait("for its turn", lambda: 0.0)

    def _wait(self, reason: str, when: When) -> None:
        """Wait until ``when()``, or until this node's time if that is later."""
        self._clock.now()  # the clock measures the thread that reads it

        def ready() -> float | None:
            moment = when()
            return None if moment is None else max(moment, self._clock.latest)

        self._shared.scheduler.wait(self.node, reason, ready)
        self._clock.exclude_from_clock()  # the time of the scheduler
        self._turn = self._clock.latest

    def _lend(self, transfer: _Transfer) -> Frame:
        if isinstance(self._clock, VirtualClock):
            self._clock.skip_to(transfer.when)
        self.received_bytes += transfer.message.size
        self._lent.append(transfer.message)
        return transfer.message


def connect(
    nodes: int,
    seed: int | None = None,
    *,
    network: SimulatedNetwork | None = None,
    measured: bool = True,
    tree: bool = False,
) -> tuple[Scheduler, list[LocalTransport]]:
    """Return a scheduler and the transports of ``nodes`` nodes that share it.

    ``seed`` chooses a schedule (see ``Scheduler``). With a ``network`` all clocks are
    simulated: with ``measured`` computing takes the CPU time that it takes here, else
    only the time that nodes ``spend``. With ``tree`` broadcasts go along the tree.
    """
    names = ["the server", *(f"worker {m}" for m in range(nodes - 1))]
    scheduler = Scheduler(names, seed, timed=network is not None)
    shared = _Shared(scheduler, network, tree)
    for node in range(nodes):
        clock = Clock() if network is None else VirtualClock(measured)
        shared.nodes.append(LocalTransport(node, nodes, shared, clock))
    return scheduler, shared.nodes
