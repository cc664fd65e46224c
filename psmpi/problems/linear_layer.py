"""The two matrix products of one linear layer, block by block: scores and gradient.

Scores are stored transposed, (columns, samples), so that elementwise operations run
along samples.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from psmpi.base import Indices, Vector

Array = NDArray[np.floating[Any]]

# Columns are padded with zeros to a multiple of this, which suits the inner loops of
# BLAS: it gains 2 to 20 % with 10 columns on 600 rows, and nothing that could be
# measured on 6000 rows (bench/gradient.py).
PAD = 4


class Model(Protocol):
    """Computes scores of row blocks, and sums the blocks' gradients.

    Calls come in this order: ``load``, then ``scores`` and maybe ``add`` for each
    block, then ``store``.
    """

    def load(self, x: Vector, out: Vector | None = None, scale: float = 1.0) -> None:
        """Set the parameters to ``x``; start a sum of gradients for ``out``."""

    def scores(self, block: Any) -> Array:
        """Return scores of ``block``, (columns, rows); valid until the next call."""

    def add(self, block: Any, z: Array) -> None:
        """Add the gradient of ``block``; ``z``, from ``scores``, now holds dl/dz."""

    def store(self) -> None:
        """Complete ``out``: from here on it holds ``scale`` times the gradient sum."""


class DenseLayer:
    """Scores and gradient sums for dense blocks of at most ``rows`` rows."""

    def __init__(
        self, features: int, columns: int, rows: int, dtype: np.dtype[Any]
    ) -> None:
        padded = columns if columns == 1 else -(-columns // PAD) * PAD
        self._columns, self._padded = columns, padded
        self._sum = np.empty((padded, features), dtype)
        self._product = np.empty((padded, features), dtype)
        self._rowwise = np.empty((rows, columns), dtype)
        self._scores = np.empty(padded * rows, dtype)
        self._bias_sum = np.empty(columns, np.float64)

    def load(self, x: Vector, out: Vector | None = None, scale: float = 1.0) -> None:
        """Set the parameters to ``x``; start a sum of gradients for ``out``."""
        self._weights, self._bias = _tensors(x, self._columns)
        self._out, self._scale = out, scale
        self._sum[:] = 0
        self._bias_sum[:] = 0

    def scores(self, block: Any) -> Array:
        """Return scores of ``block``, (columns, rows); valid until the next call."""
        # This product is fastest with samples as rows, the one in ``add`` with samples
        # as columns; hence the scores are transposed here.
        rowwise = self._rowwise[: block.shape[0]]
        np.dot(block, self._weights, out=rowwise)
        whole = self._whole(block.shape[0])
        whole[self._columns :] = 0
        z = whole[: self._columns]
        np.add(rowwise.T, self._bias[:, None], out=z)
        return z

    def add(self, block: Any, z: Array) -> None:
        """Add the gradient of ``block``; ``z``, from ``scores``, now holds dl/dz."""
        np.dot(self._whole(block.shape[0]), block, out=self._product)
        self._sum += self._product
        self._bias_sum += z.sum(axis=1, dtype=np.float64)

    def store(self) -> None:
        """Write ``scale`` times the gradient sum into ``out``."""
        if self._out is not None:
            weights, bias = _tensors(self._out, self._columns)
            np.multiply(self._sum[: self._columns].T, self._scale, out=weights)
            np.multiply(self._bias_sum, self._scale, out=bias, casting="same_kind")

    def _whole(self, rows: int) -> Array:
        """Return the buffer of ``rows`` samples' scores, with the padding."""
        return self._scores[: self._padded * rows].reshape(self._padded, rows)


class SparseLayer:
    """Scores and gradient sums for CSR blocks, which are never made dense."""

    def __init__(self, columns: int) -> None:
        self._columns = columns

    def load(self, x: Vector, out: Vector | None = None, scale: float = 1.0) -> None:
        """Set the parameters to ``x``; start a sum of gradients for ``out``."""
        self._weights, self._bias = _tensors(x, self._columns)
        self._out, self._scale = out, scale
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

    def store(self) -> None:
        """Write ``scale`` times the gradient sum into ``out``."""
        if self._out is not None:
            weights, bias = _tensors(self._out, self._columns)
            np.multiply(self._sum, self._scale, out=weights)
            np.multiply(self._bias_sum, self._scale, out=bias, casting="same_kind")


def add_sparse_gradient(block: Any, z: Array, out: Vector) -> Indices:
    """Add the gradient of a CSR ``block`` to ``out``; return where it may not be 0.

    ``z`` is dl/dz, shape (columns, rows). The indices are int64 and ascending, and
    include those of the bias. Takes O(non-zeros), whatever the number of features is.
    """
    columns = z.shape[0]
    weights, bias = _tensors(out, columns)
    row = np.repeat(np.arange(z.shape[1]), np.diff(block.indptr))
    for column, slopes in enumerate(z):
        np.add.at(weights[:, column], block.indices, block.data * slopes[row])
    bias += z.sum(axis=1, dtype=np.float64)
    # np.unique uses a hash table, which would take as long as everything else here.
    used = np.sort(np.append(block.indices, len(weights)))
    first = used[np.diff(used, prepend=-1) > 0].astype(np.int64)
    support: Indices = (columns * first[:, None] + np.arange(columns)).reshape(-1)
    return support


def _tensors(x: Vector, columns: int) -> tuple[Array, Array]:
    """Return views of ``x``: weights (features, columns) and bias (columns,)."""
    return x[:-columns].reshape(-1, columns), x[-columns:]
