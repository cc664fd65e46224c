"""Float32 scales at the start of a frame, one per block.

Block b is ``x[bounds[b]:bounds[b + 1]]``, its scale is at byte 4 b. Entries of blocks
of scale 0 are not sent.
"""

from __future__ import annotations

import numpy as np

from psmpi.base import Frame, Indices
from psmpi.kernels.jit import kernel, load, signed, store


@kernel
def write_scales(scales: np.ndarray, frame: Frame) -> bool:
    """Write all scales; if one isn't finite, write nothing and return False."""
    for b in range(scales.size):
        if not scales[b] < np.inf:
            return False
    for b in range(scales.size):
        store(frame, 4 * b, scales[b])
    return True


@kernel
def entries_sent(frame: Frame, bounds: Indices) -> int:
    """Return the number of entries in blocks with scale > 0.

    Returns -1 if a scale is negative (also -0.0) or not finite. The frame has at least
    all scales.
    """
    count = signed(0)
    for b in range(bounds.size - 1):
        scale = load(frame, 4 * b, np.uint32)
        if not scale < np.uint32(0x7F800000):
            return -1
        if scale > 0:
            count += bounds[b + 1] - bounds[b]
    return count
