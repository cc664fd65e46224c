"""Sparse frames with a float per entry.

=====================================  ===============================================
bytes                                  content
=====================================  ===============================================
0 .. h - 1                             header: mode and count, see ``index_stream``
h .. h + 4 count - 1                   values, float32, by ascending index, none 0
h + 4 count ..                         index stream, zero padding
=====================================  ===============================================

If a codec's values are float64 (``wide``), they take 8 count bytes.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from psmpi.base import Codec, Frame, Vector, checks
from psmpi.base.arrays import buffer
from psmpi.codecs import validation
from psmpi.codecs.layout import index_stream
from psmpi.codecs.layout.index_stream import Chosen
from psmpi.kernels.floats import scatter_add, values_ok

NONZERO = np.uint32(1)  # the smallest bit pattern of a value that may be sent
# The smallest bit pattern of an entry that is sent, by itemsize: float64 magnitudes up
# to 2^-150 are 0 as float32.
LEAST = {4: np.uint64(1), 8: np.float64(2.0**-150).view(np.uint64) + np.uint64(1)}


class SparseCodec(Codec):
    """Base of these codecs; a codec adds the choice of entries."""

    is_sparse: ClassVar[bool] = True

    @property
    def wide(self) -> bool:
        """Whether values are float64; else they are float32."""
        return False

    def most(self, dim: int) -> int:
        """Return the largest number of entries of a frame."""
        return dim

    def _max_nbytes(self, dim: int) -> int:
        most = self.most(checks.length(self.id, dim, validation.MAX_SPARSE_DIM))
        return (8 if self.wide else 4) * most + index_stream.max_nbytes(most, dim)

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        """Return nnz * (32 + ceil(log2 dim)), with 64 for ``wide`` values."""
        header = index_stream.read_header(self.id, frame, dim, self.most(dim))
        return header.count * ((64 if self.wide else 32) + index_stream.width(dim))

    def _decode_add(self, frame: Frame, out: Vector, scale: float) -> None:
        """Add ``scale`` times the values to their entries of ``out``, in O(k)."""
        header = index_stream.read_header(self.id, frame, out.size, self.most(out.size))
        wide, first, count = self.wide, header.nbytes, header.count
        last = first + (8 if wide else 4) * count
        if frame.size < last or not values_ok(frame, first, count, wide, NONZERO):
            validation.damaged(self.id, "a value is missing, 0 or not finite")
        chosen = index_stream.read(self.id, header, frame[last:], out.size)
        scatter_add(frame, first, wide, chosen, out, scale)

    def write(
        self, values: Vector, chosen: Chosen, dim: int, out: Frame | None
    ) -> Frame:
        """Return the frame of ``values`` at the ascending indices ``chosen``.

        The values are rounded to float32 unless they are sent ``wide``.
        """
        header, stream = index_stream.plan(chosen, dim)
        last = header.nbytes + (8 if self.wide else 4) * header.count
        size = last + stream
        frame = buffer(out, size)
        header.write(frame)
        frame[header.nbytes : last].view("<f8" if self.wide else "<f4")[:] = values
        index_stream.write(header, chosen, dim, frame[last:size])
        return frame[:size]
