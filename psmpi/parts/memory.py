"""What a sender remembers of what it has sent, around a codec.

All are used alike: ``encode`` makes the frame, ``commit`` says that it was sent. An
innovation remembers a frame only then, so a trigger may decide between the two to send
nothing; error feedback takes every frame for sent. The receiver's side of the same
convention is ``accept``. Remembered values are always those that the receiver decodes,
float32 scalars included, so both ends agree to the bit.
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
    def encode(self, x: Vector, key: int = 0, eta: float = 1.0) -> Frame:
        """Return the frame to be sent for ``x``, valid until the next one.

        ``eta`` is the step size that the receiver applies it with.
        """

    def commit(self) -> None:  # noqa: B027 - most have remembered it in encode
        """Say that the frame of the last ``encode`` was sent."""

    def accept(self, frame: Frame | None, x: Vector) -> None:
        """Bring a receiver's ``x`` up to date with a frame of such a sender."""
        self.codec.decode(expected(frame), x.size, x)


class Direct(Memory):
    """Remembers nothing: sends C(x)."""

    def encode(self, x: Vector, key: int = 0, eta: float = 1.0) -> Frame:
        return self.codec.encode(x, key=key)


class ErrorFeedback(Memory):
    """Sends C(p) of p = x + what earlier frames have left out, and keeps p - C(p).

    ``e`` is in units of x, which the receiver multiplies by the step size. With
    ``rescale``, the product is what is carried over a change of the step size (Zheng,
    Huang, Kwok, NeurIPS 2019, Algorithms 2 and 3); ``eta`` is the step size that ``e``
    goes with, so that it also holds after rounds in which this sender was absent. A
    step size of 0 leaves ``e`` alone: whatever the receiver is sent, it applies none of
    it, and nothing is lost.
    """

    def __init__(
        self, codec: Codec, dim: int, dtype: Any = np.float32, rescale: bool = True
    ) -> None:
        super().__init__(codec)
        self.e: Vector = np.zeros(dim, dtype)
        self.eta = 0.0
        self.rescale = rescale

    def encode(self, x: Vector, key: int = 0, eta: float = 1.0) -> Frame:
        if eta == 0 and self.rescale:
            return self.codec.encode(x, key=key)
        # p = x + (eta_{t-1} / eta_t) e;   e <- p - C(p)
        ratio = self.eta / eta if self.rescale and self.eta else 1.0
        self.eta = eta
        return self.codec.encode_feedback(self.e, x, ratio, key=key)

    def flush(self, key: int = 0) -> Frame:
        """Send what has been added to ``e`` from outside: C(e), e <- e - C(e)."""
        return self.codec.encode_feedback(self.e, key=key)


class DecayedFeedback(Memory):
    """ECQ-SGD's: sends C(x + alpha h), then h <- beta h + x - C(x + alpha h).

    Wu, Huang, Huang, Zhang, "Error Compensated Quantized SGD", ICML 2018. With alpha =
    beta = 1 it is plain error feedback, bit for bit.
    """

    def __init__(
        self, codec: Codec, dim: int, dtype: Any, alpha: float, beta: float
    ) -> None:
        super().__init__(codec)
        self.h: Vector = np.zeros(dim, dtype)
        self.alpha, self.beta = alpha, beta
        self._p: Vector = np.zeros(dim, dtype)

    def encode(self, x: Vector, key: int = 0, eta: float = 1.0) -> Frame:
        # p = x + alpha h
        np.multiply(self.h, self.alpha, out=self._p)
        self._p += x
        frame = self.codec.encode(self._p, key=key)
        # h <- beta h + x - C(p)
        self.h *= self.beta
        self.h += x
        self.codec.decode_add(frame, self.h, -1.0)
        return frame


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

    def encode(self, x: Vector, key: int = 0, eta: float = 1.0) -> Frame:
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
