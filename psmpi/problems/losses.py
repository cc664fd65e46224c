"""Losses of scores, summed over samples, and their derivatives in place.

Scores ``z`` have shape (columns, samples). A loss returns sum_i l_i in float64; with
``derivative`` it overwrites ``z`` with dl_i/dz, without it ``z`` is scratch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from psmpi.base import Indices
from psmpi.problems.linear_layer import Array


def softmax(z: Array, y: Indices, derivative: bool) -> float:
    """Cross entropy: l_i = logsumexp(z_i) - z_i[y_i]."""
    z -= z.max(axis=0)
    flat = z.reshape(-1)
    at = _own(z, y)
    picked = flat[at]
    np.exp(z, out=z)
    norm = z.sum(axis=0)
    if derivative:
        z /= norm
        flat[at] -= 1
    return float(np.sum(np.log(norm) - picked, dtype=np.float64))


def signed(z: Array, sign: Array, derivative: bool) -> float:
    """Logistic loss of every score: log(1 + exp(-s z)), with ``sign`` s = -1 or 1."""
    z *= sign
    decay = np.exp(-np.abs(z))  # never overflows
    losses = np.log1p(decay) - np.minimum(z, 0)
    if derivative:
        z[:] = np.where(z > 0, decay, 1) / (1 + decay)
        z *= -sign
    return float(np.sum(losses, dtype=np.float64))


def per_class(z: Array, y: Indices, derivative: bool) -> float:
    """Logistic loss of every class against the rest: s is 1 at y_i and -1 elsewhere."""
    sign = np.full_like(z, -1)
    sign.reshape(-1)[_own(z, y)] = 1
    return signed(z, sign, derivative)


def _own(z: Array, y: Indices) -> Indices:
    """Where each sample's score of its own class is in ``z.reshape(-1)``."""
    at: Indices = y * z.shape[1]
    at += np.arange(y.size)
    return at


# What a perceptron can be trained with: one score per class in both.
LOSSES: dict[str, Callable[[Array, Indices, bool], float]] = {
    "softmax": softmax,
    "logistic": per_class,
}
