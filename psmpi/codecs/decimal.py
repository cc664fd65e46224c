"""QuanTimed-DSGD's quantiser: unbiased rounding to a number of decimal digits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Codec, ConfigError, Frame, Vector, checks
from psmpi.base.arrays import buffer
from psmpi.codecs import validation
from psmpi.codecs.stochastic import SNAP
from psmpi.kernels.decimal import decimal_add, decimal_encode, decimal_level
from psmpi.kernels.reduce import max_abs

MOST_BITS = 32
LAST_CHANCE = 1 - 2.0**-31


@dataclass(frozen=True)
class Decimal(Codec):
    """Every entry is rounded at random to a neighbouring multiple of 10^-digits.

    Parameters
    ----------
    digits : 0..7, default 3
        Digits behind the decimal point.

    Notes
    -----
    The level l_i = 10^digits |x_i| is rounded to one of its two neighbouring integers,
    up with the probability of its fractional part. So E[C(x)] = x over keys, up to
    2^-31 of a level and 2^-23 |x_i| (2^-50 |x_i| for float64) as in ``Stochastic``.
    Multiples of 10^-digits stay what they are. The noise does not shrink with x: there
    is no bound relative to ||x||, only the absolute one of ``spread``.

    A message chooses its width w = 1 + ceil(log2(L + 1)) of a code, where L is the
    largest level that the largest entry may be rounded to. If all entries are rounded
    to 0 for certain, w = 0. The receiver divides the level by 10^digits in float64,
    which gives the float64 nearest to the decimal number, and casts once.

    =====================  ============================================================
    bytes                  content
    =====================  ============================================================
    0                      w, uint8: 0, or 2..32
    1 .. ceil(w d / 8)     codes of w bits: the level in the lower w - 1, then the sign,
                           1 = negative; the least significant bit first, zero padding;
                           absent if w = 0
    =====================  ============================================================

    ``paper_bits`` = 32 + w d, or 32 for w = 0: the source packs nothing, so this
    counts a 32-bit maximum, from which w follows, and the codes. ``ConfigError`` where
    31 bits do not hold the largest level. Source: Reisizadeh, Taheri, Mokhtari,
    Hassani, Pedarsani, Robust and communication-efficient collaborative learning
    (NeurIPS 2019), the authors' code.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.25, -0.14, 0.7, -0.3], np.float32)
    >>> frame = Decimal(digits=1).encode(x, key=6)
    >>> frame.tobytes().hex(" ", 2)  # levels 3, -1, 7, -3 in three bits and a sign
    '04 93b7'
    >>> Decimal(digits=1).decode(frame, 4)
    array([ 0.3, -0.1,  0.7, -0.3], dtype=float32)
    """

    digits: int = 3

    id: ClassVar[str] = "decimal"
    wire_id: ClassVar[int] = 18
    unbiased: ClassVar[bool] = True

    def __post_init__(self) -> None:
        digits = checks.integer(self.id, "digits", self.digits, 0, 7)
        object.__setattr__(self, "digits", digits)

    @property
    def power(self) -> float:
        """10^digits, the levels of 1."""
        return float(10**self.digits)

    def _max_nbytes(self, dim: int) -> int:
        """Return the bytes of a frame with codes of 32 bits."""
        return 1 + MOST_BITS // 8 * dim

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        """Return 32 + w dim."""
        return 32 + self._width(frame, dim) * dim

    def error(self, dim: int) -> float:
        """Return infinity: entries below 10^-digits may be all noise; see ``spread``.

        So error feedback over this codec, and dividing by 1 + omega, are refused.
        """
        return math.inf

    def spread(self, dim: int) -> float:
        """Return dim 10^(-2 digits) / 4, a bound on E||C(x) - x||^2.

        An entry between the multiples lo and hi has the variance (x - lo)(hi - x),
        which is largest half-way between them. The rounding of a float32 output is not
        included.
        """
        return dim / (4 * self.power**2)

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        """Return the width and the codes of ``x``, drawn by ``key``."""
        width, top = self._fit(x)
        size = 1 + (width * x.size + 7) // 8
        frame = buffer(out, size)
        frame[0] = width
        if width:
            decimal_encode(
                x, self.power, SNAP[x.itemsize], top, np.uint64(width), key, frame
            )
        return frame[:size]

    def _decode_add(self, frame: Frame, out: Vector, scale: float) -> None:
        """Add ``scale`` times the multiples to ``out``; see ``Codec.decode_add``."""
        width = self._width(frame, out.size)
        if width:
            validation.check_padding(self.id, frame[1:], width * out.size)
            decimal_add(frame, self.power, np.uint64(width), out, scale)

    def _fit(self, x: Vector) -> tuple[int, float]:
        """Return the width for ``x``, and the largest level that an entry may get."""
        largest = max_abs(x)
        if not largest < math.inf:
            validation.refuse(self.id, x)
        top = decimal_level(largest, self.power, SNAP[x.itemsize], LAST_CHANCE)
        if not top < 2 ** (MOST_BITS - 1):
            i = int(np.argmax(np.abs(x)))
            limit = 2 ** (MOST_BITS - 1) / self.power
            remedy = "give fewer digits" if self.digits else "scale the vector down"
            raise ConfigError(
                f"{self.id}: x[{i}] is {x[i]}, and {MOST_BITS} bits hold less than "
                f"{limit:.4g} with digits = {self.digits}; {remedy}"
            )
        level = math.floor(top)
        return (1 + level.bit_length() if level else 0), float(level)

    def _width(self, frame: Frame, dim: int) -> int:
        """Return the width in a frame, checked against the frame's size."""
        width = int(frame[0]) if frame.size else -1
        if not (width == 0 or (2 <= width <= MOST_BITS and dim)):
            validation.damaged(self.id, f"{frame.size} bytes, its width is {width}")
        if frame.size != 1 + (width * dim + 7) // 8:
            validation.damaged(
                self.id, f"{frame.size} bytes for {dim} codes of {width} bits"
            )
        return width
