"""Counter-based randomness: a number depends on what it is for, and on nothing else.

There is no generator whose state would have to be saved: ``key`` names one use of
randomness by (seed, purpose, worker, round), and ``generator`` is NumPy's Philox under
such a name.
"""

from __future__ import annotations

import zlib

import numpy as np

from psmpi.errors import ConfigError

# Second word of a Philox key: what the numbers are for. Zero is Problem.batch.
START, PARTITION, DATA, NOISE, WORKERS, LANCZOS = 1, 2, 3, 4, 5, 6
_MASK = (1 << 64) - 1


def key(seed: int, purpose: str, *numbers: int) -> int:
    """Return the uint64 that names one use of randomness: counter-based, no state.

    ``purpose`` keeps, say, batches and rounding apart; ``numbers`` are worker and
    round. Every step is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
    """
    h = _mix(seed & _MASK)
    for number in (zlib.crc32(purpose.encode()), *numbers):
        h = _mix((h + 0x9E3779B97F4A7C15 + number) & _MASK)
    return h


def coin(probability: float, key: int) -> bool:
    """Return True with ``probability``; a pure function of ``key``."""
    return (key >> 11) * 2.0**-53 < probability


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def generator(seed: int, purpose: int) -> np.random.Generator:
    """Return the counter-based generator of ``(seed, purpose)``; equal on all ranks.

    Raises ``ConfigError`` for a seed outside 0 .. 2^64 - 1.
    """
    if not 0 <= seed < 2**64:
        raise ConfigError(f"seed: must lie in 0 .. 2^64 - 1, got {seed}")
    key = np.array([seed, purpose], np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
