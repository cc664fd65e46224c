"""Sparse frames with a short code per entry and one scale per block.

The vector has B blocks. The frame has ``count`` entries, in F of the blocks. The code
of an entry has w bits: a level, and the sign as the most significant bit.

=============================  =======================================================
bytes                          content
=============================  =======================================================
0 .. h - 1                     header: mode and count, see ``index_stream``
ceil(B / 8), absent if B = 1   flags: bit b is 1 if block b has entries; the least
or count = 0                   significant bit first, zero padding
4 F                            scales of these blocks, float32, above 0
ceil(w count / 8)              codes by ascending index: the level in the lower bits,
                               then the sign, 1 = negative; the least significant bit
                               first, zero padding
the rest                       index stream, zero padding
=============================  =======================================================

A block without entries takes one bit and decodes to zeros.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from psmpi.base import Frame, Indices, Vector, checks
from psmpi.base.arrays import buffer
from psmpi.codecs import validation
from psmpi.codecs.layout import index_stream
from psmpi.codecs.layout.blocks import Blockwise
from psmpi.codecs.layout.index_stream import Chosen
from psmpi.kernels.bits import pack, unpack
from psmpi.kernels.grouped import group_add, group_starts

Scales = NDArray[np.float32]
Codes = NDArray[np.uint32]


@dataclass(frozen=True)
class GroupedCodec(Blockwise):
    """Base of these codecs; a codec adds the choice of entries, scales and codes."""

    is_sparse: ClassVar[bool] = True

    @property
    def width(self) -> int:
        """Bits of a code: one, the sign, unless the codec has levels."""
        return 1

    @abc.abstractmethod
    def most(self, dim: int) -> int:
        """Return the largest number of entries of a frame."""

    def units(self, scales: Scales, dim: int) -> NDArray[np.float64]:
        """Return the value of level 1 in blocks with these scales."""
        return scales.astype(np.float64)

    def _max_nbytes(self, dim: int) -> int:
        checks.length(self.id, dim, validation.MAX_SPARSE_DIM)
        most, blocks = self.most(dim), self.blocks(dim).size - 1
        flags = (blocks + 7) // 8 if blocks > 1 else 0
        codes = (self.width * most + 7) // 8
        return (
            index_stream.max_nbytes(most, dim) + flags + 4 * min(blocks, most) + codes
        )

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        """Return 32 B + nnz * (width + ceil(log2 dim))."""
        header = index_stream.read_header(self.id, frame, dim, self.most(dim))
        scales = 32 * (self.blocks(dim).size - 1)
        return scales + header.count * (self.width + index_stream.width(dim))

    def _decode_add(self, frame: Frame, out: Vector, scale: float) -> None:
        """Add ``scale`` times the entries to ``out``, in O(k + B)."""
        bounds = self.blocks(out.size)
        header = index_stream.read_header(self.id, frame, out.size, self.most(out.size))
        flags, at = self._flags(frame, header, bounds.size - 1)
        first = at + 4 * int(flags.sum())
        last = first + (self.width * header.count + 7) // 8
        if frame.size < last:
            validation.damaged(
                self.id, f"{frame.size} bytes, a scale or code is missing"
            )
        scales = np.zeros(flags.size, np.float32)
        scales[flags] = frame[at:first].view("<f4")
        if not np.all((scales[flags] > 0) & (scales[flags] < np.inf)):
            validation.damaged(self.id, "a scale is not above 0 or not finite")
        validation.check_padding(self.id, frame[:last], self.width * header.count)
        codes = np.empty(header.count, np.uint32)
        unpack(frame, first, np.uint64(self.width), codes)
        levels = np.uint64(self.width - 1)
        if levels and not np.all(codes & np.uint32(2 ** (self.width - 1) - 1)):
            validation.damaged(self.id, "a level is 0")
        chosen = index_stream.read(self.id, header, frame[last:], out.size)
        starts = group_starts(chosen, bounds)
        if not np.array_equal(starts[:-1] < starts[1:], flags):
            validation.damaged(self.id, "its flags are not those of its indices")
        units = self.units(scales, out.size)
        group_add(codes, chosen, starts, units, levels, out, scale)

    def _flags(
        self, frame: Frame, header: index_stream.Header, blocks: int
    ) -> tuple[NDArray[np.bool_], int]:
        """Return a flag per block, and the byte where the scales begin."""
        at = header.nbytes
        if blocks <= 1 or not header.count:
            return np.full(blocks, header.count > 0), at
        last = at + (blocks + 7) // 8
        if frame.size < last:
            validation.damaged(self.id, f"{frame.size} bytes, flags are missing")
        validation.check_padding(self.id, frame[:last], blocks)
        flags = np.unpackbits(frame[at:last], count=blocks, bitorder="little")
        return flags.astype(np.bool_), last

    def write(
        self,
        scales: Scales,
        codes: Codes,
        chosen: Chosen,
        starts: Indices,
        dim: int,
        out: Frame | None,
    ) -> Frame:
        """Return the frame of ``codes`` at the ascending indices ``chosen``.

        Entries ``starts[b]`` to ``starts[b + 1] - 1`` are those of block b. ``scales``
        has one scale for every block, also for blocks without entries.
        """
        header, stream = index_stream.plan(chosen, dim)
        filled = starts[:-1] < starts[1:]
        flags = np.empty(0, np.uint8)
        if filled.size > 1 and chosen.size:
            flags = np.packbits(filled, bitorder="little")
        parts = (flags, scales[filled].astype("<f4").view(np.uint8))
        first = header.nbytes + sum(part.size for part in parts)
        last = first + (self.width * chosen.size + 7) // 8
        size = last + stream
        frame = buffer(out, size)
        header.write(frame)
        frame[header.nbytes : first] = np.concatenate(parts)
        pack(codes, np.uint64(self.width), frame, first)
        index_stream.write(header, chosen, dim, frame[last:size])
        return frame[:size]
