"""Different codecs for different tensors of a model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Codec, ConfigError, Frame, FrameError, Vector
from psmpi.codecs import validation
from psmpi.kernels.hash import draw, start
from psmpi.kernels.reduce import max_abs

_LENGTH = np.dtype("<u4")
_Encode = Callable[[Codec, int, int, Frame, int], Frame]


@dataclass(frozen=True)
class Piecewise(Codec):
    """Codecs that take turns over the blocks of a vector.

    Parameters
    ----------
    parts : tuple of Codec
        Block b is coded by ``parts[b % len(parts)]``; two, for one, treat weights and
        biases of a perceptron differently.
    bounds : tuple of int
        Block b is x[bounds[b]:bounds[b + 1]]; as many blocks as parts, or a multiple.

    Notes
    -----
    ===============  =================================================================
    bytes            content
    ===============  =================================================================
    per block 0 .. 3  length of its frame, uint32
    then             its frame, drawn by a key of its own
    ===============  =================================================================

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
        """Whether all parts are."""
        return all(part.unbiased for part in self.parts)

    @property
    def is_sparse(self) -> bool:
        """Whether any part's entries are."""
        return any(part.is_sparse for part in self.parts)

    def _pieces(self, dim: int) -> Iterator[tuple[Codec, int, int]]:
        if dim != self.bounds[-1]:
            raise ConfigError(
                f"piecewise: bounds cover {self.bounds[-1]} entries, the vector has "
                f"{dim}; end them with {dim}"
            )
        turns = itertools.cycle(self.parts)
        for (first, last), part in zip(itertools.pairwise(self.bounds), turns):  # noqa: B905
            yield part, first, last

    def max_nbytes(self, dim: int) -> int:
        """Return the parts' sum, and four bytes each."""
        dim = validation.length(self.id, dim)
        return sum(4 + part.max_nbytes(b - a) for part, a, b in self._pieces(dim))

    def paper_bits(self, frame: Frame, dim: int) -> int:
        """Return the parts' sum."""
        return sum(
            part.paper_bits(piece, b - a) for part, piece, a, b in self._cut(frame, dim)
        )

    def error(self, dim: int) -> float:
        """Return the largest of the parts: sum_b e_b ||x_b||^2 <= max_b e_b ||x||^2."""
        return max((part.error(b - a) for part, a, b in self._pieces(dim)), default=0.0)

    def encode(self, x: Vector, out: Frame | None = None, key: int = 0) -> Frame:
        """Return the parts' frames; see ``Codec.encode``."""
        x = validation.vector(self.id, x)
        if not max_abs(x) < np.inf:
            validation.refuse(self.id, x)

        def step(part: Codec, a: int, b: int, room: Frame, own: int) -> Frame:
            return part.encode(x[a:b], room, own)

        return self._join(step, x.size, out, key)

    def encode_feedback(
        self,
        e: Vector,
        x: Vector | None = None,
        ratio: float = 1.0,
        out: Frame | None = None,
        key: int = 0,
    ) -> Frame:
        """Return the parts' frames, each by its own rule; see ``Codec``."""

        def step(part: Codec, a: int, b: int, room: Frame, own: int) -> Frame:
            new = None if x is None else x[a:b]
            return part.encode_feedback(e[a:b], new, ratio, room, own)

        return self._join(step, e.size, out, key)

    def _join(self, encode: _Encode, dim: int, out: Frame | None, key: int) -> Frame:
        stream = np.uint64(start(validation.key64(self.id, key)))
        frame = validation.room(self.id, out, self.max_nbytes(dim))
        at = 0
        for b, (part, first, last) in enumerate(self._pieces(dim)):
            own = int(draw(stream, np.uint64(b)))
            piece = encode(part, first, last, frame[at + 4 :], own)
            frame[at : at + 4].view(_LENGTH)[0] = piece.size
            at += 4 + piece.size
        return frame[:at]

    def decode_add(self, frame: Frame, out: Vector, scale: float = 1.0) -> None:
        """Add ``scale`` times what the parts decode; see ``Codec.decode_add``."""
        frame, out = (
            validation.received(self.id, frame),
            validation.target(self.id, out),
        )
        scale = validation.factor(self.id, scale)
        before = out.copy()
        try:
            for part, piece, first, last in self._cut(frame, out.size):
                part.decode_add(piece, out[first:last], scale)
        except FrameError:
            out[:] = before
            raise

    def _cut(self, frame: Frame, dim: int) -> Iterator[tuple[Codec, Frame, int, int]]:
        at = 0
        for part, first, last in self._pieces(dim):
            head = frame[at : at + 4]
            size = int(head.view(_LENGTH)[0]) if head.size == 4 else frame.size
            if at + 4 + size > frame.size:
                validation.damaged(
                    self.id, f"{frame.size} bytes end inside a block's frame"
                )
            yield part, frame[at + 4 : at + 4 + size], first, last
            at += 4 + size
        if at != frame.size:
            validation.damaged(self.id, f"{frame.size - at} bytes after the last block")
