"""Natural compression: every entry is rounded at random to a power of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Codec, ConfigError, Frame, FrameError, Vector

_BITS = 9  # the sign and the eight bits of a float32's exponent
_TINY = 2.0**-126  # the least normal float32
_LARGEST = 2.0**127  # the largest power of two in float32


@dataclass(frozen=True)
class Natural(Codec):
    """Every entry is rounded at random to one of the two powers of two around it.

    Notes
    -----
    For 2^a <= |x_i| < 2^(a+1) the magnitude becomes 2^(a+1) with probability
    (|x_i| - 2^a) / 2^a, else 2^a, so that E[C(x)] = x over keys. The variance is at
    most x_i^2 / 8, which |x_i| = 2^a 4/3 attains: omega = 1/8. A magnitude below the
    least normal float32 becomes that or 0, likewise unbiased. Magnitudes above 2^127
    are refused, because the power of two above them is not a float32.

    ==================  ==========================================================
    bytes               content
    ==================  ==========================================================
    0 .. ceil(9d/8)-1   codes of 9 bits, the least significant first, zero padding:
                        the biased exponent of float32 in the lower eight bits (0:
                        the value 0; 255: never), then the sign, 1 = negative
    ==================  ==========================================================

    ``paper_bits`` = 9 d. Source: Horváth, Ho, Horváth, Sahu, Canini, Richtárik, Natural
    compression for distributed deep learning (2019), definition 1 and theorem 1.

    Examples
    --------
    >>> import numpy as np
    >>> frame = Natural().encode(np.array([1.0, -2.0, 0.0], np.float32))
    >>> frame.tobytes().hex()  # codes 127, 256 + 128 and 0
    '7f000300'
    >>> Natural().decode(frame, 3)
    array([ 1., -2.,  0.], dtype=float32)
    """

    id: ClassVar[str] = "natural"
    wire_id: ClassVar[int] = 128
    unbiased: ClassVar[bool] = True

    def error(self, dim: int) -> float:
        """Return omega = 1/8, for vectors without subnormal entries."""
        return 1 / 8

    def _max_nbytes(self, dim: int) -> int:
        return (_BITS * dim + 7) // 8

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        return _BITS * dim

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        magnitude = np.abs(x.astype(np.float64))
        if not magnitude.max(initial=0.0) <= _LARGEST:
            worst = int(np.argmax(~(magnitude <= _LARGEST)))
            bad = int(np.count_nonzero(~np.isfinite(x)))
            raise ConfigError(
                f"natural: x[{worst}] is {x[worst]}; only finite vectors with entries "
                f"of at most 2^127 can be encoded ({bad} of {x.size} entries are not "
                "finite)"
            )
        draw = np.random.Generator(np.random.Philox(key=int(key))).random(x.size)
        # |x| = fraction 2^exponent with 1/2 <= fraction < 1, or both 0
        fraction, exponent = np.frexp(magnitude)
        biased = exponent + 126
        up = draw < 2 * fraction - 1  # (|x| - 2^a) / 2^a
        tiny = magnitude < _TINY
        codes = np.where(tiny, draw < magnitude / _TINY, biased + up).astype(np.uint16)
        codes |= (np.signbit(x) & (codes > 0)).astype(np.uint16) << 8
        planes = (codes[:, None] >> np.arange(_BITS, dtype=np.uint16)) & 1
        packed = np.packbits(planes.astype(np.uint8), bitorder="little")
        if out is None:
            return packed
        out[: packed.size] = packed
        return out[: packed.size]

    def _decode_add(self, frame: Frame, out: Vector, scale: float) -> None:
        if frame.size != self._max_nbytes(out.size):
            raise FrameError(f"natural: {frame.size} bytes for {out.size} entries")
        stream = np.unpackbits(frame, bitorder="little")
        if stream[_BITS * out.size :].any():
            raise FrameError("natural: its padding bits are not zero")
        planes = stream[: _BITS * out.size].reshape(out.size, _BITS)
        biased = (planes[:, :8].astype(np.int64) << np.arange(8)).sum(axis=1)
        if (biased == 255).any():
            raise FrameError("natural: an exponent of 255 is never sent")
        if (planes[biased == 0, 8]).any():
            raise FrameError("natural: a zero has the sign of a negative number")
        values = np.where(biased > 0, np.ldexp(1.0, biased - 127), 0.0)
        values[planes[:, 8] == 1] *= -1
        out += (scale * values).astype(out.dtype)
