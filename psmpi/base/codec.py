"""The interface of codecs: a vector to one frame of bytes, and back.

``Codec`` is a template. Its public methods check their arguments, book the time and
then call the protected method of the same name (``encode`` calls ``_encode``), which
is what a codec implements. So every codec gets arguments of one exact type, and a codec
made of codecs, which calls its parts' protected methods, is checked and timed once.
"""

from __future__ import annotations

import abc
import contextlib
import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ClassVar, TypeVar

import numpy as np

from psmpi.base import checks
from psmpi.base.arrays import Frame, Indices, Vector
from psmpi.errors import ConfigError

#: Returns a context that books the time of its block under a name.
Phase = Callable[[str], AbstractContextManager[None]]
C = TypeVar("C", bound="Codec")

_UNTIMED = contextlib.nullcontext()


class Codec(abc.ABC):
    """Turns a vector into one frame, and adds a frame back onto a vector.

    A codec is a frozen dataclass: its fields are its configuration and define equality
    and repr. It holds no data and no random generator: ``encode`` is a pure function of
    ``(x, key)``. Both ends agree on the configuration at the start of a run, so it is
    not in the frame; what varies from message to message (a norm, a count) is.

    ``id`` is the name in ``CODECS``. ``wire_id`` is the number in a link's envelope,
    1..127 for codecs of psmpi and 128..255 for codecs of other packages; it is never
    reused for another byte layout.

    A codec implements ``unbiased``, ``error``, ``_max_nbytes``, ``_paper_bits``,
    ``_encode`` and ``_decode_add``. It may implement ``_encode_at`` and
    ``_encode_feedback`` where it can do better than by ``_encode``. These methods get
    checked arguments: plain arrays, ``key`` as uint64, ``scale`` and ``ratio`` as
    finite float, a ``dim`` that ``_max_nbytes`` accepts, and ``out`` either None or a
    buffer of at least ``_max_nbytes(dim)`` bytes.
    """

    id: ClassVar[str]
    wire_id: ClassVar[int]
    _phase: Phase | None = None  # set in copies by ``metered`` alone
    _outbox: Frame | None = None

    @property
    @abc.abstractmethod
    def unbiased(self) -> bool:
        """Whether the mean of C(x) over keys is x."""

    @property
    def is_sparse(self) -> bool:
        """Whether decoded vectors are mostly zero; servers then send sums as sparse."""
        return False

    @abc.abstractmethod
    def error(self, dim: int) -> float:
        """Return a bound on E||C(x) - x||^2 / ||x||^2 over all x of length ``dim``.

        It is omega for an unbiased codec and 1 - delta for a biased one. Tests hold the
        codec to it.
        """

    def max_nbytes(self, dim: int) -> int:
        """Return the number of bytes that no frame of a ``dim``-vector exceeds."""
        return self._max_nbytes(checks.length(self.id, dim))

    def paper_bits(self, frame: Frame, dim: int) -> int:
        """Return the bits of this message by the paper's formula.

        What is sent are ``8 * frame.size`` bits.
        """
        frame = checks.frame(self.id, frame)
        return self._paper_bits(frame, checks.length(self.id, dim))

    def encode(self, x: Vector, out: Frame | None = None, key: int = 0) -> Frame:
        """Return the frame of ``x``: a view of the start of ``out``, or a new array.

        ``out`` is uint8 and has at least ``max_nbytes(x.size)`` entries. ``key``, in
        0 .. 2^64 - 1, takes the place of a random generator; deterministic codecs
        ignore it. Raises ``ConfigError`` for a vector that no frame can carry (NaN or
        infinite entries, wrong dtype) before anything is written.
        """
        with self._timed("encode"):
            x = checks.vector(self.id, x)
            stream = checks.key64(self.id, key)
            return self._encode(x, self._room(out, x.size), stream)

    def encode_at(
        self,
        support: Indices,
        values: Vector,
        dim: int,
        out: Frame | None = None,
        key: int = 0,
    ) -> Frame:
        """Return the frame of the vector with ``values`` at ``support``, 0 elsewhere.

        The bytes are those of ``encode``; some codecs take O(len(support)) time and
        memory. ``support`` is int64 and ascends strictly, below ``dim``.
        """
        with self._timed("encode"):
            stream = checks.key64(self.id, key)
            values = checks.vector(self.id, values, "values")
            dim = checks.length(self.id, dim)
            room = self._room(out, dim)
            support = checks.support(self.id, support, values.size, dim)
            return self._encode_at(support, values, dim, room, stream)

    def encode_feedback(
        self,
        e: Vector,
        x: Vector | None = None,
        ratio: float = 1.0,
        out: Frame | None = None,
        key: int = 0,
    ) -> Frame:
        """Error feedback: return the frame of p = ratio e + x, leave p - C(p) in ``e``.

        Without ``x``, p = ratio e. Both vectors have one dtype. A codec may need fewer
        passes than these steps one by one, or may choose entries by ``x``, the latest
        gradient, as well as by p.
        """
        with self._timed("encode"):
            e, x = checks.error_memory(self.id, e, x)
            ratio = checks.finite(self.id, ratio, "ratio")
            stream = checks.key64(self.id, key)
            return self._encode_feedback(e, x, ratio, self._room(out, e.size), stream)

    def decode_add(self, frame: Frame, out: Vector, scale: float = 1.0) -> None:
        """``out += scale * C(x)``, in O(k) for frames of k entries.

        Trusts nothing: a frame that this codec can't have written for ``out.size``
        entries raises ``FrameError`` and leaves ``out`` untouched.
        """
        with self._timed("decode"):
            frame = checks.received(self.id, frame)
            out = checks.target(self.id, out)
            self._decode_add(frame, out, checks.finite(self.id, scale, "scale"))

    def decode(
        self, frame: Frame, dim: int, out: Vector | None = None, dtype: Any = np.float32
    ) -> Vector:
        """Return C(x) as a vector of length ``dim``: ``out``, or a new one of dtype."""
        with self._timed("decode"):
            frame = checks.received(self.id, frame)
            dim = checks.length(self.id, dim)
            if out is None:
                out = np.zeros(dim, dtype)
            target = checks.target(self.id, out)
            if target.size != dim:
                raise ConfigError(
                    f"{self.id}: out must have dim = {dim} entries, got {target.size}"
                )
            target[:] = 0
            self._decode_add(frame, target, 1.0)
        return out

    def metered(self: C, phase: Phase, outbox: Frame | None = None) -> C:
        """Return an equal codec that books its time under "encode" and "decode".

        ``phase(name)`` is a context that books the time of its block. Where no ``out``
        is given, frames are written to ``outbox``: encoding into the buffer that a link
        sends from saves a copy.
        """
        codec = copy.copy(self)
        object.__setattr__(codec, "_phase", phase)
        object.__setattr__(codec, "_outbox", outbox)
        return codec

    @abc.abstractmethod
    def _max_nbytes(self, dim: int) -> int:
        """See ``max_nbytes``; raise ``ConfigError`` for a ``dim`` that can't be."""

    @abc.abstractmethod
    def _paper_bits(self, frame: Frame, dim: int) -> int:
        """See ``paper_bits``; ``frame`` may be damaged, and read-only."""

    @abc.abstractmethod
    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        """See ``encode``; without ``out``, return a new array."""

    @abc.abstractmethod
    def _decode_add(self, frame: Frame, out: Vector, scale: float) -> None:
        """See ``decode_add``; ``frame`` may hold any bytes."""

    def _encode_at(
        self,
        support: Indices,
        values: Vector,
        dim: int,
        out: Frame | None,
        key: np.uint64,
    ) -> Frame:
        """See ``encode_at``. This default makes the whole vector."""
        x = np.zeros(dim, values.dtype)
        x[support] = values
        return self._encode(x, out, key)

    def _encode_feedback(
        self,
        e: Vector,
        x: Vector | None,
        ratio: float,
        out: Frame | None,
        key: np.uint64,
    ) -> Frame:
        """See ``encode_feedback``. This default takes its steps one by one."""
        if ratio != 1.0:
            e *= ratio
        if x is not None:
            e += x
        frame = self._encode(e, out, key)
        self._decode_add(frame, e, -1.0)
        return frame

    def _timed(self, name: str) -> AbstractContextManager[None]:
        return _UNTIMED if self._phase is None else self._phase(name)

    def _room(self, out: Frame | None, dim: int) -> Frame | None:
        """Return the buffer for a frame of a ``dim``-vector, if there is one."""
        nbytes = self._max_nbytes(dim)  # refuses a dim that the codec can't encode
        out = self._outbox if out is None else out
        return None if out is None else checks.room(self.id, out, nbytes)
