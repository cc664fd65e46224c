"""Codes for ascending indices below ``dim``: Rice-coded gaps, fixed width, bitmap.

A mode is a number: 0 to 31 means Rice-coded gaps with that parameter, 32 fixed width,
33 a bitmap. All are bit streams as in ``bits``; unused bits of the last byte are zero.
"""

from __future__ import annotations

import numpy as np

from psmpi.base import Frame
from psmpi.kernels.bits import pack, unpack, window
from psmpi.kernels.jit import U0, U1, kernel, ones, signed, store, trailing_zeros

FIXED, BITMAP = 32, 33
U32 = np.uint64(32)
SPAN = np.uint64(56)  # bits of a window without the 1 that ends the zeros


@kernel
def index_width(dim: int) -> int:
    """Return ceil(log2 dim), the bits of one index; 0 for dim <= 1."""
    width = 0
    while dim > 1 << width:
        width += 1
    return width


@kernel
def rice_length(indices: np.ndarray, parameter: int) -> int:
    """Return the number of bits of the Rice code of all gaps.

    The gap g of an index is the number of unused indices between it and the previous
    index. Its code is g >> parameter zeros, a 1, and the lower ``parameter`` bits of g.
    """
    following = 0  # the index that would have gap 0
    total = indices.size * (1 + parameter)
    for j in range(indices.size):
        index = signed(indices[j])
        total += (index - following) >> parameter
        following = index + 1
    return total


@kernel
def shortest_mode(indices: np.ndarray, dim: int) -> tuple[int, int]:
    """Return the mode with the shortest stream, and the number of that stream's bits.

    Among equal lengths, the lowest mode. The length of the Rice code is convex in the
    parameter, so the search goes down from about log2 of the mean gap plus one, then
    up.
    """
    mode = min(index_width(dim // max(indices.size, 1)) + 1, 31)
    length = rice_length(indices, mode)
    while mode > 0:
        lower = rice_length(indices, mode - 1)
        if lower > length:
            break
        mode, length = mode - 1, lower
    while mode < 31:
        higher = rice_length(indices, mode + 1)
        if higher >= length:
            break
        mode, length = mode + 1, higher
    fixed = indices.size * index_width(dim)
    if fixed < length:
        mode, length = FIXED, fixed
    if dim < length:
        mode, length = BITMAP, dim
    return mode, length


@kernel
def write_indices(indices: np.ndarray, dim: int, mode: int, stream: Frame) -> None:
    """Write ``indices`` (uint32, ascending); ``stream`` has the size of their code."""
    if mode == FIXED:
        if dim > 1:
            pack(indices, np.uint64(index_width(dim)), stream, signed(0))
    elif mode == BITMAP:
        stream[:] = 0
        for index in indices:
            stream[index >> np.uint32(3)] |= np.uint8(1 << (index & np.uint32(7)))
    else:
        _write_rice(indices, np.uint64(mode), stream)


@kernel
def _write_rice(indices: np.ndarray, parameter: np.uint64, stream: Frame) -> None:
    low = (U1 << parameter) - U1
    at = 0
    word, filled, following = U0, U0, U0
    for j in range(indices.size):
        index = np.uint64(indices[j])
        gap = index - following
        following = index + U1
        filled += gap >> parameter
        while filled >= U32:
            store(stream, at, np.uint32(word))
            at += 4
            word >>= U32
            filled -= U32
        word |= (((gap & low) << U1) | U1) << filled
        filled += parameter + U1
        if filled >= U32:
            store(stream, at, np.uint32(word))
            at += 4
            word >>= U32
            filled -= U32
    while at < stream.size:
        stream[at] = np.uint8(word)
        word >>= np.uint64(8)
        at += 1


@kernel
def read_indices(stream: Frame, dim: int, mode: int, indices: np.ndarray) -> bool:
    """Fill ``indices`` from a stream that may hold anything.

    Returns False if ``write_indices`` does not write such a stream: too short or long,
    an index of ``dim`` or more, indices not ascending, padding bits not zero.
    """
    if mode == BITMAP:
        return _read_bitmap(stream, dim, indices)
    if mode != FIXED:
        return _read_rice(stream, np.uint64(dim), np.uint64(mode), indices)
    width = index_width(dim)
    used = width * indices.size
    if stream.size != (used + 7) // 8:
        return False
    if used % 8 and stream[used // 8] >> (used % 8):
        return False
    if width:
        unpack(stream, signed(0), np.uint64(width), indices)
    else:
        indices[:] = 0
    following = 0
    for j in range(indices.size):
        index = signed(indices[j])
        if not following <= index < dim:
            return False
        following = index + 1
    return True


@kernel
def _read_rice(
    stream: Frame, dim: np.uint64, parameter: np.uint64, indices: np.ndarray
) -> bool:
    size = np.uint64(8 * stream.size)
    low = (U1 << parameter) - U1
    most = dim >> parameter
    bit, following = U0, U0
    for j in range(indices.size):
        high = U0
        while True:
            if bit >= size:
                return False
            word = window(stream, bit)
            if word:
                break
            skipped = np.uint64(64) - (bit & np.uint64(7))
            high += skipped
            bit += skipped
        zeros = trailing_zeros(word)
        high += zeros
        bit += zeros + U1
        if high > most or bit + parameter > size:
            return False
        word = word >> zeros >> U1 if zeros < SPAN - parameter else window(stream, bit)
        index = following + ((high << parameter) | (word & low))
        bit += parameter
        if index >= dim:
            return False
        indices[j] = np.uint32(index)
        following = index + U1
    if bit == size:
        return True
    return bool(size - bit < np.uint64(8) and window(stream, bit) == U0)


@kernel
def _read_bitmap(stream: Frame, dim: int, indices: np.ndarray) -> bool:
    if stream.size != (dim + 7) // 8:
        return False
    if dim % 8 and stream[dim // 8] >> (dim % 8):
        return False
    total = U0
    for first in range(0, stream.size, 8):
        total += ones(window(stream, np.uint64(8 * first)))
    if total != np.uint64(indices.size):
        return False
    count = 0
    for first in range(0, stream.size, 8):
        word = window(stream, np.uint64(8 * first))
        while word:
            indices[count] = np.uint32(np.uint64(8 * first) + trailing_zeros(word))
            count += 1
            word &= word - U1
    return True
