"""Types of the arrays that rooms of psmpi exchange."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: A model, a gradient or an error memory: 1-D, C-contiguous, float32 or float64.
Vector = NDArray[np.floating[Any]]
#: The bytes of one encoded message, without the link's envelope: 1-D, uint8.
Frame = NDArray[np.uint8]
#: Indices of entries or samples: 1-D, int64.
Indices = NDArray[np.int64]


def buffer(out: Frame | None, nbytes: int) -> Frame:
    """Return ``out``, which is large enough, or a new array of ``nbytes``."""
    return np.empty(nbytes, np.uint8) if out is None else out
