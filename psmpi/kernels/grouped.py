"""Sparse entries grouped by the blocks of their vector, with few floats per block.

``starts`` (int64) has one entry more than there are blocks: entries ``starts[b]`` to
``starts[b + 1] - 1`` of a frame are those of block b.
"""

from __future__ import annotations

import math

import numpy as np

from psmpi.base import Indices, Vector
from psmpi.kernels.hash import draw_words, start
from psmpi.kernels.jit import U1, kernel, real, signed
from psmpi.kernels.reduce import max_abs, norm2, sum_abs
from psmpi.kernels.rounding import stochastic_codes, upper_float32

TINY = np.float32(2.0**-149)


@kernel
def group_starts(chosen: np.ndarray, bounds: Indices) -> np.ndarray:
    """Return the ``starts`` of ascending indices below ``bounds[-1]``."""
    starts = np.zeros(bounds.size, np.int64)
    done = 0
    for b in range(bounds.size - 1):
        while done < chosen.size and chosen[done] < bounds[b + 1]:
            done += 1
        starts[b + 1] = done
    return starts


@kernel
def group_means(values: Vector, starts: Indices) -> np.ndarray:
    """Return the mean |value| of every block as float32, 0 for blocks without entries.

    No value is 0 as float32; so no mean of a block with entries may become 0.
    """
    means = np.zeros(starts.size - 1, np.float32)
    for b in range(means.size):
        part = values[starts[b] : starts[b + 1]]
        if part.size:
            means[b] = max(np.float32(sum_abs(part) / part.size), TINY)
    return means


@kernel
def group_levels(
    values: Vector,
    starts: Indices,
    bits: np.uint64,
    snap: float,
    key: np.uint64,
    codes: np.ndarray,
) -> np.ndarray:
    """Fill ``codes`` as ``stochastic_codes``; return every block's float32 l2 norm.

    An entry's random word depends on its place in ``values``. Blocks without entries
    have the norm 0. For blocks whose norm isn't finite no codes are written.
    """
    norms = np.zeros(starts.size - 1, np.float32)
    words = np.empty(values.size + values.size % 2, np.uint32)
    draw_words(start(key), np.uint64(0), words)
    for b in range(norms.size):
        first, last = starts[b], starts[b + 1]
        norms[b] = upper_float32(norm2(values[first:last]))
        if 0 < norms[b] < np.inf:
            stochastic_codes(
                values[first:last],
                words[first:last],
                real(norms[b]),
                bits,
                snap,
                codes[first:last],
            )
    return norms


@kernel
def group_add(
    codes: np.ndarray,
    chosen: np.ndarray,
    starts: Indices,
    units: np.ndarray,
    bits: np.uint64,
    out: Vector,
    scale: float,
) -> None:
    """Add ``scale * units[b] * (+ or - level)`` to the chosen entries of ``out``.

    A code is a level of ``bits`` bits and the sign above them; if ``bits`` is 0, the
    level is 1.
    """
    top = (U1 << bits) - U1
    for b in range(starts.size - 1):
        unit = units[b]
        for j in range(starts[b], starts[b + 1]):
            code = np.uint64(codes[j])
            level = real(signed(code & top)) if top else 1.0
            sign = 1.0 - 2.0 * real(signed(code >> bits))
            out[chosen[j]] += scale * (unit * (level * sign))


@kernel
def cluster(
    values: Vector, starts: Indices, bits: np.uint64, codes: np.ndarray
) -> np.ndarray:
    """Fill ``codes``; return a table: per block, the mean of the entries with a code.

    Values count as float32. With L = 2^bits, shift their mean in a block as float32 and
    sigma their sample deviation from it, a code is (v - shift) / (6 sigma / L) + L / 2,
    rounded half to even and clamped to 0 .. L - 1. Blocks with up to L entries are kept
    exactly: entry j has code j.
    """
    levels = 1 << signed(bits)
    table = np.zeros((starts.size - 1, levels), np.float32)
    sums, counts = np.zeros(levels), np.zeros(levels, np.int64)
    for b in range(starts.size - 1):
        part = values[starts[b] : starts[b + 1]]
        own = codes[starts[b] : starts[b + 1]]
        if part.size <= levels:
            for j in range(part.size):
                own[j] = np.uint32(j)
                table[b, j] = np.float32(part[j])
            continue
        total, squares = 0.0, 0.0
        for j in range(part.size):
            total += real(np.float32(part[j]))
        shift = real(np.float32(total / part.size))
        for j in range(part.size):
            squares += (real(np.float32(part[j])) - shift) ** 2
        sigma = math.sqrt(squares / (part.size - 1))
        step = 6.0 * sigma / levels if sigma > 0 else 1.0
        sums[:], counts[:] = 0.0, 0
        for j in range(part.size):
            value = real(np.float32(part[j]))
            place = np.rint((value - shift) / step + levels / 2)
            code = signed(min(max(place, 0.0), levels - 1.0))
            own[j] = np.uint32(code)
            sums[code] += value
            counts[code] += 1
        for c in range(levels):
            if counts[c]:
                table[b, c] = np.float32(sums[c] / counts[c])
    return table


@kernel
def cluster_add(
    codes: np.ndarray,
    chosen: np.ndarray,
    starts: Indices,
    table: np.ndarray,
    out: Vector,
    scale: float,
) -> None:
    """Add ``scale * table[b, code]`` to the chosen entries of ``out``."""
    for b in range(starts.size - 1):
        for j in range(starts[b], starts[b + 1]):
            out[chosen[j]] += scale * real(table[b, codes[j]])


@kernel
def bin_means(x: Vector, bounds: Indices, width: int) -> np.ndarray:
    """Return per block the mean of the largest |x_i| of its bins, as float32.

    Bins have ``width`` entries; the first bin of a block begins with the block.
    """
    means = np.zeros(bounds.size - 1, np.float32)
    for b in range(means.size):
        total, bins = 0.0, 0
        for first in range(bounds[b], bounds[b + 1], width):
            total += max_abs(x[first : min(first + width, bounds[b + 1])])
            bins += 1
        means[b] = np.float32(total / bins)
    return means


@kernel
def bin_choose(
    g: Vector, latest: Vector, bounds: Indices, width: int, means: np.ndarray
) -> np.ndarray:
    """Return the ascending indices (uint32) with |g_i + latest_i| >= max |g| of a bin.

    Entries with g_i = 0, and all entries of blocks whose mean is 0, are left out.
    """
    found = np.empty(g.size + 1, np.uint32)
    count = 0
    for b in range(means.size):
        if means[b] == 0:
            continue
        for first in range(bounds[b], bounds[b + 1], width):
            last = min(first + width, bounds[b + 1])
            top = max_abs(g[first:last])
            for i in range(first, last):
                found[count] = np.uint32(i)
                ahead = abs(real(g[i]) + real(latest[i])) >= top
                count += signed(ahead) & signed(g[i] != 0)  # & avoids a branch
    return found[:count]
