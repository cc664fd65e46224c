"""The server's end of a link, over any transport; it sets the pace of rounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from psmpi.base import Codec, Frame, LinkError, Plan, ServerLink, Vector, Wire
from psmpi.links import envelope
from psmpi.links.envelope import ANSWER, BYE, CHECK, DATA, REPORT, SKIP, STOP
from psmpi.links.metering import Meter
from psmpi.links.model_monitor import ModelMonitor
from psmpi.links.protocol import (
    CHECKSUM,
    Outgoing,
    checksum,
    due,
    expect,
    pack,
    paper_bits,
    require,
)
from psmpi.links.replay_log import ReplayLog
from psmpi.links.transport.base import Transport


class Server(ServerLink):
    """The server's end over ``transport``."""

    def __init__(
        self,
        transport: Transport,
        wire: Wire,
        plan: Plan,
        replay_log: ReplayLog | None = None,
    ) -> None:
        self.workers = plan.workers
        self.meter = Meter(transport.now, transport.exclude_from_clock)
        self.replay_log = ReplayLog() if replay_log is None else replay_log
        self.round = 0
        self.arrivals: list[int] = []  # workers in the order that recv served them
        self.staleness: Counter[int] = Counter()  # rounds -> frames that were so old
        self.late = 0  # frames that were discarded
        self._rounds = plan.rounds
        self._every = plan.evaluate_every
        self._transport = transport
        self._wire = wire
        self._check_every = plan.check_every if wire.replicated else 0
        self._dim = plan.dim
        self._out = Outgoing(wire.down, plan.dim)
        self._monitor = ModelMonitor(plan, wire.free) if wire.peers else None
        self._heard_bytes = 0  # without reports
        self._owed = 0.0  # the clock that waiting reporters are to go on from,
        self._owing = False  # if they wait
        self.up = wire.up.metered(self.meter.phase)
        self.down = wire.down.metered(self.meter.phase, self._out.space)

    def outgoing(self, codec: Codec) -> Codec:
        return codec.metered(self.meter.phase, self._out.space)

    def rounds(self, state: Any) -> Iterator[int]:
        while state.round < self._rounds:
            self._begin(state)
            yield state.round
            state.round += 1
        self._begin(state)

    def bcast(self, frame: Frame | None) -> None:
        self._down(range(self.workers), frame, tree=True)

    def send(self, worker: int, frame: Frame | None) -> None:
        if self._wire.tree:
            raise LinkError("send: this algorithm's wire goes along the tree")
        self._down((worker,), frame, tree=False)

    def gather(self, workers: Sequence[int] | None = None) -> Iterator[Frame | None]:
        self._transport.release()
        for worker in range(self.workers) if workers is None else workers:
            opened = expect(self._hear(worker), f"worker {worker}")
            if opened.round != self.round:
                raise LinkError(
                    f"worker {worker}: its message is of round {opened.round}, "
                    f"the server is in round {self.round}"
                )
            yield opened.frame

    def recv(self, workers: Sequence[int] | None = None) -> tuple[int, Frame | None]:
        self._transport.release()
        among = range(self.workers) if workers is None else workers
        worker, message = self._next(among)
        self.arrivals.append(worker)
        opened = expect(self._open(worker, message), f"worker {worker}")
        self.staleness[self.round - opened.round] += 1
        return worker, opened.frame

    def discard(self, worker: int) -> None:
        self._transport.release()
        expect(self._hear(worker), f"worker {worker}")
        self.late += 1

    def relay(self) -> None:
        self._go_on()
        self._transport.release()
        messages = []
        for worker in range(self.workers):
            with self.meter.phase("wait"):
                messages.append(self._transport.recv(worker + 1))
            opened = self._open(worker, messages[-1])
            require(opened, DATA, f"worker {worker}", "a frame")
        for worker, peers in enumerate(self._wire.peers):
            for peer in peers:
                message = messages[peer]
                with self.meter.phase("send"):
                    self._transport.send(worker + 1, message)
                frame = message[envelope.NBYTES :]
                self.meter.paper_bits_down += self._wire.up.paper_bits(frame, self._dim)
                self.meter.wire_bytes_down += message.size

    def observed(self) -> Mapping[str, float]:
        assert self._monitor is not None
        return self._monitor.facts()

    def agree(self) -> tuple[float, float]:
        numbers = []
        for worker in range(self.workers):
            self._transport.release()
            opened = self._hear(worker)
            frame = require(opened, REPORT, f"worker {worker}", "a number")
            numbers.append(float(frame.view(np.float64)[0]))
        result = float(np.mean(numbers)), max(numbers)
        self._answer(*result)
        return result

    def stop(self) -> None:
        """End the run: tell every worker and wait until each has said BYE."""
        self._down(range(self.workers), None, kind=STOP, tree=self._wire.tree)
        # In any order: who says BYE may wait for a peer that has yet to be heard.
        here = set(range(self.workers))
        while here:
            self._transport.release()
            with self.meter.phase("wait"):
                nodes = [worker + 1 for worker in sorted(here)]
                node, message = self._transport.recv_any(nodes)
            opened = self._open(node - 1, message)
            if opened.kind == BYE:
                here.remove(node - 1)
                if self._monitor is not None and opened.frame is not None:
                    self._monitor.farewell(node - 1, opened.frame)
        self._count()
        self.replay_log.close()

    def _begin(self, state: Any) -> None:
        self._go_on()
        self.round = state.round
        if self._monitor is not None:
            if due(self._every, state.round, self._rounds):
                self._observe(state)
        elif due(self._check_every, state.round, self._rounds):
            self._compare(state.x)

    def _observe(self, state: Any) -> None:
        """Hear the workers' models, and set the state's to their mean."""
        assert self._monitor is not None
        if self._wire.free:
            while not self._monitor.reached(state.round):
                self._transport.release()
                worker, message = self._next(range(self.workers))
                self._take_report(worker, self._open(worker, message))
        else:
            for worker in range(self.workers):
                self._transport.release()
                opened = self._hear(worker)
                if opened.round != state.round:
                    raise LinkError(
                        f"worker {worker}: its report is of round {opened.round}, the "
                        f"server is in round {state.round}"
                    )
                self._take_report(worker, opened)
            self._owed, self._owing = self._monitor.seconds, True
        self._monitor.mean(state.x)
        self._count()

    def _take_report(self, worker: int, opened: envelope.Opened) -> None:
        assert self._monitor is not None
        frame = require(opened, REPORT, f"worker {worker}", "a report")
        self._monitor.take(worker, frame)

    def _count(self) -> None:
        """Have the meter show what workers with peers have counted themselves."""
        if self._monitor is not None and not self._wire.relay:
            told = self._monitor.total()
            self.meter.uploads = round(told.uploads)
            self.meter.paper_bits_up = round(told.paper_bits)
            self.meter.wire_bytes_up = round(told.wire_bytes) + self._heard_bytes

    def _go_on(self) -> None:
        """Let workers go on that have reported and wait."""
        if self._owing:
            self._owing = False
            self._answer(self._owed, 0.0)

    def _answer(self, *numbers: float) -> None:
        message = pack(numbers, self.round, ANSWER, None)
        for worker in range(self.workers):
            self._transport.send(worker + 1, message, free=True)
            self.meter.wire_bytes_observed += message.size

    def _compare(self, x: Vector) -> None:
        """Take every worker's checksum of its model, and see that it is ours."""
        own = checksum(x)
        for worker in range(self.workers):
            self._transport.release()
            opened = self._hear(worker)
            frame = opened.frame
            asked = (CHECK, self.round)
            if (opened.kind, opened.round) != asked or frame is None or frame.size != 4:
                raise LinkError(
                    f"worker {worker}: its model's checksum was expected in round "
                    f"{self.round}, and another message of round {opened.round} came"
                )
            found = CHECKSUM.unpack(frame.tobytes())[0]
            if found != own:
                raise LinkError(
                    f"round {self.round}: the model of worker {worker} is not the "
                    f"server's (CRC-32 {found:08x} and {own:08x}); updates were not "
                    "applied alike"
                )

    def _down(
        self,
        workers: Sequence[int],
        frame: Frame | None,
        *,
        kind: int = SKIP,
        tree: bool,
    ) -> None:
        self._transport.release()
        bits = self._out.paper_bits(frame)
        message = self._out.message(self.round, frame, kind)
        nbytes = message.size
        with self.meter.phase("send"):
            if tree:
                self._transport.bcast(message)
                nbytes += self._transport.bcast_overhead
            else:
                for worker in workers:  # the end of a run is no part of its method
                    free = kind == STOP
                    self._transport.send(worker + 1, message, free=free)
        self.meter.paper_bits_down += bits * len(workers)
        self.meter.wire_bytes_down += nbytes * len(workers)

    def _hear(self, worker: int) -> envelope.Opened:
        with self.meter.phase("wait"):
            message = self._transport.recv(worker + 1)
        return self._open(worker, message)

    def _next(self, workers: Sequence[int]) -> tuple[int, Frame]:
        """Return the next message of any of ``workers``, or of the one on record."""
        with self.meter.phase("wait"):
            if self.replay_log.replaying:
                worker = self.replay_log.take()
                return worker, self._transport.recv(worker + 1)
            nodes = [worker + 1 for worker in workers]
            node, message = self._transport.recv_any(nodes)
        self.replay_log.note(node - 1)
        return node - 1, message

    def _open(self, worker: int, message: Frame) -> envelope.Opened:
        opened = envelope.unseal(message, self._wire.up.wire_id, f"worker {worker}")
        if opened.kind == REPORT:
            self.meter.wire_bytes_observed += message.size
            return opened
        self.meter.wire_bytes_up += message.size
        self._heard_bytes += message.size
        if opened.kind == DATA:
            bits = paper_bits(self._wire.up, opened.frame, self._dim)
            self.meter.paper_bits_up += bits
            self.meter.uploads += 1
        return opened
