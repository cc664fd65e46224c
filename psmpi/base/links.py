"""What the two ends of a link promise."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from psmpi.base.arrays import Frame
from psmpi.base.codec import Codec


class WorkerLink(abc.ABC):
    """A worker's end. A received frame is lent: valid until the next call here."""

    worker: int  # 0 .. workers - 1
    workers: int
    up: Codec  # the wire's codecs, with their time booked as encode and decode
    down: Codec

    @abc.abstractmethod
    def outgoing(self, codec: Codec) -> Codec:
        """Return a codec whose frames are to be sent, with its time booked."""

    @abc.abstractmethod
    def rounds(self, state: Any, *, until_told: bool = False) -> Iterator[int]:
        """Yield round numbers from ``state.round`` on, until the plan's last.

        Then waits for the end of the run, and raises ``Stopped``. ``until_told``: goes
        on for ever, where only the server knows how often it will hear this worker.
        """

    @abc.abstractmethod
    def pull(self) -> Frame | None:
        """Wait for the server's next message; None if it came without a frame.

        Raises ``Stopped`` when the server has ended the run.
        """

    @abc.abstractmethod
    def pull_shared(self) -> Frame | None:
        """The same for the server's next broadcast."""

    @abc.abstractmethod
    def push(self, frame: Frame | None) -> None:
        """Send a frame, or None to say that there is none this round (a skip)."""

    @abc.abstractmethod
    def exchange(self, frame: Frame) -> Iterator[tuple[int, Frame]]:
        """Send a frame to all peers; yield each peer and its frame, in peers' order.

        All of them belong to this round. Take them all.
        """

    @abc.abstractmethod
    def post(self, frame: Frame) -> None:
        """Send a frame to all peers without waiting for any.

        A peer that has not taken the one before gets only the newest, when it can.
        """

    @abc.abstractmethod
    def latest(self) -> Iterator[tuple[int, Frame]]:
        """Yield what has been posted since the last call, each with its peer.

        The frames of a peer come in order, so that its last one is its newest.
        """

    @abc.abstractmethod
    def until(self, deadline: float, samples: int, batch: int) -> Iterator[int]:
        """Yield sizes of batches to be processed, until ``deadline`` seconds are over.

        ``batch`` at a time and ``samples`` in all at most; where speeds are simulated,
        at once all that this worker can do. Judged by its quickest sample so far, no
        batch is larger than what is left of the time; ends at the deadline, or after
        the batch that passed it, which is counted as overshoot.
        """

    @abc.abstractmethod
    def now(self) -> float:
        """Return seconds on this worker's clock, which may be a simulated one."""

    @abc.abstractmethod
    def agree(self, number: float) -> tuple[float, float]:
        """Tell the server a number; return the mean and the largest of all workers'."""


class ServerLink(abc.ABC):
    """The server's end. Received frames are lent: valid until the next call here."""

    workers: int
    up: Codec
    down: Codec

    @abc.abstractmethod
    def outgoing(self, codec: Codec) -> Codec:
        """Return a codec whose frames are to be sent, with its time booked."""

    @abc.abstractmethod
    def rounds(self, state: Any) -> Iterator[int]:
        """Yield round numbers from ``state.round`` on, until the plan's last."""

    @abc.abstractmethod
    def bcast(self, frame: Frame | None) -> None:
        """Send one message to all workers, along the tree."""

    @abc.abstractmethod
    def send(self, worker: int, frame: Frame | None) -> None:
        """Send one message to one worker."""

    @abc.abstractmethod
    def gather(self, workers: Sequence[int] | None = None) -> Iterator[Frame | None]:
        """Yield the next message of each of ``workers`` (default all), in that order.

        None stands for a skip. The order of arrival does not show: each is yielded as
        soon as it is there, after those before it. Take them all.
        """

    @abc.abstractmethod
    def recv(self, workers: Sequence[int] | None = None) -> tuple[int, Frame | None]:
        """Return the next message of any of ``workers`` (default all), and whose it is.

        Nobody is served twice while another waits. How many rounds lie between what the
        worker answers and this round goes into the histogram of staleness.
        """

    @abc.abstractmethod
    def discard(self, worker: int) -> None:
        """Wait for a worker's next message, and count it as too late to be used."""

    @abc.abstractmethod
    def relay(self) -> None:
        """Pass every worker's frame of this round on to its peers."""

    @abc.abstractmethod
    def observed(self) -> Mapping[str, float]:
        """Return what workers' last reports say of their models and their time."""

    @abc.abstractmethod
    def agree(self) -> tuple[float, float]:
        """Hear a number of every worker; return their mean and the largest, as told."""
