"""Local updates: any inner optimizer, compressed net progress, an outer step.

Qsparse-local-SGD (Basu, Data, Karakus, Diggavi, NeurIPS 2019, see ``qsparse``) with a
free inner optimizer, and what has become of it: DiLoCo (Douillard et al. 2023, arXiv
2311.08105) and SparseLoCo (Sarfi et al. 2025, arXiv 2508.15706).

::

    worker r:   theta_r = H steps of the inner optimizer from theta
                Delta_r = theta - theta_r
                e <- beta e + Delta_r;   s_r = C(e);   e <- e - s_r;   send s_r
                receive theta
    server:     g = agg(s_r);   m <- mu m + g;   theta <- theta - alpha (g + mu m)

Delta_r is a descent direction, so the server subtracts. agg is the mean over the R
workers, or over the workers that sent an entry. A codec that loses nothing needs no
memory: there s_r = Delta_r.

agg is over the workers that are present. An absent worker's local steps are undone: e
and its inner optimizer are what they were before the round, and it receives theta.

The inner optimizer is the problem's own (``Problem.advance``: a caller's loop), or one
of ``parts.inner``. Its state stays with the worker. Errors are in units of the model,
as in Qsparse-local-SGD, and are not rescaled when a step size changes.

With beta = alpha = 1 and mu = 0, theta - (1/R) sum_r e_r moves by exactly -(1/R) sum_r
Delta_r in a round, whatever C is. With SGD inside, that is Qsparse-local-SGD; with H =
1 and no compression it is SGD.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi import random
from psmpi.algorithms.local_updates_options import UpdateOptions
from psmpi.base import Iterate, LeftOut, Plan, Problem, ServerStar, Vector, WorkerStar
from psmpi.parts.absence import LocalSteps, leaves_out, taking_part
from psmpi.parts.aggregation import Aggregate
from psmpi.parts.downlink import DownlinkReceiver, DownlinkSender
from psmpi.parts.inner import Inner
from psmpi.parts.memory import Direct, ErrorFeedback, Memory
from psmpi.parts.momentum import Nesterov
from psmpi.parts.options import FixedCodec
from psmpi.parts.presets import preset


@dataclass(kw_only=True)
class UpdatesWorkerState:
    """A worker between rounds: the model, its inner optimizer, what it owes."""

    x: Vector  # theta_r, which the inner optimizer moves; theta between rounds
    theta: Vector
    delta: Vector  # Delta_r; before that, the gradients of the local steps
    inner: Inner
    up: Memory
    down: DownlinkReceiver
    round: int = 0


@dataclass(kw_only=True)
class UpdatesServerState:
    """The server between rounds: theta, g, the outer momentum m."""

    x: Vector
    g: Vector
    momentum: Nesterov
    aggregate: Aggregate
    down: DownlinkSender
    round: int = 0


@dataclass(frozen=True, kw_only=True)
class LocalUpdates(UpdateOptions):
    """H steps of any optimizer, then the compressed net progress, and an outer step."""

    id: ClassVar[str] = "local-updates"
    can_leave_out = True

    def replicas(
        self, state: UpdatesWorkerState | UpdatesServerState
    ) -> Sequence[Sequence[Vector]]:
        if isinstance(state, UpdatesServerState):
            return ((state.x,),)
        return ((state.x, state.theta),)

    def worker_state(
        self, link: WorkerStar, problem: Problem, plan: Plan
    ) -> UpdatesWorkerState:
        x = problem.start(plan.seed)
        exact = link.up.error(x.size) == 0
        return UpdatesWorkerState(
            x=x,
            theta=x.copy(),
            delta=np.zeros_like(x),
            inner=self.optimizer(x),
            up=Direct(link.up) if exact else self._memory(link, x),
            down=self.down_end(link.down, plan),
        )

    def _memory(self, link: WorkerStar, x: Vector) -> Memory:
        decay = self.feedback_decay
        return ErrorFeedback(link.up, x.size, x.dtype, rescale=False, decay=decay)

    def server_state(
        self, link: ServerStar, problem: Problem, plan: Plan
    ) -> UpdatesServerState:
        x = problem.start(plan.seed)
        senders, clip = self.reduce == "senders", self.clip == "median"
        aggregate = Aggregate(x, senders=senders, clip=clip, mean=self.reduce == "mean")
        return UpdatesServerState(
            x=x,
            g=np.zeros_like(x),
            momentum=Nesterov(x, self.outer_momentum),
            aggregate=aggregate,
            down=self.down_sender(link.down, x, plan),
        )

    def worker(
        self, link: WorkerStar, problem: Problem, plan: Plan, state: UpdatesWorkerState
    ) -> None:
        s, r = state, link.worker
        alpha = self.outer_lr * self.share(plan.workers)
        for k in link.rounds(s):
            with taking_part(link):
                # theta_r = H steps of the inner optimizer from theta
                if problem.advance(s.x, self.local_steps) is None:
                    self._local_steps(problem, plan, s, r)
                # Delta_r = theta - theta_r
                np.subtract(s.theta, s.x, out=s.delta)
                # e <- beta e + Delta_r;   s_r = C(e);   e <- e - s_r;   send s_r
                link.push(s.up.encode(s.delta, random.key(plan.seed, "up", r, k)))
            # receive theta
            s.down.receive(link, s.theta, alpha)
            s.x[:] = s.theta

    def _local_steps(
        self, problem: Problem, plan: Plan, s: UpdatesWorkerState, worker: int
    ) -> None:
        eta, first = self.eta(plan), s.round * self.local_steps
        steps = LocalSteps(plan)
        before = copy.deepcopy(s.inner) if leaves_out(plan) else s.inner
        for t in range(first, first + self.local_steps):
            with steps:
                problem.grad(s.x, s.delta, self.draw(problem, plan, worker, t))
                s.inner.step(s.x, s.delta, eta(t))
        if not steps.good:
            s.inner = before
            raise LeftOut

    def server(
        self, link: ServerStar, plan: Plan, state: UpdatesServerState
    ) -> Iterator[Iterate]:
        s = state
        alpha = self.outer_lr * self.share(plan.workers)
        for k in link.rounds(s):
            yield Iterate(k, s.x)
            # g = agg(s_r); of a mean the sum, as alpha has its 1/R
            if not s.aggregate.gather(link, s.g):
                s.down.stay(link, s.x)
                continue
            # m <- mu m + g;   theta <- theta - alpha (g + mu m)
            s.momentum.add_to(s.g)
            s.down.step(link, s.x, s.g, alpha, key=random.key(plan.seed, "down", k))


@preset(feedback_decay=1.0, reduce="mean")
class DiLoCo(FixedCodec, LocalUpdates):
    """DiLoCo: hundreds of AdamW steps, the mean progress in floats, outer momentum."""

    id: ClassVar[str] = "diloco"
    weight_decay: float = 0.1
    local_steps: int = 500
    outer_lr: float = 0.7
    outer_momentum: float = 0.9
    default_codec: ClassVar[str] = "dense"


@dataclass(frozen=True, kw_only=True)
class SparseLoCo(LocalUpdates):
    """SparseLoCo: AdamW steps, the largest of every chunk in 2 bits, error feedback."""

    id: ClassVar[str] = "sparseloco"
    weight_decay: float = 0.1
    feedback_decay: float = 0.95
    reduce: str = "senders"
    default_codec: ClassVar[str] = "chunktopk"
    default_blocks: ClassVar[str] = "layers"
    default_adamw: ClassVar[Mapping[str, float]] = {
        **LocalUpdates.default_adamw,
        "beta2": 0.95,
    }
