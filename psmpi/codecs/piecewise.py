"""Different codecs for different tensors of a model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Codec, ConfigError, Frame, FrameError, Indices, Vector
from psmpi.codecs import validation
from psmpi.kernels.hash import draw, start

_LENGTH = np.dtype("<u4")
# Part, begin and end of its block, room or None, key.
_Encode = Callable[[Codec, int, int, Frame | None, np.uint64], Frame]


@dataclass(frozen=True)
class Piecewise(Codec):
    """Codecs that are applied to the blocks of a vector in turn.

    Parameters
    ----------
    parts : tuple of Codec
        Block b is coded by ``parts[b % len(parts)]``. With two parts, weights and
        biases of a perceptron are coded differently.
    bounds : tuple of int
        Block b is x[bounds[b]:bounds[b + 1]]; as many blocks as parts, or a multiple.

    Notes
    -----
    ================  ================================================================
    of every block    content
    ================  ================================================================
    0 .. 3            length of its frame, uint32
    then              the frame of the block, drawn by a key of its own
    ================  ================================================================

    ``paper_bits`` is the parts' sum. Source: Basu et al., Qsparse-local-SGD (NeurIPS
    2019), on piecewise application: the contraction is that of the worst part.

    Examples
    --------
    >>> import numpy as np
    >>> from psmpi.codecs import Dense, Sign
    >>> codec = Piecewise((Sign(), Dense()), (0, 3, 4))
    >>> codec.decode(codec.encode(np.array([3, -1, 2, 7], np.float32)), 4)
    array([ 2., -2.,  2.,  7.], dtype=float32)
    """

    parts: tuple[Codec, ...]
    bounds: tuple[int, ...]

    id: ClassVar[str] = "piecewise"
    wire_id: ClassVar[int] = 15

    def __post_init__(self) -> None:
        parts = tuple(self.parts)
        bounds = validation.bounds(self.id, self.bounds)
        if not parts or not all(isinstance(part, Codec) for part in parts):
            raise ConfigError(f"piecewise: parts must be codecs, got {parts!r}")
        if (len(bounds) - 1) % len(parts):
            raise ConfigError(
                f"piecewise: {len(parts)} codecs can't take turns over "
                f"{len(bounds) - 1} blocks; give one each, or a divisor of that number"
            )
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "bounds", bounds)

    @property
    def unbiased(self) -> bool:
        """Whether all parts are unbiased."""
        return all(part.unbiased for part in self.parts)

    @property
    def is_sparse(self) -> bool:
        """Whether any part is sparse."""
        return any(part.is_sparse for part in self.parts)

    def _pieces(self, dim: int) -> Iterator[tuple[Codec, int, int]]:
        """Yield part, begin and end of every block."""
        if dim != self.bounds[-1]:
            raise ConfigError(
                f"piecewise: bounds cover {self.bounds[-1]} entries, the vector has "
                f"{dim}; end them with {dim}"
            )
        turns = itertools.cycle(self.parts)
        for (first, last), part in zip(itertools.pairwise(self.bounds), turns):  # noqa: B905
            yield part, first, last

    def error(self, dim: int) -> float:
        """Return the largest of the parts: sum_b e_b ||x_b||^2 <= max_b e_b ||x||^2."""
        return max((part.error(b - a) for part, a, b in self._pieces(dim)), default=0.0)

    def _max_nbytes(self, dim: int) -> int:
        return sum(4 + part._max_nbytes(b - a) for part, a, b in self._pieces(dim))

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        return sum(
            part._paper_bits(piece, b - a)
            for part, piece, a, b in self._cut(frame, dim)
        )

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        validation.check_finite(self.id, x)

        def encode(
            part: Codec, a: int, b: int, room: Frame | None, key: np.uint64
        ) -> Frame:
            return part._encode(x[a:b], room, key)

        return self._join(encode, x.size, out, key)

    def _encode_at(
        self,
        support: Indices,
        values: Vector,
        dim: int,
        out: Frame | None,
        key: np.uint64,
    ) -> Frame:
        """Return the frame in O(len(support) + blocks), where the parts are as quick.

        >>> import numpy as np
        >>> from psmpi.codecs import SparseSign
        >>> codec = Piecewise((SparseSign(),), (0, 10**9, 2 * 10**9))
        >>> codec.encode_at(np.array([2]), np.array([-3.0]), 2 * 10**9).size
        20
        """
        validation.check_finite(self.id, values, name="values")
        cuts = dict(zip(self.bounds, support.searchsorted(self.bounds), strict=True))

        def encode(
            part: Codec, a: int, b: int, room: Frame | None, key: np.uint64
        ) -> Frame:
            some = slice(cuts[a], cuts[b])
            return part._encode_at(support[some] - a, values[some], b - a, room, key)

        return self._join(encode, dim, out, key)

    def _encode_feedback(
        self,
        e: Vector,
        x: Vector | None,
        ratio: float,
        out: Frame | None,
        key: np.uint64,
    ) -> Frame:
        """Take the steps of error feedback by each part's own rule."""

        def encode(
            part: Codec, a: int, b: int, room: Frame | None, key: np.uint64
        ) -> Frame:
            new = None if x is None else x[a:b]
            return part._encode_feedback(e[a:b], new, ratio, room, key)

        return self._join(encode, e.size, out, key)

    def _join(
        self, encode: _Encode, dim: int, out: Frame | None, key: np.uint64
    ) -> Frame:
        """Return the frame of the pieces that ``encode`` returns for each block."""
        stream = np.uint64(start(key))
        pieces = [np.empty(0, np.uint8)]
        at = 0
        for i, (part, a, b) in enumerate(self._pieces(dim)):
            room = None if out is None else out[at + 4 :]
            piece = encode(part, a, b, room, np.uint64(draw(stream, np.uint64(i))))
            length = np.array([piece.size], _LENGTH).view(np.uint8)
            if out is None:
                pieces += (length, piece)
            else:
                out[at : at + 4] = length
            at += 4 + piece.size
        return np.concatenate(pieces) if out is None else out[:at]

    def _decode_add(self, frame: Frame, out: Vector, scale: float) -> None:
        before = out.copy()
        try:
            for part, piece, a, b in self._cut(frame, out.size):
                part._decode_add(piece, out[a:b], scale)
        except FrameError:
            out[:] = before
            raise

    def _cut(self, frame: Frame, dim: int) -> Iterator[tuple[Codec, Frame, int, int]]:
        """Yield part, frame, begin and end of every block."""
        at = 0
        for part, a, b in self._pieces(dim):
            head = frame[at : at + 4]
            size = int(head.view(_LENGTH)[0]) if head.size == 4 else frame.size
            if at + 4 + size > frame.size:
                validation.damaged(
                    self.id, f"{frame.size} bytes end inside a block's frame"
                )
            yield part, frame[at + 4 : at + 4 + size], a, b
            at += 4 + size
        if at != frame.size:
            validation.damaged(self.id, f"{frame.size - at} bytes after the last block")
