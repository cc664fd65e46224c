"""Reports of workers that have models of their own, and the server's answers.

Where a wire has peers, every worker periodically sends the server its counters and its
model (REPORT), and its final counters when it leaves. In synchronous algorithms the
worker then waits for the server's answer (ANSWER), which resets all workers' clocks to
the slowest one's, so that the evaluation takes no time on them.

Reports are observation, not part of an algorithm: their bytes are counted apart, and on
a simulated network they take no time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np

from psmpi.base import Frame, Vector
from psmpi.links import envelope
from psmpi.links.checkpoints import WorkerCheckpoints
from psmpi.links.context import LinkContext
from psmpi.links.envelope import ANSWER, BYE, REPORT, STOP
from psmpi.links.messages import is_due, pack_numbers, require, stopped

ANSWER_NBYTES = 2 * 8


@dataclass
class WorkerReport:
    """A worker's counters, which precede its model in a report."""

    seconds: float = 0.0  # on its clock, without the time of evaluations
    steps: float = 0.0  # rounds done
    uploads: float = 0.0  # frames sent to peers,
    paper_bits: float = 0.0  # their paper bits
    wire_bytes: float = 0.0  # and their bytes

    @classmethod
    def nbytes(cls) -> int:
        """Return the bytes of the counters."""
        return 8 * len(fields(cls))

    @classmethod
    def read(cls, frame: Frame) -> WorkerReport:
        """Return the counters at the start of ``frame``."""
        return cls(*frame[: cls.nbytes()].view(np.float64).tolist())

    def message(self, round_: int, kind: int, x: Vector | None) -> Frame:
        """Return a message of the counters, followed by the model if there is one."""
        tail = None if x is None else x.view(np.uint8)
        return pack_numbers(astuple(self), round_, kind, tail)


class ReportSender:
    """The worker's side: sends reports and receives the server's answers."""

    def __init__(
        self,
        context: LinkContext,
        checkpoints: WorkerCheckpoints,
        send_notes: Callable[[], None],
    ) -> None:
        self._context = context
        self._send_notes = send_notes
        self._checkpoints = checkpoints
        self._start = context.transport.now()  # when this worker's clock began

    def saved(self) -> list[float]:
        """Return when this worker's clock began, and how long ago, to go on from."""
        return [self._start, self._context.transport.now() - self._start]

    def resume(self, saved: list[float]) -> None:
        """Go on from what ``saved`` gave."""
        start, elapsed = saved
        transport = self._context.transport
        self._start = start if transport.virtual else transport.now() - elapsed

    def begin_round(self, state: Any) -> None:
        """Report ``state.x`` if a report is due in round ``state.round``.

        Raises ``Stopped`` when the server has ended the run.
        """
        context, every = self._context, self._context.plan.evaluate_every
        if context.wire.free:
            self._check_for_stop()
            if state.round % every:
                return
        elif not is_due(every, state.round, context.plan.rounds):
            return
        context.transport.release()
        self._send_notes()
        counters = self._counters(state.round)
        self._send(counters.message(context.round, REPORT, state.x))
        if not context.wire.free:
            seconds, _ = self._receive_answer()
            self._start = context.transport.now() - seconds

    def agree(self, number: float) -> tuple[float, float]:
        """Send a number; return the two numbers of the server's answer."""
        self._context.transport.release()
        self._send(pack_numbers([number], self._context.round, REPORT))
        return self._receive_answer()

    def farewell(self, rounds_done: int) -> Frame:
        """Return the BYE message with this worker's final counters."""
        return self._counters(rounds_done).message(self._context.round, BYE, None)

    def _counters(self, steps: int) -> WorkerReport:
        meter = self._context.meter
        return WorkerReport(
            seconds=self._context.transport.now() - self._start,
            steps=steps,
            uploads=meter.uploads,
            paper_bits=meter.paper_bits_up,
            wire_bytes=meter.wire_bytes_up,
        )

    def _send(self, message: Frame) -> None:
        self._context.transport.send(0, message, free=True)
        self._context.meter.wire_bytes_observed += message.size

    def _check_for_stop(self) -> None:
        """Raise ``Stopped`` if the server's STOP has arrived; don't wait for it."""
        transport, log = self._context.transport, self._context.replay_log
        transport.release()
        if log.replaying:
            message = transport.recv(0) if log.exhausted else None
        else:
            message = transport.poll(0)
        if message is not None:
            unsealed = self._unseal(message)
            if unsealed.kind == STOP:
                raise stopped(unsealed)

    def _receive_answer(self) -> tuple[float, float]:
        while True:
            self._context.transport.release()
            unsealed = self._unseal(self._context.transport.recv(0))
            if not self._checkpoints.take(unsealed):
                break
        if unsealed.kind == STOP:
            raise stopped(unsealed)
        frame = require(unsealed, ANSWER, "the server", "an answer")
        first, second = frame.view(np.float64).tolist()
        return first, second

    def _unseal(self, message: Frame) -> envelope.Unsealed:
        return envelope.unseal(message, self._context.wire.down.wire_id, "the server")


def send_answer(context: LinkContext, first: float, second: float) -> None:
    """Send two numbers to all workers, which are waiting for them."""
    message = pack_numbers([first, second], context.round, ANSWER)
    for worker in range(context.plan.workers):
        context.transport.send(worker + 1, message, free=True)
        context.meter.wire_bytes_observed += message.size
