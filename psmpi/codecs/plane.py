"""Signs of one bit each, and the majority vote over many senders: signSGD, Signum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Codec, ConfigError, Frame, Vector, checks
from psmpi.base.arrays import buffer
from psmpi.codecs import validation
from psmpi.kernels.signs import plane_add, plane_encode
from psmpi.kernels.votes import vote_add, vote_result


@dataclass(frozen=True)
class Plane(Codec):
    """The sign of every entry, +1 or -1, without a magnitude.

    Notes
    -----
    C(x)_i = sign(x_i) with sign(0) = sign(-0.0) = +1. The bits are as in ``Sign``.
    ``Majority`` merges the frames of several senders.

    ===================  ===============================================================
    bytes                content
    ===================  ===============================================================
    0 .. ceil(d/8) - 1   d bits, 1 = negative, the least significant first, zero padding
    ===================  ===============================================================

    ``paper_bits`` = d. Source: Bernstein, Zhao, Azizzadenesheli, Anandkumar, signSGD
    with majority vote (ICLR 2019).

    Examples
    --------
    >>> import numpy as np
    >>> frame = Plane().encode(np.array([3.0, -1.0, 0.0, -4.0], np.float32))
    >>> frame.tobytes().hex()
    '0a'
    >>> Plane().decode(frame, 4)
    array([ 1., -1.,  1., -1.], dtype=float32)
    """

    id: ClassVar[str] = "plane"
    wire_id: ClassVar[int] = 13
    unbiased: ClassVar[bool] = False

    def _max_nbytes(self, dim: int) -> int:
        """Return the bytes of every frame."""
        return (dim + 7) // 8

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        """Return d."""
        return dim

    def error(self, dim: int) -> float:
        """Return infinity: ||C(x)|| = sqrt(d) however small x is."""
        return math.inf

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        """Return the signs of ``x``; see ``Codec.encode``."""
        size = self._max_nbytes(x.size)
        frame = buffer(out, size)
        if not plane_encode(x, frame):
            validation.refuse(self.id, x)
        return frame[:size]

    def _decode_add(self, frame: Frame, out: Vector, scale: float) -> None:
        """Add ``scale`` times the signs to ``out``; see ``Codec.decode_add``."""
        check_frame(frame, out.size)
        plane_add(frame, out, scale)


def check_frame(frame: Frame, dim: int) -> None:
    """Raise FrameError unless ``Plane`` writes such a frame for ``dim`` entries."""
    if frame.size != (dim + 7) // 8:
        validation.damaged(Plane.id, f"{frame.size} bytes for {dim} entries")
    validation.check_padding(Plane.id, frame, dim)


class Majority:
    """Majority vote: merges frames of ``Plane`` into one frame of ``Plane``.

    Entry i of the result is -1 if more than half of the frames have -1 there, else +1.
    A tie is +1, as sign(0) is.

    The votes for -1 are counted in bit-sliced counters, ``most_votes.bit_length()``
    planes of d bits. Adding a frame takes O(d / 64 log M) word operations, as does the
    result, and no frame is unpacked.

    >>> import numpy as np
    >>> vote = Majority(4, most_votes=3)
    >>> for signs in ([1, 1, -1, -1], [1, -1, -1, 1], [1, -1, 1, -1]):
    ...     vote.add(Plane().encode(np.array(signs, np.float32)))
    >>> Plane().decode(vote.result(), 4)
    array([ 1., -1., -1., -1.], dtype=float32)
    """

    def __init__(self, dim: int, most_votes: int) -> None:
        self.dim = checks.length("majority", dim)
        self.most_votes = checks.integer("majority", "most_votes", most_votes, 1, None)
        self.votes = 0
        planes, words = self.most_votes.bit_length(), (self.dim + 63) // 64
        self._counters = np.zeros((planes, words), np.uint64)

    def add(self, frame: Frame) -> None:
        """Count one frame; a damaged frame raises FrameError and is not counted."""
        frame = checks.received(Plane.id, frame)
        check_frame(frame, self.dim)
        if self.votes == self.most_votes:
            raise ConfigError(
                f"majority: there are {self.votes} votes already; give a larger "
                "most_votes, or reset between rounds"
            )
        vote_add(self._counters, frame, self.dim)
        self.votes += 1

    def result(self, out: Frame | None = None) -> Frame:
        """Return the frame of the majority: a view of ``out``'s start, or a new array.

        Without votes all entries are +1.
        """
        size = (self.dim + 7) // 8
        frame = buffer(out, size)
        if out is not None:
            frame = checks.room("majority", out, size)
        vote_result(self._counters, self.votes, frame, self.dim)
        return frame[:size]

    def reset(self) -> None:
        """Forget all votes."""
        self._counters[:] = 0
        self.votes = 0
