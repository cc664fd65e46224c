"""LAQ's quantiser: nearest point of a uniform grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Codec, Frame, Vector, checks
from psmpi.base.arrays import buffer
from psmpi.codecs import validation
from psmpi.kernels.rounding import nearest_add, nearest_encode


@dataclass(frozen=True)
class Uniform(Codec):
    """Every entry becomes the nearest of 2^bits values between -R and R = max |x_i|.

    Parameters
    ----------
    bits : 1..16, default 4
        Width b of a code.

    Notes
    -----
    The values are evenly spaced. With tau = 1 / (2^b - 1) the codes are
    q_i = floor((x_i + R) / (2 tau R) + 1/2). They are decoded as 2 tau R q_i - R,
    evaluated in float64 with the R of the frame. Deterministic and biased; ties go up.
    |error_i| <= tau R.

    ====================  ============================================================
    bytes                 content
    ====================  ============================================================
    0 .. 3                R, float32
    4 .. 3 + ceil(b d/8)  codes of b bits, the least significant first, zero padding;
                          absent if R = 0, when x is zero
    ====================  ============================================================

    ``paper_bits`` = 32 + b dim, or 32 for the zero vector. Source: Sun et al., LAQ
    (NeurIPS 2019), equations (5) and (6).

    Examples
    --------
    >>> import numpy as np
    >>> Uniform(bits=4).encode(np.array([1.0, -1.0, 0.2], np.float32)).tobytes().hex()
    '0000803f0f09'
    """

    bits: int = 4

    id: ClassVar[str] = "uniform"
    wire_id: ClassVar[int] = 2
    unbiased: ClassVar[bool] = False

    def __post_init__(self) -> None:
        bits = checks.integer(self.id, "bits", self.bits, 1, 16)
        object.__setattr__(self, "bits", bits)

    def _max_nbytes(self, dim: int) -> int:
        """Return the bytes of the frame of any but the zero vector."""
        return 4 + (self.bits * dim + 7) // 8

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        """Return 32 + bits * dim, or 32 if the frame is R = 0 alone."""
        return 32 if frame.size == 4 else 32 + self.bits * dim

    def error(self, dim: int) -> float:
        """Return (dim - 1) tau^2: the largest entry is exact, the others within tau R.

        Holds where max |x_i| is a normal float32; a smaller one may be sent as zero.
        """
        return float(max(dim - 1, 0) / (2**self.bits - 1) ** 2)

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        """Return R and the codes of ``x``; see ``Codec.encode``."""
        size = self._max_nbytes(x.size)
        frame = buffer(out, size)
        radius = nearest_encode(x, np.uint64(self.bits), frame)
        if not math.isfinite(radius):
            validation.refuse(self.id, x)
        return frame[: size if radius else 4]

    def _decode_add(self, frame: Frame, out: Vector, scale: float) -> None:
        """Add ``scale`` times the grid points to ``out``; see ``Codec.decode_add``."""
        size = self._max_nbytes(out.size)
        if validation.is_zero(self.id, frame, size, out.size):
            return
        validation.check_padding(self.id, frame, self.bits * out.size)
        nearest_add(frame, np.uint64(self.bits), out, scale)
