"""Checksums of models: a check that all ranks apply updates alike.

Where an algorithm keeps identical models on all ranks (``Wire.replicated``), every
worker sends the CRC-32 of its model every ``Plan.check_every`` rounds, before any other
message of the round, and the server compares it with its own. If one differs, the run
ends with its name. With ``Plan.heal`` the server tells all workers instead who differs
(HEAL, with their numbers), and if anybody does, sends what is replicated (HEAL, with a
vector each): those who differ take it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from psmpi.base import Frame, LinkError, Vector
from psmpi.links import envelope
from psmpi.links.context import LinkContext
from psmpi.links.envelope import ABSENT, CHECK, HEAL
from psmpi.links.messages import is_due
from psmpi.links.uploads import UploadReceiver

#: Groups of vectors that are equal on all ranks; those of a group are equal, too.
Replicas: TypeAlias = Sequence[Sequence[Vector]]
#: Checksums that are not the server's, by worker.
Differing: TypeAlias = dict[int, int]
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


def own_model(state: Any) -> Replicas:
    """Return the replicated vectors of a state that has nothing but its model."""
    return ((state.x,),)


def answers(round_: int, differing: Differing, replicas: Replicas) -> Iterator[Frame]:
    """Yield the server's messages to all workers after a comparison."""
    yield _heal(round_, np.array(list(differing), np.uint32).view(np.uint8))
    for vectors in replicas if differing else ():
        yield _heal(round_, vectors[0].view(np.uint8))


def take_answer(
    receive: Callable[[], envelope.Unsealed], worker: int, replicas: Replicas
) -> None:
    """Receive who differs; if it is this worker, take the server's vectors."""
    numbers = _healing(receive())
    differing = [] if numbers is None else numbers.view(np.uint32).tolist()
    for vectors in replicas if differing else ():
        frame = _healing(receive())
        if worker not in differing:
            continue
        for vector in vectors:
            if frame is None or frame.size != vector.nbytes:
                raise LinkError("message from the server: its model has another size")
            vector[:] = frame.view(vector.dtype)


def _heal(round_: int, content: Frame) -> Frame:
    buffer = envelope.new_buffer(content.size)
    buffer[envelope.NBYTES :] = content
    return envelope.seal(buffer, content.size, round_, HEAL, 0)


def _healing(message: envelope.Unsealed) -> Frame | None:
    if message.kind != HEAL:
        raise LinkError(
            f"message from the server: kind {message.kind} in round {message.round}, "
            "where the result of a comparison was due"
        )
    return message.frame


def compare_checksums(
    context: LinkContext, uploads: UploadReceiver, x: Vector
) -> Differing:
    """Receive every worker's checksum; return the workers whose differs.

    Without ``Plan.heal``, ``LinkError`` names the first.
    """
    own = checksum(x)
    differing = {}
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
        if theirs == own:
            continue
        differing[worker] = theirs
        if not context.plan.heal:
            raise LinkError(
                f"round {context.round}: the model of worker {worker} is not the "
                f"server's (CRC-32 {theirs:08x} and {own:08x}); updates were not "
                "applied alike"
            )
    return differing
