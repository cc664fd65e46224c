"""Clocks, real and simulated, and a simulated network.

With simulated clocks every node has a time of its own. Its clock advances by the time
that the node spends (a gradient of b samples at V samples per second takes b / V), or
by the CPU time of the node's thread where speeds are not given; and to the arrival time
of each message that the node waits for.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Literal


class Clock:
    """The real clock of this computer."""

    virtual = False
    latest = 0.0  # the last reading of a simulated clock

    def now(self) -> float:
        """Return the seconds since some fixed moment."""
        return time.perf_counter()

    def spend(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def exclude_from_clock(self) -> None:
        """Exclude the CPU time since the last reading from a simulated clock."""


class VirtualClock(Clock):
    """One node's simulated clock.

    With ``measured`` it also advances by the CPU time of the node's thread.
    """

    virtual = True

    def __init__(self, measured: bool) -> None:
        self.latest = 0.0
        self._measured = measured
        self._thread = 0  # the thread of the last reading
        self._mark = 0.0  # the thread's CPU time at the last reading, in seconds

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
        """Advance the clock to ``moment``, if that is later."""
        self.latest = max(self.now(), moment)

    def exclude_from_clock(self) -> None:
        if self._measured:
            self._thread, self._mark = threading.get_ident(), time.thread_time()


@dataclass
class SimulatedNetwork:
    """How long messages take: ``latency`` plus 8 nbytes / ``rate`` seconds.

    With ``kind`` "pair" every ordered pair of nodes has a line of its own, carrying one
    message at a time. With "node" every node has one line out and one line in,
    shared by all its messages, so that the server is a bottleneck for many workers.
    ``rate`` is in bits per second.
    """

    rate: float = float("inf")
    latency: float = 0.0
    kind: Literal["pair", "node"] = "pair"
    _free: dict[tuple[str, int, int], float] = field(default_factory=dict)

    def departure(self, source: int, target: int, now: float) -> float:
        """Return when the transfer of a message that is sent now begins."""
        return max(now, self._free.get(self._lines(source, target)[0], 0.0))

    def arrival(self, source: int, target: int, nbytes: int, now: float) -> float:
        """Return when a message that is sent now arrives."""
        done = begin = now
        # Cut-through: the line in may start as soon as the line out does.
        for line in self._lines(source, target):
            begin = max(begin, self._free.get(line, 0.0))
            self._free[line] = begin + 8 * nbytes / self.rate
            done = max(done, self._free[line])
        return done + self.latency

    def saved(self) -> dict[str, float]:
        """Return until when each line is busy, by the line's name."""
        return {" ".join(map(str, line)): end for line, end in self._free.items()}

    def resume(self, saved: dict[str, float]) -> None:
        """Go on from what ``saved`` gave."""
        for text, end in saved.items():
            kind, source, target = text.split()
            self._free[kind, int(source), int(target)] = end

    def _lines(self, source: int, target: int) -> list[tuple[str, int, int]]:
        if self.kind == "pair":
            return [("pair", source, target)]
        return [("out", source, 0), ("in", target, 0)]
