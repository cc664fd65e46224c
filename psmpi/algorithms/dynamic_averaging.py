"""Dynamic averaging: workers train alone while their models stay near a reference.

Kamp, Adilova, Sicking, Hueger, Schlicht, Wirtz, Wrobel, "Efficient Decentralized Deep
Learning by Dynamic Model Averaging", ECML PKDD 2018.

::

    worker m:  H local steps  w_m <- w_m - alpha grad f_m(w_m)
               violation if  ||w_m - r||^2 > Delta:  send w_m
    server:    B = workers in violation; while ||avg(B) - r||^2 > Delta, ask one more
               send avg(B) to all of B;   if B is everybody, also r <- avg(B)

Every round closes with a message to each worker. An empty frame says to keep the own
model; a model replaces it; None before a model says that it is the new reference, too.
A worker that has not sent its model in this round is asked for it by None.

A worker that is absent has undone its local steps, and is not asked. Everybody means
all that are present; the new reference that they agree on is an absent worker's model
and reference, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import (
    ConfigError,
    Frame,
    Iterate,
    Plan,
    Problem,
    ServerStar,
    Vector,
    WorkerStar,
)
from psmpi.kernels.reduce import distance_squares
from psmpi.kernels.vector import add_scaled
from psmpi.parts.absence import LocalSteps
from psmpi.parts.memory import expected
from psmpi.parts.options import Addressed
from psmpi.parts.presets import preset

_KEEP: Frame = np.empty(0, np.uint8)


@dataclass
class AveragingWorkerState:
    """A worker between rounds: its own model, the shared reference r."""

    x: Vector
    reference: Vector
    gradient: Vector
    round: int = 0


@dataclass
class AveragingServerState:
    """The server between rounds.

    ``x``, which is evaluated, is the mean of the last models that it knows of workers;
    ``balanced`` holds the workers that its last average goes to.
    """

    x: Vector
    reference: Vector
    average: Vector
    models: list[Vector]
    balanced: list[int]
    round: int = 0


@preset(reduce="sum")
class DynamicAveraging(Addressed):
    """Dynamic averaging: local steps, models averaged only when they have drifted.

    Parameters
    ----------
    local_steps:
        H, steps that a worker takes alone in a round.
    delta:
        Squared distance from the reference that violates its condition.
    """

    id: ClassVar[str] = "dynamic-averaging"
    can_leave_out = True
    lr: float = 0.1
    local_steps: int = 10
    delta: float = 0.1
    batch: int | None = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.local_steps < 1:
            raise ConfigError(
                f"local-steps: must be at least 1, got {self.local_steps}"
            )
        if not self.delta >= 0:
            raise ConfigError(f"delta: must not be negative, got {self.delta}")

    def steps_a_round(self) -> int:
        return self.local_steps

    def worker_state(
        self, link: WorkerStar, problem: Problem, plan: Plan
    ) -> AveragingWorkerState:
        x = problem.start(plan.seed)
        return AveragingWorkerState(x, x.copy(), np.zeros_like(x))

    def server_state(
        self, link: ServerStar, problem: Problem, plan: Plan
    ) -> AveragingServerState:
        x = problem.start(plan.seed)
        models = [x.copy() for _ in range(plan.workers)]
        return AveragingServerState(x, x.copy(), np.zeros_like(x), models, [])

    def worker(
        self,
        link: WorkerStar,
        problem: Problem,
        plan: Plan,
        state: AveragingWorkerState,
    ) -> None:
        s, alpha = state, self.alpha(plan)
        for k in link.rounds(s):
            steps = LocalSteps(plan, x=s.x)
            for h in range(self.local_steps):
                step = k * self.local_steps + h
                with steps:
                    # w_m <- w_m - alpha grad f_m(w_m)
                    batch = self.draw(problem, plan, link.worker, step)
                    problem.grad(s.x, s.gradient, batch)
                    add_scaled(s.x, s.gradient, -alpha(step))
            if not steps.good:
                steps.undo()
                link.absent()
                self._close_round(link, s, sent=True)
                continue
            # violation:  ||w_m - r||^2 > Delta
            violated = float(distance_squares(s.x, s.reference)) > self.delta
            link.push(link.up.encode(s.x) if violated else None)
            self._close_round(link, s, violated)

    def _close_round(
        self, link: WorkerStar, s: AveragingWorkerState, sent: bool
    ) -> None:
        frame = link.pull()
        if frame is None and not sent:
            link.push(link.up.encode(s.x))
            frame = link.pull()
        new_reference = frame is None
        if new_reference:
            frame = link.pull()
        if frame is not None and frame.size:
            link.down.decode(frame, s.x.size, s.x)
        if new_reference:
            s.reference[:] = s.x

    def server(
        self, link: ServerStar, plan: Plan, state: AveragingServerState
    ) -> Iterator[Iterate]:
        s = state
        for k in link.rounds(s):
            yield Iterate(k, s.x)
            s.balanced = []
            for frame in link.gather():
                if frame is not None:
                    self._take(link, s, link.present[-1], frame)
            present = set(link.present)
            for m in sorted(present.difference(s.balanced)):
                # while ||avg(B) - r||^2 > Delta, ask one more
                if not self._unbalanced(s):
                    break
                link.send(m, None)
                for frame in link.gather([m]):
                    self._take(link, s, m, frame)
                if not link.present:
                    present.remove(m)
            self._balance(s, everybody=present == set(s.balanced))
            self._send_average(link, s)

    def _send_average(self, link: ServerStar, s: AveragingServerState) -> None:
        everybody = len(s.balanced) == len(s.models)
        for m in range(len(s.models)):
            if m not in s.balanced:
                link.send(m, _KEEP)
                continue
            if everybody:
                link.send(m, None)
            link.send(m, link.down.encode(s.models[m]))

    def _take(
        self, link: ServerStar, s: AveragingServerState, m: int, frame: Frame | None
    ) -> None:
        link.up.decode(expected(frame), s.x.size, s.models[m])
        s.balanced.append(m)

    def _unbalanced(self, s: AveragingServerState) -> bool:
        if not s.balanced:
            return False
        return float(distance_squares(self._mean(s), s.reference)) > self.delta

    def _mean(self, s: AveragingServerState) -> Vector:
        _set_mean([s.models[m] for m in s.balanced], s.average)
        return s.average

    def _balance(self, s: AveragingServerState, everybody: bool) -> None:
        if s.balanced:
            self._mean(s)
            if everybody:  # who is absent takes it as well
                s.balanced = list(range(len(s.models)))
                s.reference[:] = s.average
            for m in s.balanced:
                s.models[m][:] = s.average
        _set_mean(s.models, s.x)


def _set_mean(models: Sequence[Vector], out: Vector) -> None:
    """Set ``out`` to the mean of models, with the bits of ``np.mean``.

    NumPy would copy all of them into one matrix first.
    """
    out[:] = models[0]
    for model in models[1:]:
        out += model
    out /= len(models)
