"""What a codec promises."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import numpy as np

from psmpi.base.arrays import Frame, Indices, Vector


class Codec(abc.ABC):
    """Turns a vector into one frame, and adds a frame back onto a vector.

    A codec is a frozen dataclass: its fields are its configuration, equality and repr
    are theirs. It holds no data and no generator: ``encode`` is a pure function of
    ``(x, key)``. Parameters are agreed once at the start of a run and are not in the
    frame; what varies from message to message (a norm, a count) is.

    ``id`` is its name in ``CODECS``; ``wire_id`` its number in a link's envelope, never
    reused for another byte layout; ``unbiased`` says whether E[C(x)] = x over keys.
    """

    id: ClassVar[str]
    wire_id: ClassVar[int]

    @property
    @abc.abstractmethod
    def unbiased(self) -> bool:
        """Whether the mean of C(x) over keys is x."""

    @property
    def is_sparse(self) -> bool:
        """Whether most entries of C(x) are 0, so that sums are sent by the others."""
        return False

    @abc.abstractmethod
    def max_nbytes(self, dim: int) -> int:
        """Bytes that no frame of a ``dim``-vector exceeds."""

    @abc.abstractmethod
    def paper_bits(self, frame: Frame, dim: int) -> int:
        """Bits of this message by the paper's formula; ``8 * frame.size`` are sent."""

    @abc.abstractmethod
    def error(self, dim: int) -> float:
        """Theory that tests hold the codec to: bound on E||C(x) - x||^2 / ||x||^2.

        That is omega for an unbiased codec and 1 - delta for a biased one.
        """

    @abc.abstractmethod
    def encode(self, x: Vector, out: Frame | None = None, key: int = 0) -> Frame:
        """Return the frame of ``x``: a view of ``out``'s start, or of a new buffer.

        ``key`` is the uint64 that replaces a random generator; deterministic codecs
        ignore it. Raises ``ConfigError`` for a vector that no frame can carry (NaN or
        infinite entries, wrong dtype) before anything is written.
        """

    @abc.abstractmethod
    def decode_add(self, frame: Frame, out: Vector, scale: float = 1.0) -> None:
        """``out += scale * C(x)``, in O(k) for sparse frames.

        Trusts nothing: a frame that this codec can't have written for ``out.size``
        raises ``FrameError`` and leaves ``out`` untouched.
        """

    def encode_at(
        self,
        support: Indices,
        values: Vector,
        dim: int,
        out: Frame | None = None,
        key: int = 0,
    ) -> Frame:
        """Return the frame of the vector with ``values`` at ``support``, 0 elsewhere.

        Byte for byte that of ``encode``; some codecs do it in O(len(support)).
        ``support`` ascends strictly, below ``dim``.
        """
        x = np.zeros(dim, values.dtype)
        x[support] = values
        return self.encode(x, out, key)

    def encode_feedback(
        self,
        e: Vector,
        x: Vector | None = None,
        ratio: float = 1.0,
        out: Frame | None = None,
        key: int = 0,
    ) -> Frame:
        """Error feedback: return the frame of p = ratio e + x, leave p - C(p) in ``e``.

        Without ``x``, p = ratio e. Both vectors have one dtype. A codec may do this in
        fewer passes than by its parts, or choose by ``x``, what is new, as well.
        """
        if ratio != 1.0:
            e *= ratio
        if x is not None:
            e += x
        frame = self.encode(e, out, key)
        self.decode_add(frame, e, -1.0)
        return frame

    def decode(
        self, frame: Frame, dim: int, out: Vector | None = None, dtype: Any = np.float32
    ) -> Vector:
        """Return C(x) as a vector of length ``dim``: ``out``, or a new one."""
        if out is None:
            out = np.zeros(dim, dtype)
        else:
            out[:] = 0
        self.decode_add(frame, out)
        return out
