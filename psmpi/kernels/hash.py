"""Counter-based random numbers: a 64-bit hash of (key, index), without a state.

The mixing function is that of SplitMix64 (Steele, Lea, Flood: Fast splittable
pseudorandom number generators, 2014). The key is mixed once before the index is added,
so that neighbouring keys do not give shifted copies of one stream.

Every function casts its arguments to uint64: a uint64 that a kernel returns to Python
is an int there, which Numba would take for int64 if below 2^63, and a right shift of an
int64 copies the sign bit.
"""

from __future__ import annotations

import numpy as np

from psmpi.kernels.jit import U1, as_float, kernel, real

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)
R12, R27, R30, R31 = np.uint64(12), np.uint64(27), np.uint64(30), np.uint64(31)
ONE = np.uint64(0x3FF0000000000000)  # the bits of 1.0


@kernel
def mix(z: np.uint64) -> np.uint64:
    """Return the finaliser of SplitMix64, a bijection, of ``z``."""
    z = np.uint64(z)
    z = (z ^ (z >> R30)) * FIRST
    z = (z ^ (z >> R27)) * SECOND
    return z ^ (z >> R31)


@kernel
def start(key: np.uint64) -> np.uint64:
    """Return the stream of ``key``, the first argument of ``draw``."""
    return mix(np.uint64(key) + GOLDEN)


@kernel
def draw(stream: np.uint64, index: np.uint64) -> np.uint64:
    """Return the 64 random bits of this index."""
    return mix(np.uint64(stream) + np.uint64(index) * GOLDEN)


@kernel
def uniform(stream: np.uint64, index: np.uint64) -> float:
    """Return a float64 in [0, 1), a multiple of 2^-52, from the draw's upper bits."""
    return real(as_float((draw(stream, index) >> R12) | ONE) - 1.0)


@kernel
def draw_words(stream: np.uint64, first: np.uint64, words: np.ndarray) -> None:
    """Fill ``words`` (uint32) with the random words of entries ``first`` and following.

    ``first`` and the number of words are even. One draw serves two entries: entry i has
    the lower half of draw i // 2 if i is even, else the upper half.
    """
    base = np.uint64(first) >> U1
    for j in range(words.size // 2):
        bits = draw(stream, base + np.uint64(j))
        words[2 * j] = np.uint32(bits)
        words[2 * j + 1] = np.uint32(bits >> np.uint64(32))
