"""QuanTimed-DSGD, and Q-DSGD, which it is without the deadline.

Reisizadeh, Taheri, Mokhtari, Hassani, Pedarsani, "Robust and Communication-Efficient
Collaborative Learning", NeurIPS 2019. The update is that of ``algorithms.gossip``; here
is which samples S_i a gradient is taken over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from psmpi import random
from psmpi.algorithms.gossip import Gossip, GossipServerState, GossipWorkerState
from psmpi.base import (
    ConfigError,
    Iterate,
    Plan,
    Problem,
    PsmpiError,
    ServerLink,
    Wire,
    WorkerLink,
)
from psmpi.kernels.vector import add_scaled

_TRIALS = 3  # gradients by which a worker finds out how fast it is


@dataclass(frozen=True, kw_only=True)
class QDsgd(Gossip):
    """Q-DSGD: quantised models, batches of one size: waits for the slowest.

    The authors' scripts have --rule nonconvex --lr 0.3 --mixing 15, which is stable in
    runs of at least 225 rounds.
    """

    id: ClassVar[str] = "q-dsgd"
    lr: float = 0.2
    mixing: float = 0.5
    default_codec: ClassVar[str] = "decimal"


@dataclass(frozen=True, kw_only=True)
class QuanTimedDsgd(QDsgd):
    """QuanTimed-DSGD: quantised models, gradients over what is done by a deadline.

    Parameters
    ----------
    deadline:
        T_d, seconds a round; absent: b / E[V], with b of --batch and the mean speed V
        of the workers (--speeds, or measured at the start).
    micro_batch:
        Samples between two looks at the clock.
    """

    id: ClassVar[str] = "quantimed-dsgd"
    can_leave_out = False  # what it does until the deadline is recorded for replay
    driven_by = "nothing"  # it takes as many samples as the time allows
    instead = "q-dsgd"
    deadline: float | None = None
    micro_batch: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.deadline is not None and not 0 < self.deadline < math.inf:
            raise ConfigError(
                f"deadline: must be a positive number of seconds, got {self.deadline}"
            )
        if self.micro_batch < 1:
            raise ConfigError(
                f"micro-batch: must be at least 1, got {self.micro_batch}"
            )

    def timed(self) -> bool:
        return True

    def wire(self, plan: Plan) -> Wire:
        if plan.top_speed is not None:
            self._require_samples(self._given(plan.mean_speed or 0.0), plan.top_speed)
        return super().wire(plan)

    def _given(self, mean: float) -> float:
        """Return T_d = b / E[V], or what was asked for."""
        return self.batch / mean if self.deadline is None else self.deadline

    def _require_samples(self, deadline: float, top: float) -> None:
        if deadline * top < 1 - 1e-9:
            raise ConfigError(
                f"deadline: {deadline:g} s is shorter than one sample takes on every "
                f"worker ({1 / top:.3g} s on the fastest); give more"
            )

    def worker(
        self, link: WorkerLink, problem: Problem, plan: Plan, state: GossipWorkerState
    ) -> None:
        if not state.deadline:  # else the run goes on with the one it had
            mean, _ = self._speeds(link, problem, plan, state)
            state.deadline = self._given(mean)
        super().worker(link, problem, plan, state)

    def _speeds(
        self, link: WorkerLink, problem: Problem, plan: Plan, s: GossipWorkerState
    ) -> tuple[float, float]:
        """Return E[V] and the largest V, as set or as all workers measure them."""
        if plan.mean_speed is not None and plan.top_speed is not None:
            return plan.mean_speed, plan.top_speed
        size = min(self.micro_batch, problem.samples)
        fastest = math.inf
        for trial in range(_TRIALS):
            key = random.key(plan.seed, "trial", link.worker, trial)
            begun = link.clock.now()
            problem.grad(s.x, s.gradient, problem.batch(key, size))
            fastest = min(fastest, link.clock.now() - begun)
        return link.clock.agree(size / max(fastest, 1e-9))

    def take_gradient(
        self, link: WorkerLink, problem: Problem, plan: Plan, s: GossipWorkerState
    ) -> None:
        """Set g_i to the gradient over what is done by the deadline, or to 0."""
        key = random.key(plan.seed, "batch", link.worker, s.round)
        order = problem.batch(key, problem.samples)
        s.gradient[:] = 0
        done = 0
        for size in link.clock.until(s.deadline, order.size, self.micro_batch):
            problem.grad(s.x, s.part, order[done : done + size])
            # g_i = (1 / |S_i|) sum over S_i: a running mean
            done += size
            s.gradient *= 1 - size / done
            add_scaled(s.gradient, s.part, size / done)

    def server(
        self, link: ServerLink, plan: Plan, state: GossipServerState
    ) -> Iterator[Iterate]:
        if plan.mean_speed is None and state.deadline is None:
            mean, top = link.clock.agree()
            state.deadline = self._given(mean)
            try:
                self._require_samples(self._given(mean), top)
            except ConfigError as error:  # too late to call it a wrong command
                raise PsmpiError(str(error)) from None
        yield from super().server(link, plan, state)
