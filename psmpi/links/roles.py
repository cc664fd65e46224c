"""The two ends of a link, the same over every transport.

Here lives what is not in the papers and would be copied into every algorithm: the
envelope, the loan of received frames, counting, the order of rounds, and the end of a
run. The server ends it: STOP goes down the way that frames go, each worker answers BYE
after what it still had under way, and only then does anybody leave.

Where an algorithm keeps one model on all ranks, workers send its CRC-32 every so many
rounds, before anything else in the round, and the server compares.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from psmpi.base import (
    Codec,
    Frame,
    LinkError,
    Plan,
    ServerLink,
    Stopped,
    Vector,
    Wire,
    WorkerLink,
)
from psmpi.links import envelope
from psmpi.links.envelope import BYE, CHECK, DATA, SKIP, STOP
from psmpi.links.metering import Meter, MeteredCodec
from psmpi.links.transport import Transport

_CHECKSUM = struct.Struct("<I")


def longest(wire: Wire, plan: Plan) -> tuple[int, int]:
    """Return the bytes of the longest message up, and down, envelope included."""
    up, down = (codec.max_nbytes(plan.dim) for codec in (wire.up, wire.down))
    return envelope.NBYTES + max(up, _CHECKSUM.size), envelope.NBYTES + down


def checksum(x: Vector) -> int:
    """Return the CRC-32 of a model's bytes."""
    return zlib.crc32(x.view(np.uint8).data)


def _compares(every: int, round_: int, last: int) -> bool:
    """Return whether models are compared at the start of a round, or at the end."""
    return bool(every) and (round_ % every == 0 or round_ == last)


def _expect(opened: envelope.Opened, sender: str) -> envelope.Opened:
    """Return what an algorithm may see, a frame or a skip; refuse anything else."""
    if opened.kind not in (DATA, SKIP):
        raise LinkError(
            f"message from {sender}: kind {opened.kind} in round {opened.round}, where "
            "a frame was due; do all ranks have the same options?"
        )
    return opened


def _paper_bits(codec: Codec, frame: Frame | None, dim: int) -> int:
    """Return what the paper counts: signals, with an empty frame or none, are free."""
    return codec.paper_bits(frame, dim) if frame is not None and frame.size else 0


class _Outgoing:
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
        return _paper_bits(self.codec, frame, self.dim)


class Worker(WorkerLink):
    """A worker's end over ``transport``."""

    def __init__(self, transport: Transport, wire: Wire, plan: Plan) -> None:
        self.worker = transport.node - 1
        self.workers = plan.workers
        self.meter = Meter(transport.now)
        self.round = 0  # of what is pushed
        self._heard = 0  # the round of the last message pulled
        self._rounds = plan.rounds
        self.pulls = 0
        self._transport = transport
        self._wire = wire
        self._check_every = plan.check_every if wire.replicated else 0
        self._out = _Outgoing(wire.up, plan.dim)
        self.up = MeteredCodec(wire.up, self.meter, self._out.space)
        self.down = MeteredCodec(wire.down, self.meter)

    def rounds(self, state: Any, *, until_told: bool = False) -> Iterator[int]:
        while until_told or state.round < self._rounds:
            self._begin(state)
            yield state.round
            state.round += 1
        self._begin(state)
        self.pull()
        raise LinkError(
            f"worker {self.worker}: the server goes on after the last round; do all "
            "ranks have the same number of rounds?"
        )

    def pull(self) -> Frame | None:
        self._transport.release()
        with self.meter.phase("wait"):
            message = (
                self._transport.bcast(None)
                if self._wire.tree
                else self._transport.recv(0)
            )
        opened = envelope.unseal(message, self._wire.down.wire_id, "the server")
        if opened.round < self._heard:
            raise LinkError(
                f"worker {self.worker}: got a message of round {opened.round} "
                f"after one of round {self._heard}"
            )
        if opened.kind == STOP:
            raise Stopped
        _expect(opened, "the server")
        self.round = self._heard = opened.round
        self.pulls += 1
        return opened.frame

    def push(self, frame: Frame | None) -> None:
        self._transport.release()
        bits = self._out.paper_bits(frame)
        message = self._out.message(self.round, frame)
        with self.meter.phase("send"):
            self._transport.send(0, message)
        self.meter.uploads += frame is not None
        self.meter.paper_bits_up += bits
        self.meter.wire_bytes_up += message.size

    def _begin(self, state: Any) -> None:
        # A worker that the server doesn't ask every round has heard of later ones.
        self.round = max(self.round, state.round)
        if _compares(self._check_every, state.round, self._rounds):
            self._send_checksum(state.x)

    def _send_checksum(self, x: Vector) -> None:
        self._transport.release()
        buffer = envelope.outbox(_CHECKSUM.size)
        _CHECKSUM.pack_into(buffer.data, envelope.NBYTES, checksum(x))
        message = envelope.seal(buffer, _CHECKSUM.size, self.round, CHECK, 0)
        with self.meter.phase("send"):
            self._transport.send(0, message)
        self.meter.wire_bytes_up += message.size

    def leave(self) -> None:
        """Answer the server's STOP."""
        self._transport.release()
        self._transport.send(0, self._out.message(self.round, None, BYE))


class Server(ServerLink):
    """The server's end over ``transport``; it sets the pace of rounds."""

    def __init__(self, transport: Transport, wire: Wire, plan: Plan) -> None:
        self.workers = plan.workers
        self.meter = Meter(transport.now)
        self.round = 0
        self.arrivals: list[int] = []  # workers in the order that recv served them
        self._rounds = plan.rounds
        self._transport = transport
        self._wire = wire
        self._check_every = plan.check_every if wire.replicated else 0
        self._dim = plan.dim
        self._out = _Outgoing(wire.down, plan.dim)
        self.up = MeteredCodec(wire.up, self.meter)
        self.down = MeteredCodec(wire.down, self.meter, self._out.space)

    def rounds(self, state: Any) -> Iterator[int]:
        while state.round < self._rounds:
            self._begin(state)
            yield state.round
            state.round += 1
        self._begin(state)

    def _begin(self, state: Any) -> None:
        self.round = state.round
        if _compares(self._check_every, state.round, self._rounds):
            self._compare(state.x)

    def bcast(self, frame: Frame | None) -> None:
        if not self._wire.tree:
            raise LinkError("bcast: this algorithm's wire addresses single workers")
        self._down(range(self.workers), frame)

    def send(self, worker: int, frame: Frame | None) -> None:
        if self._wire.tree:
            raise LinkError("send: this algorithm's wire goes along the tree")
        self._down((worker,), frame)

    def gather(self, workers: Sequence[int] | None = None) -> Iterator[Frame | None]:
        self._transport.release()
        for worker in range(self.workers) if workers is None else workers:
            with self.meter.phase("wait"):
                message = self._transport.recv(worker + 1)
            opened = _expect(self._open(worker, message), f"worker {worker}")
            if opened.round != self.round:
                raise LinkError(
                    f"worker {worker}: its message is of round {opened.round}, "
                    f"the server is in round {self.round}"
                )
            yield opened.frame

    def recv(self) -> tuple[int, Frame | None]:
        self._transport.release()
        with self.meter.phase("wait"):
            node, message = self._transport.recv_any()
        self.arrivals.append(node - 1)
        opened = _expect(self._open(node - 1, message), f"worker {node - 1}")
        return node - 1, opened.frame

    def _compare(self, x: Vector) -> None:
        """Take every worker's checksum of its model, and see that it is ours."""
        own = checksum(x)
        for worker in range(self.workers):
            self._transport.release()
            with self.meter.phase("wait"):
                message = self._transport.recv(worker + 1)
            opened = self._open(worker, message)
            due = (CHECK, self.round)
            frame = opened.frame
            if (opened.kind, opened.round) != due or frame is None or frame.size != 4:
                raise LinkError(
                    f"worker {worker}: its model's checksum was expected in round "
                    f"{self.round}, and another message of round {opened.round} came"
                )
            found = _CHECKSUM.unpack(frame.tobytes())[0]
            if found != own:
                raise LinkError(
                    f"round {self.round}: the model of worker {worker} is not the "
                    f"server's (CRC-32 {found:08x} and {own:08x}); updates were not "
                    "applied alike"
                )

    def stop(self) -> None:
        """End the run: tell every worker and wait until each has said BYE."""
        self._down(range(self.workers), None, STOP)
        for worker in range(self.workers):
            while True:
                self._transport.release()
                with self.meter.phase("wait"):
                    message = self._transport.recv(worker + 1)
                if self._open(worker, message).kind == BYE:
                    break

    def _down(
        self, workers: Sequence[int], frame: Frame | None, kind: int = SKIP
    ) -> None:
        self._transport.release()
        bits = self._out.paper_bits(frame)
        message = self._out.message(self.round, frame, kind)
        nbytes = message.size
        with self.meter.phase("send"):
            if self._wire.tree:
                self._transport.bcast(message)
                nbytes += self._transport.bcast_overhead
            else:
                for worker in workers:
                    self._transport.send(worker + 1, message)
        self.meter.paper_bits_down += bits * len(workers)
        self.meter.wire_bytes_down += nbytes * len(workers)

    def _open(self, worker: int, message: Frame) -> envelope.Opened:
        opened = envelope.unseal(message, self._wire.up.wire_id, f"worker {worker}")
        self.meter.wire_bytes_up += message.size
        if opened.kind == DATA:
            bits = _paper_bits(self._wire.up, opened.frame, self._dim)
            self.meter.paper_bits_up += bits
            self.meter.uploads += 1
        return opened
