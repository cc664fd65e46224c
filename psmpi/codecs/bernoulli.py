"""Random sparsification that sends a key of eight bytes instead of indices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Codec, Frame, Vector
from psmpi.base.arrays import buffer
from psmpi.codecs import validation
from psmpi.kernels.coins import coin_add, coin_gather
from psmpi.kernels.reduce import max_abs


def single(value: float) -> float:
    """Return ``value`` rounded to float32, without a warning if that is infinite."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))


@dataclass(frozen=True)
class Bernoulli(Codec):
    """Every entry is kept with the same probability k, and scaled by 1 / k.

    Parameters
    ----------
    k : float or int, default 0.5
        Below 1 the probability; else the expected number of entries kept.

    Notes
    -----
    Which entries are kept is a function of the 64-bit key alone. The key is sent in
    place of the indices, and the receiver draws the same random numbers in O(dim). The
    probability is rounded to a multiple of 2^-32, and values are divided by the rounded
    probability, so there is no bias.

    ===================  ============================================================
    bytes                content
    ===================  ============================================================
    0 .. 7               key, uint64
    8 .. 8 + 4 nnz - 1   the kept entries (zeros too) before scaling, float32
    ===================  ============================================================

    ``paper_bits`` = 32 nnz, as LAQ's authors count their SSGD baseline (Sun et al.,
    NeurIPS 2019). Raises ConfigError where x / k overflows float32.

    Examples
    --------
    >>> import numpy as np
    >>> codec = Bernoulli(k=0.5)
    >>> frame = codec.encode(np.array([1, 2, 3, 4], np.float32), key=5)
    >>> frame.tobytes().hex(" ", 4)
    '05000000 00000000 0000803f 00004040'
    >>> codec.decode(frame, 4)
    array([2., 0., 6., 0.], dtype=float32)
    """

    k: float = 0.5

    id: ClassVar[str] = "bernoulli"
    wire_id: ClassVar[int] = 6
    is_sparse: ClassVar[bool] = True
    unbiased: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", validation.amount(self.id, self.k))

    def _limit(self, dim: int) -> int:
        """Return the probability in units of 2^-32."""
        share = self.k
        if share >= 1:
            share = validation.count(self.id, self.k, dim) / max(dim, 1)
        return max(1, round(share * 2**32))

    def _max_nbytes(self, dim: int) -> int:
        """Return the bytes of a frame with all entries."""
        self._limit(dim)
        return 8 + 4 * dim

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        """Return 32 nnz."""
        return 8 * (frame.size - 8)

    def error(self, dim: int) -> float:
        """Return omega = 1 / k - 1."""
        return 2**32 / self._limit(dim) - 1

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        """Return the key and the entries that it draws; see ``Codec.encode``."""
        limit = self._limit(x.size)
        frame = buffer(out, self._max_nbytes(x.size))
        # Tested as float32, which is what the receiver gets and tests in the same way.
        if not single(max_abs(x)) * (2**32 / limit) < validation.FLOAT32_LIMIT:
            validation.refuse(self.id, x, "largest entry divided by k")
        return frame[: coin_gather(x, key, np.uint64(limit), frame)]

    def _decode_add(self, frame: Frame, out: Vector, scale: float) -> None:
        """Add ``scale / k`` times the values to ``out``; see ``Codec.decode_add``."""
        limit = self._limit(out.size)
        if frame.size < 8 or frame.size > self._max_nbytes(out.size):
            validation.damaged(self.id, f"{frame.size} bytes for {out.size} entries")
        if not coin_add(frame, np.uint64(limit), out, scale):
            validation.damaged(self.id, "not one finite value per drawn entry")
