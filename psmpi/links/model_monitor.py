"""What the server sees of workers that have models of their own: means, and spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from psmpi.base import Frame, Plan, Vector
from psmpi.links.protocol import WorkerReport


class ModelMonitor:
    """The workers' last reports, and statistics over their models.

    ``free``: workers report when they like, so their models have to be kept; else one
    after the other is taken into the mean.
    """

    def __init__(self, plan: Plan, free: bool) -> None:
        self.seconds = 0.0  # on the clock of the worker that is latest
        self._dtype = plan.dtype
        self._told = [WorkerReport() for _ in range(plan.workers)]
        kept = (plan.workers, plan.dim) if free else (0, 0)
        self._models: NDArray[np.floating] = np.zeros(kept, plan.dtype)
        self._known: set[int] = set()
        self._mean = np.zeros(plan.dim)
        self._last: NDArray[np.float64] | None = None
        self._squares, self._count = 0.0, 0
        self._consensus, self._drift = 0.0, 0.0

    def take(self, worker: int, frame: Frame) -> None:
        """Take in a worker's report."""
        self._told[worker] = WorkerReport.read(frame)
        self.seconds = max(self.seconds, self._told[worker].seconds)
        x = frame[WorkerReport.nbytes() :].view(self._dtype)
        if self._models.size:
            self._models[worker] = x
            self._known.add(worker)
        else:
            self._add(x)

    def farewell(self, worker: int, frame: Frame) -> None:
        """Take in what a worker counted in all."""
        self._told[worker] = WorkerReport.read(frame)

    def reached(self, round_: int) -> bool:
        """Return whether workers have done so many rounds on average, by last report.

        Round 0 is reached when everybody has reported once.
        """
        if len(self._known) < len(self._told):
            return False
        return sum(told.steps for told in self._told) >= round_ * len(self._told)

    def mean(self, x: Vector) -> None:
        """Set ``x`` to the mean of the models; begin anew with the next report."""
        for model in self._models:
            self._add(model)
        x[:] = self._mean
        self._consensus = self._squares / self._count
        moved = self._mean if self._last is None else self._mean - self._last
        self._drift = 0.0 if self._last is None else float(np.linalg.norm(moved))
        self._last = self._mean
        self._mean, self._squares, self._count = np.zeros_like(self._mean), 0.0, 0

    def facts(self) -> dict[str, float]:
        """Return what a row has of it.

        ``seconds`` on the slowest worker's clock, ``consensus`` (1/n) sum_i ||x_i -
        mean||^2, ``drift`` how far the mean has moved since the row before.
        """
        return {
            "seconds": self.seconds,
            "consensus": self._consensus,
            "drift": self._drift,
        }

    def total(self) -> WorkerReport:
        """Return what workers have counted, added up."""
        return WorkerReport(
            uploads=sum(told.uploads for told in self._told),
            paper_bits=sum(told.paper_bits for told in self._told),
            wire_bytes=sum(told.wire_bytes for told in self._told),
        )

    def _add(self, x: Vector) -> None:
        # Welford's recurrence: no sum of squares that a difference would be left of.
        self._count += 1
        change = x - self._mean
        self._mean += change / self._count
        share = (self._count - 1) / self._count
        self._squares += share * float(np.dot(change, change))
