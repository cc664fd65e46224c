"""Frames of float32 values at few indices, which several codecs send.

=====================================  ===============================================
bytes                                  content
=====================================  ===============================================
0 .. h - 1                             header: mode and count, see ``indices``
h .. h + 4 count - 1                   values, float32, by ascending index, none 0
h + 4 count ..                         index stream, zero padding
=====================================  ===============================================
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from psmpi.base import Codec, Frame, Vector
from psmpi.codecs import door, indices
from psmpi.codecs.indices import Chosen
from psmpi.kernels.sparse import scatter_add, values_ok

NONZERO = np.uint32(1)  # the least bit pattern of a value that is sent
Singles = NDArray[np.float32]


class SparseCodec(Codec):
    """Everything about such a codec but the choice of entries."""

    def most(self, dim: int) -> int:
        """Return the largest number of entries of a frame."""
        return dim

    def max_nbytes(self, dim: int) -> int:
        """Return the bytes of a frame with all entries that the codec may send."""
        most = self.most(door.length(self.id, dim, door.MAX_SPARSE_DIM))
        return 4 * most + indices.max_nbytes(most, dim)

    def paper_bits(self, frame: Frame, dim: int) -> int:
        """Return nnz * (32 + ceil(log2 dim))."""
        header = indices.read_header(self.id, frame, dim, self.most(dim))
        return header.count * (32 + indices.width(dim))

    def decode_add(self, frame: Frame, out: Vector, scale: float = 1.0) -> None:
        """Add ``scale`` times the values to their entries of ``out``, in O(k)."""
        frame, out = door.received(self.id, frame), door.target(self.id, out)
        scale = door.factor(self.id, scale)
        header = indices.read_header(self.id, frame, out.size, self.most(out.size))
        first, last = header.nbytes, header.nbytes + 4 * header.count
        if frame.size < last or not values_ok(frame, first, header.count, NONZERO):
            door.damaged(self.id, "a value is missing, 0 or not finite")
        chosen = indices.read(self.id, header, frame[last:], out.size)
        scatter_add(frame, first, chosen, out, scale)

    def write(
        self, values: Singles, chosen: Chosen, dim: int, out: Frame | None
    ) -> Frame:
        """Return the frame of ``values`` at the ascending indices ``chosen``."""
        header, stream = indices.plan(chosen, dim)
        last = header.nbytes + 4 * header.count
        size = last + stream
        frame = np.empty(size, np.uint8) if out is None else out
        header.write(frame)
        frame[header.nbytes : last].view("<f4")[:] = values
        indices.write(header, chosen, dim, frame[last:size])
        return frame[:size]
