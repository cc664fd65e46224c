"""Arithmetic on whole vectors for which NumPy would need temporary arrays."""

from __future__ import annotations

import math

import numpy as np

from psmpi.base import Vector
from psmpi.kernels.jit import kernel, real


@kernel
def add_scaled(out: Vector, x: Vector, scale: float) -> None:
    """``out += scale * x``, rounded once, as in decoders."""
    for i in range(out.size):
        out[i] += scale * real(x[i])


@kernel
def nesterov(velocity: Vector, x: Vector, mu: float) -> None:
    """``velocity <- mu velocity + x``, then ``x <- x + mu velocity``, in one pass."""
    for i in range(x.size):
        v = x.dtype.type(mu * real(velocity[i]) + x[i])
        velocity[i] = v
        x[i] = x.dtype.type(x[i] + mu * real(v))


@kernel
def average(mean: Vector, x: Vector, mu: float) -> None:
    """``mean <- mu mean + (1 - mu) x``, rounded once."""
    for i in range(x.size):
        mean[i] = x.dtype.type(mu * real(mean[i]) + (1.0 - mu) * real(x[i]))


@kernel
def decay(x: Vector, velocity: Vector, rate: float, mu: float, eta: float) -> None:
    """Nesterov's step on x along ``rate x``, with ``velocity`` as in ``nesterov``."""
    for i in range(x.size):
        pull = rate * real(x[i])
        v = x.dtype.type(mu * real(velocity[i]) + pull)
        velocity[i] = v
        x[i] = x.dtype.type(x[i] - eta * (pull + mu * real(v)))


@kernel
def local_step(x: Vector, gone: Vector, step: Vector, eta: float) -> None:
    """``x -= eta step`` and ``gone += eta step``; the product is rounded once."""
    for i in range(x.size):
        move = x.dtype.type(eta * real(step[i]))
        x[i] -= move
        gone[i] += move


@kernel
def proximal_step(
    x: Vector, direction: Vector, eta: float, l1: float, l2: float
) -> None:
    """``x <- prox(x - eta direction)`` of eta h, rounded once.

    h = l1 ||x||_1 + (l2/2) ||x||^2. Every entry moves towards 0 by eta l1 and is then
    divided by 1 + eta l2. Entries that are not finite stay so.
    """
    by, over = eta * l1, 1.0 + eta * l2
    for i in range(x.size):
        v = real(x[i]) - eta * real(direction[i])
        shrunk = 0.0 if abs(v) <= by else v - math.copysign(by, v)
        x[i] = x.dtype.type(shrunk / over)


@kernel
def extrapolate(x: Vector, snapshot: Vector, y: Vector, theta: float) -> None:
    """``x <- snapshot + theta (y - snapshot)``, rounded once."""
    for i in range(x.size):
        base = real(snapshot[i])
        x[i] = x.dtype.type(base + theta * (real(y[i]) - base))


@kernel
def adamw(
    x: Vector,
    mean: Vector,
    square: Vector,
    g: Vector,
    betas: tuple[float, float],
    kept: float,
    size: float,
    root: float,
    epsilon: float,
) -> None:
    """One step of AdamW, each array rounded once.

    ``mean <- b1 mean + (1 - b1) g``, ``square <- b2 square + (1 - b2) g^2``, then ``x
    <- kept x - size mean / (sqrt(square) / root + epsilon)``.
    """
    b1, b2 = betas
    for i in range(x.size):
        m = x.dtype.type(b1 * real(mean[i]) + (1.0 - b1) * real(g[i]))
        v = x.dtype.type(b2 * real(square[i]) + (1.0 - b2) * real(g[i]) ** 2)
        mean[i], square[i] = m, v
        step = size * real(m) / (math.sqrt(real(v)) / root + epsilon)
        x[i] = x.dtype.type(kept * real(x[i]) - step)


@kernel
def add_nonzeros(out: Vector, count: np.ndarray, part: Vector) -> None:
    """``out += part``, ``count += 1`` where ``part`` is not 0, then ``part = 0``."""
    for i in range(out.size):
        out[i] += part[i]
        count[i] += np.uint16(part[i] != 0)
        part[i] = 0


@kernel
def mean_of_senders(out: Vector, count: np.ndarray) -> None:
    """``out /= max(count, 1)``."""
    for i in range(out.size):
        out[i] = out.dtype.type(real(out[i]) / max(real(count[i]), 1.0))
