"""One of several codecs, chosen by the sender message by message."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Codec, ConfigError, Frame, Indices, Vector, checks
from psmpi.codecs import validation

MOST = 255  # parts: their index is one byte


@dataclass(frozen=True)
class Choice(Codec):
    """Several codecs; each message is encoded by one of them and says by which.

    Parameters
    ----------
    parts : tuple of Codec
        Up to 255, none of them a ``Choice`` itself.
    chosen : int, default 0
        Index of the part that encodes. Decoding does not depend on it: both ends agree
        on the parts, and the sender switches between them by ``part(i)``, for example
        to the width that this message needs.

    Notes
    -----
    ===============  =================================================================
    bytes            content
    ===============  =================================================================
    0                index of the part, uint8
    1 ..             the part's frame, drawn by the same key
    ===============  =================================================================

    ``paper_bits`` are those of the part: papers that vary the precision do not count
    the byte.

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
        chosen = checks.integer(self.id, "chosen", self.chosen, 0, len(parts) - 1)
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "chosen", chosen)

    def part(self, i: int) -> Choice:
        """Return this codec with part ``i`` chosen; it decodes the same frames."""
        return dataclasses.replace(self, chosen=i)

    @property
    def unbiased(self) -> bool:
        """Whether all parts are unbiased."""
        return all(part.unbiased for part in self.parts)

    @property
    def is_sparse(self) -> bool:
        """Whether all parts are sparse."""
        return all(part.is_sparse for part in self.parts)

    def error(self, dim: int) -> float:
        """Return the largest error of the parts."""
        return max(part.error(dim) for part in self.parts)

    def _max_nbytes(self, dim: int) -> int:
        return 1 + max(part._max_nbytes(dim) for part in self.parts)

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        part, rest = self._open(frame)
        return part._paper_bits(rest, dim)

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        return self._close(out, self._part._encode(x, _after_byte(out), key))

    def _encode_at(
        self,
        support: Indices,
        values: Vector,
        dim: int,
        out: Frame | None,
        key: np.uint64,
    ) -> Frame:
        rest = self._part._encode_at(support, values, dim, _after_byte(out), key)
        return self._close(out, rest)

    def _encode_feedback(
        self,
        e: Vector,
        x: Vector | None,
        ratio: float,
        out: Frame | None,
        key: np.uint64,
    ) -> Frame:
        """Take the steps of error feedback by the chosen part's own rule."""
        rest = self._part._encode_feedback(e, x, ratio, _after_byte(out), key)
        return self._close(out, rest)

    def _decode_add(self, frame: Frame, out: Vector, scale: float) -> None:
        part, rest = self._open(frame)
        part._decode_add(rest, out, scale)

    @property
    def _part(self) -> Codec:
        return self.parts[self.chosen]

    def _close(self, out: Frame | None, rest: Frame) -> Frame:
        """Return the frame with the chosen part's number before ``rest``.

        ``rest`` is in ``out`` from byte 1 on, if there is an ``out``.
        """
        if out is None:
            out = np.concatenate((np.empty(1, np.uint8), rest))
        out[0] = self.chosen
        return out[: 1 + rest.size]

    def _open(self, frame: Frame) -> tuple[Codec, Frame]:
        """Return the part that encoded ``frame``, and the part's own frame."""
        if not frame.size or frame[0] >= len(self.parts):
            tag = f"its part is {frame[0]}" if frame.size else "empty"
            validation.damaged(
                self.id, f"{tag}, where there are {len(self.parts)} parts"
            )
        return self.parts[int(frame[0])], frame[1:]


def _after_byte(out: Frame | None) -> Frame | None:
    return None if out is None else out[1:]
