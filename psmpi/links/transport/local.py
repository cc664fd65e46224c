"""The transport inside one process: queues instead of MPI, and a scheduler of threads.

It is there for tests, notebooks, replay and figures with tens of workers, and stricter
than MPI: a frame that is used after its loan has ended reads 0xFF bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from psmpi.base import Frame, LinkError
from psmpi.links.transport.base import Transport, name
from psmpi.links.transport.scheduler import Scheduler, When
from psmpi.links.transport.simulation import Clock, Network, VirtualClock
from psmpi.links.transport.tree import tree_children, tree_parent

_POISON = 0xFF


@dataclass(frozen=True)
class _Parcel:
    """A message that sets off at ``begin`` and arrives at ``when``.

    ``number`` says how many were sent before it.
    """

    begin: float
    when: float
    number: int
    message: Frame


class _Office:
    """What the nodes of one process share."""

    def __init__(
        self, scheduler: Scheduler, network: Network | None, tree: bool
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
        parcel = _Parcel(begin, when, self.sent, message.copy())
        self.sent += 1
        self.nodes[target]._inboxes[source].append(parcel)

    def supersede(self, source: int, target: int, message: Frame) -> bool:
        """Put ``message`` in the place of one as long that has yet to set off."""
        inbox = self.nodes[target]._inboxes[source]
        if self.network is None or not inbox:
            return False
        last, now = inbox[-1], self.nodes[source].now()
        if last.begin <= now or last.message.size != message.size:
            return False
        last.message[:] = message
        return True


class LocalTransport(Transport):
    """One node's end; make all of them with ``connect``."""

    def __init__(self, node: int, nodes: int, office: _Office, clock: Clock) -> None:
        self.node = node
        self.nodes = nodes
        self.virtual = clock.virtual
        self._office = office
        self._clock = clock
        self._inboxes: list[deque[_Parcel]] = [deque() for _ in range(nodes)]
        self._lent: list[Frame] = []
        self._turn = -1.0  # time at which nobody was earlier

    def send(self, node: int, message: Frame, *, free: bool = False) -> None:
        self._my_turn()  # who sends earlier gets a line that they share earlier
        self._office.deliver(self.node, node, message, free)
        self.sent_bytes += message.size
        self.sent_messages += 1
        self._office.scheduler.pause(self.node)

    def send_all(self, nodes: Sequence[int], message: Frame) -> None:
        for node in nodes:
            self.send(node, message)

    def post(self, node: int, message: Frame) -> bool:
        self._my_turn()
        superseded = self._office.supersede(self.node, node, message)
        self.superseded += superseded
        if not superseded:
            self.send(node, message)
        return superseded

    def drop(self, node: int) -> bool:
        return False

    def flush(self) -> None:
        pass  # what was sent is there

    def recv(self, node: int) -> Frame:
        inbox = self._inboxes[node]
        self._wait(f"for {name(node)}", lambda: inbox[0].when if inbox else None)
        return self._lend(inbox.popleft())

    def recv_any(self, nodes: Sequence[int]) -> tuple[int, Frame]:
        def head() -> tuple[float, int, int] | None:
            waiting = (
                (self._inboxes[node][0].when, self._inboxes[node][0].number, node)
                for node in nodes
                if self._inboxes[node]
            )
            return min(waiting, default=None)

        def when() -> float | None:
            first = head()
            return None if first is None else first[0]

        self._wait(f"for any of {', '.join(map(name, nodes))}", when)
        first = head()
        assert first is not None
        return first[2], self._lend(self._inboxes[first[2]].popleft())

    def poll(self, node: int) -> Frame | None:
        if self.virtual:  # Who is earlier goes first: what they send may be in time.
            self._my_turn()
        else:  # Who only ever looks would keep everybody from going on.
            self._office.scheduler.pass_on(self.node)
        inbox = self._inboxes[node]
        if not inbox or inbox[0].when > self._clock.latest:
            return None
        return self._lend(inbox.popleft())

    def bcast(self, message: Frame | None) -> Frame:
        parent, children = 0, list(range(1, self.nodes)) if self.node == 0 else []
        if self._office.tree:
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

    def _my_turn(self) -> None:
        """On a simulated clock, let those go first whose time is earlier."""
        if self.virtual and self._clock.now() > self._turn:
            self._wait("for its turn", lambda: 0.0)

    def _wait(self, reason: str, when: When) -> None:
        """Wait until ``when()``, or until the clock's own time if that is later."""
        self._clock.now()  # in this thread, whose time it is

        def ready() -> float | None:
            moment = when()
            return None if moment is None else max(moment, self._clock.latest)

        self._office.scheduler.wait(self.node, reason, ready)
        self._clock.exclude_from_clock()  # the scheduler's work is none of this node's
        self._turn = self._clock.latest

    def _lend(self, parcel: _Parcel) -> Frame:
        if isinstance(self._clock, VirtualClock):
            self._clock.skip_to(parcel.when)
        self.received_bytes += parcel.message.size
        self._lent.append(parcel.message)
        return parcel.message


def connect(
    nodes: int,
    seed: int | None = None,
    *,
    network: Network | None = None,
    measured: bool = True,
    tree: bool = False,
) -> tuple[Scheduler, list[LocalTransport]]:
    """Return a scheduler and the transports of ``nodes`` nodes that share it.

    ``seed`` chooses a schedule (see ``Scheduler``). With a ``network`` all clocks are
    simulated; ``measured``: computing takes the time that it takes here, else only what
    nodes ``spend``. ``tree``: broadcasts go along the tree.
    """
    names = ["the server", *(f"worker {m}" for m in range(nodes - 1))]
    scheduler = Scheduler(names, seed, timed=network is not None)
    office = _Office(scheduler, network, tree)
    for node in range(nodes):
        clock = Clock() if network is None else VirtualClock(measured)
        office.nodes.append(LocalTransport(node, nodes, office, clock))
    return scheduler, office.nodes
