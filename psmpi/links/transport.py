"""What a link needs of the thing below it: whole messages between numbered nodes."""

from __future__ import annotations

import abc

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
    sent_bytes: int = 0
    sent_messages: int = 0
    received_bytes: int = 0
    bcast_overhead: int = 0

    @abc.abstractmethod
    def send(self, node: int, message: Frame) -> None:
        """Hand a message over; returns when ``message`` may be overwritten."""

    @abc.abstractmethod
    def recv(self, node: int) -> Frame:
        """Wait for the next message of ``node``."""

    @abc.abstractmethod
    def recv_any(self) -> tuple[int, Frame]:
        """Wait for a message of any node, serving none twice while another waits."""

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
        """Return seconds on this transport's clock."""
