"""Where the time goes and what is sent, booked without the algorithms' help."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from psmpi.base import ConfigError, Indices, Problem, Vector

_SHOWN = 8  # samples of a batch that an error names
PHASES = ("compute", "encode", "send", "wait", "decode", "evaluate")


class Meter:
    """Seconds by phase, and messages, bytes and bits by direction, of one rank."""

    def __init__(
        self,
        now: Callable[[], float],
        exclude_from_clock: Callable[[], None] = lambda: None,
    ) -> None:
        self.now = now
        self._exclude_from_clock = exclude_from_clock
        self.seconds = dict.fromkeys(PHASES, 0.0)
        # The same in seconds of this thread's CPU: with more ranks than cores, time on
        # the clock is also what the others take.
        self.cpu_seconds = dict.fromkeys(PHASES, 0.0)
        self.uploads = 0
        self.paper_bits_up = 0
        self.paper_bits_down = 0
        self.wire_bytes_up = 0
        self.wire_bytes_down = 0
        self.wire_bytes_observed = 0  # of models shown to the server, and its answers
        self.samples = 0  # done before deadlines
        self.overshoot = 0.0  # seconds past deadlines

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Book the time of the block under ``name``."""
        start, cpu_start = self.now(), time.thread_time()
        try:
            yield
        finally:
            if name == "evaluate":
                self._exclude_from_clock()
            self.cpu_seconds[name] += time.thread_time() - cpu_start
            self.seconds[name] += self.now() - start


class MeteredProblem(Problem):
    """A worker's problem with the time of its gradients booked as compute.

    A gradient that is not finite ends the run here, before a codec or a memory sees it.
    ``hold`` is told of how many samples it was, and the seconds that it took, and lets
    it take longer.
    """

    def __init__(
        self,
        problem: Problem,
        meter: Meter,
        hold: Callable[[int, float], None] = lambda samples, taken: None,
    ) -> None:
        self.problem = problem
        self._meter = meter
        self._hold = hold
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
            # A sum of squares costs no temporary; it can also overflow by itself.
            if not math.isfinite(np.dot(out, out)):
                _refuse(out, batch)
        return loss

    def difference(
        self, x: Vector, reference: Vector, out: Vector, batch: Indices | None = None
    ) -> Indices | None:
        with self._gradient(batch):
            support = self.problem.difference(x, reference, out, batch)
            written = out if support is None else out[support]
            if not math.isfinite(np.dot(written, written)):
                _refuse(out, batch)
        return support

    @contextmanager
    def _gradient(self, batch: Indices | None) -> Iterator[None]:
        """Book what a gradient takes, and have it take as long as it should."""
        # What overflows is not finite, and is told in one line.
        quiet = np.errstate(over="ignore", invalid="ignore")
        samples = self.samples if batch is None else batch.size
        with self._meter.phase("compute"), quiet:
            begun = self._meter.now()
            yield
            self._hold(samples, self._meter.now() - begun)

    def own_part(self) -> Indices | None:
        return self.problem.own_part()

    def without_ridge(self) -> Problem:
        return MeteredProblem(self.problem.without_ridge(), self._meter, self._hold)

    def shard(self, worker: int, workers: int) -> Problem:
        return self.problem.shard(worker, workers)

    def digest(self) -> str:
        return self.problem.digest()

    def batch(self, key: int, size: int) -> Indices:
        with self._meter.phase("compute"):
            return self.problem.batch(key, size)

    def smoothness(self) -> float:
        return self.problem.smoothness()


def _refuse(gradient: Vector, batch: Indices | None) -> None:
    """Raise ``ConfigError`` for an entry that is not finite, if there is one."""
    bad = np.flatnonzero(~np.isfinite(gradient))
    if not bad.size:
        return
    samples = "all samples"
    if batch is not None:
        some = ", ".join(map(str, batch[:_SHOWN].tolist()))
        more = f", ... ({batch.size} in all)" if batch.size > _SHOWN else ""
        samples = f"the batch of samples {some}{more}"
    i = int(bad[0])
    raise ConfigError(
        f"the gradient's entry {i} is {gradient[i]} over {samples} of the shard "
        f"({bad.size} of {gradient.size} entries are not finite)"
    )
