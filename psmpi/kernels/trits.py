"""Entries with three values (trits), drawn at random and packed five to a byte.

A trit is 0 for zero, 1 for plus, 2 for minus. Trit i of a stream is base-3 digit i % 5
of byte i // 5.
"""

from __future__ import annotations

import numpy as np

from psmpi.base import Frame, Indices, Vector
from psmpi.kernels.hash import draw_words, start
from psmpi.kernels.jit import kernel, load, real, signed, store
from psmpi.kernels.reduce import LANES, add_up, max_abs
from psmpi.kernels.rounding import upper_float32
from psmpi.kernels.scales import write_scales

CHUNK = 1280  # trits that are packed at once: a multiple of 5, fits the L1 cache
BYTES = 3**5  # values that a byte may have
NONE, PLUS, MINUS, ONE = np.uint8(0), np.uint8(1), np.uint8(2), np.uint32(1)
# Multiplied by a word of five trits, one a byte, this gives in byte 4 their sum with
# the weights 1, 3, 9, 27, 81. The sums in lower bytes are at most 240: nothing carries.
WEIGHTS = np.uint64(0x0103091B51)
# The inverse: the word of five trits of each value of a byte.
DIGITS = np.array(
    [sum(byte // 3**j % 3 << 8 * j for j in range(5)) for byte in range(BYTES)],
    np.uint64,
)


@kernel
def ternary_encode(
    x: Vector, bounds: Indices, clip: float, snap: float, key: np.uint64, frame: Frame
) -> int:
    """Write one float32 scale per block, then the trits of blocks with a scale above 0.

    An entry of a block with scale s is sent with probability |x_i| / s, and always if
    that is within ``snap`` of 1, as in ``stochastic_encode``. Returns the number of
    bytes. If a scale isn't finite, writes nothing and returns -1.
    """
    scales = np.empty(bounds.size - 1, np.float32)
    for b in range(scales.size):
        scales[b] = upper_float32(_top(x[bounds[b] : bounds[b + 1]], clip))
    if not write_scales(scales, frame):
        return -1
    stream = start(key)
    words = np.empty(CHUNK + 2, np.uint32)
    trits = np.empty(CHUNK + 8, np.uint8)
    at, held = 4 * scales.size, signed(0)
    for b in range(scales.size):
        first, last = bounds[b], bounds[b + 1]
        while first < last and scales[b] > 0:
            part = x[first : min(first + CHUNK - held, last)]
            odd = first % 2
            some = words[: (odd + part.size + 1) // 2 * 2]
            draw_words(stream, np.uint64(first - odd), some)
            _draw_trits(part, real(scales[b]), snap, some[odd:], trits[held:])
            first += part.size
            held += part.size
            if held == CHUNK:
                at = _pack_trits(trits, held, frame, at)
                held = signed(0)
    return _pack_trits(trits, held, frame, at)


@kernel
def _top(x: Vector, clip: float) -> float:
    """Return max |x_i|, but at most ``clip`` standard deviations if that is above 0."""
    top = max_abs(x)
    if clip == 0:
        return top
    limit = clip * _deviation(x)
    return limit if 0.0 < limit < top else top


@kernel
def _deviation(x: Vector) -> float:
    """Return the standard deviation about the mean; exactly 0 for equal entries."""
    first = real(x[0])
    lanes = np.zeros(LANES)
    for i in range(0, x.size, LANES):
        part = x[i : i + LANES]
        for j in range(part.size):
            lanes[j] += real(part[j]) - first
    mean = first + add_up(lanes) / x.size
    lanes[:] = 0.0
    for i in range(0, x.size, LANES):
        part = x[i : i + LANES]
        for j in range(part.size):
            lanes[j] += (real(part[j]) - mean) ** 2
    return real(np.sqrt(add_up(lanes) / x.size))


@kernel
def _draw_trits(
    x: Vector, scale: float, snap: float, words: np.ndarray, trits: np.ndarray
) -> None:
    factor = (1.0 + snap) / scale
    shrink = 2.0 * snap / scale
    for j in range(x.size):
        size = min(abs(real(x[j])), scale)
        chance = real(np.int32(words[j] >> ONE)) * 2.0**-31
        level = size * factor + chance * (1.0 - size * shrink)
        trit = MINUS if x[j] < 0 else PLUS
        trits[j] = trit if level >= 1.0 else NONE


@kernel
def _pack_trits(trits: np.ndarray, count: int, frame: Frame, at: int) -> int:
    """Write ``count`` trits at byte ``at``, padded with 0; return the next byte."""
    trits[count : count + 5] = 0
    size = (count + 4) // 5
    for k in range(size):
        word = load(trits, 5 * k, np.uint64)
        frame[at + k] = np.uint8((word * WEIGHTS) >> np.uint64(32))
    return at + size


@kernel
def trits_ok(stream: Frame, count: int) -> bool:
    """Return whether ``_pack_trits`` writes such a stream; its length is right."""
    top = NONE
    for k in range(stream.size):
        top = max(top, stream[k])
    if top >= BYTES:
        return False
    return bool(count % 5 == 0 or stream[count // 5] < 3 ** (count % 5))


@kernel
def ternary_add(frame: Frame, bounds: Indices, out: Vector, scale: float) -> None:
    """Add ``scale * scales[b]`` times 0, +1 or -1 to ``out``, from a checked frame."""
    stream = frame[4 * (bounds.size - 1) :]
    trits = np.empty(CHUNK + 8, np.uint8)
    done = signed(0)
    for b in range(bounds.size - 1):
        value = real(load(frame, 4 * b, np.float32))
        first, last = bounds[b], bounds[b + 1]
        while first < last and value > 0:
            held = done % CHUNK
            if held == 0:
                some = stream[done // 5 : (done + CHUNK) // 5]
                for k in range(some.size):
                    store(trits, 5 * k, DIGITS[some[k]])
            part = out[first : min(first + CHUNK - held, last)]
            _add_trits(trits[held:], part, scale * value)
            first += part.size
            done += part.size


@kernel
def _add_trits(trits: np.ndarray, out: Vector, value: float) -> None:
    for j in range(out.size):
        sent = value if trits[j] == PLUS else -value
        out[j] += sent if trits[j] > NONE else 0.0
