"""Memories of senders: what one end remembers, around a codec, of what it has sent.

A sender's ``encode`` makes the frame and ``commit`` confirms that it was sent. An
innovation remembers a frame only at ``commit``, so that a trigger may decide between
the two to send nothing; error feedback counts every encoded frame as sent. Remembered
values are always those that the receiver decodes, float32 scalars included, so that
both ends agree to the bit.

A receiver remembers nothing: ``Overwrite`` and ``Accumulate`` bring its copy of a
vector up to date with the frames of such a sender.
"""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

from psmpi.base import Codec, Frame, LinkError, Vector
from psmpi.kernels.reduce import sum_squares


def expected(frame: Frame | None) -> Frame:
    """Return ``frame``; raise ``LinkError`` for None, a message without a frame."""
    if frame is None:
        raise LinkError("a frame was expected, and a message without one came")
    return frame


class Memory(abc.ABC):
    """A codec, and what one sender remembers in one direction."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    @abc.abstractmethod
    def encode(self, x: Vector, key: int = 0, eta: float = 1.0) -> Frame:
        """Return the frame to be sent for ``x``; it is valid until the next call.

        ``eta`` is the step size that the receiver multiplies the decoded vector by.
        """

    def commit(self) -> None:  # noqa: B027 - most memories are up to date after encode
        """Confirm that the frame of the last ``encode`` was sent."""


class Receiver(abc.ABC):
    """The other end of a ``Memory``: applies its frames to a copy of a vector."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    @abc.abstractmethod
    def accept(self, frame: Frame | None, x: Vector) -> None:
        """Bring ``x`` up to date with a frame; ``LinkError`` for None."""


class Overwrite(Receiver):
    """Receives whole vectors, from ``Direct``: x <- C(x)."""

    def accept(self, frame: Frame | None, x: Vector) -> None:
        self.codec.decode(expected(frame), x.size, x)


class Accumulate(Receiver):
    """Receives changes, from ``Innovation``: x <- x + C(change)."""

    def accept(self, frame: Frame | None, x: Vector) -> None:
        self.codec.decode_add(expected(frame), x)


class Direct(Memory):
    """Sends C(x) and remembers nothing."""

    def encode(self, x: Vector, key: int = 0, eta: float = 1.0) -> Frame:
        return self.codec.encode(x, key=key)


class ErrorFeedback(Memory):
    """Sends C(p) of p = x + e, and keeps the residual e <- p - C(p).

    ``e`` is in units of x, which the receiver multiplies by the step size. With
    ``rescale``, a change of the step size leaves the product of both as it is (Zheng,
    Huang, Kwok, NeurIPS 2019, Algorithms 2 and 3): ``eta`` is the step size of the last
    frame, also after rounds in which this sender sent none. A step size of 0 leaves
    ``e`` as it is, because the receiver then applies nothing of the frame.

    With ``decay`` below 1 the memory fades: p = x + decay e (Sarfi et al. 2025).
    """

    def __init__(
        self,
        codec: Codec,
        dim: int,
        dtype: Any = np.float32,
        rescale: bool = True,
        decay: float = 1.0,
    ) -> None:
        super().__init__(codec)
        self.e: Vector = np.zeros(dim, dtype)
        self.eta = 0.0
        self.rescale = rescale
        self.decay = decay

    def encode(self, x: Vector, key: int = 0, eta: float = 1.0) -> Frame:
        if eta == 0 and self.rescale:
            return self.codec.encode(x, key=key)
        # p = x + (eta_{t-1} / eta_t) e;   e <- p - C(p)
        ratio = self.eta / eta if self.rescale and self.eta else 1.0
        self.eta = eta
        return self.codec.encode_feedback(self.e, x, self.decay * ratio, key=key)

    def flush(self, key: int = 0) -> Frame:
        """Return the frame of what a caller has added to ``e``: C(e), e <- e - C(e)."""
        return self.codec.encode_feedback(self.e, key=key)


class DecayedFeedback(Memory):
    """ECQ-SGD's memory: sends C(x + alpha h); h <- beta h + x - C(x + alpha h).

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

    What a frame leaves out is part of the next innovation: with a sparsifying codec
    this is error feedback (Richtarik, Sokolov, Fatkhullin 2021, "EF21").

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
