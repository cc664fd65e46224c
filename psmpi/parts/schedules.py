"""Schedules: the step size of every round, and the rounds in which a worker sends."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from psmpi import random
from psmpi.base import ConfigError

Schedule = Callable[[int], float]


def schedule(lr: float, spec: str, horizon: int = 1) -> Schedule:
    """Return round -> step size for ``--lr-schedule``; rounds count from 0.

    Where a worker takes several local steps a round, k counts local steps. ``horizon``
    is T, the largest number of them in the run.

    ========================  ====================================================
    spec                      eta_k
    ========================  ====================================================
    ``constant``              lr
    ``inverse:A``             lr * A / (A + k), the c/(a+t) of strong convexity
    ``sqrt``                  lr / sqrt(k + 1)
    ``horizon``               lr / sqrt(T), constant: the c/sqrt(T) of a known horizon
    ``horizon:T``             the same for a T of your own
    ``drop:F@K1,K2,...``      lr * F^(how many of K1, K2, ... are <= k)
    ``warmup:K``              lr * min(1, (k + 1) / K)
    ``warmup0:K``             lr * min(1, k / K), which begins with a step of 0
    ========================  ====================================================

    Several, joined by ``+``, multiply: ``warmup:50+drop:0.1@1000,2000``.
    """
    if not lr > 0 or not math.isfinite(lr):
        raise ConfigError(f"lr: must be a positive number, got {lr}")
    parts = re.split(r"\+(?=\D)", spec)  # but not at the + of 1e+3
    factors = [_factor(part, horizon) for part in parts]
    return lambda k: lr * math.prod(factor(k) for factor in factors)


def _factor(part: str, horizon: int) -> Schedule:
    name, _, value = part.strip().partition(":")
    try:
        if name == "constant" and not value:
            return lambda k: 1.0
        if name == "sqrt" and not value:
            return lambda k: 1 / math.sqrt(k + 1)
        if name == "horizon" and (not value or int(value) > 0):
            steps = int(value) if value else max(horizon, 1)
            return lambda k: 1 / math.sqrt(steps)
        if name == "inverse" and 0 < float(value) < math.inf:
            a = float(value)
            return lambda k: a / (a + k)
        if name == "warmup" and int(value) > 0:
            length = int(value)
            return lambda k: min(1.0, (k + 1) / length)
        if name == "warmup0" and int(value) > 0:
            ramp = int(value)
            return lambda k: min(1.0, k / ramp)
        if name == "drop":
            by, _, at = value.partition("@")
            factor, rounds = float(by), [int(r) for r in at.split(",")]
            if 0 < factor < math.inf and min(rounds) >= 0:
                return lambda k: factor ** sum(r <= k for r in rounds)
    except ValueError:
        pass
    raise ConfigError(
        f"lr-schedule: can't read {part!r}; give constant, sqrt, inverse:A, "
        "horizon, drop:FACTOR@ROUND,ROUND,..., warmup:ROUNDS or warmup0:ROUNDS, "
        "joined by +"
    )


@dataclass
class SyncTimes:
    """The set I of times at which a worker sends: gap(I) <= H (Basu et al. 2019).

    Without ``own`` the times are H, 2H, .... With ``own``, (seed, worker), every gap is
    drawn from 1 .. H, for each worker independently.
    """

    gap: int
    own: tuple[int, int] | None = None
    count: int = 0
    next: int = field(init=False)

    def __post_init__(self) -> None:
        self.next = self._gap()

    def due(self, time: int) -> bool:
        """Return whether ``time`` is in I; call it for 1, 2, 3, ... in this order."""
        if self.own is None:  # nothing to remember, so that any time can come first
            return time % self.gap == 0
        if time != self.next:
            return False
        self.count += 1
        self.next += self._gap()
        return True

    def _gap(self) -> int:
        if self.own is None:
            return self.gap
        seed, worker = self.own
        return 1 + random.key(seed, "gap", worker, self.count) % self.gap
