"""Deadlines on a worker's clock, and the agreement of all ranks on a number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from psmpi.base import LinkError, ServerClock, WorkerClock
from psmpi.links.compute_speed import ComputeSpeed
from psmpi.links.context import LinkContext
from psmpi.links.envelope import ABSENT, REPORT
from psmpi.links.messages import require
from psmpi.links.reports import ReportSender, send_answer
from psmpi.links.uploads import UploadReceiver

_TOLERANCE = 1 + 1e-9  # n (t / n) may exceed t in floating point


class DeadlineClock(WorkerClock):
    """A worker's clock; it learns how long a sample takes from the batches it yields.

    The batches' sizes are recorded, since they depend on measured time.
    """

    def __init__(
        self, context: LinkContext, compute_speed: ComputeSpeed, reports: ReportSender
    ) -> None:
        self._context = context
        self._compute_speed = compute_speed
        self._reports = reports
        self._quickest = 0.0  # seconds of the quickest sample so far; 0: unknown

    def saved(self) -> float:
        """Return the seconds of the quickest sample so far, to go on from."""
        return self._quickest

    def resume(self, saved: float) -> None:
        """Go on from what ``saved`` gave."""
        self._quickest = saved

    def now(self) -> float:
        return self._context.transport.now()

    def agree(self, number: float) -> tuple[float, float]:
        return self._reports.agree(number)

    def until(self, deadline: float, samples: int, batch: int) -> Iterator[int]:
        if self._context.replay_log.replaying:
            return self._recorded_batches()
        return self._batches(self.now() + deadline, deadline, samples, batch)

    def slow_down(self, samples: int, seconds: float) -> None:
        """Let a gradient of ``samples`` last as long as this worker's speed demands.

        ``seconds`` is what its computation took. Does nothing in a replay.
        """
        if self._context.replay_log.replaying:
            return
        remaining = self._compute_speed.remaining(samples, seconds)
        if remaining:
            begun = self.now()
            self._context.transport.spend(remaining)
            self._compute_speed.add_delay(self.now() - begun - remaining)

    def _recorded_batches(self) -> Iterator[int]:
        while size := self._context.replay_log.next_decision():
            self._context.meter.samples += size
            yield size

    def _batches(
        self, end: float, deadline: float, samples: int, batch: int
    ) -> Iterator[int]:
        """Yield batches until the clock reads ``end``, in ``deadline`` seconds."""
        context, done = self._context, 0
        possible = None  # samples in the time, where the speed is simulated
        if context.transport.virtual:
            possible = self._compute_speed.samples_within(deadline)
        if possible is not None:
            batch, samples = max(possible, 1), min(samples, possible)
        while (left := end - self.now()) > 0 and done < samples:
            size = min(batch, samples - done)
            if self._quickest and possible is None:
                size = min(size, int(left / self._quickest * _TOLERANCE))
            if not size:
                if not done:  # the estimate may be from a hiccup: try again soon
                    self._quickest /= 2
                break
            yield context.replay_log.record(size)
            done += size
            self._learn((left - (end - self.now())) / size)
        context.replay_log.record(0)
        left = end - self.now()
        with context.meter.phase("wait"):
            context.transport.spend(max(left, 0.0))
        context.meter.samples += done
        context.meter.overshoot += max(-left, 0.0)

    def _learn(self, seconds: float) -> None:
        """Take in how long one sample took; the minimum excludes hiccups."""
        self._quickest = min(seconds, self._quickest or seconds)


class AgreementServer(ServerClock):
    """The server's side of ``WorkerClock.agree``."""

    def __init__(self, context: LinkContext, uploads: UploadReceiver) -> None:
        self._context = context
        self._uploads = uploads

    def agree(self) -> tuple[float, float]:
        numbers = []
        for worker in range(self._context.plan.workers):
            self._context.transport.release()
            message = self._uploads.receive(worker)
            if message.kind == ABSENT:
                continue
            frame = require(message, REPORT, f"worker {worker}", "a number")
            numbers.append(float(frame.view(np.float64)[0]))
        if not numbers:
            raise LinkError("agree: no worker is present that could give a number")
        mean, maximum = float(np.mean(numbers)), max(numbers)
        send_answer(self._context, mean, maximum)
        return mean, maximum
