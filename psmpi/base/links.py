"""The link protocols: how the two roles of an algorithm exchange frames.

Each role has three narrow protocols. The *star* is the parameter server's own pattern:
workers push frames to the server and pull messages from it. *Peers* are for
decentralised algorithms, whose workers exchange frames with each other. The *clock* is
for algorithms with deadlines. ``WorkerLink`` and ``ServerLink`` are the complete ends:
a star with ``peers`` and ``clock``.

An algorithm annotates the narrowest protocol that it needs, so that a caller's own loop
has to implement only that: most algorithms need nothing but the star.

A received frame is lent: it is valid until the next call on the same link.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from psmpi.base.arrays import Frame
from psmpi.base.codec import Codec


class WorkerStar(Protocol):
    """A worker's connection to the server.

    Frames for ``push`` are encoded by ``up``, or by a codec from ``outgoing``; frames
    from ``pull`` are decoded by ``down``. A link may return wrappers of the wire's
    codecs here, for example to measure their time.
    """

    worker: int  # number of this worker, 0 .. workers - 1
    workers: int
    up: Codec
    down: Codec

    @abc.abstractmethod
    def outgoing(self, codec: Codec) -> Codec:
        """Return ``codec`` as this link uses it for frames that will be pushed.

        For algorithms that choose among several codecs, beside ``up``.
        """

    @abc.abstractmethod
    def rounds(self, state: Any, *, until_stopped: bool = False) -> Iterator[int]:
        """Yield round numbers up to the plan's last; increments ``state.round``.

        The first number is the initial ``state.round``. After the last round it waits
        for the server's STOP and raises ``Stopped``. With ``until_stopped`` there is no
        last round: for algorithms in which the server alone decides how many messages
        it exchanges with a worker.
        """

    @abc.abstractmethod
    def pull(self) -> Frame | None:
        """Wait for the server's next message; return its frame, None without one.

        Raises ``Stopped`` when the server has ended the run.
        """

    @abc.abstractmethod
    def pull_shared(self) -> Frame | None:
        """Wait for the server's next broadcast; otherwise the same as ``pull``."""

    @abc.abstractmethod
    def push(self, frame: Frame | None) -> None:
        """Send a frame to the server; None says that this round has none (a skip)."""

    @abc.abstractmethod
    def absent(self) -> None:
        """Say in place of a frame that this worker takes no part in this round.

        Its state has to be what it was before the round; it still pulls the round's
        messages. The server gathers nothing of it.
        """


class ServerStar(Protocol):
    """The server's connections to all workers.

    Frames for ``bcast`` and ``send`` are encoded by ``down``, or by a codec from
    ``outgoing``; frames from ``gather`` and ``recv`` are decoded by ``up``.
    """

    workers: int
    up: Codec
    down: Codec
    present: tuple[int, ...]  # workers whose messages the last gather has yielded

    @abc.abstractmethod
    def outgoing(self, codec: Codec) -> Codec:
        """Return ``codec`` as this link uses it for frames that will be sent."""

    @abc.abstractmethod
    def rounds(self, state: Any) -> Iterator[int]:
        """Yield round numbers up to the plan's last; increments ``state.round``."""

    @abc.abstractmethod
    def bcast(self, frame: Frame | None) -> None:
        """Send one message to all workers, along the broadcast tree."""

    @abc.abstractmethod
    def send(self, worker: int, frame: Frame | None) -> None:
        """Send one message to one worker."""

    @abc.abstractmethod
    def gather(self, workers: Sequence[int] | None = None) -> Iterator[Frame | None]:
        """Yield the next message of each of ``workers`` (default: all), in that order.

        None stands for a skip; of a worker that is absent in this round nothing is
        yielded. ``present`` grows with what is yielded: its last entry is the sender of
        the frame at hand, and after the loop it has all senders. The order of the
        results does not depend on the order of arrival. The caller must exhaust the
        iterator.
        """

    @abc.abstractmethod
    def recv(self, workers: Sequence[int] | None = None) -> tuple[int, Frame | None]:
        """Return the next message of any of ``workers`` (default: all), and its sender.

        None stands for a skip, and for a worker that is absent in its turn.
        No worker is served twice while another one waits. The message's staleness (the
        rounds between the message that the worker answers and now) is counted.
        """

    @abc.abstractmethod
    def discard(self, worker: int) -> None:
        """Wait for a worker's next message and drop it; it is counted as late."""


class WorkerPeers(Protocol):
    """A worker's connections to its peers, the neighbours of the wire's graph."""

    @abc.abstractmethod
    def exchange(self, frame: Frame) -> Iterator[tuple[int, Frame]]:
        """Send a frame to all peers; yield each peer's number and frame, ascending.

        All frames belong to this round. Of a peer that is absent in it nothing is
        yielded. The caller must exhaust the iterator.
        """

    @abc.abstractmethod
    def absent(self) -> None:
        """Tell all peers that this worker is absent; drop their frames of the round."""

    @abc.abstractmethod
    def post(self, frame: Frame) -> None:
        """Send a frame to all peers without waiting for any of them.

        While a peer has not received the frame before, later frames replace each
        other, and only the newest is sent.
        """

    @abc.abstractmethod
    def latest(self) -> Iterator[tuple[int, Frame]]:
        """Yield the frames that have arrived since the last call, with their senders.

        The frames of one peer are in the order of sending: its last is its newest.
        """


class ServerPeers(Protocol):
    """What the server does where workers exchange frames with each other."""

    @abc.abstractmethod
    def relay(self) -> None:
        """Forward every worker's frame of this round to the worker's peers."""

    @abc.abstractmethod
    def observed(self) -> Mapping[str, float]:
        """Return statistics over the models that workers reported last."""


class WorkerClock(Protocol):
    """A worker's clock, which may be simulated, and deadlines on it."""

    @abc.abstractmethod
    def now(self) -> float:
        """Return the seconds on this worker's clock."""

    @abc.abstractmethod
    def until(self, deadline: float, samples: int, batch: int) -> Iterator[int]:
        """Yield sizes of batches to process until ``deadline`` seconds have passed.

        Batches have up to ``batch`` samples, and all of them together up to
        ``samples``. Where speeds are simulated there is one batch, of all samples that
        this worker can process in the time. Otherwise a batch is not larger than what
        the remaining time allows, estimated from the quickest sample so far. The
        iterator ends at the deadline, or after the batch that exceeds it; the excess is
        counted as overshoot.
        """

    @abc.abstractmethod
    def agree(self, number: float) -> tuple[float, float]:
        """Send a number to the server; return the mean and maximum over all workers."""


class ServerClock(Protocol):
    """The server's part in what workers agree on about their clocks."""

    @abc.abstractmethod
    def agree(self) -> tuple[float, float]:
        """Receive a number of every worker; return mean and maximum, which all get."""


class WorkerLink(WorkerStar, Protocol):
    """A worker's complete end of a link."""

    peers: WorkerPeers
    clock: WorkerClock


class ServerLink(ServerStar, Protocol):
    """The server's complete end of a link."""

    peers: ServerPeers
    clock: ServerClock
