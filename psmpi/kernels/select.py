"""Exact selection of the k largest magnitudes, in linear time and without sorting.

A magnitude is its IEEE bit pattern, an unsigned integer. One histogram of the leading
bits finds the bin of the k-th largest; only the entries from that bin up are looked at
again, their next bits in further histograms, until the k-th largest is known exactly.
Blocks of few entries, for which a histogram is too long, find it bit by bit.
"""

from __future__ import annotations

import numpy as np

from psmpi.base import Indices, Vector
from psmpi.kernels.jit import U0, U1, kernel, magnitude, signed

DIGIT = np.uint64(11)
BINS = 2048
LAST = np.uint64(BINS - 1)
FEW = 2048  # entries of a block that is counted bit by bit
ROWS = 4  # histograms side by side: equal neighbours don't wait for each other


@kernel
def leading_histogram(x: Vector, shift: np.uint64) -> np.ndarray:
    """Return how many magnitudes have each value of the bits from ``shift`` up."""
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
    """Return the bin of the k-th largest and its rank among that bin's entries."""
    b = BINS - 1
    while k > counts[b]:
        k -= counts[b]
        b -= 1
    return b, k


@kernel
def from_bin(x: Vector, least: np.uint64, room: int) -> np.ndarray:
    """Return the ascending indices (uint32) of the ``room`` magnitudes >= ``least``."""
    found = np.empty(room + 1, np.uint32)  # one more: every index is written, then kept
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

    Equal magnitudes: the lower index first. Bit patterns below ``least`` are never
    taken, so fewer than k come back if there aren't more; 1 <= k <= x.size.
    """
    width = np.uint64(31 if x.itemsize == 4 else 63)
    shift = width - DIGIT
    counts = leading_histogram(x, shift)
    digit, rank = from_top(counts, k)
    found = from_bin(x, np.uint64(digit) << shift, np.sum(counts[digit:]))
    known = np.uint64(digit) << shift  # the k-th largest, as far as it is known
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
    """Return a bit pattern that k magnitudes reach; more only if the k-th has equals.

    One bit a pass from the top, ended as soon as exactly k reach it; k <= x.size.
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
    """Write what ``top_k`` returns to ``found``, and return the number of indices.

    ``found`` has room for one more: every index is written, then kept.
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

    ``counts[b]`` of ``x[bounds[b]:bounds[b + 1]]``, as ``top_k`` chooses them.
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
