"""Blocks of a vector: the tensors of a model, or blocks of a fixed size."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np

from psmpi.base import Codec, ConfigError, Indices, checks
from psmpi.codecs import validation


@dataclass(frozen=True)
class Blockwise(Codec):
    """Base of codecs that treat every block of a vector by itself.

    Parameters
    ----------
    block : int, optional
        Entries per block; the last block may be shorter. Without ``block`` and
        ``bounds``, the vector is one block.
    bounds : tuple of int, optional
        Block b is x[bounds[b]:bounds[b + 1]], as ``Problem.bounds`` gives the tensors
        of a model. Starts with 0, ascends, ends with the vector's length.
    """

    block: int | None = field(default=None, kw_only=True)
    bounds: tuple[int, ...] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.block is not None:
            if self.bounds is not None:
                raise ConfigError(
                    f"{self.id}: block and bounds exclude each other; give one"
                )
            block = checks.integer(self.id, "block", self.block, 1, None)
            object.__setattr__(self, "block", block)
        if self.bounds is not None:
            object.__setattr__(self, "bounds", validation.bounds(self.id, self.bounds))

    def blocks(self, dim: int) -> Indices:
        """Return the B + 1 bounds of the blocks of a vector of length ``dim``, int64.

        Raises ConfigError for bounds that don't cover the vector.
        """
        dim = checks.length(self.id, dim)
        if self.bounds is not None and self.bounds[-1] != dim:
            raise ConfigError(
                f"{self.id}: bounds cover {self.bounds[-1]} entries, the vector has "
                f"{dim}; end them with {dim}"
            )
        return block_bounds(self.block, self.bounds, dim)


@functools.lru_cache(maxsize=64)  # needed by every message
def block_bounds(
    block: int | None, bounds: tuple[int, ...] | None, dim: int
) -> Indices:
    """Return the B + 1 bounds that the options ``block`` and ``bounds`` mean, int64."""
    if bounds is not None:
        return np.array(bounds, np.int64)
    starts = np.arange(0, dim, block or max(dim, 1), dtype=np.int64)
    return np.append(starts, np.int64(dim))
