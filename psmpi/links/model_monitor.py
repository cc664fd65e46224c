"""Statistics over the models of workers that each have their own: mean and spread."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psmpi.base import Frame, Plan, Vector
from psmpi.links.reports import WorkerReport


class ModelMonitor:
    """The workers' last reports, and statistics over their models.

    With ``free``, workers report independently of each other, so that the last model of
    each is kept. Otherwise each report is added to the mean and not kept.
    """

    def __init__(self, plan: Plan, free: bool) -> None:
        self.seconds = 0.0  # on the slowest worker's clock
        self._dtype = plan.dtype
        self._reports = [WorkerReport() for _ in range(plan.workers)]
        shape = (plan.workers, plan.dim) if free else (0, 0)
        self._models: NDArray[np.floating] = np.zeros(shape, plan.dtype)
        self._reported: set[int] = set()
        self._mean = np.zeros(plan.dim)
        self._last_mean: NDArray[np.float64] | None = None
        self._squares, self._count = 0.0, 0
        self._consensus, self._drift = 0.0, 0.0

    def take(self, worker: int, frame: Frame) -> None:
        """Take in a worker's report: its counters and its model."""
        self._reports[worker] = WorkerReport.read(frame)
        self.seconds = max(self.seconds, self._reports[worker].seconds)
        x = frame[WorkerReport.nbytes() :].view(self._dtype)
        if self._models.size:
            self._models[worker] = x
            self._reported.add(worker)
        else:
            self._add(x)

    def farewell(self, worker: int, frame: Frame) -> None:
        """Take in a worker's final counters."""
        self._reports[worker] = WorkerReport.read(frame)

    def reached(self, round_: int) -> bool:
        """Return whether workers have done ``round_`` rounds on average.

        Round 0 is reached when every worker has reported once.
        """
        if len(self._reported) < len(self._reports):
            return False
        steps = sum(report.steps for report in self._reports)
        return steps >= round_ * len(self._reports)

    def mean(self, x: Vector) -> None:
        """Set ``x`` to the mean of the models; the next report begins a new mean.

        Without any model everything stays as it is.
        """
        for model in self._models:
            self._add(model)
        if not self._count:
            return
        x[:] = self._mean
        self._consensus = self._squares / self._count
        moved = self._mean if self._last_mean is None else self._mean - self._last_mean
        self._drift = 0.0 if self._last_mean is None else float(np.linalg.norm(moved))
        self._last_mean = self._mean
        self._mean, self._squares, self._count = np.zeros_like(self._mean), 0.0, 0

    def statistics(self) -> dict[str, float]:
        """Return this evaluation's columns of a row.

        ``seconds`` on the slowest worker's clock, ``consensus`` (1/n) sum_i ||x_i -
        mean||^2, ``drift`` the norm of the mean's change since the last evaluation.
        """
        return {
            "seconds": self.seconds,
            "consensus": self._consensus,
            "drift": self._drift,
        }

    def total(self) -> WorkerReport:
        """Return the workers' counters of messages, summed over workers."""
        return WorkerReport(
            uploads=sum(report.uploads for report in self._reports),
            paper_bits=sum(report.paper_bits for report in self._reports),
            wire_bytes=sum(report.wire_bytes for report in self._reports),
        )

    def saved(self) -> dict[str, Any]:
        """Return the last reports' counters and statistics, to go on from."""
        return {
            "seconds": self.seconds,
            "reports": [astuple(report) for report in self._reports],
            "last_mean": self._last_mean,
            "consensus": self._consensus,
            "drift": self._drift,
        }

    def resume(self, saved: dict[str, Any]) -> None:
        """Go on from what ``saved`` gave."""
        self.seconds = saved["seconds"]
        self._reports = [WorkerReport(*report) for report in saved["reports"]]
        self._last_mean = saved["last_mean"]
        self._consensus, self._drift = saved["consensus"], saved["drift"]

    def _add(self, x: Vector) -> None:
        # Welford's recurrence: no cancellation between large sums of squares.
        self._count += 1
        change = x - self._mean
        self._mean += change / self._count
        share = (self._count - 1) / self._count
        self._squares += share * float(np.dot(change, change))
