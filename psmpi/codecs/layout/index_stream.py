"""The indices of a sparse frame: a header, and the shortest of three index codes.

=================  =====================================================================
bytes of header    content
=================  =====================================================================
0                  mode: 0..31 Rice-coded gaps with that parameter, 32 fixed width of
                   ceil(log2 dim) bits, 33 bitmap of dim bits
1 .. 5             number of indices: seven bits a byte, the lowest first, the top bit
                   set in all bytes but the last (LEB128)
=================  =====================================================================

The index stream is the last part of a frame and extends to its end. What the codec
sends per index (values, signs) is between the header and the stream. A gap g is the
number of unused indices before an index. It is coded as g >> parameter zeros, a one,
and the lower ``parameter`` bits of g, from the least significant bit on. For random
indices and k / dim <= 1 % the stream is on average 0.4 to 2.4 % longer than
log2 C(dim, k) bits. With header and padding this is 7 % for 40 of 7850 indices, and
more for fewer indices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from psmpi.base import Frame
from psmpi.codecs import validation
from psmpi.kernels.indices import BITMAP, read_indices, shortest_mode, write_indices

Chosen = NDArray[np.uint32]


def width(dim: int) -> int:
    """Return ceil(log2 dim), the papers' bits per index."""
    return (dim - 1).bit_length() if dim > 1 else 0


def header_nbytes(count: int) -> int:
    """Return the bytes of the header for ``count`` indices, 2 to 6."""
    return 1 + max(1, (count.bit_length() + 6) // 7)


def max_nbytes(count: int, dim: int) -> int:
    """Return a bound on header and stream of up to ``count`` indices below ``dim``."""
    return header_nbytes(count) + (min(count * width(dim), dim) + 7) // 8


@dataclass(frozen=True)
class Header:
    """The header of a sparse frame."""

    mode: int
    count: int

    @property
    def nbytes(self) -> int:
        """Bytes of the header."""
        return header_nbytes(self.count)

    def write(self, frame: Frame) -> None:
        """Write the header at the start of ``frame``."""
        frame[0] = self.mode
        rest = self.count
        for at in range(1, self.nbytes):
            rest, low = rest >> 7, rest & 127
            frame[at] = low | (128 if rest else 0)


def plan(indices: Chosen, dim: int) -> tuple[Header, int]:
    """Return the header for ascending ``indices`` and the bytes of their stream."""
    mode, bits = shortest_mode(indices, dim)
    return Header(mode, indices.size), (bits + 7) // 8


def write(header: Header, indices: Chosen, dim: int, stream: Frame) -> None:
    """Write the index stream; ``stream`` has as many bytes as ``plan`` returned."""
    write_indices(indices, dim, header.mode, stream)


def read_header(codec: str, frame: Frame, dim: int, most: int) -> Header:
    """Return the header of a frame with up to ``most`` indices, or raise FrameError."""
    count = 0
    for position, byte in enumerate(frame[1:6].tolist()):
        count |= (byte & 127) << 7 * position
        if byte < 128:
            break
    else:
        validation.damaged(codec, f"{frame.size} bytes, its header is cut")
    header = Header(int(frame[0]), count)
    if header.nbytes != 2 + position or header.mode > BITMAP:
        validation.damaged(
            codec, f"mode {header.mode} and {count} entries in its header"
        )
    if count > min(most, dim):
        validation.damaged(
            codec, f"{count} entries where there are at most {min(most, dim)}"
        )
    return header


def read(codec: str, header: Header, stream: Frame, dim: int) -> Chosen:
    """Return the ascending indices of a stream, or raise FrameError.

    If every index has a value, the caller has compared ``header.count`` with the
    frame's size, so that a damaged count can't ask for more memory than the frame has.
    """
    indices = np.empty(header.count, np.uint32)
    if not read_indices(stream, dim, header.mode, indices):
        validation.damaged(
            codec, f"its stream is not {header.count} indices below {dim}"
        )
    return indices
