"""Counting bits in place: 64 counters side by side, one bit of each in a word.

``counters[k]`` holds bit k of the votes for a 1, one bit per entry, in the order of a
frame. A frame is added as a whole word of carries that moves up from plane to plane, so
one operation serves 64 entries and no frame is ever unpacked.
"""

from __future__ import annotations

import numpy as np

from psmpi.base import Frame
from psmpi.kernels.bits import window
from psmpi.kernels.jit import U0, kernel, load, store

WORDS = 64  # carried up together, so that the loop over words is vectorised


@kernel
def vote_add(counters: np.ndarray, frame: Frame, dim: int) -> None:
    """Count the 1s of a checked frame of ``dim`` bits; the counters have room."""
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

    Subtracts the least majority from all counters, keeping only the borrow: it is left
    over where a counter is smaller.
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
