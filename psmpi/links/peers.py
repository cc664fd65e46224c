"""Frames between workers: in step with the rounds, or posted without waiting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from psmpi.base import Frame, LinkError, WorkerPeers
from psmpi.links import envelope
from psmpi.links.context import LinkContext
from psmpi.links.envelope import ABSENT, BYE, CHECKPOINT, DATA
from psmpi.links.messages import FrameBuffer, require
from psmpi.links.notes import PeerLeft


class _Size(NamedTuple):
    """What one message counts for in the meter."""

    uploads: int
    paper_bits: int
    wire_bytes: int


class PeerExchange(WorkerPeers):
    """A worker's connections to its peers; ``numbers`` are the peers' numbers.

    With ``Wire.relay`` frames go through the server.
    """

    def __init__(self, context: LinkContext, worker: int, buffer: FrameBuffer) -> None:
        self.numbers = context.wire.peers[worker] if context.wire.peers else ()
        self._context = context
        self._worker = worker
        self._buffer = buffer
        self._ended: set[int] = set()  # peers whose BYE has arrived
        self._left = False  # whether this worker has said BYE
        self._posted: dict[int, _Size] = {}  # the last message posted to each peer
        # The newest frame of each peer that has arrived, with its round, where it came
        # before this worker was saved and has not been asked for since.
        self._pending: dict[int, tuple[int, Frame]] = {}
        self._waiting: set[int] = set()  # peers that wait in ``synchronise``

    def exchange(self, frame: Frame) -> Iterator[tuple[int, Frame]]:
        return self._exchange(*self._message(frame))

    def absent(self) -> None:
        if self._context.wire.free:
            return  # nobody waits for a frame
        self._context.transport.release()
        message = self._buffer.message(self._context.round, None, ABSENT)
        for _ in self._exchange(message, _Size(0, 0, message.size)):
            pass

    def _exchange(self, message: Frame, size: _Size) -> Iterator[tuple[int, Frame]]:
        """Send a message to all peers; yield the frames of those that are present."""
        context, relay = self._context, self._context.wire.relay
        nodes = [0] if relay else [peer + 1 for peer in self.numbers]
        with context.meter.phase("send"):
            context.transport.send_all(nodes, message)
        self._count(size, len(nodes))
        for peer in self.numbers:
            context.transport.release()
            with context.meter.phase("wait"):
                received = context.transport.recv(0 if relay else peer + 1)
            unsealed = self._unseal(received, peer)
            if unsealed.kind == BYE and context.plan.step_size is not None:
                self._ended.add(peer)
                raise PeerLeft(f"worker {peer} left after {unsealed.round} rounds")
            if unsealed.round != context.round:
                raise LinkError(
                    f"worker {peer}: its message is of round {unsealed.round}, worker "
                    f"{self._worker} is in round {context.round}"
                )
            if unsealed.kind == ABSENT:
                continue
            yield peer, require(unsealed, DATA, f"worker {peer}", "a frame")

    def post(self, frame: Frame) -> None:
        message, size = self._message(frame)
        with self._context.meter.phase("send"):
            for peer in self.numbers:
                if self._context.transport.post(peer + 1, message):
                    self._count(self._posted[peer], -1)
                self._posted[peer] = size
        self._count(size, len(self.numbers))

    def latest(self) -> Iterator[tuple[int, Frame]]:
        log = self._context.replay_log
        for peer in self.numbers:
            if log.replaying:
                yield from self._replay(peer, log.next_decision())
                continue
            newest = -1
            for round_, frame in self._arrived(peer):
                newest = round_
                yield peer, frame
            log.record(newest)

    def synchronise(self) -> None:
        """Receive what all peers have sent up to their call of this.

        Then no frame is under way, and the newest of each peer is kept.
        """
        transport = self._context.transport
        mark = envelope.seal(
            envelope.new_buffer(0), 0, self._context.round, CHECKPOINT, 0
        )
        present = [peer for peer in self.numbers if peer not in self._ended]
        for peer in present:
            if transport.post(peer + 1, mark):
                self._count(self._posted[peer], -1)
        self._context.meter.wire_bytes_observed += mark.size * len(present)
        for peer in present:
            while peer not in self._waiting:
                transport.release()
                unsealed = self._unseal(transport.recv(peer + 1), peer)
                if unsealed.kind == BYE:
                    self._ended.add(peer)
                if unsealed.kind in (BYE, CHECKPOINT):
                    self._waiting.add(peer)
                    continue
                frame = require(unsealed, DATA, f"worker {peer}", "a frame")
                self._pending[peer] = unsealed.round, frame.copy()
        transport.flush()
        self._waiting.clear()

    def saved(self) -> dict[int, list[Any]]:
        """Return the frames that have arrived and wait to be asked for."""
        return {peer: list(entry) for peer, entry in self._pending.items()}

    def resume(self, saved: dict[int, list[Any]]) -> None:
        """Go on from what ``saved`` gave."""
        self._pending = {peer: (entry[0], entry[1]) for peer, entry in saved.items()}

    def leave(self) -> None:
        """Say BYE to all peers, and receive their messages up to their BYE."""
        if self._context.wire.relay or self._left:
            return
        self._left = True
        # A long message that is under way needs its receiver, which may be waiting for
        # one of this worker's. So the BYE is posted behind it, and messages are
        # received meanwhile.
        transport, meter = self._context.transport, self._context.meter
        bye = envelope.seal(envelope.new_buffer(0), 0, self._context.round, BYE, 0)
        for peer in self.numbers:
            if transport.drop(peer + 1):
                self._count(self._posted[peer], -1)
            transport.post(peer + 1, bye)
        meter.wire_bytes_up += bye.size * len(self.numbers)
        for peer in self.numbers:
            while peer not in self._ended:
                transport.release()
                if self._unseal(transport.recv(peer + 1), peer).kind == BYE:
                    self._ended.add(peer)
        transport.flush()

    def _message(self, frame: Frame) -> tuple[Frame, _Size]:
        self._context.transport.release()
        bits = self._buffer.paper_bits(frame)
        message = self._buffer.message(self._context.round, frame)
        return message, _Size(1, bits, message.size)

    def _arrived(self, peer: int) -> Iterator[tuple[int, Frame]]:
        """Yield the rounds and frames that have arrived from a peer."""
        if peer in self._pending:
            yield self._pending.pop(peer)
        while True:
            self._context.transport.release()
            message = self._context.transport.poll(peer + 1)
            if message is None:
                return
            unsealed = self._unseal(message, peer)
            if unsealed.kind == BYE:
                self._ended.add(peer)
                return
            if unsealed.kind == CHECKPOINT:
                self._waiting.add(peer)
                return
            frame = require(unsealed, DATA, f"worker {peer}", "a frame")
            yield unsealed.round, frame

    def _replay(self, peer: int, newest: int) -> Iterator[tuple[int, Frame]]:
        """Yield a peer's frames up to the one of round ``newest``, as recorded."""
        received = -1
        while received < newest:
            self._context.transport.release()
            unsealed = self._unseal(self._context.transport.recv(peer + 1), peer)
            if unsealed.kind == BYE:
                raise LinkError(
                    f"replay: worker {peer} has ended without a frame of round "
                    f"{newest}; the recorded run was another one"
                )
            received = unsealed.round
            yield peer, require(unsealed, DATA, f"worker {peer}", "a frame")

    def _unseal(self, message: Frame, peer: int) -> envelope.Unsealed:
        return envelope.unseal(message, self._context.wire.up.wire_id, f"worker {peer}")

    def _count(self, size: _Size, copies: int) -> None:
        """Count ``copies`` more messages of this size; fewer if negative."""
        meter = self._context.meter
        meter.uploads += size.uploads * copies
        meter.paper_bits_up += size.paper_bits * copies
        meter.wire_bytes_up += size.wire_bytes * copies
