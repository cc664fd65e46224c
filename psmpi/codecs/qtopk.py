"""QSGD's quantiser applied to the k largest entries: Qsparse-local-SGD's QTopK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from psmpi.base import ConfigError, Frame, Vector, checks
from psmpi.codecs import validation
from psmpi.codecs.layout.sparse_codes import GroupedCodec, Scales
from psmpi.codecs.layout.topk_selection import Largest
from psmpi.codecs.stochastic import SNAP
from psmpi.kernels.grouped import group_levels, group_starts


@dataclass(frozen=True)
class QTopK(Largest, GroupedCodec):
    """The k largest entries of a block, rounded at random to s = 2^bits - 1 levels.

    Parameters
    ----------
    k : float or int, default 0.01
        Entries per block: below 1 a fraction of the block's length, rounded up; else a
        count, and blocks shorter than that are sent whole.
    bits : 1..16, default 4
        Width of a level; an entry takes one more for its sign.
    scaled : bool, default True
        If True, C(x) is divided by 1 + beta, which makes it a contraction for every k
        and s. If False, the mean of C(x) over keys is Top_k(x), and beta must be below
        1.
    block : int, optional
        Entries per block; the last block may be shorter. Without ``block`` and
        ``bounds``, the vector is one block.
    bounds : tuple of int, optional
        Block b is x[bounds[b]:bounds[b + 1]], as ``Problem.bounds`` gives the tensors
        of a model. Starts with 0, ascends, ends with the vector's length.

    Notes
    -----
    The quantiser is that of ``Stochastic`` with the l2 norm of v, the k entries of a
    block: each entry is rounded to a neighbouring multiple of ||v|| / s. So E Q(v) = v
    and E||Q(v)||^2 <= (1 + beta) ||v||^2 with beta = min(k / s^2, sqrt(k) / s), where k
    is the block's nominal count, which both ends know. The random bits of an entry
    depend on its place among all chosen entries. Entries of level 0 are not sent. The
    bytes are those of ``layout.sparse_codes`` with bits + 1 bits per entry:

    ==========================  ======================================================
    bytes                       content
    ==========================  ======================================================
    2 to 6                      header: mode and count, see ``layout.index_stream``
    ceil(B / 8)                 flags of the B blocks; absent if B = 1 or count = 0
    4 F                         norms of the F flagged blocks, float32, rounded up
    ceil((bits + 1) count / 8)  codes by ascending index: the level, 1 .. s, in the
                                lower bits, then the sign, 1 = negative
    the rest                    index stream
    ==========================  ======================================================

    ``paper_bits`` = 32 B + nnz (bits + 1 + ceil(log2 dim)). Source: Basu et al.,
    Qsparse-local-SGD (NeurIPS 2019), lemmas 1 and 2.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.5, -4.0, 0.0, 3.0, 1.0, 0.0, 0.0], np.float32)
    >>> codec = QTopK(k=2, bits=4, scaled=False)
    >>> frame = codec.encode(x, key=1)
    >>> frame.tobytes().hex(" ", -2)  # norm 5; levels 12 and 9 are exact; gaps 1 and 1
    '0002 0000 a040 3c01 0a'
    >>> codec.decode(frame, 7)
    array([ 0., -4.,  0.,  3.,  0.,  0.,  0.], dtype=float32)
    """

    bits: int = 4
    scaled: bool = True

    id: ClassVar[str] = "qtopk"
    wire_id: ClassVar[int] = 10
    unbiased: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        bits = checks.integer(self.id, "bits", self.bits, 1, 16)
        object.__setattr__(self, "bits", bits)
        scaled = validation.flag(self.id, "scaled", self.scaled)
        object.__setattr__(self, "scaled", scaled)

    @property
    def width(self) -> int:
        """Bits of a code."""
        return self.bits + 1

    def beta(self, dim: int) -> NDArray[np.float64]:
        """Return beta of every block; refuse 1 or more if not scaled."""
        counts = self.counts(dim)
        s = 2**self.bits - 1
        beta: NDArray[np.float64] = np.minimum(counts / s**2, np.sqrt(counts) / s)
        if not self.scaled and np.any(beta >= 1):
            worst = int(beta.argmax())
            raise ConfigError(
                f"qtopk: beta = {beta[worst]:.3g} at k = {counts[worst]} entries and s "
                f"= {s} levels, and without scaling it must be below 1; take more "
                "bits, a smaller k, or scaled"
            )
        return beta

    def _max_nbytes(self, dim: int) -> int:
        self.beta(dim)
        return super()._max_nbytes(dim)

    def error(self, dim: int) -> float:
        """Return 1 - min_b g_b k_b / d_b, g = 1 / (1 + beta), unscaled 1 - beta.

        E||x - a Q(v)||^2 <= ||x||^2 - 2a ||v||^2 + a^2 (1 + beta) ||v||^2, and a = 1 /
        (1 + beta) or 1, and ||v||^2 >= (k / d) ||x||^2. Holds where norms are normal
        float32.
        """
        beta = self.beta(dim)
        gain = 1 / (1 + beta) if self.scaled else 1 - beta
        return 1 - float((gain * self.shares(dim)).min(initial=1.0))

    def units(self, scales: Scales, dim: int) -> NDArray[np.float64]:
        """Return norm / s, divided by 1 + beta if scaled."""
        units: NDArray[np.float64] = scales.astype(np.float64) / (2**self.bits - 1)
        if self.scaled:
            units /= 1 + self.beta(dim)
        return units

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        """Return the norms and levels of ``x``, drawn by ``key``."""
        validation.check_finite(self.id, x)
        chosen, bounds = self.choose(x), self.blocks(x.size)
        codes = np.empty(chosen.size, np.uint32)
        bits, snap = np.uint64(self.bits), SNAP[x.itemsize]
        starts = group_starts(chosen, bounds)
        norms = group_levels(x[chosen], starts, bits, snap, key, codes)
        if not np.all(norms < np.inf):
            validation.refuse(self.id, x, "l2 norm of a block's largest entries")
        sent = (codes & np.uint32(2**self.bits - 1)) > 0
        chosen = chosen[sent]
        starts = group_starts(chosen, bounds)
        return self.write(norms, codes[sent], chosen, starts, x.size, out)
