"""Measures time by phase and counts messages, without the algorithms' help."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from psmpi.base import Indices, Problem, Vector
from psmpi.links.bad_gradients import BadGradients

_COUNTERS = (
    *("uploads", "paper_bits_up", "paper_bits_down", "wire_bytes_up"),
    *("wire_bytes_down", "wire_bytes_observed", "samples", "overshoot"),
)
PHASES = ("compute", "encode", "send", "wait", "decode", "evaluate")


class Meter:
    """Seconds by phase, and messages, bytes and bits by direction, of one rank.

    The server's meter counts all messages of the star, in both directions. A worker's
    meter counts only those that it sends to its peers.
    """

    def __init__(
        self,
        now: Callable[[], float],
        exclude_from_clock: Callable[[], None] = lambda: None,
    ) -> None:
        self.now = now
        self._exclude_from_clock = exclude_from_clock
        self.seconds = dict.fromkeys(PHASES, 0.0)
        # The same in seconds of this thread's CPU time: with more ranks than cores, the
        # time on the clock includes what other ranks use.
        self.cpu_seconds = dict.fromkeys(PHASES, 0.0)
        self.uploads = 0
        self.paper_bits_up = 0
        self.paper_bits_down = 0
        self.wire_bytes_up = 0
        self.wire_bytes_down = 0
        self.wire_bytes_observed = 0  # of models reported to the server, and answers
        self.samples = 0  # processed before deadlines
        self.overshoot = 0.0  # seconds by which batches exceeded deadlines

    def saved(self) -> dict[str, Any]:
        """Return all that was measured and counted, to go on from."""
        counters = {name: getattr(self, name) for name in _COUNTERS}
        seconds = {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}
        return {**counters, **{name: dict(value) for name, value in seconds.items()}}

    def resume(self, saved: dict[str, Any]) -> None:
        """Go on from what ``saved`` gave."""
        for name in _COUNTERS:
            setattr(self, name, saved[name])
        self.seconds.update(saved["seconds"])
        self.cpu_seconds.update(saved["cpu_seconds"])

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the block to the phase ``name``."""
        start, cpu_start = self.now(), time.thread_time()
        try:
            yield
        finally:
            if name == "evaluate":
                self._exclude_from_clock()
            self.cpu_seconds[name] += time.thread_time() - cpu_start
            self.seconds[name] += self.now() - start


class MeteredProblem(Problem):
    """A worker's problem that measures the time of its gradients as compute.

    A gradient that is not finite goes to ``bad`` here, before a codec or an error
    memory gets it; without that it raises ``ConfigError``. ``slow_down`` is called with
    the number of samples of each gradient and the seconds that it took; it may wait, to
    simulate a slower worker.
    """

    def __init__(
        self,
        problem: Problem,
        meter: Meter,
        slow_down: Callable[[int, float], None] = lambda samples, seconds: None,
        bad: BadGradients | None = None,
    ) -> None:
        self._bad = BadGradients() if bad is None else bad
        self.problem = problem
        self._meter = meter
        self._slow_down = slow_down
        self.dim, self.bounds = problem.dim, problem.bounds
        self.samples = problem.samples
        self.l1, self.l2 = problem.l1, problem.l2

    def start(self, seed: int) -> Vector:
        return self.problem.start(seed)

    def loss(self, x: Vector) -> float:
        with self._meter.phase("compute"):
            return self.problem.loss(x)

    def grad(self, x: Vector, out: Vector, batch: Indices | None = None) -> float:
        with self._gradient(batch):
            loss = self.problem.grad(x, out, batch)
            # A sum of squares costs no temporary. It can also overflow by itself.
            finite = math.isfinite(np.dot(out, out))
        if not finite:
            self._bad.found(out, batch)
        return loss

    def difference(
        self, x: Vector, reference: Vector, out: Vector, batch: Indices | None = None
    ) -> Indices | None:
        with self._gradient(batch):
            support = self.problem.difference(x, reference, out, batch)
            written = out if support is None else out[support]
            finite = math.isfinite(np.dot(written, written))
        if not finite:
            self._bad.found(out, batch)
        return support

    def advance(self, x: Vector, steps: int) -> float | None:
        before = x.copy() if self._bad.action == "zero" else x
        with self._meter.phase("compute"), np.errstate(over="ignore", invalid="ignore"):
            loss = self.problem.advance(x, steps)
            finite = loss is None or math.isfinite(np.dot(x, x))
        if not finite:
            self._bad.found(x, None, "model")
            x[:] = before
        return loss

    @contextmanager
    def _gradient(self, batch: Indices | None) -> Iterator[None]:
        """Measure one gradient, and let it last as long as ``slow_down`` demands."""
        # Overflow is reported by BadGradients, in one line.
        no_warnings = np.errstate(over="ignore", invalid="ignore")
        samples = self.samples if batch is None else batch.size
        with self._meter.phase("compute"), no_warnings:
            begun = self._meter.now()
            yield
            self._slow_down(samples, self._meter.now() - begun)

    def own_part(self) -> Indices | None:
        return self.problem.own_part()

    def without_ridge(self) -> Problem:
        ridgeless = self.problem.without_ridge()
        return MeteredProblem(ridgeless, self._meter, self._slow_down, self._bad)

    def shard(self, worker: int, workers: int) -> Problem:
        return self.problem.shard(worker, workers)

    def saved(self) -> Any:
        return self.problem.saved()

    def resume(self, saved: Any) -> None:
        self.problem.resume(saved)

    def digest(self) -> str:
        return self.problem.digest()

    def batch(self, key: int, size: int) -> Indices:
        with self._meter.phase("compute"):
            return self.problem.batch(key, size)

    def accuracy(self, x: Vector) -> float | None:
        return self.problem.accuracy(x)

    def metrics(self, x: Vector) -> Mapping[str, float]:
        return self.problem.metrics(x)

    def optimum(self) -> float | None:
        return self.problem.optimum()

    def optimum_nbytes(self) -> int:
        return self.problem.optimum_nbytes()

    def smoothness(self) -> float:
        return self.problem.smoothness()
