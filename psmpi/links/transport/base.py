"""The interface of transports: whole messages between numbered nodes."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

from psmpi.base import Frame

_COUNTERS = ("sent_bytes", "sent_messages", "received_bytes", "superseded")


class Transport(abc.ABC):
    """Moves messages (uint8 arrays) between node 0, the server, and nodes 1 .. M.

    Messages from one node to another arrive in the order of sending. A received message
    is lent: a view of the transport's buffer, valid until ``release``. ``sent_bytes``
    and ``sent_messages`` count what this node sends; ``bcast_overhead`` is the number
    of bytes that a broadcast sends to each receiver in addition to the message.
    """

    node: int
    nodes: int
    virtual: bool = False  # whether the clock is simulated
    superseded: int = 0  # messages that were posted, then replaced and never sent
    sent_bytes: int = 0
    sent_messages: int = 0
    received_bytes: int = 0
    bcast_overhead: int = 0

    @abc.abstractmethod
    def send(self, node: int, message: Frame, *, free: bool = False) -> None:
        """Send a message; return when ``message`` may be overwritten.

        With ``free`` it takes no time on a simulated network.
        """

    @abc.abstractmethod
    def send_all(self, nodes: Sequence[int], message: Frame) -> None:
        """Send a message to several nodes at once."""

    @abc.abstractmethod
    def recv(self, node: int) -> Frame:
        """Wait for the next message of ``node``."""

    @abc.abstractmethod
    def recv_any(self, nodes: Sequence[int]) -> tuple[int, Frame]:
        """Wait for a message of any of ``nodes``; return its sender and the message.

        No node is served twice while another one waits: nodes are served in turn, or in
        the order of arrival, depending on the transport.
        """

    @abc.abstractmethod
    def post(self, node: int, message: Frame) -> bool:
        """Send a message without waiting; ``message`` may be overwritten afterwards.

        While the previous posted message is under way, this one waits. If another one
        is waiting already, this one supersedes it: the receiver never gets the other.
        Returns whether it did.
        """

    @abc.abstractmethod
    def drop(self, node: int) -> bool:
        """Drop the posted message that waits; return whether there was one."""

    @abc.abstractmethod
    def flush(self) -> None:
        """Wait until all posted messages are sent."""

    @abc.abstractmethod
    def poll(self, node: int) -> Frame | None:
        """Return the next message of ``node`` if it has arrived, else None."""

    @abc.abstractmethod
    def bcast(self, message: Frame | None) -> Frame:
        """Send ``message`` from node 0 to all nodes; the other nodes pass None.

        Returns the message on every node. The receivers need not know its size.
        """

    @abc.abstractmethod
    def release(self) -> None:
        """End the loan of all messages that were received so far."""

    @abc.abstractmethod
    def now(self) -> float:
        """Return seconds on this node's clock."""

    @abc.abstractmethod
    def spend(self, seconds: float) -> None:
        """Let time pass."""

    def close(self) -> None:  # noqa: B027 - only some transports hold anything
        """Give up what the transport holds; called on all nodes."""

    def saved(self) -> dict[str, Any]:
        """Return the counters, and a simulated clock's time, to go on from."""
        return {name: getattr(self, name) for name in _COUNTERS}

    def resume(self, saved: dict[str, Any]) -> None:
        """Go on from what ``saved`` gave."""
        for name in _COUNTERS:
            setattr(self, name, saved[name])

    @abc.abstractmethod
    def exclude_from_clock(self) -> None:
        """Exclude the CPU time since the last reading from a simulated clock."""


def name(node: int) -> str:
    """Return a node's name for messages."""
    return f"worker {node - 1}" if node else "the server"
