"""Momentum, which changes gradients, and weight decay, which changes the model."""

from __future__ import annotations

import numpy as np

from psmpi.base import ConfigError, Vector
from psmpi.kernels.vector import average, decay, nesterov


def check(mu: float, weight_decay: float) -> None:
    """Raise ``ConfigError`` unless 0 <= mu < 1 and 0 <= weight decay."""
    if not 0 <= mu < 1:
        raise ConfigError(f"momentum: must be at least 0 and below 1, got {mu}")
    if not 0 <= weight_decay < np.inf:
        raise ConfigError(f"weight-decay: must not be negative, got {weight_decay}")


class Nesterov:
    """Nesterov's momentum on a gradient; ``velocity`` is None for mu = 0."""

    def __init__(self, x: Vector, mu: float) -> None:
        self.mu = mu
        self.velocity = np.zeros_like(x) if mu else None

    def add_to(self, gradient: Vector) -> None:
        """Do m <- mu m + g, then g <- g + mu m, in place."""
        if self.velocity is not None:
            nesterov(self.velocity, gradient, self.mu)


class MovingAverage:
    """Signum's momentum, an exponential moving average; the gradient itself for 0."""

    def __init__(self, x: Vector, mu: float) -> None:
        self.mu = mu
        self.mean = np.zeros_like(x) if mu else None

    def of(self, gradient: Vector) -> Vector:
        """Return m <- mu m + (1 - mu) g."""
        if self.mean is None:
            return gradient
        average(self.mean, gradient, self.mu)
        return self.mean


class WeightDecay:
    """Weight decay on the model itself, so that it never passes a codec.

    With momentum it has a velocity of its own, as in the code of dist-EF-SGD's authors.
    All ranks do it to the same model in the same way, so models stay equal to the bit.
    """

    def __init__(self, x: Vector, rate: float, mu: float) -> None:
        self.rate, self.mu = rate, mu
        self.velocity = np.zeros_like(x) if rate and mu else None

    def step(self, x: Vector, eta: float) -> None:
        """Do v <- mu v + lambda x, then x <- x - eta (lambda x + mu v)."""
        if self.velocity is not None:
            decay(x, self.velocity, self.rate, self.mu, eta)
        elif self.rate:
            x *= 1 - eta * self.rate
