"""Random choice of entries: equal chances, or chances in proportion to magnitudes.

A coin is the random number that decides whether one entry is kept. It depends on the
key and the entry's index alone.
"""

from __future__ import annotations

import numpy as np

from psmpi.base import Frame, Indices, Vector
from psmpi.kernels.floats import FLOAT32_LIMIT, largest
from psmpi.kernels.hash import draw_words, start, uniform
from psmpi.kernels.jit import U0, U1, kernel, load, real, signed, store, trailing_zeros
from psmpi.kernels.reduce import LANES, sum_abs


@kernel
def coin_mask(key: np.uint64, limit: np.uint64, dim: int) -> np.ndarray:
    """Return bits for ``dim`` entries, 1 for those kept, in words of 64 bits.

    Entry i is kept if its random word is below ``limit``.
    """
    stream = start(key)
    coins = np.empty(64, np.uint32)
    words = np.empty((dim + 63) // 64, np.uint64)
    for w in range(words.size):
        draw_words(stream, np.uint64(64 * w), coins)
        word = U0
        for j in range(64):
            word |= np.uint64(np.uint64(coins[j]) < limit) << np.uint64(j)
        words[w] = word
    if dim % 64:
        words[dim // 64] &= (U1 << np.uint64(dim % 64)) - U1
    return words


@kernel
def coin_gather(x: Vector, key: np.uint64, limit: np.uint64, frame: Frame) -> int:
    """Write the key, then the entries that are kept; return the number of bytes."""
    store(frame, 0, key)
    at = 8
    words = coin_mask(key, limit, x.size)
    for w in range(words.size):
        word = words[w]
        while word:
            store(frame, at, np.float32(x[64 * w + signed(trailing_zeros(word))]))
            at += 4
            word &= word - U1
    return at


@kernel
def coin_add(frame: Frame, limit: np.uint64, out: Vector, scale: float) -> bool:
    """Add ``scale`` times the values to the entries that are kept.

    Adds nothing and returns False if there are not as many values as kept entries, or
    if a value isn't finite or, divided by the probability, overflows float32.
    """
    inverse = 2.0**32 / real(limit)
    scale *= inverse
    words = coin_mask(load(frame, 0, np.uint64), limit, out.size)
    count = 0
    for w in range(words.size):
        word = words[w]
        while word:
            count += 1
            word &= word - U1
    if frame.size != 8 + 4 * count:
        return False
    if not largest(frame, signed(8), count) * inverse < FLOAT32_LIMIT:
        return False
    at = 8
    for w in range(words.size):
        word = words[w]
        while word:
            i = 64 * w + signed(trailing_zeros(word))
            out[i] += scale * real(load(frame, at, np.float32))
            at += 4
            word &= word - U1
    return True


@kernel
def below_one(x: Vector, rate: float) -> tuple[float, int]:
    """Return the sum of all |x_i| with rate |x_i| < 1, and the number of the others."""
    lanes = np.zeros(LANES)
    others = 0
    body = x.size - x.size % LANES
    for first in range(0, body, LANES):
        part = x[first : first + LANES]
        for j in range(LANES):
            size = abs(real(part[j]))
            lanes[j] += size if rate * size < 1.0 else 0.0
        for j in range(LANES):
            others += signed(rate * abs(real(part[j])) >= 1.0)
    for i in range(body, x.size):
        size = abs(real(x[i]))
        lanes[i - body] += size if rate * size < 1.0 else 0.0
        others += signed(rate * size >= 1.0)
    total = 0.0
    for j in range(LANES):
        total += lanes[j]
    return total, others


@kernel
def saturating_rate(x: Vector, k: int, passes: int) -> float:
    """Return lambda with sum_i min(1, lambda |x_i|) = k; infinite for <= k non-zeros.

    Wangni et al. (2018), algorithm 3: entries with lambda |x_i| >= 1 count 1 each, the
    others share the rest of k in proportion to |x_i|; repeat until no entry joins the
    former. Lambda rises to the solution, usually in a few passes; if it stops early, a
    little less than k entries are kept on average.
    """
    nonzeros = 0
    for i in range(x.size):
        nonzeros += signed(x[i] != 0)
    if nonzeros <= k:
        return np.inf
    rate = k / sum_abs(x)
    for _ in range(passes):
        rest, sure = below_one(x, rate)
        higher = (k - sure) / rest
        if not higher > rate:
            break
        rate = higher
    return rate


@kernel
def weighted_coins(
    x: Vector, rate: float, key: np.uint64, found: np.ndarray, values: np.ndarray
) -> int:
    """Keep entry i with probability p_i = min(1, rate |x_i|), as value x_i / p_i.

    Returns the number of indices in ``found`` and of ``values``. Values that are 0 as
    float32 are not kept.
    """
    stream = start(key)
    count = 0
    for i in range(x.size):
        value = real(x[i])
        chance = min(1.0, rate * abs(value))
        if uniform(stream, np.uint64(i)) < chance:
            single = np.float32(value / chance)
            if single != 0:
                found[count] = np.uint32(i)
                values[count] = single
                count += 1
    return count


@kernel
def is_kept(value: float, scale: float, stream: np.uint64, index: int) -> bool:
    """Return whether an entry is kept, which has the probability |value| / scale."""
    return bool(uniform(stream, np.uint64(index)) < abs(value) / scale)


@kernel
def sign_coins(x: Vector, scale: float, key: np.uint64, found: np.ndarray) -> int:
    """Write the ascending indices (uint32) that ``is_kept`` keeps; return their number.

    ``found`` has room for one more: an index is written before it is kept.
    """
    stream = start(key)
    count = 0
    for i in range(x.size):
        found[count] = np.uint32(i)
        count += signed(is_kept(real(x[i]), scale, stream, i))  # no branch
    return count


@kernel
def sign_coins_at(
    support: Indices, values: Vector, scale: float, key: np.uint64, found: np.ndarray
) -> int:
    """Do as ``sign_coins`` for the vector with ``values`` at ``support``, 0 elsewhere.

    ``found`` gets the places in ``support`` of the entries that are kept.
    """
    stream = start(key)
    count = 0
    for j in range(support.size):
        found[count] = np.uint32(j)
        count += signed(is_kept(real(values[j]), scale, stream, support[j]))
    return count
