"""Sparse frames with a short code per entry and a few floats per block.

The vector has B blocks. The frame has ``count`` entries, in F of the blocks. The code
of an entry has w bits, and a block has f floats. In most codecs f is 1, the block's
scale, above 0, and a code is a level and the sign as the most significant bit.

=============================  =======================================================
bytes                          content
=============================  =======================================================
0 .. h - 1                     header: mode and count, see ``index_stream``
ceil(B / 8), absent if B = 1   flags: bit b is 1 if block b has entries; the least
or count = 0                   significant bit first, zero padding
4 f F                          floats of these blocks, float32
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

Scales = NDArray[np.float32]  # one per block
Table = NDArray[np.float32]  # a row per block
Codes = NDArray[np.uint32]


@dataclass(frozen=True)
class CodedEntries(Blockwise):
    """Base of these codecs; one adds the choice of entries, floats and codes."""

    is_sparse: ClassVar[bool] = True

    @property
    @abc.abstractmethod
    def width(self) -> int:
        """Bits of a code."""

    @property
    def floats(self) -> int:
        """Floats per block."""
        return 1

    @abc.abstractmethod
    def most(self, dim: int) -> int:
        """Return the largest number of entries of a frame."""

    @abc.abstractmethod
    def _add(
        self,
        table: Table,
        codes: Codes,
        chosen: Chosen,
        starts: Indices,
        out: Vector,
        scale: float,
    ) -> None:
        """Add ``scale`` times the entries of a frame to ``out``, in O(k + B).

        Row b of ``table`` has the floats of block b, all finite, and 0 for a block
        without entries. The other arguments are those of ``write``.
        """

    def _check(self, table: Table, codes: Codes) -> None:
        """Raise FrameError for floats of filled blocks, or codes, that can't be."""

    def _max_nbytes(self, dim: int) -> int:
        checks.length(self.id, dim, validation.MAX_SPARSE_DIM)
        most, blocks = self.most(dim), self.blocks(dim).size - 1
        flags = (blocks + 7) // 8 if blocks > 1 else 0
        floats = 4 * self.floats * min(blocks, most)
        codes = (self.width * most + 7) // 8
        return index_stream.max_nbytes(most, dim) + flags + floats + codes

    def _formula(self, frame: Frame, dim: int, floats: int, index: int) -> int:
        """Return 32 floats B + nnz * (width + index), a paper's bits of a frame."""
        header = index_stream.read_header(self.id, frame, dim, self.most(dim))
        blocks = self.blocks(dim).size - 1
        return 32 * floats * blocks + header.count * (self.width + index)

    def _decode_add(self, frame: Frame, out: Vector, scale: float) -> None:
        """Add ``scale`` times the entries to ``out``, in O(k + B)."""
        bounds = self.blocks(out.size)
        header = index_stream.read_header(self.id, frame, out.size, self.most(out.size))
        flags, at = self._flags(frame, header, bounds.size - 1)
        first = at + 4 * self.floats * int(flags.sum())
        last = first + (self.width * header.count + 7) // 8
        if frame.size < last:
            validation.damaged(
                self.id, f"{frame.size} bytes, a scale or code is missing"
            )
        table = np.zeros((flags.size, self.floats), np.float32)
        table[flags] = frame[at:first].view("<f4").reshape(-1, self.floats)
        if not np.isfinite(table).all():
            validation.damaged(self.id, "a number is not finite")
        validation.check_padding(self.id, frame[:last], self.width * header.count)
        codes = np.empty(header.count, np.uint32)
        unpack(frame, first, np.uint64(self.width), codes)
        self._check(table[flags], codes)
        chosen = index_stream.read(self.id, header, frame[last:], out.size)
        starts = group_starts(chosen, bounds)
        if not np.array_equal(starts[:-1] < starts[1:], flags):
            validation.damaged(self.id, "its flags are not those of its indices")
        self._add(table, codes, chosen, starts, out, scale)

    def _flags(
        self, frame: Frame, header: index_stream.Header, blocks: int
    ) -> tuple[NDArray[np.bool_], int]:
        """Return a flag per block, and the byte where the floats begin."""
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
        table: Table,
        codes: Codes,
        chosen: Chosen,
        starts: Indices,
        dim: int,
        out: Frame | None,
    ) -> Frame:
        """Return the frame of ``codes`` at the ascending indices ``chosen``.

        Entries ``starts[b]`` to ``starts[b + 1] - 1`` are those of block b. ``table``
        has the floats of every block, also of blocks without entries.
        """
        header, stream = index_stream.plan(chosen, dim)
        filled = starts[:-1] < starts[1:]
        flags = np.empty(0, np.uint8)
        if filled.size > 1 and chosen.size:
            flags = np.packbits(filled, bitorder="little")
        parts = (flags, table[filled].astype("<f4").ravel().view(np.uint8))
        first = header.nbytes + sum(part.size for part in parts)
        last = first + (self.width * chosen.size + 7) // 8
        size = last + stream
        frame = buffer(out, size)
        header.write(frame)
        frame[header.nbytes : first] = np.concatenate(parts)
        pack(codes, np.uint64(self.width), frame, first)
        index_stream.write(header, chosen, dim, frame[last:size])
        return frame[:size]


@dataclass(frozen=True)
class GroupedCodec(CodedEntries):
    """Base of codecs with one scale per block, and codes of a sign and a level."""

    @property
    def width(self) -> int:
        """Bits of a code: one, the sign, unless the codec has levels."""
        return 1

    def units(self, scales: Scales, dim: int) -> NDArray[np.float64]:
        """Return the value of level 1 in blocks with these scales."""
        return scales.astype(np.float64)

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        """Return 32 B + nnz * (width + ceil(log2 dim))."""
        return self._formula(frame, dim, 1, index_stream.width(dim))

    def _check(self, table: Table, codes: Codes) -> None:
        """Refuse scales that are not above 0, and levels of 0."""
        if not np.all(table > 0):
            validation.damaged(self.id, "a scale is not above 0")
        if self.width > 1 and not np.all(codes & np.uint32(2 ** (self.width - 1) - 1)):
            validation.damaged(self.id, "a level is 0")

    def _add(
        self,
        table: Table,
        codes: Codes,
        chosen: Chosen,
        starts: Indices,
        out: Vector,
        scale: float,
    ) -> None:
        """Add ``scale`` times level and sign times the block's unit to ``out``."""
        units = self.units(table[:, 0], out.size)
        levels = np.uint64(self.width - 1)
        group_add(codes, chosen, starts, units, levels, out, scale)
