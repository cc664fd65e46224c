"""Signs of the k largest entries: Qsparse-local-SGD's SignTopK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Frame, Vector
from psmpi.codecs import validation
from psmpi.codecs.layout.sparse_codes import GroupedCodec
from psmpi.codecs.layout.topk_selection import Largest
from psmpi.kernels.grouped import group_means, group_starts


@dataclass(frozen=True)
class SignTopK(Largest, GroupedCodec):
    """The signs of the k largest entries of a block, times their mean magnitude.

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
    Let v_b = Top_k(x_b) have n_b <= k non-zeros. There C(x)_i = (||v_b||_1 / n_b)
    sign(x_i), and 0 elsewhere, so that exactly ||x - C(x)||^2 = ||x||^2 - sum_b
    ||v_b||_1^2 / n_b. Zeros are never sent: in a block with fewer than k non-zeros the
    mean is over these. It is computed in float64 and cast once to float32. The bytes
    are those of ``layout.sparse_codes`` with one bit per entry:

    ==========================  ======================================================
    bytes                       content
    ==========================  ======================================================
    2 to 6                      header: mode and count, see ``layout.index_stream``
    ceil(B / 8)                 flags of the B blocks; absent if B = 1 or count = 0
    4 F                         scales of the F flagged blocks, float32
    ceil(count / 8)             signs by ascending index, 1 = negative
    the rest                    index stream
    ==========================  ======================================================

    ``paper_bits`` = 32 B + nnz (1 + ceil(log2 dim)). Source: Basu et al.,
    Qsparse-local-SGD (NeurIPS 2019), lemma 3 with m = 1.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.5, -4.0, 0.0, 2.0, 1.0, 0.0, 0.0], np.float32)
    >>> frame = SignTopK(k=2).encode(x)
    >>> frame.tobytes().hex(" ", -2)  # mean 3; signs 1, 0; gaps 1 and 1
    '0002 0000 4040 010a'
    >>> SignTopK(k=2).decode(frame, 7)
    array([ 0., -3.,  0.,  3.,  0.,  0.,  0.], dtype=float32)
    """

    id: ClassVar[str] = "signtopk"
    wire_id: ClassVar[int] = 9
    unbiased: ClassVar[bool] = False

    def error(self, dim: int) -> float:
        """Return 1 - min_b min(k_b / d_b, 1 / k_b), the least possible bound.

        In a block, delta = ||v||_1^2 / (n ||x||^2). With fewer than k non-zeros, x = v
        and delta >= 1 / n > 1 / k. Otherwise let t > 0 be the k-th magnitude. The
        entries not in v add at most (d - k) t^2 to ||x||^2. Among all v with this sum
        and least magnitude t, ||v||^2 is largest for k - 1 entries t and one M >= t.
        With t = 1 this leaves (M + k - 1)^2 / (k (M^2 + d - 1)), which rises until
        M = (d - 1) / (k - 1) and then falls. So it is least either at M = 1 (equal
        magnitudes), where it is k / d, or in the limit of large M, where it is 1 / k.
        """
        least = np.minimum(self.shares(dim), 1 / self.counts(dim))
        return 1 - float(least.min(initial=1.0))

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        """Return the signs of the largest entries of ``x``; see ``Codec.encode``."""
        validation.check_finite(self.id, x)
        chosen = self.choose(x)
        values = x[chosen]
        starts = group_starts(chosen, self.blocks(x.size))
        scales = group_means(values, starts)
        if not np.all(scales < np.inf):
            validation.refuse(self.id, x, "mean magnitude of a block's largest entries")
        codes = (values < 0).astype(np.uint32)
        return self.write(scales, codes, chosen, starts, x.size, out)
