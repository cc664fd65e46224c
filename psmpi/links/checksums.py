"""Checksums of models: a check that all ranks apply updates alike.

Where an algorithm keeps identical models on all ranks (``Wire.replicated``), every
worker sends the CRC-32 of its model every ``Plan.check_every`` rounds, before any other
message of the round, and the server compares it with its own.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from psmpi.base import LinkError, Vector
from psmpi.links import envelope
from psmpi.links.context import LinkContext
from psmpi.links.envelope import ABSENT, CHECK
from psmpi.links.messages import is_due
from psmpi.links.uploads import UploadReceiver

CHECKSUM = struct.Struct("<I")


def checksum(x: Vector) -> int:
    """Return the CRC-32 of a model's bytes."""
    return zlib.crc32(x.view(np.uint8).data)


def checksum_is_due(context: LinkContext, round_: int) -> bool:
    """Return whether models are compared at the start of this round."""
    if not context.wire.replicated:
        return False
    return is_due(context.plan.check_every, round_, context.plan.rounds)


def send_checksum(context: LinkContext, x: Vector) -> None:
    """Send the checksum of a worker's model to the server."""
    context.transport.release()
    buffer = envelope.new_buffer(CHECKSUM.size)
    CHECKSUM.pack_into(buffer.data, envelope.NBYTES, checksum(x))
    message = envelope.seal(buffer, CHECKSUM.size, context.round, CHECK, 0)
    with context.meter.phase("send"):
        context.transport.send(0, message)


def compare_checksums(context: LinkContext, uploads: UploadReceiver, x: Vector) -> None:
    """Receive every worker's checksum; ``LinkError`` names one that differs."""
    own = checksum(x)
    for worker in range(context.plan.workers):
        context.transport.release()
        message = uploads.receive(worker)
        if message.kind == ABSENT:
            continue
        frame = message.frame
        expected = (CHECK, context.round)
        received = (message.kind, message.round)
        if received != expected or frame is None or frame.size != CHECKSUM.size:
            raise LinkError(
                f"worker {worker}: its model's checksum was expected in round "
                f"{context.round}, and another message of round {message.round} came"
            )
        theirs = CHECKSUM.unpack(frame.tobytes())[0]
        if theirs != own:
            raise LinkError(
                f"round {context.round}: the model of worker {worker} is not the "
                f"server's (CRC-32 {theirs:08x} and {own:08x}); updates were not "
                "applied alike"
            )
