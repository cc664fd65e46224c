"""Stochastic rounding to multiples of 10^-digits, in as many bits as they need.

A code is the level, |x_i| times ``power`` = 10^digits rounded, in ``width`` - 1 bits,
and the sign as its most significant bit.
"""

from __future__ import annotations

import numpy as np

from psmpi.base import Frame, Vector
from psmpi.kernels.bits import CHUNK, pack, unpack
from psmpi.kernels.hash import draw_words, start
from psmpi.kernels.jit import U1, kernel, real, signed

ZERO, ONE = np.uint32(0), np.uint32(1)


@kernel
def decimal_level(size: float, power: float, snap: float, chance: float) -> float:
    """Return a float whose integer part is the level of an entry of this size.

    ``chance`` in [0, 1) is the random number. With l = size power and b = snap l the
    float is l + b + chance (1 - 2b), as in ``stochastic_codes``. From b = 1/2 on, where
    the entry's type has at most two values a step, it gives the nearest level.
    """
    level = size * power
    bend = snap * level
    bend = bend if bend < 0.5 else 0.5
    return level + bend + chance * (1.0 - 2.0 * bend)


@kernel
def decimal_encode(
    x: Vector,
    power: float,
    snap: float,
    top: float,
    width: np.uint64,
    key: np.uint64,
    frame: Frame,
) -> None:
    """Write the codes from byte 1 on; ``top`` is the largest level of any entry."""
    stream = start(key)
    negative = np.uint32(U1 << (width - U1))
    codes = np.empty(CHUNK, np.uint32)
    words = np.empty(CHUNK, np.uint32)
    at = signed(1)
    for first in range(0, x.size, CHUNK):
        part = x[first : first + CHUNK]
        draw_words(stream, np.uint64(first), words)
        for j in range(part.size):
            chance = real(np.int32(words[j] >> ONE)) * 2.0**-31
            level = decimal_level(abs(real(part[j])), power, snap, chance)
            code = np.uint32(np.int32(top if level > top else level))
            codes[j] = code | (negative if part[j] < 0 else ZERO)
        pack(codes[: part.size], width, frame, at)
        at += CHUNK // 8 * signed(width)


@kernel
def decimal_add(
    frame: Frame, power: float, width: np.uint64, out: Vector, scale: float
) -> None:
    """Add ``scale * sign * level / power`` to ``out``; the frame has been checked."""
    top = np.uint32((U1 << (width - U1)) - U1)
    codes = np.empty(CHUNK, np.uint32)
    at = signed(1)
    for first in range(0, out.size, CHUNK):
        part = out[first : first + CHUNK]
        unpack(frame, at, width, codes[: part.size])
        for j in range(part.size):
            value = real(np.int32(codes[j] & top)) / power
            part[j] += scale * (value if codes[j] <= top else -value)
        at += CHUNK // 8 * signed(width)
