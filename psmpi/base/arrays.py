"""The arrays that everything exchanges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: The whole model, or something like it: 1-D, C-contiguous, float32 or float64.
Vector = NDArray[np.floating[Any]]
#: The bytes of one message of a paper, and nothing else: 1-D, uint8.
Frame = NDArray[np.uint8]
#: Indices of entries or samples: 1-D, int64.
Indices = NDArray[np.int64]
