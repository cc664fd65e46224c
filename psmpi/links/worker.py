"""A worker's end of a link, over any transport."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from psmpi.base import Codec, Frame, LinkError, Plan, Stopped, Vector, Wire, WorkerLink
from psmpi.links import envelope
from psmpi.links.compute_speed import ComputeSpeed
from psmpi.links.envelope import ANSWER, BYE, CHECK, DATA, REPORT, STOP
from psmpi.links.metering import Meter
from psmpi.links.protocol import (
    CHECKSUM,
    Outgoing,
    WorkerReport,
    checksum,
    due,
    expect,
    pack,
    require,
)
from psmpi.links.replay_log import ReplayLog
from psmpi.links.transport.base import Transport

_Booked = tuple[bool, int, int]  # whether it has a frame, its paper bits and bytes

_NEARLY = 1 + 1e-9  # n (t / n) may be more than t in floating point


class Worker(WorkerLink):
    """A worker's end over ``transport``."""

    def __init__(
        self,
        transport: Transport,
        wire: Wire,
        plan: Plan,
        pace: ComputeSpeed | None = None,
        replay_log: ReplayLog | None = None,
    ) -> None:
        self.worker = transport.node - 1
        self.workers = plan.workers
        self.meter = Meter(transport.now, transport.exclude_from_clock)
        self.compute_speed = ComputeSpeed(self.worker) if pace is None else pace
        self.replay_log = ReplayLog() if replay_log is None else replay_log
        self.round = 0  # of what is pushed
        self.rounds_done = 0
        self._heard = 0  # the round of the last message pulled
        self._rounds = plan.rounds
        self._every = plan.evaluate_every
        self._zero = transport.now()  # when its clock began
        self._transport = transport
        self._wire = wire
        self._check_every = plan.check_every if wire.replicated else 0
        self._out = Outgoing(wire.up, plan.dim)
        self.up = wire.up.metered(self.meter.phase, self._out.space)
        self.down = wire.down.metered(self.meter.phase)
        self.peers = wire.peers[self.worker] if wire.peers else ()
        self._quickest = 0.0  # seconds a sample; 0: not known yet
        self._gone: set[int] = set()  # peers that have said that they send no more
        self._posted: dict[int, _Booked] = {}  # what was posted last

    def outgoing(self, codec: Codec) -> Codec:
        return codec.metered(self.meter.phase, self._out.space)

    def rounds(self, state: Any, *, until_told: bool = False) -> Iterator[int]:
        while until_told or state.round < self._rounds:
            self._begin(state)
            yield state.round
            state.round += 1
        self._begin(state)
        if not self.peers:
            self.pull()
        raise LinkError(
            f"worker {self.worker}: the server goes on after the last round; do all "
            "ranks have the same number of rounds?"
        )

    def pull(self) -> Frame | None:
        return self.pull_shared() if self._wire.tree else self._pull(tree=False)

    def pull_shared(self) -> Frame | None:
        return self._pull(tree=True)

    def push(self, frame: Frame | None) -> None:
        self._transport.release()
        bits = self._out.paper_bits(frame)
        message = self._out.message(self.round, frame)
        with self.meter.phase("send"):
            self._transport.send(0, message)
        self._book(frame is not None, bits, message.size, 1)

    def exchange(self, frame: Frame) -> Iterator[tuple[int, Frame]]:
        self._transport.release()
        bits = self._out.paper_bits(frame)
        message = self._out.message(self.round, frame)
        relay = self._wire.relay
        nodes = [0] if relay else [peer + 1 for peer in self.peers]
        with self.meter.phase("send"):
            self._transport.send_all(nodes, message)
        self._book(True, bits, message.size, len(nodes))
        for peer in self.peers:
            self._transport.release()
            with self.meter.phase("wait"):
                received = self._transport.recv(0 if relay else peer + 1)
            opened = self._from_peer(received, peer)
            if opened.round != self.round:
                raise LinkError(
                    f"worker {peer}: its message is of round {opened.round}, worker "
                    f"{self.worker} is in round {self.round}"
                )
            yield peer, require(opened, DATA, f"worker {peer}", "a frame")

    def post(self, frame: Frame) -> None:
        self._transport.release()
        bits = self._out.paper_bits(frame)
        message = self._out.message(self.round, frame)
        with self.meter.phase("send"):
            for peer in self.peers:
                if self._transport.post(peer + 1, message):
                    self._book(*self._posted[peer], -1)
                self._posted[peer] = True, bits, message.size
        self._book(True, bits, message.size, len(self.peers))

    def latest(self) -> Iterator[tuple[int, Frame]]:
        for peer in self.peers:
            if self.replay_log.replaying:
                yield from self._as_recorded(peer)
                continue
            newest = -1
            for round_, frame in self._arrived(peer):
                newest = round_
                yield peer, frame
            self.replay_log.note(newest)

    def until(self, deadline: float, samples: int, batch: int) -> Iterator[int]:
        if self.replay_log.replaying:
            while size := self.replay_log.take():
                self.meter.samples += size
                yield size
            return
        end, done = self.now() + deadline, 0
        within = (
            self.compute_speed.within(deadline) if self._transport.virtual else None
        )
        batch = batch if within is None else max(within, 1)
        samples = samples if within is None else min(samples, within)
        while (left := end - self.now()) > 0 and done < samples:
            size = min(batch, samples - done)
            if self._quickest and within is None:  # no more than can be done in time
                size = min(size, int(left / self._quickest * _NEARLY))
            if not size:
                if not done:  # it may have been a hiccup: soon one is tried again
                    self._quickest /= 2
                break
            yield self.replay_log.note(size)
            done += size
            self._quickest = self._learned((left - (end - self.now())) / size)
        self.replay_log.note(0)
        left = end - self.now()
        with self.meter.phase("wait"):
            self._transport.spend(max(left, 0.0))
        self.meter.samples += done
        self.meter.overshoot += max(-left, 0.0)

    def _learned(self, seconds: float) -> float:
        """Return the least time that a sample has taken: no hiccup makes it longer."""
        return min(seconds, self._quickest or seconds)

    def now(self) -> float:
        return self._transport.now()

    def agree(self, number: float) -> tuple[float, float]:
        self._transport.release()
        self._observe(pack([number], self.round, REPORT, None))
        mean, most = self._answer()
        return mean, most

    def hold(self, samples: int, taken: float) -> None:
        """Let a gradient that took ``taken`` seconds last as long as it should."""
        if not self.replay_log.replaying:
            rest = self.compute_speed.rest(samples, taken)
            if rest:
                begun = self._transport.now()
                self._transport.spend(rest)
                self.compute_speed.overslept(self._transport.now() - begun - rest)

    def leave(self) -> None:
        """Answer the server's STOP, after taking leave of all peers."""
        self._transport.release()
        if self.peers and not self._wire.relay:
            self._part()
        told = self._told() if self.peers else None
        message = (
            self._out.message(self.round, None, BYE)
            if told is None
            else told.message(self.round, BYE, None)
        )
        self._transport.send(0, message, free=True)
        self.replay_log.close()

    def _part(self) -> None:
        """Take in what peers still send, until each has said that it sends no more."""
        # A long message on its way needs its receiver, who may wait for one of ours to
        # arrive: so the farewell stands in line behind it, and we take in all the same.
        bye = envelope.seal(envelope.outbox(0), 0, self.round, BYE, 0)
        for peer in self.peers:
            if self._transport.drop(peer + 1):
                self._book(*self._posted[peer], -1)
            self._transport.post(peer + 1, bye)
        self.meter.wire_bytes_up += bye.size * len(self.peers)
        for peer in self.peers:
            while peer not in self._gone:
                self._transport.release()
                message = self._transport.recv(peer + 1)
                if self._from_peer(message, peer).kind == BYE:
                    self._gone.add(peer)
        self._transport.flush()

    def _begin(self, state: Any) -> None:
        # A worker that the server doesn't ask every round has heard of later ones.
        self.round = max(self.round, state.round)
        self.rounds_done = state.round
        self.compute_speed.begin(state.round)
        if self.peers:
            self._show(state)
        elif due(self._check_every, state.round, self._rounds):
            self._send_checksum(state.x)

    def _show(self, state: Any) -> None:
        """Show the server the model, if it is time to."""
        if self._wire.free:
            self._heed()
            if state.round % self._every:
                return
        elif not due(self._every, state.round, self._rounds):
            return
        self._transport.release()
        told = self._told()
        self._observe(told.message(self.round, REPORT, state.x))
        if self._wire.free:
            return
        # Evaluation takes no time: clocks go on together from the slowest one's.
        (seconds, _) = self._answer()
        self._zero = self._transport.now() - seconds

    def _heed(self) -> None:
        """Raise ``Stopped`` if the server has said so; don't wait for it to."""
        self._transport.release()
        if self.replay_log.replaying:
            message = self._transport.recv(0) if self.replay_log.used_up else None
        else:
            message = self._transport.poll(0)
        if message is not None:
            opened = envelope.unseal(message, self._wire.down.wire_id, "the server")
            if opened.kind == STOP:
                raise Stopped

    def _observe(self, message: Frame) -> None:
        self._transport.send(0, message, free=True)
        self.meter.wire_bytes_observed += message.size

    def _answer(self) -> tuple[float, float]:
        self._transport.release()
        message = self._transport.recv(0)
        opened = envelope.unseal(message, self._wire.down.wire_id, "the server")
        if opened.kind == STOP:
            raise Stopped
        frame = require(opened, ANSWER, "the server", "an answer")
        first, second = frame.view(np.float64).tolist()
        return first, second

    def _told(self) -> WorkerReport:
        meter = self.meter
        return WorkerReport(
            seconds=self._transport.now() - self._zero,
            steps=self.rounds_done,
            uploads=meter.uploads,
            paper_bits=meter.paper_bits_up,
            wire_bytes=meter.wire_bytes_up,
        )

    def _pull(self, tree: bool) -> Frame | None:
        self._transport.release()
        with self.meter.phase("wait"):
            message = self._transport.bcast(None) if tree else self._transport.recv(0)
        opened = envelope.unseal(message, self._wire.down.wire_id, "the server")
        if opened.round < self._heard:
            raise LinkError(
                f"worker {self.worker}: got a message of round {opened.round} "
                f"after one of round {self._heard}"
            )
        if opened.kind == STOP:
            raise Stopped
        expect(opened, "the server")
        self.round = self._heard = opened.round
        return opened.frame

    def _arrived(self, peer: int) -> Iterator[tuple[int, Frame]]:
        while True:
            self._transport.release()
            message = self._transport.poll(peer + 1)
            if message is None:
                return
            opened = self._from_peer(message, peer)
            if opened.kind == BYE:
                self._gone.add(peer)
                return
            yield opened.round, require(opened, DATA, f"worker {peer}", "a frame")

    def _as_recorded(self, peer: int) -> Iterator[tuple[int, Frame]]:
        newest = self.replay_log.take()
        seen = -1
        while seen < newest:
            self._transport.release()
            opened = self._from_peer(self._transport.recv(peer + 1), peer)
            if opened.kind == BYE:
                raise LinkError(
                    f"replay: worker {peer} has ended without a frame of round "
                    f"{newest}; the recorded run was another one"
                )
            seen = opened.round
            yield peer, require(opened, DATA, f"worker {peer}", "a frame")

    def _from_peer(self, message: Frame, peer: int) -> envelope.Opened:
        return envelope.unseal(message, self._wire.up.wire_id, f"worker {peer}")

    def _send_checksum(self, x: Vector) -> None:
        self._transport.release()
        buffer = envelope.outbox(CHECKSUM.size)
        CHECKSUM.pack_into(buffer.data, envelope.NBYTES, checksum(x))
        message = envelope.seal(buffer, CHECKSUM.size, self.round, CHECK, 0)
        with self.meter.phase("send"):
            self._transport.send(0, message)
        self.meter.wire_bytes_up += message.size

    def _book(self, frame: bool, bits: int, nbytes: int, copies: int) -> None:
        self.meter.uploads += copies if frame else 0
        self.meter.paper_bits_up += bits * copies
        self.meter.wire_bytes_up += nbytes * copies
