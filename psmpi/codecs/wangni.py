"""Unbiased sparsification with probabilities in proportion to the magnitudes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Frame, Vector
from psmpi.codecs import validation
from psmpi.codecs.layout.sparse_values import SparseCodec
from psmpi.kernels.coins import saturating_rate, weighted_coins

# Usually a few passes are enough, but with magnitudes in a geometric series only one or
# two entries a pass reach p_i = 1.
PASSES = 50


@dataclass(frozen=True)
class Wangni(SparseCodec):
    """Entry i is kept with p_i = min(1, lambda |x_i|), as x_i / p_i.

    Parameters
    ----------
    k : float or int, default 0.1
        Expected number of entries, sum p_i: below 1 a fraction of the vector's length,
        rounded up; else a count. Where x has no more non-zeros than k, all are sent.

    Notes
    -----
    This is the unbiased sparsification of least variance for k expected entries. The
    bytes are those of ``layout.sparse_values``: header, float32 values by ascending
    index, then the shortest index stream. Values that are 0 as float32 are left out.

    ``paper_bits`` = nnz (32 + ceil(log2 dim)). Source: Wangni, Wang, Liu, Zhang,
    Gradient sparsification (NeurIPS 2018), algorithm 3.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.5, -4.0, 0.0, 2.0, 1.0, 0.0, 0.0], np.float32)
    >>> codec = Wangni(k=3)  # lambda = 2/3: p = 1/3, 1, 0, 1, 2/3, 0, 0
    >>> codec.decode(codec.encode(x, key=6), 7)
    array([ 1.5, -4. ,  0. ,  2. ,  0. ,  0. ,  0. ], dtype=float32)
    """

    k: float = 0.1

    id: ClassVar[str] = "wangni"
    wire_id: ClassVar[int] = 7
    unbiased: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", validation.amount(self.id, self.k))

    def most(self, dim: int) -> int:
        """Return dim: k is only the expected number of entries."""
        validation.count(self.id, self.k, dim)
        return dim

    def error(self, dim: int) -> float:
        """Return omega = dim / k - 1.

        The p_i minimise sum x_i^2 / p_i = E||C(x)||^2 under sum p_i <= k, and p_i = k /
        dim, which gives (dim / k) ||x||^2, is admissible.
        """
        return dim / validation.count(self.id, self.k, dim) - 1 if dim else 0.0

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        """Return the entries of ``x`` that ``key`` draws; see ``Codec.encode``."""
        validation.check_finite(self.id, x, validation.FLOAT32_LIMIT)
        rate = saturating_rate(x, validation.count(self.id, self.k, x.size), PASSES)
        if 1 / rate >= validation.FLOAT32_LIMIT:
            validation.refuse(self.id, x, "sum of magnitudes over k")
        chosen = np.empty(x.size, np.uint32)
        values = np.empty(x.size, np.float32)
        kept = weighted_coins(x, rate, key, chosen, values)
        return self.write(values[:kept], chosen[:kept], x.size, out)
