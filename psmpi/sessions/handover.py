"""The inversion of control: a role runs up to its next gradient, and hands over.

An algorithm's worker calls ``problem.grad``. Here that call switches to the caller's
loop, and the caller's ``step`` switches back. Both run on one thread, as two stacks
(greenlets): a switch takes less than a microsecond, MPI sees one thread, and an
exception of the role is raised in the caller's ``step``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import greenlet
import numpy as np

from psmpi.base import ConfigError, Indices, Problem, Vector
from psmpi.links.notes import LoopEnded

_UNKNOWN = 2**31 - 1  # samples of a loop that has not said how many it has


class CallersLoop(Problem):
    """The problem of a caller's own loop, as far as psmpi knows it.

    ``x`` is the start, shape (dim,), ``bounds`` and ``names`` those of its tensors, and
    ``samples`` their number over all workers, 0 if unknown. Losses and gradients are
    the caller's, and are not computed here.
    """

    def __init__(
        self,
        x: Vector,
        bounds: Sequence[int],
        names: Sequence[str],
        samples: int,
        digest: str,
    ) -> None:
        self.x = x
        self.dim = x.size
        self.bounds = tuple(bounds)
        self.names = tuple(names)
        self.samples = samples
        self._digest = digest

    def start(self, seed: int) -> Vector:
        return self.x.copy()

    def loss(self, x: Vector) -> float:
        raise NotImplementedError("the caller's loop computes its losses itself")

    def grad(self, x: Vector, out: Vector, batch: Indices | None = None) -> float:
        raise NotImplementedError("the caller's loop computes its gradients itself")

    def accuracy(self, x: Vector) -> float | None:
        return math.nan  # the caller may report it

    def shard(self, worker: int, workers: int) -> Problem:
        part = copy.copy(self)
        part.samples = self.samples or _UNKNOWN
        return part

    def digest(self) -> str:
        return self._digest


@dataclass(frozen=True)
class Request:
    """What a role waits for: a gradient at ``x``, to be written to ``out``.

    ``batch`` holds the samples that the algorithm drew, None for all of them. Without
    ``out`` it waits for ``x`` itself to be moved by ``steps`` steps of the caller's own
    optimizer.
    """

    x: Vector
    out: Vector | None
    batch: Indices | None = None
    steps: int = 0


class Handover(CallersLoop):
    """One worker's share of a caller's loop: every gradient is asked of the caller.

    ``start`` gives the caller's own vector away, so that the role's model is that
    vector and nothing is copied.
    """

    def __init__(self, loop: CallersLoop, samples: int) -> None:
        super().__init__(loop.x, loop.bounds, loop.names, samples, loop.digest())
        self._caller = greenlet.getcurrent()
        self._role: greenlet.greenlet | None = None

    def start(self, seed: int) -> Vector:
        return self.x

    def begin(self, role: Callable[[], Any]) -> Any:
        """Run ``role`` up to its first request, and return that, or its result."""
        self._caller = greenlet.getcurrent()
        self._role = greenlet.greenlet(role)
        return self._role.switch()

    def answer(self, loss: float | None) -> Any:
        """Let the role run on with its request met, up to the next one."""
        assert self._role is not None
        self._caller = greenlet.getcurrent()
        return self._role.switch(loss)

    def end(self) -> Any:
        """Raise ``LoopEnded`` where the role waits; return the role's result."""
        assert self._role is not None
        self._caller = greenlet.getcurrent()
        return self._role.throw(LoopEnded)

    def grad(self, x: Vector, out: Vector, batch: Indices | None = None) -> float:
        loss = self._caller.switch(Request(x, out, batch))
        return math.nan if loss is None else float(loss)

    def advance(self, x: Vector, steps: int) -> float | None:
        loss: float | None = self._caller.switch(Request(x, None, steps=steps))
        return loss

    def batch(self, key: int, size: int) -> Indices:
        if not self.samples:  # the caller has a loader of its own
            return np.empty(0, np.int64)
        if size > self.samples:
            raise ConfigError(
                f"batch: {size} is more than the {self.samples} samples of this worker"
            )
        return super().batch(key, size)
