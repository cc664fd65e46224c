"""Triggers: whether a worker uploads in this round or skips it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from psmpi import random
from psmpi.base import ConfigError


@dataclass
class Window:
    """The last D squared changes of the model, weighted as LAQ's rule (7a) does.

    xi_d = weight / D. During the first D rounds there are only k < D changes, and their
    weights are weight / k, as in the authors' code.
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
        """Add ||theta^k - theta^{k-1}||^2 to the window."""
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
    """Decides whether a worker uploads. This base class always uploads."""

    def moved(self, change_sq: float) -> None:
        """Record ||theta^k - theta^{k-1}||^2, once a round."""

    def fires(self, change_sq: float, error_sq: float, alpha: float, key: int) -> bool:
        """Return whether to upload an innovation, and count the answer.

        ``change_sq`` is the squared norm of the decoded innovation, ``error_sq`` that
        of the codec's error, ``alpha`` the step size along the sum over workers.
        """
        return True


@dataclass
class CoinTrigger(Trigger):
    """Uploads with a fixed probability, and in the first round."""

    probability: float
    uploaded: bool = False

    def fires(self, change_sq: float, error_sq: float, alpha: float, key: int) -> bool:
        heads = not self.uploaded or random.coin(self.probability, key)
        self.uploaded = True
        return heads


@dataclass
class LazyTrigger(Trigger):
    """LAQ's rules (7a) and (7b): skip while the innovation is small.

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
        # A step of 0, in a warm-up, does not change the model, so no upload pays.
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
