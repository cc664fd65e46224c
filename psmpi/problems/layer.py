"""One dense layer's two products, block by block: scores, and their gradient.

Scores are kept transposed, (columns, samples), so that everything elementwise runs
along samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psmpi.base import Vector

Array = NDArray[np.floating[Any]]

# Columns are padded with zeros to a multiple of this, which suits the inner loops of
# BLAS: about 10 % faster at 10 columns (bench/gradient.py).
PAD = 4


class DenseLayer:
    """Scores and gradient sums for dense blocks of at most ``rows`` rows."""

    def __init__(
        self, features: int, columns: int, rows: int, dtype: np.dtype[Any]
    ) -> None:
        padded = columns if columns == 1 else -(-columns // PAD) * PAD
        self._columns = columns
        self._weights = np.zeros((padded, features), dtype)
        self._sum = np.empty((padded, features), dtype)
        self._product = np.empty((padded, features), dtype)
        self._scores = np.empty(padded * rows, dtype)
        self._bias = np.empty((columns, 1), dtype)
        self._bias_sum = np.empty(columns, np.float64)

    def load(self, x: Vector) -> None:
        """Take the parameters ``x``, and set the gradient sum to zero."""
        weights, bias = _tensors(x, self._columns)
        self._weights[: self._columns] = weights.T
        self._bias[:, 0] = bias
        self._sum[:] = 0
        self._bias_sum[:] = 0

    def scores(self, block: Any) -> Array:
        """Return the scores of ``block``, (columns, rows): lent until the next call."""
        padded, rows = self._weights.shape[0], block.shape[0]
        z = self._scores[: padded * rows].reshape(padded, rows)
        np.dot(self._weights, block.T, out=z)
        z = z[: self._columns]
        z += self._bias
        return z

    def add(self, block: Any, z: Array) -> None:
        """Add the gradient of ``block``; ``z``, from ``scores``, now holds dl/dz."""
        padded, rows = self._weights.shape[0], block.shape[0]
        whole = self._scores[: padded * rows].reshape(padded, rows)
        np.dot(whole, block, out=self._product)
        self._sum += self._product
        self._bias_sum += z.sum(axis=1, dtype=np.float64)

    def store(self, out: Vector, scale: float) -> None:
        """Write ``scale`` times the gradient sum into ``out``."""
        weights, bias = _tensors(out, self._columns)
        np.multiply(self._sum[: self._columns].T, scale, out=weights)
        np.multiply(self._bias_sum, scale, out=bias, casting="same_kind")


class SparseLayer:
    """The same for CSR blocks; the matrix is never densified."""

    def __init__(self, columns: int) -> None:
        self._columns = columns

    def load(self, x: Vector) -> None:
        """Take the parameters ``x``, and set the gradient sum to zero."""
        self._weights, self._bias = _tensors(x, self._columns)
        self._sum: Any = 0
        self._bias_sum: Any = 0

    def scores(self, block: Any) -> Array:
        """Return the scores of ``block``, (columns, rows)."""
        z: Array = np.ascontiguousarray((block @ self._weights).T)
        z += self._bias[:, None]
        return z

    def add(self, block: Any, z: Array) -> None:
        """Add the gradient of ``block``; ``z``, from ``scores``, now holds dl/dz."""
        self._sum = self._sum + block.T @ np.ascontiguousarray(z.T)
        self._bias_sum = self._bias_sum + z.sum(axis=1, dtype=np.float64)

    def store(self, out: Vector, scale: float) -> None:
        """Write ``scale`` times the gradient sum into ``out``."""
        weights, bias = _tensors(out, self._columns)
        np.multiply(self._sum, scale, out=weights)
        np.multiply(self._bias_sum, scale, out=bias, casting="same_kind")


def _tensors(x: Vector, columns: int) -> tuple[Array, Array]:
    """Views of ``x``: weights (features, columns) and bias (columns,)."""
    return x[:-columns].reshape(-1, columns), x[-columns:]
