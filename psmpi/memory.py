"""What a sender remembers of what it has sent, around a codec.

All three are used alike: ``encode`` proposes a frame and ``commit`` remembers that it
was sent; between the two a trigger may decide to send nothing. The receiver's side of
the same convention is ``accept``. Remembered values are always those that the receiver
decodes, float32 scalars included, so both ends agree to the bit.
"""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

from psmpi.base import Codec, Frame, LinkError, Vector
from psmpi.kernels.reduce import sum_squares


def expected(frame: Frame | None) -> Frame:
    """Return ``frame``, where the algorithm knows no skips; else ``LinkError``."""
    if frame is None:
        raise LinkError("a frame was expected, and a message without one came")
    return frame


class Memory(abc.ABC):
    """A codec and what one sender, in one direction, remembers."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    @abc.abstractmethod
    def encode(self, x: Vector, key: int = 0) -> Frame:
        """Return the frame that would be sent for ``x``, valid until the next one."""

    @abc.abstractmethod
    def commit(self) -> None:
        """Remember that the frame of the last ``encode`` was sent."""

    def accept(self, frame: Frame | None, x: Vector) -> None:
        """Bring a receiver's ``x`` up to date with a frame of such a sender."""
        self.codec.decode(expected(frame), x.size, x)


class Direct(Memory):
    """Remembers nothing: sends C(x)."""

    def encode(self, x: Vector, key: int = 0) -> Frame:
        return self.codec.encode(x, key=key)

    def commit(self) -> None:
        pass


class ErrorFeedback(Memory):
    """Sends C(e + x) and remembers in ``e`` what that left out.

    What is encoded but not committed was not sent, and stays in ``e`` whole.
    """

    def __init__(self, codec: Codec, dim: int, dtype: Any = np.float32) -> None:
        super().__init__(codec)
        self.e: Vector = np.zeros(dim, dtype)
        self._frame: Frame | None = None

    def encode(self, x: Vector, key: int = 0) -> Frame:
        # p = e + x, in e's place
        self.e += x
        self._frame = self.codec.encode(self.e, key=key)
        return self._frame

    def commit(self) -> None:
        # e <- p - C(p)
        assert self._frame is not None
        self.codec.decode_add(self._frame, self.e, -1.0)


class Innovation(Memory):
    """Sends C(x - reference); both ends add it to their copy of the reference.

    What a frame leaves out stays in the next innovation: with a codec that keeps few
    entries this is error feedback (Richtarik, Sokolov, Fatkhullin 2021, "EF21").

    ``change_sq`` and ``error_sq`` are ||C(x - reference)||^2 and ||x - reference -
    C(x - reference)||^2 of the last ``encode``.
    """

    def __init__(self, codec: Codec, reference: Vector) -> None:
        super().__init__(codec)
        self.reference = reference
        self.change_sq = 0.0
        self.error_sq = 0.0
        self._change = np.zeros_like(reference)
        self._error = np.zeros_like(reference)
        self._frame: Frame | None = None

    def encode(self, x: Vector, key: int = 0) -> Frame:
        np.subtract(x, self.reference, out=self._error)
        self._frame = self.codec.encode(self._error, key=key)
        self.codec.decode(self._frame, x.size, self._change)
        self._error -= self._change
        self.change_sq = float(sum_squares(self._change, 1.0))
        self.error_sq = float(sum_squares(self._error, 1.0))
        return self._frame

    def commit(self) -> None:
        assert self._frame is not None
        self.codec.decode_add(self._frame, self.reference)

    def accept(self, frame: Frame | None, x: Vector) -> None:
        self.codec.decode_add(expected(frame), x)
