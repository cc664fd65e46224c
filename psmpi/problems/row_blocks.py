"""Iterates over a feature matrix in row blocks that stay in the processor's cache.

A gradient reads each row twice: for the scores, and for the product of the rows with
the losses' derivatives. In blocks of two megabytes the second read comes from cache,
and raw bytes or other dtypes are converted block by block, never as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from psmpi.base import ConfigError, Indices
from psmpi.data.dataset import Features, convert, is_sparse

# Measured for 6000 x 784 x 10 in float32 (bench/gradient.py): 1/2 to 4 MiB are equally
# fast; 128 KiB takes 50 % longer, the whole matrix as one block 20 % longer.
BLOCK_BYTES = 2**21
_LEAST_ROWS = 64


class Blocks:
    """The rows of a feature matrix as floats of a requested dtype.

    Buffers are kept between walks: use an object from one thread at a time. A block is
    valid until the next one. ``width`` is how many numbers per row a caller computes
    from a block and keeps until the next block; they should fit into the cache too.
    """

    def __init__(self, x: Features, divisor: float, width: int = 0) -> None:
        self._x = x
        self._divisor = divisor
        self._width = width
        self._sparse = is_sparse(x)
        self._buffers: dict[Any, Any] = {}
        self.scratch: dict[Any, Any] = {}  # for a caller's own buffers

    def rows(self, dtype: np.dtype[Any]) -> int:
        """Return the number of rows of every block but the last."""
        samples, features = self._x.shape
        if self._sparse and not self._width:
            return int(samples)
        wide = self._width if self._sparse else max(features, self._width)
        # The gradient of CSR rows is dense: with at least as many rows as features, the
        # cost of summing it does not exceed the cost of computing it.
        least = max(_LEAST_ROWS, features) if self._sparse else _LEAST_ROWS
        return int(min(max(BLOCK_BYTES // (wide * dtype.itemsize), least), samples))

    def walk(
        self, dtype: np.dtype[Any], batch: Indices | None = None
    ) -> Iterator[tuple[slice, Any]]:
        """Yield (positions, block) for all rows, or for the rows that ``batch`` lists.

        ``positions`` is a slice of the walk: a block holds the rows
        ``batch[positions]``. Without a ``width``, a sparse matrix is one block, because
        its products read it once in any case.
        """
        if batch is not None:
            _check(batch, self._x.shape[0])
        x = self._cast(dtype) if self._sparse else self._x
        count = x.shape[0] if batch is None else batch.size
        step = count if self._sparse and not self._width else self.rows(dtype)
        if self._sparse and batch is None and step >= count:
            yield slice(0, count), x  # slicing a sparse matrix copies it
            return
        for start in range(0, count, step):
            where = slice(start, min(start + step, count))
            part = x[where if batch is None else batch[where]]
            yield where, part if self._sparse else self._converted(part, dtype)

    def _converted(self, part: Any, dtype: np.dtype[Any]) -> Any:
        if part.dtype == dtype:
            return part
        buffer = self._buffers.get(dtype)
        if buffer is None:
            shape = (self.rows(dtype), self._x.shape[1])
            buffer = self._buffers[dtype] = np.empty(shape, dtype)
        out = buffer[: part.shape[0]]
        convert(part, self._divisor, out)
        return out

    def _cast(self, dtype: np.dtype[Any]) -> Any:
        if self._x.dtype == dtype:
            return self._x
        if dtype not in self._buffers:
            self._buffers[dtype] = self._x.astype(dtype)
        return self._buffers[dtype]


def _check(batch: Indices, samples: int) -> None:
    if batch.ndim != 1 or batch.dtype.kind not in "iu" or batch.size == 0:
        raise ConfigError(
            "batch: must be a one-dimensional array of at least one sample index, got "
            f"shape {batch.shape} of {batch.dtype}"
        )
    low, high = int(batch.min()), int(batch.max())
    if low < 0 or high >= samples:
        raise ConfigError(
            f"batch: sample indices must lie in 0 .. {samples - 1}, got {low} .. {high}"
        )
