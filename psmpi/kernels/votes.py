"""Majority votes on packed bits, with bit-sliced counters.

``counters[k]`` holds bit k of every entry's number of 1s, one bit per entry in the
order of a frame. A frame is added word by word, with the carries going from
``counters[k]`` to ``counters[k + 1]``. So one operation counts 64 entries, and no frame
is unpacked.
"""

from __future__ import annotations

import numpy as np

from psmpi.base import Frame
from psmpi.kernels.bits import window
from psmpi.kernels.jit import U0, kernel, load, store

WORDS = 64  # words that are added at once, so that the inner loop is vectorised


@kernel
def vote_add(counters: np.ndarray, frame: Frame, dim: int) -> None:
    """Count the 1s of a checked frame of ``dim`` bits; no counter may overflow."""
    carries = np.empty(WORDS, np.uint64)
    for first in range(0, counters.shape[1], WORDS):
        size = min(WORDS, counters.shape[1] - first)
        if 8 * (first + WORDS) <= frame.size:
            for j in range(WORDS):
                carries[j] = load(frame, 8 * (first + j), np.uint64)
        else:
            for j in range(size):
                carries[j] = window(frame, np.uint64(64 * (first + j)))
        for k in range(counters.shape[0]):
            plane = counters[k, first : first + size]
            left = U0
            for j in range(size):
                carry = plane[j] & carries[j]
                plane[j] ^= carries[j]
                carries[j] = carry
                left |= carry
            if left == U0:
                break


@kernel
def vote_result(counters: np.ndarray, votes: int, frame: Frame, dim: int) -> None:
    """Write 1 where more than half of ``votes`` frames had a 1; a tie gives 0.

    Subtracts the smallest majority from all counters and keeps only the borrow, which
    is 1 where a counter is smaller.
    """
    majority = votes // 2 + 1
    borrows = np.empty(WORDS, np.uint64)
    size = (dim + 7) // 8
    for first in range(0, counters.shape[1], WORDS):
        words = min(WORDS, counters.shape[1] - first)
        borrows[:] = U0
        for k in range(counters.shape[0]):
            plane = counters[k, first : first + words]
            if majority >> k & 1:
                for j in range(words):
                    borrows[j] |= ~plane[j]
            else:
                for j in range(words):
                    borrows[j] &= ~plane[j]
        for j in range(words):
            at = 8 * (first + j)
            word = ~borrows[j]
            if at + 8 <= size:
                store(frame, at, word)
            else:
                for i in range(at, size):
                    frame[i] = np.uint8(word)
                    word >>= np.uint64(8)
