"""Small parts of algorithms with one verb each: keys, schedules, triggers."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from psmpi.base import ConfigError

_MASK = (1 << 64) - 1


def key(seed: int, purpose: str, *numbers: int) -> int:
    """Return the uint64 that names one use of randomness: counter-based, no state.

    ``purpose`` keeps, say, batches and rounding apart; ``numbers`` are worker and
    round. Every step is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
    """
    h = _mix(seed & _MASK)
    for number in (zlib.crc32(purpose.encode()), *numbers):
        h = _mix((h + 0x9E3779B97F4A7C15 + number) & _MASK)
    return h


def coin(probability: float, key: int) -> bool:
    """Return True with ``probability``; a pure function of ``key``."""
    return (key >> 11) * 2.0**-53 < probability


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


Schedule = Callable[[int], float]


def schedule(lr: float, spec: str, horizon: int = 1) -> Schedule:
    """Return round -> step size for ``--lr-schedule``; rounds count from 0.

    Where a worker takes several local steps a round, k counts those. ``horizon`` is T,
    how many the run has at most.

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

    Without ``own`` it is H, 2H, ...; with it, (seed, worker), every gap is drawn anew
    from 1 .. H, for each worker by itself.
    """

    gap: int
    own: tuple[int, int] | None = None
    count: int = 0
    next: int = field(init=False)

    def __post_init__(self) -> None:
        self.next = self._gap()

    def due(self, time: int) -> bool:
        """Return whether ``time`` is in I; to be asked for 1, 2, 3, ... in order."""
        if time != self.next:
            return False
        self.count += 1
        self.next += self._gap()
        return True

    def _gap(self) -> int:
        if self.own is None:
            return self.gap
        seed, worker = self.own
        return 1 + key(seed, "gap", worker, self.count) % self.gap


@dataclass
class Window:
    """The last D squared changes of the model, weighted as LAQ's rule (7a) does.

    xi_d = weight / D; during the first D rounds weight / k, over the k changes that
    there are (the authors' code; the window starts warm).
    """

    length: int
    weight: float
    changes: NDArray[np.float64] = field(init=False)
    seen: int = 0

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ConfigError(f"lazy-window: must be at least 1, got {self.length}")
        if self.weight < 0:
            raise ConfigError(f"lazy-weight: must not be negative, got {self.weight}")
        self.changes = np.zeros(self.length)

    def add(self, change_sq: float) -> None:
        """Take in ||theta^k - theta^{k-1}||^2."""
        self.changes[self.seen % self.length] = change_sq
        self.seen += 1

    def value(self) -> float:
        """Return sum_d xi_d ||theta^{k+1-d} - theta^{k-d}||^2."""
        known = min(self.seen, self.length)
        return self.weight / known * float(self.changes.sum()) if known else 0.0


def ratio(numerator: float, denominator: float) -> float:
    """Return the quotient; infinity over 0."""
    return numerator / denominator if denominator else math.inf


@dataclass
class Trigger:
    """Decides whether a worker uploads; this one always does."""

    def moved(self, change_sq: float) -> None:
        """Take in ||theta^k - theta^{k-1}||^2, once a round."""

    def fires(self, change_sq: float, error_sq: float, alpha: float, key: int) -> bool:
        """Return whether to upload an innovation, and remember the answer.

        ``change_sq`` is the squared norm of what would be uploaded, ``error_sq`` of
        what its codec loses, ``alpha`` the step size on the sum over workers.
        """
        return True


@dataclass
class CoinTrigger(Trigger):
    """Uploads with a fixed probability, and in the first round."""

    probability: float
    uploaded: bool = False

    def fires(self, change_sq: float, error_sq: float, alpha: float, key: int) -> bool:
        heads = not self.uploaded or coin(self.probability, key)
        self.uploaded = True
        return heads


@dataclass
class LazyTrigger(Trigger):
    """LAQ's rules (7a) and (7b): skip while the innovation would change little.

    ``error_weight`` is the 3 of (7a), 0 in LAG; ``slack`` the constant that the
    released SLAQ code adds. A worker's first upload is never skipped.
    """

    window: Window
    workers: int
    max_skip: int
    error_weight: float = 3.0
    slack: float = 0.0
    uploaded_error_sq: float = 0.0  # ||epshat||^2
    skips: int | None = None  # t_m; None before the first upload

    def __post_init__(self) -> None:
        if self.max_skip < 0:
            raise ConfigError(f"max-skip: must not be negative, got {self.max_skip}")
        if self.error_weight < 0:
            raise ConfigError(
                f"error-weight: must not be negative, got {self.error_weight}"
            )

    def moved(self, change_sq: float) -> None:
        self.window.add(change_sq)

    def fires(self, change_sq: float, error_sq: float, alpha: float, key: int) -> bool:
        # (7a)  ||Qhat - Q||^2 <= 1/(alpha^2 M^2) sum_d xi_d ||theta^{k+1-d} -
        #       theta^{k-d}||^2 + 3 (||eps||^2 + ||epshat||^2);  equality uploads
        # A step of 0, in a warm-up, moves nothing: nothing is worth an upload.
        bound = (
            ratio(self.window.value(), (alpha * self.workers) ** 2)
            + self.error_weight * (error_sq + self.uploaded_error_sq)
            + self.slack
        )
        # (7b)  t_m <= tbar
        due = self.skips is None or self.skips >= self.max_skip
        if due or (change_sq >= bound and change_sq > 0):
            self.uploaded_error_sq = error_sq
            self.skips = 0
            return True
        assert self.skips is not None
        self.skips += 1
        return False
