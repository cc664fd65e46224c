"""Building messages, and checking that a received one is of the expected kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from psmpi.base import Codec, Frame, LinkError, Stopped
from psmpi.links import envelope
from psmpi.links.envelope import ABSENT, DATA, SKIP


def is_due(every: int, round_: int, last: int) -> bool:
    """Return whether a periodic task is due: in every ``every``-th round and the last.

    With ``every`` 0 it is never due.
    """
    return bool(every) and (round_ % every == 0 or round_ == last)


def require_frame_or_skip(message: envelope.Unsealed, sender: str) -> envelope.Unsealed:
    """Return a message that an algorithm may receive; raise ``LinkError`` for others.

    Algorithms receive frames (DATA) and skips (SKIP), and notice who is ABSENT.
    """
    if message.kind not in (DATA, SKIP, ABSENT):
        raise LinkError(
            f"message from {sender}: kind {message.kind} in round {message.round}, "
            "where a frame was due; do all ranks have the same options?"
        )
    return message


def require(message: envelope.Unsealed, kind: int, sender: str, content: str) -> Frame:
    """Return the frame of a message that must be of ``kind``, named ``content``."""
    if message.kind != kind or message.frame is None:
        raise LinkError(
            f"message from {sender}: {content} was expected, and one of kind "
            f"{message.kind} came in round {message.round}"
        )
    return message.frame


def paper_bits(codec: Codec, frame: Frame | None, dim: int) -> int:
    """Return the bits that the paper counts; messages without a frame are free.

    An empty frame is a signal of the algorithm and free as well.
    """
    return codec.paper_bits(frame, dim) if frame is not None and frame.size else 0


def stopped(message: envelope.Unsealed) -> Stopped:
    """Return the exception for a STOP of the server, with the reason that it gives."""
    text = b"" if message.frame is None else message.frame.tobytes()
    return Stopped(text.decode(errors="replace"))


def pack_numbers(
    numbers: Sequence[float], round_: int, kind: int, tail: Frame | None = None
) -> Frame:
    """Return a message of float64 ``numbers``, followed by the bytes of ``tail``."""
    head = np.array(numbers, np.float64).view(np.uint8)
    nbytes = head.size + (0 if tail is None else tail.size)
    buffer = envelope.new_buffer(nbytes)
    body = buffer[envelope.NBYTES :]
    body[: head.size] = head
    if tail is not None:
        body[head.size :] = tail
    return envelope.seal(buffer, nbytes, round_, kind, 0)


class FrameBuffer:
    """The send buffer of a link end: room for one envelope and the longest frame.

    A codec that encodes into ``space`` saves the copy of the frame.
    """

    def __init__(self, codec: Codec, dim: int) -> None:
        self.codec = codec
        self.dim = dim
        self._buffer = envelope.new_buffer(codec.max_nbytes(dim))
        self.space = self._buffer[envelope.NBYTES :]

    def message(self, round_: int, frame: Frame | None, kind: int = SKIP) -> Frame:
        """Return ``frame`` as a message, a view of the buffer.

        A message without a frame is of ``kind``.
        """
        if frame is None:
            return envelope.seal(self._buffer, 0, round_, kind, 0)
        # A frame that holds the first byte of ``space`` was encoded in place.
        if not np.shares_memory(frame, self.space[:1]):
            self.space[: frame.size] = frame
        return envelope.seal(self._buffer, frame.size, round_, DATA, self.codec.wire_id)

    def paper_bits(self, frame: Frame | None) -> int:
        """Return the bits that the paper counts for ``frame``."""
        return paper_bits(self.codec, frame, self.dim)
