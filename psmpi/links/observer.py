"""The server's part where workers have models of their own: relaying and observing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psmpi.base import Frame, LinkError, ServerPeers
from psmpi.links import envelope
from psmpi.links.checkpoints import ServerCheckpoints
from psmpi.links.context import LinkContext
from psmpi.links.envelope import ABSENT, DATA, REPORT
from psmpi.links.messages import is_due, paper_bits, require
from psmpi.links.model_monitor import ModelMonitor
from psmpi.links.reports import send_answer
from psmpi.links.uploads import UploadReceiver


class PeerObserver(ServerPeers):
    """Relays frames between workers, and sets the server's model to their models' mean.

    For a wire without peers all methods but ``relay`` and ``observed`` do nothing.
    """

    def __init__(
        self,
        context: LinkContext,
        uploads: UploadReceiver,
        checkpoints: ServerCheckpoints,
    ) -> None:
        self._context = context
        self._checkpoints = checkpoints
        self._uploads = uploads
        self._monitor: ModelMonitor | None = None
        if context.wire.peers:
            self._monitor = ModelMonitor(context.plan, context.wire.free)
        self.workers_wait = False  # for an answer to their reports

    def relay(self) -> None:
        context = self._context
        self.release_workers()
        context.transport.release()
        messages = []  # with their paper bits; what is ABSENT is relayed as well
        for worker in range(context.plan.workers):
            message, unsealed = self._uploads.receive_whole(worker)
            if unsealed.kind != ABSENT:
                require(unsealed, DATA, f"worker {worker}", "a frame")
            bits = paper_bits(context.wire.up, unsealed.frame, context.plan.dim)
            messages.append((message.copy(), bits))  # a note of the next ends the loan
        for worker, peers in enumerate(context.wire.peers):
            for peer in peers:
                message, bits = messages[peer]
                with context.meter.phase("send"):
                    context.transport.send(worker + 1, message)
                context.meter.paper_bits_down += bits
                context.meter.wire_bytes_down += message.size

    def observed(self) -> Mapping[str, float]:
        return self._models().statistics()

    def begin_round(self, state: Any) -> None:
        """Set ``state.x`` to the mean of the workers' models if a report is due."""
        context, monitor = self._context, self._models()
        if not is_due(context.plan.evaluate_every, state.round, context.plan.rounds):
            return
        if context.wire.free:
            while not monitor.reached(state.round):
                context.transport.release()
                self._take(*self._uploads.receive_any(range(context.plan.workers)))
        else:
            self._receive_reports(state.round)
            self.workers_wait = True
        monitor.mean(state.x)
        self.count()

    def release_workers(self) -> None:
        """Answer workers that wait after their reports: all clocks show the slowest."""
        if self.workers_wait:
            self.workers_wait = False
            workers = range(self._context.plan.workers)
            self._checkpoints.announce(workers, tree=False)
            send_answer(self._context, self._models().seconds, 0.0)

    def saved(self) -> dict[str, Any] | None:
        """Return what was observed of the workers' models, to go on from."""
        return None if self._monitor is None else self._monitor.saved()

    def resume(self, saved: dict[str, Any] | None) -> None:
        """Go on from what ``saved`` gave."""
        if saved is not None:
            self._models().resume(saved)

    def farewell(self, worker: int, frame: Frame | None) -> None:
        """Take in a leaving worker's final counters, if its BYE has any."""
        if self._monitor is not None and frame is not None:
            self._monitor.farewell(worker, frame)

    def count(self) -> None:
        """Set the server's meter to the uploads that workers counted themselves."""
        if self._monitor is not None and not self._context.wire.relay:
            total, meter = self._monitor.total(), self._context.meter
            meter.uploads = round(total.uploads)
            meter.paper_bits_up = round(total.paper_bits)
            meter.wire_bytes_up = round(total.wire_bytes) + self._uploads.upload_bytes

    def _receive_reports(self, round_: int) -> None:
        for worker in range(self._context.plan.workers):
            self._context.transport.release()
            message = self._uploads.receive(worker)
            if message.kind == ABSENT:
                continue
            if message.round != round_:
                raise LinkError(
                    f"worker {worker}: its report is of round {message.round}, the "
                    f"server is in round {round_}"
                )
            self._take(worker, message)

    def _take(self, worker: int, message: envelope.Unsealed) -> None:
        frame = require(message, REPORT, f"worker {worker}", "a report")
        self._models().take(worker, frame)

    def _models(self) -> ModelMonitor:
        if self._monitor is None:
            raise LinkError("peers: this algorithm's wire has none")
        return self._monitor
