"""All entries as floats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Codec, Frame, Vector
from psmpi.base.arrays import buffer
from psmpi.codecs import validation
from psmpi.kernels.floats import dense_add, dense_write


@dataclass(frozen=True)
class Dense(Codec):
    """Every entry as a little-endian float, as uncompressed baselines send it.

    Parameters
    ----------
    bits : 32 or 64, default 32
        Width of a float. 32 rounds a float64 vector to nearest.

    Notes
    -----
    ======================  ====================================
    bytes                   content
    ======================  ====================================
    0 .. dim bits / 8 - 1   the entries, float32 or float64
    ======================  ====================================

    ``paper_bits`` = bits * dim. Refuses a float64 that overflows float32.

    Examples
    --------
    >>> import numpy as np
    >>> Dense().encode(np.array([1.0, -2.0], np.float32)).tobytes().hex(" ", 4)
    '0000803f 000000c0'
    """

    bits: int = 32

    id: ClassVar[str] = "dense"
    wire_id: ClassVar[int] = 1
    unbiased: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", validation.float_bits(self.id, self.bits))

    def _max_nbytes(self, dim: int) -> int:
        """Return the bytes of every frame."""
        return self.bits // 8 * dim

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        """Return bits * dim."""
        return self.bits * dim

    def error(self, dim: int) -> float:
        """Return 0, or the squared relative rounding of float64 to float32."""
        return 0.0 if self.bits == 64 else 2.0**-48

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        """Return the entries of ``x``; see ``Codec.encode``."""
        size = self._max_nbytes(x.size)
        frame = buffer(out, size)
        # From FLOAT32_LIMIT on, a float64 entry rounds to an infinite float32.
        limit = float("inf") if self.bits == 64 else validation.FLOAT32_LIMIT
        validation.check_finite(self.id, x, limit)
        dense_write(x, self.bits == 64, frame)
        return frame[:size]

    def _decode_add(self, frame: Frame, out: Vector, scale: float) -> None:
        """Add ``scale`` times the entries to ``out``; see ``Codec.decode_add``."""
        if frame.size != self._max_nbytes(out.size):
            validation.damaged(self.id, f"{frame.size} bytes for {out.size} entries")
        if not dense_add(frame, self.bits == 64, out, scale):
            validation.damaged(self.id, "an entry is not finite")
