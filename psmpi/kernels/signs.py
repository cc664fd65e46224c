"""One bit per entry, 1 for x_i < 0, with one scale per block or none."""

from __future__ import annotations

import numpy as np

from psmpi.base import Frame, Indices, Vector
from psmpi.kernels.jit import U0, U1, kernel, load, real, signed, store
from psmpi.kernels.reduce import LANES, add_abs, add_up, max_abs, sum_abs
from psmpi.kernels.scales import write_scales

CHUNK = 2048  # entries that fit the L1 cache, a multiple of LANES


@kernel
def sign_encode(x: Vector, bounds: Indices, frame: Frame) -> int:
    """Write one float32 scale mean |x_i| per block, then the signs of blocks above 0.

    Block b is ``x[bounds[b]:bounds[b + 1]]``. Returns the number of bytes. If a scale
    isn't finite, writes nothing and returns -1.
    """
    scales = np.empty(bounds.size - 1, np.float32)
    for b in range(scales.size):
        part = x[bounds[b] : bounds[b + 1]]
        scales[b] = np.float32(sum_abs(part) / part.size)
    if not write_scales(scales, frame):
        return -1
    codes = frame[4 * scales.size :]
    bit, word, first = signed(0), U0, signed(0)
    for b in range(scales.size):
        if scales[b] == 0:
            first = bounds[b + 1]
        elif b + 1 == scales.size or scales[b + 1] == 0:  # the last of a run of blocks
            part = x[first : bounds[b + 1]]
            word = _pack_signs(part, 0.0, codes, bit, word)
            bit += part.size
    return 4 * scales.size + _finish(codes, bit, word)


@kernel
def sign_feedback(
    e: Vector, x: Vector, ratio: float, bounds: Indices, frame: Frame
) -> int:
    """Write the frame of p = ratio e + x, and p - C(p) into ``e``, in two passes.

    The first pass writes p into ``e`` and sums |p_i|, the second packs the signs and
    subtracts C(p). An empty ``x`` means none. Returns the number of bytes, or -1 if a
    scale isn't finite; then ``e`` is p.
    """
    scales = np.empty(bounds.size - 1, np.float32)
    for b in range(scales.size):
        first, last = bounds[b], bounds[b + 1]
        total = _feed(e[first:last], x[first:last], ratio)
        scales[b] = np.float32(total / (last - first))
    if not write_scales(scales, frame):
        return -1
    codes = frame[4 * scales.size :]
    bit, word = signed(0), U0
    for b in range(scales.size):
        if scales[b] > 0:
            part = e[bounds[b] : bounds[b + 1]]
            word = _pack_signs(part, real(scales[b]), codes, bit, word)
            bit += part.size
    return 4 * scales.size + _finish(codes, bit, word)


@kernel
def plane_encode(x: Vector, frame: Frame) -> bool:
    """Write the signs alone; if an entry isn't finite, write nothing, return False."""
    if not max_abs(x) < np.inf:
        return False
    _finish(frame, x.size, _pack_signs(x, 0.0, frame, signed(0), U0))
    return True


@kernel
def plane_add(frame: Frame, out: Vector, scale: float) -> None:
    """Add ``scale * (+1 or -1)`` to ``out``; the frame has been checked."""
    _add_signs(frame, np.array([0, out.size]), np.ones(1), out, scale)


@kernel
def _feed(e: Vector, x: Vector, ratio: float) -> float:
    """Write p = ratio e + x into ``e``, rounded twice to its type; return sum |p_i|."""
    factor = e.dtype.type(ratio)
    lanes = np.zeros(LANES)
    if x.size == 0:
        for start in range(0, e.size, CHUNK):
            part = e[start : start + CHUNK]
            if ratio != 1.0:
                for j in range(part.size):
                    part[j] *= factor
            add_abs(part, lanes)
        return add_up(lanes)
    body = e.size - e.size % LANES
    for start in range(0, body, LANES):
        part, more = e[start : start + LANES], x[start : start + LANES]
        for j in range(LANES):
            p = factor * part[j] + more[j]
            part[j] = p
            lanes[j] += abs(real(p))
    for i in range(body, e.size):
        e[i] = factor * e[i] + x[i]
        lanes[i - body] += abs(real(e[i]))
    return add_up(lanes)


@kernel
def _pack_signs(
    x: Vector, scale: float, codes: Frame, bit: int, word: np.uint64
) -> np.uint64:
    """Append the signs of ``x`` to a stream of ``bit`` bits.

    ``word`` has the last bit % 64 bits of the stream, which are not written yet. Writes
    whole words of 64 bits, and returns the bits of the last, unfinished word. Subtracts
    ``scale`` times the signs from ``x``, unless ``scale`` is 0.
    """
    filled = bit % 64
    head = min((64 - filled) % 64, x.size)  # up to the next word of the stream
    at = bit // 64 * 8
    if filled > 0:
        word |= _few_signs(x[:head]) << np.uint64(filled)
        _take(x[:head], scale)
        if filled + head < 64:
            return word
        store(codes, at, word)
        at += 8
    body = x.size - (x.size - head) % 64
    for first in range(head, body, 64):
        part = x[first : first + 64]
        word = U0
        for j in range(64):
            word |= np.uint64(1 if part[j] < 0 else 0) << np.uint64(j)
        store(codes, at, word)
        at += 8
        _take(part, scale)
    word = _few_signs(x[body:])
    _take(x[body:], scale)
    return word


@kernel
def _take(x: Vector, scale: float) -> None:
    """Subtract ``scale * (+1 or -1)`` from ``x``; scale 0 leaves it as it is."""
    # A float32 difference rounds like the float64 arithmetic of the decoder.
    value = x.dtype.type(scale)
    if scale > 0:
        for j in range(x.size):
            x[j] += value if x[j] < 0 else -value


@kernel
def _few_signs(x: Vector) -> np.uint64:
    """Return the signs of up to 64 entries."""
    word = U0
    for j in range(x.size):
        word |= np.uint64(1 if x[j] < 0 else 0) << np.uint64(j)
    return word


@kernel
def _finish(codes: Frame, bits: int, word: np.uint64) -> int:
    """Write the unfinished word, padded with zeros; return the bytes of ``bits``."""
    size = (bits + 7) // 8
    for at in range(bits // 64 * 8, size):
        codes[at] = np.uint8(word)
        word >>= np.uint64(8)
    return size


@kernel
def sign_add(frame: Frame, bounds: Indices, out: Vector, scale: float) -> None:
    """Add ``scale * scales[b] * (+1 or -1)`` to ``out``; the frame has been checked."""
    values = np.empty(bounds.size - 1)
    for b in range(values.size):
        values[b] = real(load(frame, 4 * b, np.float32))
    _add_signs(frame[4 * values.size :], bounds, values, out, scale)


@kernel
def _add_signs(
    codes: Frame, bounds: Indices, values: np.ndarray, out: Vector, scale: float
) -> None:
    """Add ``scale * values[b]`` to block b, negated where the bit is 1.

    Blocks with the value 0 have no bits. One call handles all blocks, as a call per
    block would take longer than adding the entries of a small block.
    """
    silent = signed(0)  # entries so far that have no bit
    for b in range(values.size):
        value = scale * values[b]
        first, last = bounds[b], bounds[b + 1]
        if values[b] == 0:
            silent += last - first
            continue
        # A block may begin and end inside a word of 64 bits.
        while first < last:
            filled = (first - silent) % 64
            room = min(64 - filled, last - first)
            word = _word(codes, (first - silent) // 64) >> np.uint64(filled)
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


@kernel
def _word(codes: Frame, index: int) -> np.uint64:
    """Return bytes 8 index to 8 index + 7 as uint64, zeros past the end."""
    at = 8 * index
    if at + 8 <= codes.size:
        whole: np.uint64 = load(codes, at, np.uint64)
        return whole
    word = U0
    for j in range(codes.size - at):
        word |= np.uint64(codes[at + j]) << np.uint64(8 * j)
    return word
