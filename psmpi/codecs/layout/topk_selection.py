"""The choice of the k largest entries of every block, which several codecs share."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from psmpi.base import Indices, Vector
from psmpi.codecs import validation
from psmpi.codecs.layout.blocks import Blockwise, block_bounds
from psmpi.codecs.layout.index_stream import Chosen
from psmpi.codecs.layout.sparse_values import LEAST
from psmpi.kernels.select import top_k_blocks


@dataclass(frozen=True)
class Largest(Blockwise):
    """Base of codecs that send something of the k largest entries of every block.

    Parameters
    ----------
    k : float or int, default 0.01
        Entries per block: below 1 a fraction of the block's length, rounded up; else a
        count, and blocks shorter than that are sent whole.
    block : int, optional
        Entries per block; the last block may be shorter. Without ``block`` and
        ``bounds``, the vector is one block.
    bounds : tuple of int, optional
        Block b is x[bounds[b]:bounds[b + 1]], as ``Problem.bounds`` gives the tensors
        of a model. Starts with 0, ascends, ends with the vector's length.
    """

    k: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "k", validation.amount(self.id, self.k))

    def counts(self, dim: int) -> Indices:
        """Return the k of every block, int64; refuse a count above all lengths."""
        return self._counts(dim)[0]

    def most(self, dim: int) -> int:
        """Return the largest number of entries of a frame."""
        return self._counts(dim)[1]

    def shares(self, dim: int) -> np.ndarray:
        """Return k / length of every block: ||Top_k(x_b)||^2 >= share ||x_b||^2."""
        return self.counts(dim) / np.diff(self.blocks(dim))

    def choose(self, x: Vector) -> Chosen:
        """Return the ascending indices of the largest entries of every block of ``x``.

        Among equal magnitudes the lower index comes first. Entries that float32 takes
        for 0 are not chosen.
        """
        return top_k_blocks(
            x, self.blocks(x.size), self.counts(x.size), LEAST[x.itemsize]
        )

    def _counts(self, dim: int) -> tuple[Indices, int]:
        """Return the k of every block, and their sum."""
        self.blocks(dim)  # refuses bounds that don't cover the vector
        return _cached_counts(self.id, self.k, self.block, self.bounds, dim)


@functools.lru_cache(maxsize=64)  # needed several times by every message
def _cached_counts(
    id: str,
    k: float,
    block: int | None,
    bounds: tuple[int, ...] | None,
    dim: int,
) -> tuple[Indices, int]:
    # Cached by fields: a metered codec in the cache would keep its outbox alive.
    counts = validation.counts(id, k, np.diff(block_bounds(block, bounds, dim)))
    return counts, int(counts.sum())
