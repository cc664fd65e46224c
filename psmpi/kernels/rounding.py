"""Quantisers fused with bit packing: one pass for the norm, one to round and pack.

Arithmetic per entry is in float64 and in one fixed order, so that all ranks decode the
same numbers to the bit; the result is cast once to the output's type.
"""

from __future__ import annotations

import numpy as np

from psmpi.base import Frame, Vector
from psmpi.kernels.bits import CHUNK, pack, unpack
from psmpi.kernels.hash import draw_words, start
from psmpi.kernels.jit import U1, as_float, kernel, load, magnitude, real, signed, store
from psmpi.kernels.reduce import max_abs, norm2

ZERO, ONE = np.uint32(0), np.uint32(1)


@kernel
def nearest_encode(x: Vector, bits: np.uint64, frame: Frame) -> float:
    """Write R = max |x_i| as float32, then the codes of the nearest grid points of LAQ.

    Returns R. If it is 0 no codes are written, if it isn't finite nothing is. Ties go
    up.
    """
    radius = real(np.float32(max_abs(x)))
    if not radius < np.inf:
        return radius
    store(frame, 0, np.float32(radius))
    if radius == 0.0:
        return radius
    top = real((U1 << bits) - U1)
    inverse = top / (2.0 * radius)
    codes = np.empty(CHUNK, np.uint32)
    at = signed(4)
    for first in range(0, x.size, CHUNK):
        part = x[first : first + CHUNK]
        for j in range(part.size):
            level = (part[j] + radius) * inverse + 0.5
            # R as float32 may be below a float64 entry, which gets the last code.
            codes[j] = np.uint32(np.int32(min(max(level, 0.0), top)))
        pack(codes[: part.size], bits, frame, at)
        at += CHUNK // 8 * signed(bits)
    return radius


@kernel
def nearest_add(frame: Frame, bits: np.uint64, out: Vector, scale: float) -> None:
    """Add ``scale * (2 tau R q - R)`` to ``out``; the frame has been checked."""
    radius = real(load(frame, 0, np.float32))
    step = 2.0 * radius / real((U1 << bits) - U1)
    codes = np.empty(CHUNK, np.uint32)
    at = signed(4)
    for first in range(0, out.size, CHUNK):
        part = out[first : first + CHUNK]
        unpack(frame, at, bits, codes[: part.size])
        for j in range(part.size):
            part[j] += scale * (step * real(np.int32(codes[j])) - radius)
        at += CHUNK // 8 * signed(bits)


@kernel
def upper_float32(value: float) -> np.float32:
    """Return the smallest float32 that isn't below ``value >= 0``."""
    near = np.float32(value)
    if real(near) < value:
        near = as_float(np.uint32(magnitude(near) + np.uint32(1)))
    return near


@kernel
def stochastic_codes(
    x: Vector,
    words: np.ndarray,
    norm: float,
    bits: np.uint64,
    snap: float,
    codes: np.ndarray,
) -> None:
    """Write per entry of ``x`` a level of ``bits`` bits and the sign above them.

    Let l = s |x_i| / norm, and let u in [0, 1) be the upper 31 bits of the entry's
    random word. The level is the integer part of l + u + snap l (1 - 2u). So an l
    within the relative distance ``snap`` of an integer always gives that integer, which
    changes the mean by at most snap l.
    """
    top = real((U1 << bits) - U1)
    factor = (1.0 + snap) * (top / norm)
    shrink = 2.0 * snap * (top / norm)
    negative = np.uint32(U1 << bits)
    for j in range(x.size):
        size = abs(real(x[j]))
        chance = real(np.int32(words[j] >> ONE)) * 2.0**-31
        level = size * factor + chance * (1.0 - size * shrink)
        code = np.uint32(np.int32(top if level > top else level))
        codes[j] = code | (negative if x[j] < 0 else ZERO)


@kernel
def stochastic_encode(
    x: Vector, bits: np.uint64, maximum: bool, snap: float, key: np.uint64, frame: Frame
) -> float:
    """Write a float32 norm, then the codes of ``stochastic_codes``.

    Returns the norm. If it is 0 no codes are written, if it isn't finite nothing is.
    """
    norm = real(upper_float32(max_abs(x) if maximum else norm2(x)))
    if not norm < np.inf:
        return norm
    store(frame, 0, np.float32(norm))
    if norm == 0.0:
        return norm
    stream = start(key)
    codes = np.empty(CHUNK, np.uint32)
    words = np.empty(CHUNK, np.uint32)
    at = signed(4)
    for first in range(0, x.size, CHUNK):
        part = x[first : first + CHUNK]
        draw_words(stream, np.uint64(first), words)
        stochastic_codes(part, words, norm, bits, snap, codes)
        pack(codes[: part.size], bits + U1, frame, at)
        at += CHUNK // 8 * signed(bits + U1)
    return norm


@kernel
def stochastic_add(frame: Frame, bits: np.uint64, out: Vector, scale: float) -> None:
    """Add ``scale * sign * level * (norm / s)`` to ``out``, from a checked frame."""
    top = np.int32((U1 << bits) - U1)
    unit = real(load(frame, 0, np.float32)) / real(top)
    codes = np.empty(CHUNK, np.uint32)
    at = signed(4)
    for first in range(0, out.size, CHUNK):
        part = out[first : first + CHUNK]
        unpack(frame, at, bits + U1, codes[: part.size])
        for j in range(part.size):
            code = np.int32(codes[j])
            level = real(code & top)
            part[j] += scale * (unit * (level if code <= top else -level))
        at += CHUNK // 8 * signed(bits + U1)
