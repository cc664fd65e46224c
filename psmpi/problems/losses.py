"""Losses as functions of the scores, summed over samples, and their derivatives.

Scores ``z`` have shape (columns, samples). A loss returns sum_i l_i in float64. With
``derivative`` it overwrites ``z`` with dl_i/dz; without, the content of ``z`` is lost.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from psmpi.base import Indices
from psmpi.data.targets import Targets
from psmpi.problems.linear_layer import Array


def softmax(z: Array, y: Indices, derivative: bool) -> float:
    """Cross entropy: l_i = logsumexp(z_i) - z_i[y_i]."""
    z -= z.max(axis=0)
    flat = z.reshape(-1)
    at = _class_positions(z, y)
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
    """Logistic loss of each class against the rest: s is 1 for y_i, -1 for others."""
    sign = np.full_like(z, -1)
    sign.reshape(-1)[_class_positions(z, y)] = 1
    return signed(z, sign, derivative)


def squared(z: Array, y: Targets, derivative: bool) -> float:
    """Half the squared error: l_i = (1/2) ||z_i - y_i||^2.

    ``y`` holds real targets, shape (samples,) for one output or (samples, outputs).
    """
    z -= y.T  # for one output this broadcasts along the only row
    return 0.5 * float(np.sum(np.square(z), dtype=np.float64))


def _class_positions(z: Array, y: Indices) -> Indices:
    """Return where each sample's score of its own class is in ``z.reshape(-1)``."""
    at: Indices = y * z.shape[1]
    at += np.arange(y.size)
    return at


# The losses of perceptrons; both need one score per class.
LOSSES: dict[str, Callable[[Array, Indices, bool], float]] = {
    "softmax": softmax,
    "logistic": per_class,
}
