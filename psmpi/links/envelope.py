"""The 16 bytes before every frame, by which a wrong message is detected.

======  ======  =====================================================
offset  type    field
======  ======  =====================================================
0       uint32  round: the server's round that the message belongs to
4       uint8   kind: DATA, SKIP, STOP, BYE, CHECK, REPORT, ANSWER, NOTE,
                STEP_SIZE, LEAVE, STATE, ABSENT, CHECKPOINT or HEAL
5       uint8   codec: ``wire_id`` of the frame's codec
6       uint16  frame length in bytes, bits 32 to 47
8       uint32  frame length in bytes, bits 0 to 31
12      uint32  CRC-32 of the twelve bytes before it and of the frame
======  ======  =====================================================

Little-endian. Envelopes count as wire bytes, but not as paper bits.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np

from psmpi.base import Frame, LinkError

ENVELOPE = struct.Struct("<IBBHII")
NBYTES = ENVELOPE.size
DATA, SKIP, STOP, BYE, CHECK, REPORT, ANSWER = 1, 2, 3, 4, 5, 6, 7
NOTE, STEP_SIZE, LEAVE, STATE = 8, 9, 10, 11  # see ``links.notes``
ABSENT = 12  # of a worker that has no frame for this round; its state is as before
CHECKPOINT = 13  # see ``links.checkpoints``
HEAL = 14  # see ``links.checksums``
_KINDS = range(DATA, HEAL + 1)
_CRC_AT = 12


class Unsealed(NamedTuple):
    """The parts of a message; ``frame`` is a view of it, None for an empty message."""

    round: int
    kind: int
    frame: Frame | None


def seal(buffer: Frame, nbytes: int, round_: int, kind: int, codec: int) -> Frame:
    """Write the envelope of a frame that is in the ``nbytes`` from ``buffer[16]`` on.

    Returns the whole message, a view of ``buffer``.
    """
    message = buffer[: NBYTES + nbytes]
    high, low = nbytes >> 32, nbytes & 0xFFFFFFFF
    ENVELOPE.pack_into(message.data, 0, round_, kind, codec, high, low, 0)
    crc = _crc(message)
    ENVELOPE.pack_into(message.data, 0, round_, kind, codec, high, low, crc)
    return message


def message_nbytes(start: Frame) -> int:
    """Return the length of the message that begins with ``start`` (>= 16 bytes)."""
    if start.size < NBYTES:
        raise LinkError(
            f"message: {start.size} bytes are less than the envelope's {NBYTES}"
        )
    high, low = ENVELOPE.unpack_from(start.data)[3:5]
    return NBYTES + (int(high) << 32 | int(low))


def unseal(message: Frame, codec: int, sender: str) -> Unsealed:
    """Check a message and return its parts; ``LinkError`` names ``sender`` and fault.

    ``codec`` is the ``wire_id`` that the message must have if it has a frame.
    """
    stated = message_nbytes(message)
    if stated != message.size:
        raise LinkError(
            f"message from {sender}: {message.size} bytes came, {stated} were announced"
        )
    round_, kind, wire_id, _, _, crc = ENVELOPE.unpack_from(message.data)
    if crc != _crc(message):
        raise LinkError(f"message from {sender}: damaged on the way (CRC-32 differs)")
    if kind not in _KINDS:
        raise LinkError(f"message from {sender}: unknown kind {kind}")
    if kind != DATA and message.size == NBYTES:
        return Unsealed(round_, kind, None)
    if kind == DATA and wire_id != codec:
        raise LinkError(
            f"message from {sender}: its frame is of codec number {wire_id}, "
            f"expected {codec}; do all ranks run the same psmpi?"
        )
    return Unsealed(round_, kind, message[NBYTES:])


def new_buffer(max_nbytes: int) -> Frame:
    """Return a buffer for a message whose frame has up to ``max_nbytes`` bytes."""
    return np.empty(NBYTES + max_nbytes, np.uint8)


def _crc(message: Frame) -> int:
    return zlib.crc32(message[NBYTES:].data, zlib.crc32(message[:_CRC_AT].data))
