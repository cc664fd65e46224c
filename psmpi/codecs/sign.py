"""Signs with one scale per block: EF-signSGD, dist-EF-SGD's blockwise compressor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Frame, Vector
from psmpi.base.arrays import buffer
from psmpi.codecs import validation
from psmpi.codecs.layout.blocks import Blockwise
from psmpi.kernels.scales import entries_sent
from psmpi.kernels.signs import sign_add, sign_encode, sign_feedback


@dataclass(frozen=True)
class Sign(Blockwise):
    """The sign of every entry, times the mean magnitude of its block.

    Parameters
    ----------
    block : int, optional
        Entries per block; the last block may be shorter. Without ``block`` and
        ``bounds``, the vector is one block.
    bounds : tuple of int, optional
        Block b is x[bounds[b]:bounds[b + 1]], as ``Problem.bounds`` gives the tensors
        of a model. Starts with 0, ascends, ends with the vector's length.

    Notes
    -----
    C(x)_i = (||x_b||_1 / d_b) sign(x_i) with sign(0) = sign(-0.0) = +1, so that exactly
    ||x - C(x)||^2 = ||x||^2 - sum_b ||x_b||_1^2 / d_b. The mean is computed in float64
    and cast once to float32. Blocks whose scale is 0 send no signs and decode to 0.

    ==========================  ====================================================
    bytes                       content
    ==========================  ====================================================
    0 .. 4B - 1                 scales of the B blocks, float32
    4B .. 4B + ceil(n/8) - 1    one bit per entry of the blocks with scale > 0, n in
                                all, in order, without gaps: 1 = negative, the least
                                significant first, zero padding
    ==========================  ====================================================

    ``paper_bits`` = d + 32 B, even where fewer bits are sent. Source: Zheng, Huang,
    Kwok, dist-EF-SGD (NeurIPS 2019), section 3.3; Karimireddy et al., EF-signSGD (ICML
    2019), for B = 1.

    Examples
    --------
    >>> import numpy as np
    >>> frame = Sign().encode(np.array([3.0, -1.0, 0.0, -4.0], np.float32))
    >>> frame.tobytes().hex(" ", -4)
    '00000040 0a'
    >>> Sign().decode(frame, 4)
    array([ 2., -2.,  2., -2.], dtype=float32)
    """

    id: ClassVar[str] = "sign"
    wire_id: ClassVar[int] = 4
    unbiased: ClassVar[bool] = False

    def _max_nbytes(self, dim: int) -> int:
        """Return the bytes of a frame without zero blocks."""
        return 4 * (self.blocks(dim).size - 1) + (dim + 7) // 8

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        """Return d + 32 B."""
        return dim + 32 * (self.blocks(dim).size - 1)

    def error(self, dim: int) -> float:
        """Return 1 - 1 / max_b d_b, which a block with one non-zero entry attains.

        Holds where the means of non-zero blocks are float32 above 0.
        """
        return 1 - 1 / int(np.diff(self.blocks(dim)).max(initial=1))

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        """Return the scales and the signs of ``x``; see ``Codec.encode``."""
        frame = buffer(out, self._max_nbytes(x.size))
        # An entry that isn't finite makes the block's sum so, and the size negative.
        size = sign_encode(x, self.blocks(x.size), frame)
        if size < 0:
            validation.refuse(self.id, x, "mean magnitude of a block")
        return frame[:size]

    def _encode_feedback(
        self,
        e: Vector,
        x: Vector | None,
        ratio: float,
        out: Frame | None,
        key: np.uint64,
    ) -> Frame:
        """Take the steps of error feedback in two passes.

        The bytes and ``e`` are those of the steps one by one, to the bit. Where p is
        refused, ``e`` holds it.
        """
        x = e[:0] if x is None else x  # what the kernel takes for no vector
        frame = buffer(out, self._max_nbytes(e.size))
        size = sign_feedback(e, x, ratio, self.blocks(e.size), frame)
        if size < 0:
            validation.refuse(self.id, e, "mean magnitude of a block")
        return frame[:size]

    def _decode_add(self, frame: Frame, out: Vector, scale: float) -> None:
        """Add ``scale`` times the signed scales; see ``Codec.decode_add``."""
        bounds = self.blocks(out.size)
        scales = 4 * (bounds.size - 1)
        bits = entries_sent(frame, bounds) if frame.size >= scales else 0
        if bits < 0:
            validation.damaged(self.id, "a scale is negative or not finite")
        if frame.size != scales + (bits + 7) // 8:
            validation.damaged(self.id, f"{frame.size} bytes for {out.size} entries")
        validation.check_padding(self.id, frame, bits)
        sign_add(frame, bounds, out, scale)
