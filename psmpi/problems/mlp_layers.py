"""Forward and backward pass of fully connected layers over a block of rows.

::

    a_0 = the block,  a_l = act(a_{l-1} W_l + b_l),  z = a_{L-1} W_L + b_L
    d_L = dl/dz,      d_l = d_{l+1} W_{l+1}^T * act'(a_l)
    dW_l = a_{l-1}^T d_l,  db_l = sum of the rows of d_l

Samples are rows, except in the scores, which have shape (columns, samples) as those of
``linear_layer``, so that the losses run along samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from psmpi.base import Vector
from psmpi.problems.linear_layer import Array

Fans = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Activation:
    """An activation function, applied in place.

    ``apply`` overwrites z with a = act(z). ``slope`` multiplies ``d`` by act'(z), which
    it computes from a; the content of a is lost.
    """

    apply: Callable[[Array], object]
    slope: Callable[[Array, Array], object]


def _relu_slope(a: Array, d: Array) -> None:
    np.multiply(d, a > 0, out=d)


def _tanh_slope(a: Array, d: Array) -> None:
    np.multiply(a, a, out=a)
    np.subtract(1, a, out=a)
    d *= a


def _sigmoid(z: Array) -> None:
    """Compute 1 / (1 + exp(-z)) = (1 + tanh(z / 2)) / 2, which can't overflow."""
    z *= 0.5
    np.tanh(z, out=z)
    z += 1
    z *= 0.5


def _sigmoid_slope(a: Array, d: Array) -> None:
    d *= a
    np.subtract(1, a, out=a)
    d *= a


ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(lambda z: np.maximum(z, 0, out=z), _relu_slope),
    "tanh": Activation(lambda z: np.tanh(z, out=z), _tanh_slope),
    "sigmoid": Activation(_sigmoid, _sigmoid_slope),
}


class MlpLayers:
    """Scores and gradient sums for blocks, dense or CSR, of at most ``rows`` rows.

    ``fans`` gives (inputs, outputs) of each layer. Only the first layer's products use
    a CSR block, which is never made dense.
    """

    def __init__(
        self, fans: Fans, activation: Activation, rows: int, dtype: np.dtype[Any]
    ) -> None:
        self._fans, self._activation = fans, activation
        # Unused parts of these buffers take no memory: the system assigns pages when
        # they are first written.
        self._units = [np.empty((rows, outputs), dtype) for _, outputs in fans]
        self._back = [np.empty((rows, outputs), dtype) for _, outputs in fans[:-1]]
        self._scores = np.empty(rows * fans[-1][1], dtype)
        self._product = np.empty(max(i * outputs for i, outputs in fans), dtype)

    def load(self, x: Vector, out: Vector | None = None, scale: float = 1.0) -> None:
        """Set the parameters to ``x``; start a sum of gradients for ``out``."""
        self._layers = _tensors(x, self._fans)
        # ``out`` itself holds the sum, from scaled dl/dz: with small batches,
        # further passes over a vector of this length would take noticeable time.
        self._sums = [] if out is None else _tensors(out, self._fans)
        self._scale = scale
        self._empty = True

    def scores(self, block: Any) -> Array:
        """Return scores of ``block``, (columns, rows); valid until the next call."""
        rows = block.shape[0]
        a, self._inputs = block, [block]
        for units, (weights, bias) in zip(self._units, self._layers, strict=True):
            z = _times(a, weights, units[:rows])
            if units is self._units[-1]:
                break
            z += bias
            self._activation.apply(z)
            a = z
            self._inputs.append(a)
        scores = self._scores[: z.size].reshape(-1, rows)
        np.add(z.T, bias[:, None], out=scores)
        return scores

    def add(self, block: Any, z: Array) -> None:
        """Add the gradient of ``block``; ``z``, from ``scores``, now holds dl/dz."""
        z *= self._scale
        d = z.T
        for i in reversed(range(len(self._layers))):
            a = self._inputs[i]
            self._add(i, a, d)
            if i:
                weights, _ = self._layers[i]
                d = np.dot(d, weights.T, out=self._back[i - 1][: z.shape[1]])
                self._activation.slope(a, d)
        self._empty = False

    def store(self) -> None:
        """Do nothing: ``out`` holds ``scale`` times the gradient sum already."""

    def _add(self, i: int, a: Any, d: Array) -> None:
        """Add the gradient a^T d of layer ``i``; the first block overwrites instead."""
        weights, bias = self._sums[i]
        if self._empty:
            product = _times(a.T, d, weights)
            if product is not weights:
                weights[:] = product
            np.add.reduce(d, axis=0, out=bias)
            return
        weights += _times(a.T, d, self._product[: weights.size].reshape(weights.shape))
        bias += np.add.reduce(d, axis=0)


def _times(a: Any, b: Array, out: Array) -> Array:
    """Return a b, in ``out`` where ``a`` is dense."""
    if isinstance(a, np.ndarray):
        return np.dot(a, b, out=out)
    product: Array = a @ b
    return product


def _tensors(x: Vector, fans: Fans) -> list[tuple[Array, Array]]:
    """Return views of ``x``: each layer's weights (inputs, outputs) and bias."""
    tensors = []
    at = 0
    for inputs, outputs in fans:
        end = at + inputs * outputs
        weights = x[at:end].reshape(inputs, outputs)
        tensors.append((weights, x[end : end + outputs]))
        at = end + outputs
    return tensors
