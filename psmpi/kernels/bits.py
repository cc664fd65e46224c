"""Bit streams: codes of 1 to 32 bits, least significant bit first, without gaps.

Code i takes the bits i*width to (i+1)*width - 1 of the stream; bit n of the stream is
bit n % 8 of byte n // 8. No byte outside of the stream is read or written.
"""

from __future__ import annotations

import numpy as np

from psmpi.base import Frame
from psmpi.kernels.jit import U0, U1, kernel, load, signed, store

CHUNK = 1024  # codes that a caller packs at once: a multiple of 8, fits the L1 cache
U3, U7, U8, U32 = np.uint64(3), np.uint64(7), np.uint64(8), np.uint64(32)


@kernel
def pack(codes: np.ndarray, width: np.uint64, frame: Frame, at: int) -> None:
    """Write ``codes`` (uint32, each below 2^width) as a stream from byte ``at`` on.

    The bits that fill up the last byte are zero.
    """
    end = at + (codes.size * signed(width) + 7) // 8
    done = 0
    if (
        width <= U8
    ):  # eight codes are ``width`` bytes: one store of 8 bytes, overlapping
        step = signed(width)
        while done + 8 <= codes.size and at + 8 <= end:
            group = codes[done : done + 8]
            word = U0
            for j in range(8):
                word |= np.uint64(group[j]) << (width * np.uint64(j))
            store(frame, at, word)
            at += step
            done += 8
    word, filled = U0, U0
    for i in range(done, codes.size):
        word |= np.uint64(codes[i]) << filled
        filled += width
        if filled >= U32:
            store(frame, at, np.uint32(word))
            at += 4
            word >>= U32
            filled -= U32
    while at < end:
        frame[at] = np.uint8(word)
        word >>= U8
        at += 1


@kernel
def window(frame: Frame, bit: np.uint64) -> np.uint64:
    """Return at least 57 bits of the stream from ``bit`` on, zeros past its end.

    ``frame`` has the bytes of the stream and no others.
    """
    at = signed(bit >> U3)
    word = U0
    if at + 8 <= frame.size:
        word = load(frame, at, np.uint64)
    else:
        for j in range(frame.size - at):
            word |= np.uint64(frame[at + j]) << (U8 * np.uint64(j))
    return word >> (bit & U7)


@kernel
def unpack(frame: Frame, at: int, width: np.uint64, codes: np.ndarray) -> None:
    """Fill ``codes`` (uint32) from a stream that starts at byte ``at``."""
    end = at + (codes.size * signed(width) + 7) // 8
    mask = (U1 << width) - U1
    done = 0
    if width <= U8:
        step = signed(width)
        while done + 8 <= codes.size and at + 8 <= end:
            word = load(frame, at, np.uint64)
            group = codes[done : done + 8]
            for j in range(8):
                group[j] = np.uint32((word >> (width * np.uint64(j))) & mask)
            at += step
            done += 8
    word, filled = U0, U0
    for i in range(done, codes.size):
        if filled < width:
            if at + 4 <= end:
                word |= np.uint64(load(frame, at, np.uint32)) << filled
                at += 4
                filled += U32
            else:
                while at < end:
                    word |= np.uint64(frame[at]) << filled
                    at += 1
                    filled += U8
        codes[i] = np.uint32(word & mask)
        word >>= width
        filled -= width
