"""One of several codecs, chosen by the sender message by message."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from psmpi.base import Codec, ConfigError, Frame, Indices, Vector
from psmpi.codecs import validation

MOST = 255  # parts


@dataclass(frozen=True)
class Choice(Codec):
    """Several codecs, of which each message takes one and says which.

    Parameters
    ----------
    parts : tuple of Codec
        Up to 255, none of them a ``Choice`` itself.
    chosen : int
        The part that ``encode`` takes. Frames of all parts are decoded, whatever it is:
        both ends agree on the parts, and the sender goes from one to the other by
        ``part(i)``, as by the width that this message needs.

    Notes
    -----
    ===============  =================================================================
    bytes            content
    ===============  =================================================================
    0                the part, uint8
    1 ..             its frame, drawn by the same key
    ===============  =================================================================

    ``paper_bits`` is the part's: papers that vary the precision do not count the byte.

    Examples
    --------
    >>> import numpy as np
    >>> from psmpi.codecs import Dense, Sign
    >>> codec = Choice((Sign(), Dense()))
    >>> x = np.array([3.0, -1.0], np.float32)
    >>> frame = codec.part(1).encode(x)
    >>> frame.tobytes().hex(" ", 4), codec.encode(x).tobytes().hex()
    ('01 00004040 000080bf', '000000004002')
    >>> codec.decode(frame, 2)
    array([ 3., -1.], dtype=float32)
    """

    parts: tuple[Codec, ...]
    chosen: int = 0

    id: ClassVar[str] = "choice"
    wire_id: ClassVar[int] = 16

    def __post_init__(self) -> None:
        parts = tuple(self.parts)
        if not parts or not all(isinstance(part, Codec) for part in parts):
            raise ConfigError(f"choice: parts must be codecs, got {parts!r}")
        if len(parts) > MOST:
            raise ConfigError(f"choice: {len(parts)} parts; give at most {MOST}")
        if any(isinstance(part, Choice) for part in parts):
            raise ConfigError(
                "choice: a part is a choice itself; give its parts in its place"
            )
        chosen = validation.integer(self.id, "chosen", self.chosen, 0, len(parts) - 1)
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "chosen", chosen)

    def part(self, i: int) -> Choice:
        """Return this codec with part ``i`` chosen: other frames, the same decoder."""
        return dataclasses.replace(self, chosen=i)

    @property
    def unbiased(self) -> bool:
        """Whether all parts are."""
        return all(part.unbiased for part in self.parts)

    @property
    def is_sparse(self) -> bool:
        """Whether most entries come out 0 with every part."""
        return all(part.is_sparse for part in self.parts)

    def max_nbytes(self, dim: int) -> int:
        """Return the largest of the parts, and a byte."""
        dim = validation.length(self.id, dim)
        return 1 + max(part.max_nbytes(dim) for part in self.parts)

    def paper_bits(self, frame: Frame, dim: int) -> int:
        """Return those of the part that the frame is of."""
        part, rest = self._open(frame)
        return part.paper_bits(rest, dim)

    def error(self, dim: int) -> float:
        """Return the largest of the parts."""
        return max(part.error(dim) for part in self.parts)

    def encode(self, x: Vector, out: Frame | None = None, key: int = 0) -> Frame:
        """Return the chosen part's frame, behind its number; see ``Codec.encode``."""
        x = validation.vector(self.id, x)
        frame = validation.room(self.id, out, self.max_nbytes(x.size))
        rest = self.parts[self.chosen].encode(x, frame[1:], key)
        return self._close(frame, rest)

    def encode_at(
        self,
        support: Indices,
        values: Vector,
        dim: int,
        out: Frame | None = None,
        key: int = 0,
    ) -> Frame:
        """Return the chosen part's frame of a few entries; see ``Codec``."""
        frame = validation.room(self.id, out, self.max_nbytes(dim))
        part = self.parts[self.chosen]
        return self._close(frame, part.encode_at(support, values, dim, frame[1:], key))

    def encode_feedback(
        self,
        e: Vector,
        x: Vector | None = None,
        ratio: float = 1.0,
        out: Frame | None = None,
        key: int = 0,
    ) -> Frame:
        """Return the frame of the chosen part, by its own rule; see ``Codec``."""
        e = validation.feedback(self.id, e, x)[0]
        frame = validation.room(self.id, out, self.max_nbytes(e.size))
        part = self.parts[self.chosen]
        return self._close(frame, part.encode_feedback(e, x, ratio, frame[1:], key))

    def decode_add(self, frame: Frame, out: Vector, scale: float = 1.0) -> None:
        """Add ``scale`` times what the frame's part decodes; see ``Codec``."""
        part, rest = self._open(validation.received(self.id, frame))
        part.decode_add(rest, out, scale)

    def _close(self, frame: Frame, rest: Frame) -> Frame:
        frame[0] = self.chosen
        return frame[: 1 + rest.size]

    def _open(self, frame: Frame) -> tuple[Codec, Frame]:
        """Return the part that a frame is of, and the rest of it."""
        if not frame.size or frame[0] >= len(self.parts):
            tag = f"its part is {frame[0]}" if frame.size else "empty"
            validation.damaged(
                self.id, f"{tag}, where there are {len(self.parts)} parts"
            )
        return self.parts[int(frame[0])], frame[1:]
