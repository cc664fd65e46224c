"""Counter-based random numbers: what is drawn depends on (seed, purpose) alone."""

from __future__ import annotations

import numpy as np

from psmpi.base import ConfigError

# Second word of a Philox key: what the numbers are for. Zero is Problem.batch.
START, PARTITION, DATA, NOISE, WORKERS, LANCZOS = 1, 2, 3, 4, 5, 6


def generator(seed: int, purpose: int) -> np.random.Generator:
    """Return the counter-based generator of ``(seed, purpose)``; equal on all ranks.

    Raises ``ConfigError`` for a seed outside 0 .. 2^64 - 1.
    """
    if not 0 <= seed < 2**64:
        raise ConfigError(f"seed: must lie in 0 .. 2^64 - 1, got {seed}")
    key = np.array([seed, purpose], np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
