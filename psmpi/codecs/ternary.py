"""TernGrad: every entry becomes 0 or plus or minus the largest entry, at random."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import ConfigError, Frame, Vector
from psmpi.base.arrays import buffer
from psmpi.codecs import validation
from psmpi.codecs.layout.blocks import Blockwise
from psmpi.kernels.scales import entries_sent
from psmpi.kernels.trits import ternary_add, ternary_encode, trits_ok


@dataclass(frozen=True)
class Ternary(Blockwise):
    """Every entry becomes s sign(x_i) with probability |x_i| / s, else 0.

    Parameters
    ----------
    clip : float, default 0.0
        Entries are first clipped to this many standard deviations of their block; 0
        means no clipping. Blocks of equal entries are not clipped. The source takes
        2.5.
    block : int, optional
        Entries per block; the last block may be shorter. Without ``block`` and
        ``bounds``, the vector is one block.
    bounds : tuple of int, optional
        Block b is x[bounds[b]:bounds[b + 1]], as ``Problem.bounds`` gives the tensors
        of a model. Starts with 0, ascends, ends with the vector's length.

    Notes
    -----
    s is the largest |x_i| of the block, rounded up to float32. Without clipping
    E[C(x)] = x over keys, up to 2^-31 s and 2^-23 |x_i| (2^-50 |x_i| for float64) as in
    ``Stochastic``; entries with |x_i| = s are always sent. Blocks of scale 0 send no
    trits and decode to 0.

    ==========================  ====================================================
    bytes                       content
    ==========================  ====================================================
    0 .. 4B - 1                 scales of the B blocks, float32
    4B .. 4B + ceil(n/5) - 1    one trit per entry of the blocks with scale > 0, n
                                in all, in order, without gaps: 0 zero, 1 plus, 2
                                minus; five to a byte, the first one the least
                                significant to the base 3, zero padding
    ==========================  ====================================================

    ``paper_bits`` = 32 B + 2 d, or 32 B if all scales are 0. A trit takes 1.6 bits on
    the wire.
    Source: Wen et al., TernGrad (NeurIPS 2017).

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([1.0, -4.0, 0.0, 2.0, -3.0, 4.0], np.float32)
    >>> frame = Ternary().encode(x, key=7)
    >>> frame.tobytes().hex(" ", -4)  # 0 + 3 * 2 + 27 * 1, then 1
    '00008040 2101'
    >>> Ternary().decode(frame, 6)
    array([ 0., -4.,  0.,  4.,  0.,  4.], dtype=float32)
    """

    clip: float = 0.0

    id: ClassVar[str] = "ternary"
    wire_id: ClassVar[int] = 12

    def __post_init__(self) -> None:
        super().__post_init__()
        clip = validation.real(self.clip)
        if not 0 <= clip < math.inf:
            raise ConfigError(
                f"{self.id}: clip must be 0 (none) or a number of standard deviations, "
                f"got {self.clip!r}"
            )
        object.__setattr__(self, "clip", clip)

    @property
    def unbiased(self) -> bool:
        """Whether nothing is clipped."""
        return self.clip == 0

    def _max_nbytes(self, dim: int) -> int:
        """Return the bytes of a frame without zero blocks."""
        return 4 * (self.blocks(dim).size - 1) + (dim + 4) // 5

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        """Return 32 B + 2 d, or 32 B if the frame is zero scales alone."""
        scales = self.blocks(dim).size - 1
        return 32 * scales + (2 * dim if frame.size > 4 * scales else 0)

    def error(self, dim: int) -> float:
        """Return omega = (sqrt(d) - 1) / 2, d = max_b d_b; with clipping at least 1.

        A block's variance is sum |x_i| (s - |x_i|) = s ||x||_1 - ||x||^2. Over ||x||^2
        this is largest for one entry s = 1 and d - 1 entries a = 1 / (1 + sqrt(d)),
        where ||x||_1 = sqrt(d) and ||x||^2 = 2 sqrt(d) / (1 + sqrt(d)).

        Clipped to x', the error is E||C(x') - x'||^2 + ||x' - x||^2, at most omega
        ||x'||^2 + ||x' - x||^2, and ||x'||^2 + ||x' - x||^2 <= ||x||^2 as x'_i and x_i
        - x'_i have the same sign. Holds where the scales are normal float32.
        """
        longest = int(np.diff(self.blocks(dim)).max(initial=1))
        omega = (math.sqrt(longest) - 1) / 2
        return max(omega, 1.0) if self.clip else omega

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        """Return the scales and the trits of ``x``, drawn by ``key``."""
        bounds = self.blocks(x.size)
        frame = buffer(out, self._max_nbytes(x.size))
        # The rounding of x's type; for float64 also that of the four operations.
        snap = 2.0**-23 if x.dtype == np.float32 else 2.0**-50
        size = ternary_encode(x, bounds, self.clip, snap, key, frame)
        if size < 0:
            validation.refuse(self.id, x, "largest entry")
        return frame[:size]

    def _decode_add(self, frame: Frame, out: Vector, scale: float) -> None:
        """Add ``scale`` times the trits and scales; see ``Codec.decode_add``."""
        bounds = self.blocks(out.size)
        scales = 4 * (bounds.size - 1)
        count = entries_sent(frame, bounds) if frame.size >= scales else 0
        if count < 0:
            validation.damaged(self.id, "a scale is negative or not finite")
        if frame.size != scales + (count + 4) // 5:
            validation.damaged(self.id, f"{frame.size} bytes for {out.size} entries")
        if not trits_ok(frame[scales:], count):
            validation.damaged(
                self.id, "a byte is not five trits, or its padding not zero"
            )
        ternary_add(frame, bounds, out, scale)
