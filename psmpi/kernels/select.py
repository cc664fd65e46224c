"""Exact selection of the k largest magnitudes, in linear time and without sorting.

Magnitudes are compared by their IEEE bit patterns, as unsigned integers. A histogram of
the leading bits finds the bin of the k-th largest magnitude. Histograms of the next
bits, of the entries from that bin up, refine it until it is known exactly. In small
blocks, where a histogram would take longer, it is found bit by bit.
"""

from __future__ import annotations

import numpy as np

from psmpi.base import Indices, Vector
from psmpi.kernels.jit import U0, U1, kernel, magnitude, signed

DIGIT = np.uint64(11)
BINS = 2048
LAST = np.uint64(BINS - 1)
FEW = 2048  # entries of a block up to which ``top_k_few`` is faster
ROWS = 4  # parallel histograms, so that equal neighbours don't hit the same counter


@kernel
def leading_histogram(x: Vector, shift: np.uint64) -> np.ndarray:
    """Return a histogram of the magnitudes' bits from ``shift`` up."""
    counts = np.zeros((ROWS, BINS), np.int64)
    body = x.size - x.size % ROWS
    for first in range(0, body, ROWS):
        part = x[first : first + ROWS]
        counts[0, np.uint64(magnitude(part[0])) >> shift] += 1
        counts[1, np.uint64(magnitude(part[1])) >> shift] += 1
        counts[2, np.uint64(magnitude(part[2])) >> shift] += 1
        counts[3, np.uint64(magnitude(part[3])) >> shift] += 1
    for i in range(body, x.size):
        counts[0, np.uint64(magnitude(x[i])) >> shift] += 1
    total: np.ndarray = counts[0]
    for row in range(1, ROWS):
        for b in range(BINS):
            total[b] += counts[row, b]
    return total


@kernel
def from_top(counts: np.ndarray, k: int) -> tuple[int, int]:
    """Return the bin of the k-th largest entry, and its rank within the bin."""
    b = BINS - 1
    while k > counts[b]:
        k -= counts[b]
        b -= 1
    return b, k


@kernel
def from_bin(x: Vector, least: np.uint64, room: int) -> np.ndarray:
    """Return the ascending indices (uint32) of all magnitudes >= ``least``.

    ``room`` is their number.
    """
    found = np.empty(
        room + 1, np.uint32
    )  # one more: an index is written before it is kept
    count = 0
    for i in range(x.size):
        found[count] = np.uint32(i)
        count += signed(np.uint64(magnitude(x[i])) >= least)
    return found[:room]


@kernel
def all_from(x: Vector, least: np.uint64) -> np.ndarray:
    """Return the ascending indices (uint32) of all magnitudes >= ``least``."""
    room = 0
    for i in range(x.size):
        room += signed(np.uint64(magnitude(x[i])) >= least)
    return from_bin(x, least, signed(room))


@kernel
def top_k(x: Vector, k: int, least: np.uint64) -> np.ndarray:
    """Return the ascending indices (uint32) of the k largest magnitudes.

    Among equal magnitudes the lower index is taken first. Magnitudes with bit patterns
    below ``least`` are not taken, so fewer than k indices may be returned.
    1 <= k <= x.size.
    """
    width = np.uint64(31 if x.itemsize == 4 else 63)
    shift = width - DIGIT
    counts = leading_histogram(x, shift)
    digit, rank = from_top(counts, k)
    found = from_bin(x, np.uint64(digit) << shift, np.sum(counts[digit:]))
    known = np.uint64(digit) << shift  # leading bits of the k-th largest magnitude
    while shift > np.uint64(0):
        low = shift - min(DIGIT, shift)
        counts[:] = 0
        for i in found:
            bits = np.uint64(magnitude(x[i]))
            if bits >> shift == known >> shift:
                counts[(bits >> low) & (LAST >> (DIGIT - (shift - low)))] += 1
        digit, rank = from_top(counts, rank)
        known |= np.uint64(digit) << low
        shift = low
    if known < least:
        known, rank = least, k
    count = 0
    for i in found:
        bits = np.uint64(magnitude(x[i]))
        if bits > known or (bits == known and rank > 0):
            rank -= signed(bits == known)
            found[count] = i
            count += 1
    return found[:count]


@kernel
def threshold(x: Vector, k: int) -> np.uint64:
    """Return a bit pattern that k magnitudes reach, or more if some equal the k-th.

    Each pass finds one bit, the most significant first. Ends as soon as exactly k
    magnitudes reach the pattern. k <= x.size.
    """
    known = U0
    bit = U1 << np.uint64(30 if x.itemsize == 4 else 62)
    reaching = x.size
    while bit and reaching != k:
        trial = known | bit
        count = 0
        for i in range(x.size):
            count += signed(np.uint64(magnitude(x[i])) >= trial)
        if count >= k:
            known, reaching = trial, count
        bit >>= U1
    return known


@kernel
def top_k_few(x: Vector, k: int, least: np.uint64, found: np.ndarray) -> int:
    """Write the indices that ``top_k`` returns to ``found``; return their number.

    ``found`` has room for one more: an index is written before it is kept.
    """
    known = max(threshold(x, k), least)
    rank = k
    for i in range(x.size):
        rank -= signed(np.uint64(magnitude(x[i])) > known)
    count = 0
    for i in range(x.size):
        bits = np.uint64(magnitude(x[i]))
        found[count] = np.uint32(i)
        equal = signed(bits == known and rank > 0)
        rank -= equal
        count += signed(bits > known) + equal
    return count


@kernel
def top_k_blocks(
    x: Vector, bounds: Indices, counts: Indices, least: np.uint64
) -> np.ndarray:
    """Return the ascending indices (uint32) of the largest magnitudes of every block.

    From block b, ``x[bounds[b]:bounds[b + 1]]``, ``top_k`` takes ``counts[b]``.
    """
    found = np.empty(np.sum(counts) + 1, np.uint32)
    done = 0
    for b in range(counts.size):
        first = bounds[b]
        part = x[first : bounds[b + 1]]
        chosen = found[done : done + counts[b] + 1]
        if part.size <= FEW:
            count = top_k_few(part, counts[b], least, chosen)
        else:
            large = top_k(part, counts[b], least)
            count = large.size
            chosen[:count] = large
        for j in range(count):
            chosen[j] += np.uint32(first)
        done += count
    return found[:done]
