"""QSGD's quantiser: unbiased stochastic rounding between evenly spaced levels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Codec, ConfigError, Frame, Vector, checks
from psmpi.base.arrays import buffer
from psmpi.codecs import validation
from psmpi.kernels.rounding import stochastic_add, stochastic_encode
from psmpi.kernels.variance import narrowest_bits, stochastic_variance

# By itemsize: rounding of x's type; for float64 also of the four operations on it.
SNAP = {4: 2.0**-23, 8: 2.0**-50}


@dataclass(frozen=True)
class Stochastic(Codec):
    """Every entry is rounded at random to one of 2^bits evenly spaced levels of a norm.

    Parameters
    ----------
    bits : 1..16, default 4
        Width b of a level, 0 .. s = 2^bits - 1; an entry takes one more bit for its
        sign.
    norm : "l2" or "max", default "l2"
        The value of the top level: ||x||_2 as in QSGD, or max |x_i|.

    Notes
    -----
    The level l_i = s |x_i| / norm is rounded to one of its two neighbouring integers,
    up with the probability of its fractional part. So E[C(x)] = x over keys, up to
    2^-31 of a level and 2^-23 |x_i| (2^-50 |x_i| for float64). The latter is the price
    of keeping grid points with probability 1: an l_i that is an integer up to the
    rounding of x_i's type becomes that integer. The norm is rounded up to float32, so
    that no l_i exceeds s.

    ========================  ========================================================
    bytes                     content
    ========================  ========================================================
    0 .. 3                    norm, float32
    4 .. 3 + ceil((b+1) d/8)  codes of b + 1 bits: the level in the lower b, then the
                              sign, 1 = negative; least significant bit first, zero
                              padding; absent if norm = 0
    ========================  ========================================================

    ``paper_bits`` = 32 + (bits + 1) dim, or 32 for the zero vector. Sources: Alistarh
    et al., QSGD (NeurIPS 2017), section 3.1; Yu et al., AsyLPG (2019) for
    ``symmetric``.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([3.0, -1.0, 0.0, 2.0], np.float32)
    >>> Stochastic(bits=2, norm="max").encode(x, key=7).tobytes().hex()
    '000040402b04'
    """

    bits: int = 4
    norm: str = "l2"

    id: ClassVar[str] = "stochastic"
    wire_id: ClassVar[int] = 3
    unbiased: ClassVar[bool] = True

    def __post_init__(self) -> None:
        bits = checks.integer(self.id, "bits", self.bits, 1, 16)
        object.__setattr__(self, "bits", bits)
        if self.norm not in ("l2", "max"):
            raise ConfigError(
                f"stochastic: norm must be 'l2' or 'max', got {self.norm!r}"
            )

    @classmethod
    def symmetric(cls, bits: int) -> Stochastic:
        """Return AsyLPG's (delta, b) grid with b = ``bits``, the sign bit included.

        delta = max |x_i| / (2^(b-1) - 1). The end -2^(b-1) delta of the paper's grid
        stays unused.
        """
        bits = checks.integer("stochastic.symmetric", "bits", bits, 2, 17)
        return cls(bits=bits - 1, norm="max")

    def _max_nbytes(self, dim: int) -> int:
        """Return the bytes of the frame of any but the zero vector."""
        return 4 + ((self.bits + 1) * dim + 7) // 8

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        """Return 32 + (bits + 1) * dim, or 32 if the frame is a zero norm alone."""
        return 32 if frame.size == 4 else 32 + (self.bits + 1) * dim

    def error(self, dim: int) -> float:
        """Return omega with E||C(x) - x||^2 <= omega ||x||^2.

        "l2": min(d / s^2, sqrt(d) / s), QSGD's lemma 3.1. "max", with M = max |x_i|:
        an entry's variance (x - lo)(hi - x) is at most (M/s)^2 / 4 and at most
        |x| M / s, and 0 for the largest. The first gives (d / 4s^2) M^2 and M <= ||x||.
        The second gives M ||x'||_1 / s <= M sqrt(d) ||x'|| / s over the others x', and
        M ||x'|| <= (M^2 + ||x'||^2) / 2 = ||x||^2 / 2. Hence the result,
        min(d / 4s^2, sqrt(d) / 2s). Holds where the norm is a normal float32.
        """
        s: int = 2**self.bits - 1
        if self.norm == "l2":
            return float(min(dim / s**2, dim**0.5 / s))
        return float(min(dim / (4 * s**2), dim**0.5 / (2 * s)))

    def variance(self, x: Vector, limit: float = math.inf) -> float:
        """Return E||C(x) - x||^2 over keys, for this ``x``: exactly, without drawing.

        The sum of (x_i - lo_i)(hi_i - x_i) over the grid points around each entry,
        less what the rule for grid points takes off: 2^-23 |x_i| steps (2^-50 |x_i| for
        float64), and all where x_i becomes a grid point. A partial sum above ``limit``
        is returned at once.

        >>> import numpy as np
        >>> Stochastic(bits=1, norm="max").variance(np.array([0.5, -1.0, 0.5]))
        0.5
        """
        x = checks.vector(self.id, x)
        snap, maximum = SNAP[x.itemsize], self.norm == "max"
        bits = np.uint64(self.bits)
        variance = stochastic_variance(x, bits, maximum, snap, float(limit))
        if math.isnan(variance):
            validation.refuse(self.id, x, f"{self.norm} norm")
        return variance

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        """Return the norm and the codes of ``x``, drawn by ``key``."""
        size = self._max_nbytes(x.size)
        frame = buffer(out, size)
        bits = np.uint64(self.bits)
        maximum, snap = self.norm == "max", SNAP[x.itemsize]
        norm = stochastic_encode(x, bits, maximum, snap, key, frame)
        if not math.isfinite(norm):
            validation.refuse(self.id, x, f"{self.norm} norm")
        return frame[: size if norm else 4]

    def _decode_add(self, frame: Frame, out: Vector, scale: float) -> None:
        """Add ``scale`` times the levels to ``out``; see ``Codec.decode_add``."""
        size = self._max_nbytes(out.size)
        if validation.is_zero(self.id, frame, size, out.size):
            return
        validation.check_padding(self.id, frame, (self.bits + 1) * out.size)
        stochastic_add(frame, np.uint64(self.bits), out, scale)


def narrowest(x: Vector, budget: float, low: int = 2, high: int = 16) -> int | None:
    """Return the fewest bits for which ``Stochastic.symmetric(bits)`` is in budget.

    That is the least of low .. high with E||C(x) - x||^2 <= ``budget``, or None. The
    sum for a width ends as soon as it exceeds the budget, so that on entries alike all
    smaller widths together take a third of the time of the width that is returned.

    AsyLPG's rule for the precision of a model, E||Q(x) - x||^2 <= mu ||x - x_s||^2
    (Yu, Wu and Huang, 2019, (2)), is tested with this exact variance, not with a bound.

    >>> import numpy as np
    >>> x = np.array([0.25, -1.0, 0.5])
    >>> [narrowest(x, budget) for budget in (0.5, 0.1, 0.01, 0.0)]
    [2, 3, 4, None]
    """
    x = checks.vector(Stochastic.id, x)
    low = checks.integer("narrowest", "low", low, 2, 17)
    high = checks.integer("narrowest", "high", high, low, 17)
    budget = float(budget)
    if not budget >= 0:
        raise ConfigError(f"narrowest: budget must be 0 or more, got {budget}")
    bits = narrowest_bits(x, budget, low - 1, high - 1, SNAP[x.itemsize])
    if bits < -1:
        validation.refuse(Stochastic.id, x, "max norm")
    return None if bits < 0 else bits + 1
