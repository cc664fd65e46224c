"""The k entries of largest magnitude."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Frame, Vector
from psmpi.codecs import validation
from psmpi.codecs.layout.sparse_values import SparseCodec
from psmpi.codecs.layout.topk_selection import Largest


@dataclass(frozen=True)
class TopK(Largest, SparseCodec):
    """The k entries of largest magnitude of every block, as float32.

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

    Notes
    -----
    Among equal magnitudes the lower index comes first. Zeros are never sent, so a block
    with fewer than k non-zeros sends fewer entries. The bytes are those of
    ``layout.sparse_values``, with or without blocks: header, float32 values by
    ascending index, then the shortest index stream.

    ``paper_bits`` = nnz (32 + ceil(log2 dim)). Source: Stich, Cordonnier, Jaggi,
    Sparsified SGD with memory (NeurIPS 2018); Basu et al., Qsparse-local-SGD (NeurIPS
    2019), definition 3, whose authors' code has k = 1000 per tensor. Raises ConfigError
    where a count exceeds the length of every block.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.5, -4.0, 0.0, 2.0, 1.0, 0.0, 0.0], np.float32)
    >>> TopK(k=2).encode(x).tobytes().hex(" ", -2)  # mode 0; gaps 1 and 1 as 01 01
    '0002 0000 80c0 0000 0040 0a'
    >>> TopK(k=1, block=3).decode(TopK(k=1, block=3).encode(x), 7)
    array([ 0., -4.,  0.,  2.,  0.,  0.,  0.], dtype=float32)
    """

    id: ClassVar[str] = "topk"
    wire_id: ClassVar[int] = 5
    unbiased: ClassVar[bool] = False

    def error(self, dim: int) -> float:
        """Return 1 - min_b k_b / d_b, which a block of equal magnitudes attains."""
        return 1 - float(self.shares(dim).min(initial=1.0))

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        """Return the largest entries of ``x``; see ``Codec.encode``."""
        validation.check_finite(self.id, x, validation.FLOAT32_LIMIT)
        chosen = self.choose(x)
        return self.write(x[chosen], chosen, x.size, out)
