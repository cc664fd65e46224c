"""One bit per entry and one scale per block."""

from __future__ import annotations

import numpy as np

from psmpi.base import Frame, Indices, Vector
from psmpi.kernels.jit import U0, U1, kernel, load, real, store
from psmpi.kernels.reduce import max_abs, sum_abs


@kernel
def sign_encode(x: Vector, bounds: Indices, frame: Frame) -> float:
    """Write one float32 scale mean |x_i| per block, then the bits, 1 for x_i < 0.

    Block b is ``x[bounds[b]:bounds[b + 1]]``. Returns the largest |x_i|, or infinity if
    a scale overflows float32; where that isn't finite nothing is written.
    """
    top = max_abs(x)
    if not top < np.inf:
        return top
    blocks = bounds.size - 1
    scales = np.empty(blocks, np.float32)
    for b in range(blocks):
        size = bounds[b + 1] - bounds[b]
        scales[b] = np.float32(sum_abs(x[bounds[b] : bounds[b + 1]]) / size)
        if not scales[b] < np.inf:
            return np.inf
    for b in range(blocks):
        store(frame, 4 * b, scales[b])
    body = x.size - x.size % 64
    at = 4 * blocks
    for first in range(0, body, 64):
        part = x[first : first + 64]
        word = U0
        for j in range(64):
            word |= np.uint64(1 if part[j] < 0 else 0) << np.uint64(j)
        store(frame, at, word)
        at += 8
    for first in range(body, x.size, 8):
        part = x[first : first + 8]
        word = U0
        for j in range(part.size):
            word |= np.uint64(1 if part[j] < 0 else 0) << np.uint64(j)
        frame[at] = np.uint8(word)
        at += 1
    return top


@kernel
def sign_add(frame: Frame, bounds: Indices, out: Vector, scale: float) -> bool:
    """Add ``scale * scales[b] * (+1 or -1)`` to ``out``.

    Returns False, with nothing added, if a scale is negative or isn't finite; the
    frame's length has been checked.
    """
    blocks = bounds.size - 1
    for b in range(blocks):
        if not load(frame, 4 * b, np.uint32) < np.uint32(0x7F800000):
            return False
    codes = frame[4 * blocks :]
    for b in range(blocks):
        value = scale * real(load(frame, 4 * b, np.float32))
        first, last = bounds[b], bounds[b + 1]
        # A block may begin and end inside a word of 64 bits.
        while first < last:
            room = min(64 - first % 64, last - first)
            word = _word(codes, first // 64) >> np.uint64(first % 64)
            part = out[first : first + room]
            if room == 64:
                for j in range(64):
                    negative = (word >> np.uint64(j)) & U1
                    part[j] += -value if negative else value
            else:
                for j in range(room):
                    negative = (word >> np.uint64(j)) & U1
                    part[j] += -value if negative else value
            first += room
    return True


@kernel
def _word(codes: Frame, index: int) -> np.uint64:
    """Return bytes 8 index to 8 index + 8, zeros past the end."""
    at = 8 * index
    if at + 8 <= codes.size:
        whole: np.uint64 = load(codes, at, np.uint64)
        return whole
    word = U0
    for j in range(codes.size - at):
        word |= np.uint64(codes[at + j]) << np.uint64(8 * j)
    return word
