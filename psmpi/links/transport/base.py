"""What a link needs of the thing below it: whole messages between numbered nodes."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from psmpi.base import Frame


class Transport(abc.ABC):
    """Moves messages (uint8 arrays) between node 0, the server, and nodes 1 .. M.

    Messages of one pair arrive in the order in which they were sent. A received message
    is lent: a view of the transport's buffer, valid until ``release``. Every byte that
    is handed over is counted in ``sent_bytes``, every message in ``sent_messages``;
    ``bcast_overhead`` is what a broadcast costs per receiver besides the message.
    """

    node: int
    nodes: int
    virtual: bool = False  # whether its clock is simulated
    superseded: int = 0  # messages that were posted and never sent
    sent_bytes: int = 0
    sent_messages: int = 0
    received_bytes: int = 0
    bcast_overhead: int = 0

    @abc.abstractmethod
    def send(self, node: int, message: Frame, *, free: bool = False) -> None:
        """Hand a message over; returns when ``message`` may be overwritten.

        ``free``: on a simulated network it takes no time.
        """

    @abc.abstractmethod
    def send_all(self, nodes: Sequence[int], message: Frame) -> None:
        """Hand a message over to several nodes at once."""

    @abc.abstractmethod
    def recv(self, node: int) -> Frame:
        """Wait for the next message of ``node``."""

    @abc.abstractmethod
    def recv_any(self, nodes: Sequence[int]) -> tuple[int, Frame]:
        """Wait for a message of any of ``nodes``; none is served twice before another.

        What "before" means is the transport's: by turns, or in the order of arrival.
        """

    @abc.abstractmethod
    def post(self, node: int, message: Frame) -> bool:
        """Hand a message over without waiting; ``message`` may be overwritten.

        Where the one before is still under way, this one waits, and takes the place of
        another that does: the receiver misses what is superseded. Returns whether one
        was.
        """

    @abc.abstractmethod
    def drop(self, node: int) -> bool:
        """Give up the posted message that waits; return whether there was one."""

    @abc.abstractmethod
    def flush(self) -> None:
        """Wait until all that was posted is gone."""

    @abc.abstractmethod
    def poll(self, node: int) -> Frame | None:
        """Return the next message of ``node`` if it is there, without waiting."""

    @abc.abstractmethod
    def bcast(self, message: Frame | None) -> Frame:
        """Send ``message`` from node 0 to all, along the tree; the others give None.

        Returns the message on every node. The receivers need not know its size.
        """

    @abc.abstractmethod
    def release(self) -> None:
        """End the loan of all messages received so far."""

    @abc.abstractmethod
    def now(self) -> float:
        """Return seconds on this node's clock."""

    @abc.abstractmethod
    def spend(self, seconds: float) -> None:
        """Let time pass."""

    @abc.abstractmethod
    def exclude_from_clock(self) -> None:
        """Keep what has been done since the last look at a simulated clock off it."""


def name(node: int) -> str:
    """Return what people call a node."""
    return f"worker {node - 1}" if node else "the server"
