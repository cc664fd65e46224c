"""Clocks: the computer's, and a simulated one with a network of a set speed.

On a simulated clock every node of a process has a time of its own. It moves by what is
spent (a gradient of b samples at V samples per second takes b / V), by the CPU time of
the node's own thread where nothing else says how long work takes, and to the arrival of
the messages that it waits for.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Literal


class Clock:
    """The computer's clock."""

    virtual = False
    latest = 0.0  # what a simulated one showed last

    def now(self) -> float:
        """Return seconds from some start."""
        return time.perf_counter()

    def spend(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def exclude_from_clock(self) -> None:
        """Don't count what this node has done since it last looked at the clock."""


class VirtualClock(Clock):
    """One node's simulated clock; ``measured``: it also runs while its thread does."""

    virtual = True

    def __init__(self, measured: bool) -> None:
        self.latest = 0.0
        self._measured = measured
        self._thread = 0  # the node's, once it has looked at the clock,
        self._mark = 0.0  # and its CPU time then, in seconds

    def now(self) -> float:
        if self._measured:
            thread, cpu = threading.get_ident(), time.thread_time()
            if thread == self._thread:
                self.latest += cpu - self._mark
            self._thread, self._mark = thread, cpu
        return self.latest

    def spend(self, seconds: float) -> None:
        self.latest = self.now() + seconds

    def skip_to(self, moment: float) -> None:
        """Wait until ``moment``, if that is still to come."""
        self.latest = max(self.now(), moment)

    def exclude_from_clock(self) -> None:
        if self._measured:
            self._thread, self._mark = threading.get_ident(), time.thread_time()


@dataclass
class Network:
    """How long messages take: ``latency`` seconds and 8 nbytes / ``rate``.

    ``kind``: with "pair", every ordered pair of nodes has a line of its own, on which
    messages follow each other; with "node", a node's messages also share its one line
    out, and what it is sent its one line in, so that a server is what it is to many
    workers. ``rate`` in bits per second.
    """

    rate: float = float("inf")
    latency: float = 0.0
    kind: Literal["pair", "node"] = "pair"
    _free: dict[tuple[str, int, int], float] = field(default_factory=dict)

    def departure(self, source: int, target: int, now: float) -> float:
        """Return when a message that is handed over now sets off."""
        return max(now, self._free.get(self._lines(source, target)[0], 0.0))

    def arrival(self, source: int, target: int, nbytes: int, now: float) -> float:
        """Return when a message that is handed over now will be there."""
        done = begin = now
        # Cut through: the line in may begin with the line out.
        for line in self._lines(source, target):
            begin = max(begin, self._free.get(line, 0.0))
            self._free[line] = begin + 8 * nbytes / self.rate
            done = max(done, self._free[line])
        return done + self.latency

    def _lines(self, source: int, target: int) -> list[tuple[str, int, int]]:
        if self.kind == "pair":
            return [("pair", source, target)]
        return [("out", source, 0), ("in", target, 0)]
