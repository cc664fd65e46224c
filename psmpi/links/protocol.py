"""What both ends of a link have in common, the same over every transport.

Here lives what is not in the papers and would be copied into every algorithm: the
envelope, the loan of received frames, counting, the order of rounds, and the end of a
run. The server ends it: STOP goes down the way that frames go, each worker answers BYE
after what it still had under way, and only then does anybody leave.

Where an algorithm keeps one model on all ranks, workers send its CRC-32 every so many
rounds, before anything else in the round, and the server compares. Where workers have
models of their own (a wire with peers), they send these instead, to be averaged.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np

from psmpi.base import Codec, Frame, LinkError, Plan, Vector, Wire
from psmpi.links import envelope
from psmpi.links.envelope import DATA, SKIP

CHECKSUM = struct.Struct("<I")


def longest(wire: Wire, plan: Plan) -> tuple[int, int]:
    """Return the bytes of the longest message up, and down, envelope included."""
    up, down = (codec.max_nbytes(plan.dim) for codec in (wire.up, wire.down))
    up, down = max(up, CHECKSUM.size), max(down, 2 * 8)
    if wire.peers:
        up = max(up, WorkerReport.nbytes() + plan.dim * np.dtype(plan.dtype).itemsize)
    if wire.relay:
        down = max(up, down)
    return envelope.NBYTES + up, envelope.NBYTES + down


def checksum(x: Vector) -> int:
    """Return the CRC-32 of a model's bytes."""
    return zlib.crc32(x.view(np.uint8).data)


def due(every: int, round_: int, last: int) -> bool:
    """Return whether it is time for what is done so often, and at the end."""
    return bool(every) and (round_ % every == 0 or round_ == last)


def expect(opened: envelope.Opened, sender: str) -> envelope.Opened:
    """Return what an algorithm may see, a frame or a skip; refuse anything else."""
    if opened.kind not in (DATA, SKIP):
        raise LinkError(
            f"message from {sender}: kind {opened.kind} in round {opened.round}, where "
            "a frame was due; do all ranks have the same options?"
        )
    return opened


def require(opened: envelope.Opened, kind: int, sender: str, what: str) -> Frame:
    """Return the bytes of a message that must be of ``kind``: ``what``."""
    if opened.kind != kind or opened.frame is None:
        raise LinkError(
            f"message from {sender}: {what} was expected, and one of kind "
            f"{opened.kind} came in round {opened.round}"
        )
    return opened.frame


def paper_bits(codec: Codec, frame: Frame | None, dim: int) -> int:
    """Return what the paper counts: signals, with an empty frame or none, are free."""
    return codec.paper_bits(frame, dim) if frame is not None and frame.size else 0


def pack(numbers: Sequence[float], round_: int, kind: int, tail: Frame | None) -> Frame:
    """Return a message of numbers, as float64, and perhaps more."""
    head = np.array(numbers, np.float64).view(np.uint8)
    nbytes = head.size + (0 if tail is None else tail.size)
    buffer = envelope.outbox(nbytes)
    body = buffer[envelope.NBYTES :]
    body[: head.size] = head
    if tail is not None:
        body[head.size :] = tail
    return envelope.seal(buffer, nbytes, round_, kind, 0)


@dataclass
class WorkerReport:
    """What a worker with peers says of itself, before its model or its farewell."""

    seconds: float = 0.0  # on its clock, without the time of evaluations
    steps: float = 0.0  # rounds it has done
    uploads: float = 0.0  # frames, paper bits and bytes that it has sent to its peers
    paper_bits: float = 0.0
    wire_bytes: float = 0.0

    @classmethod
    def nbytes(cls) -> int:
        """Return how many bytes it takes."""
        return 8 * len(fields(cls))

    @classmethod
    def read(cls, frame: Frame) -> WorkerReport:
        """Return what the start of ``frame`` holds."""
        return cls(*frame[: cls.nbytes()].view(np.float64).tolist())

    def message(self, round_: int, kind: int, x: Vector | None) -> Frame:
        """Return it as a message, with the model if there is one."""
        tail = None if x is None else x.view(np.uint8)
        return pack(astuple(self), round_, kind, tail)


class Outgoing:
    """The one direction an end sends in: its buffer, and messages made in it."""

    def __init__(self, codec: Codec, dim: int) -> None:
        self.codec = codec
        self.dim = dim
        self.buffer = envelope.outbox(codec.max_nbytes(dim))
        self.space = self.buffer[envelope.NBYTES :]

    def message(self, round_: int, frame: Frame | None, kind: int = SKIP) -> Frame:
        """Return ``frame`` as a message, without a copy if it is here already."""
        if frame is None:
            return envelope.seal(self.buffer, 0, round_, kind, 0)
        if frame.base is not self.buffer:
            self.space[: frame.size] = frame
        return envelope.seal(self.buffer, frame.size, round_, DATA, self.codec.wire_id)

    def paper_bits(self, frame: Frame | None) -> int:
        return paper_bits(self.codec, frame, self.dim)
