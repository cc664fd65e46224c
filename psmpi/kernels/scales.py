"""Float32 scales, one per block, at the start of a frame; blocks of scale 0 send none.

Block b is ``x[bounds[b]:bounds[b + 1]]``, its scale is at byte 4 b.
"""

from __future__ import annotations

import numpy as np

from psmpi.base import Frame, Indices
from psmpi.kernels.jit import kernel, load, signed, store


@kernel
def write_scales(scales: np.ndarray, frame: Frame) -> bool:
    """Write all scales; False, with nothing written, if one isn't finite."""
    for b in range(scales.size):
        if not scales[b] < np.inf:
            return False
    for b in range(scales.size):
        store(frame, 4 * b, scales[b])
    return True


@kernel
def entries_sent(frame: Frame, bounds: Indices) -> int:
    """Return the entries of blocks with scale > 0; -1 if one is < 0 or not finite.

    The frame holds at least the scales. A scale of -0.0 is below 0.
    """
    count = signed(0)
    for b in range(bounds.size - 1):
        scale = load(frame, 4 * b, np.uint32)
        if not scale < np.uint32(0x7F800000):
            return -1
        if scale > 0:
            count += bounds[b + 1] - bounds[b]
    return count
