"""What the server receives from workers: counted, and replayed in recorded order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psmpi.base import Frame
from psmpi.links import envelope
from psmpi.links.context import LinkContext
from psmpi.links.envelope import DATA, LEAVE, NOTE, REPORT, STATE
from psmpi.links.messages import paper_bits
from psmpi.links.notes import Notes


class UploadReceiver:
    """Receives workers' messages at the server and counts them.

    Reports of models are counted as observation, everything else as upload. A message
    of the kind ABSENT may come in place of any other that a worker owes: whoever calls
    goes on without that worker.
    """

    def __init__(self, context: LinkContext) -> None:
        self.upload_bytes = 0  # received, without reports
        self.notes = Notes(context.plan)
        self._context = context

    def saved(self) -> dict[str, Any]:
        """Return what was counted, and workers' notes, to go on from."""
        return {"bytes": self.upload_bytes, "notes": self.notes.saved()}

    def resume(self, saved: dict[str, Any]) -> None:
        """Go on from what ``saved`` gave."""
        self.upload_bytes = saved["bytes"]
        self.notes.resume(saved["notes"])

    def receive(self, worker: int) -> envelope.Unsealed:
        """Wait for the next message of one worker; take in notes before it."""
        return self.receive_whole(worker)[1]

    def receive_whole(self, worker: int) -> tuple[Frame, envelope.Unsealed]:
        """Return the next message of one worker with its envelope, and its parts."""
        while True:
            with self._context.meter.phase("wait"):
                message = self._context.transport.recv(worker + 1)
            unsealed = self.unseal(worker, message)
            if not self.notes.take(worker, unsealed):
                return message, unsealed
            self._context.transport.release()

    def receive_any(
        self, workers: Sequence[int], *, recorded: bool = True
    ) -> tuple[int, envelope.Unsealed]:
        """Wait for the next message of any of ``workers``.

        Which worker comes next is recorded in the replay log. In a replay it is the
        recorded worker, unless the choice was not recorded (``recorded`` is False).
        """
        transport, log = self._context.transport, self._context.replay_log
        while True:
            with self._context.meter.phase("wait"):
                if recorded and log.replaying:
                    worker = log.next_decision()
                    message = transport.recv(worker + 1)
                else:
                    nodes = [worker + 1 for worker in workers]
                    node, message = transport.recv_any(nodes)
                    worker = log.record(node - 1) if recorded else node - 1
            unsealed = self.unseal(worker, message)
            if not self.notes.take(worker, unsealed):
                return worker, unsealed
            transport.release()

    def unseal(self, worker: int, message: Frame) -> envelope.Unsealed:
        """Check a message, count it and return its parts."""
        codec, meter = self._context.wire.up, self._context.meter
        unsealed = envelope.unseal(message, codec.wire_id, f"worker {worker}")
        if unsealed.kind in (REPORT, NOTE, LEAVE, STATE):
            meter.wire_bytes_observed += message.size
            return unsealed
        meter.wire_bytes_up += message.size
        self.upload_bytes += message.size
        if unsealed.kind == DATA:
            dim = self._context.plan.dim
            meter.paper_bits_up += paper_bits(codec, unsealed.frame, dim)
            meter.uploads += 1
        return unsealed
