"""Qsparse-local-SGD: local steps, error feedback, any compression of the net progress.

Basu, Data, Karakus, Diggavi, "Qsparse-local-SGD: Distributed SGD with Quantization,
Sparsification, and Local Computations", NeurIPS 2019, Algorithms 1 and 2.

::

    worker r, step t:   xhat <- xhat - eta_t grad f_{i_t}(xhat)
    if t+1 in I^(r):    u = m + x_ref - xhat;   g = C(u);   m <- u - g;   send g
                        receive x;   x_ref = xhat = x
    server:             x <- x - (1/R) sum over the senders of g

Synchronous: I = {H, 2H, ...} for all. Asynchronous: every worker draws its own gaps
from 1 .. H; the server divides by all R workers, and only who has sent receives. A
round is H steps either way, and times are those of one clock, so a run is reproducible.

``up.e`` holds u: a local step adds its eta_t grad to it and takes it from xhat, which
spares x_ref where the server sends whole models. x - (1/R) sum_r u_r moves by exactly
-(eta_t / R) sum_r grad_r at every step, and not at all when workers send. Errors are in
units of the model: they contain the step size of their time, and are never rescaled.

The mean is over the senders that are present. An absent worker's local steps since its
last exchange are undone: m and its momentum are what they were then, and xhat = x.

The methods compared with are this one with parts switched off (section 5 there): local
SGD, TopK-SGD or MEM-SGD (Stich, Cordonnier, Jaggi, NeurIPS 2018), EF-signSGD
(Karimireddy, Rebjock, Stich, Jaggi, ICML 2019), QTopK and SignTopK.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi import random
from psmpi.base import (
    ConfigError,
    Iterate,
    Plan,
    Problem,
    ServerStar,
    Vector,
    Wire,
    WorkerStar,
)
from psmpi.kernels.vector import add_scaled, local_step
from psmpi.parts.absence import LocalSteps
from psmpi.parts.downlink import (
    DownlinkReceiver,
    DownlinkSender,
    Replicated,
    add_up,
    require_contraction,
)
from psmpi.parts.memory import ErrorFeedback
from psmpi.parts.momentum import Nesterov
from psmpi.parts.options import FixedCodec
from psmpi.parts.presets import preset
from psmpi.parts.schedules import SyncTimes


@dataclass(kw_only=True)
class LocalWorkerState:
    """A worker between rounds: its model xhat, the last global one, what it owes."""

    x: Vector
    reference: Vector | None  # x_ref; None where the server sends whole models
    gradient: Vector
    momentum: Nesterov
    up: ErrorFeedback
    down: DownlinkReceiver
    times: SyncTimes
    steps: LocalSteps
    round: int = 0


@dataclass(kw_only=True)
class LocalServerState:
    """The server between rounds; ``times`` holds every worker's I^(r)."""

    x: Vector
    sum: Vector
    down: DownlinkSender
    times: list[SyncTimes]
    round: int = 0


@preset(reduce="mean")
class QsparseLocalSgd(Replicated):
    """Qsparse-local-SGD: H local steps, then the compressed net progress.

    Parameters
    ----------
    local_steps:
        H, steps that a worker takes alone in a round.
    schedule:
        When workers send: sync, all after H steps, or async, each after a number of
        steps that it draws from 1 .. H every time.
    """

    id: ClassVar[str] = "qsparse-local-sgd"
    can_leave_out = True
    lr: float = 0.1
    batch: int | None = 8
    local_steps: int = 8
    schedule: str = "sync"
    default_codec: ClassVar[str] = "signtopk"
    default_downlink: ClassVar[str] = "update"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.local_steps < 1:
            raise ConfigError(
                f"local-steps: must be at least 1, got {self.local_steps}"
            )
        if self.schedule not in ("sync", "async"):
            raise ConfigError(f"schedule: must be sync or async, got {self.schedule!r}")
        if self.schedule == "async" and self.way_down() != "model":
            raise ConfigError(
                f"schedule: async sends to single workers, but --downlink "
                f"{self.downlink} sends a sum that all workers need to have received; "
                "use --downlink model"
            )

    def way_down(self) -> str:
        if self.downlink is None and self.schedule == "async":
            return "model"
        return super().way_down()

    def wire(self, plan: Plan) -> Wire:
        wire = super().wire(plan)
        require_contraction(wire.up, plan.dim, self.id)
        if self.schedule == "sync":
            return wire
        if not self.exact_down(plan):
            raise ConfigError(
                f"down-codec: async sends whole models, got {wire.down.id}; "
                "leave it out, or use --schedule sync"
            )
        return Wire(wire.up, wire.down, tree=False)

    def steps_a_round(self) -> int:
        return self.local_steps

    def times(self, plan: Plan, worker: int) -> SyncTimes:
        """Return I^(r) of a worker."""
        own = (plan.seed, worker) if self.schedule == "async" else None
        return SyncTimes(self.local_steps, own)

    def replicas(
        self, state: LocalWorkerState | LocalServerState
    ) -> Sequence[Sequence[Vector]]:
        if isinstance(state, LocalServerState) or state.reference is None:
            return ((state.x,),)
        return ((state.x, state.reference),)

    def worker_state(
        self, link: WorkerStar, problem: Problem, plan: Plan
    ) -> LocalWorkerState:
        x = problem.start(plan.seed)
        down = self.down_end(link.down, plan)
        momentum = Nesterov(x, self.momentum)
        up = ErrorFeedback(link.up, x.size, x.dtype, rescale=False)
        return LocalWorkerState(
            x=x,
            reference=None if down.overwrites else x.copy(),
            gradient=np.zeros_like(x),
            momentum=momentum,
            up=up,
            down=down,
            times=self.times(plan, link.worker),
            steps=LocalSteps(plan, up=up.e, velocity=momentum.velocity),
        )

    def server_state(
        self, link: ServerStar, problem: Problem, plan: Plan
    ) -> LocalServerState:
        x = problem.start(plan.seed)
        return LocalServerState(
            x=x,
            sum=np.zeros_like(x),
            down=self.down_sender(link.down, x, plan),
            times=[self.times(plan, r) for r in range(plan.workers)],
        )

    def worker(
        self, link: WorkerStar, problem: Problem, plan: Plan, state: LocalWorkerState
    ) -> None:
        s, r, eta = state, link.worker, self.eta(plan)
        for k in link.rounds(s):
            for t in range(k * self.local_steps, (k + 1) * self.local_steps):
                with s.steps:
                    # g = grad f_{i_t}(xhat), with weight decay and momentum if asked
                    problem.grad(s.x, s.gradient, self.draw(problem, plan, r, t))
                    if self.weight_decay:
                        add_scaled(s.gradient, s.x, self.weight_decay)
                    s.momentum.add_to(s.gradient)
                    # xhat <- xhat - eta_t g;   u <- u + eta_t g
                    local_step(s.x, s.up.e, s.gradient, eta(t))
                if s.times.due(t + 1):
                    self._send(link, s, random.key(plan.seed, "up", r, t))
                    self._receive(link, s)

    def _send(self, link: WorkerStar, s: LocalWorkerState, key: int) -> None:
        if s.steps.good:
            # send g = C(u);   m <- u - g
            link.push(s.up.flush(key))
        else:
            s.steps.undo()
            link.absent()
        s.steps.begin()

    def _receive(self, link: WorkerStar, s: LocalWorkerState) -> None:
        # x_ref = xhat = x
        if s.reference is None:
            s.down.receive(link, s.x, 1 / link.workers)
        else:
            s.down.receive(link, s.reference, 1 / link.workers)
            s.x[:] = s.reference

    def server(
        self, link: ServerStar, plan: Plan, state: LocalServerState
    ) -> Iterator[Iterate]:
        s, R = state, plan.workers
        for k in link.rounds(s):
            yield Iterate(k, s.x)
            for t in range(k * self.local_steps, (k + 1) * self.local_steps):
                senders = [r for r, times in enumerate(s.times) if times.due(t + 1)]
                if not senders:
                    continue
                to = None if self.schedule == "sync" else senders
                # x <- x - (1/R) sum_{r in S_t} g_r
                if add_up(link, s.sum, mean=True, workers=senders):
                    key = random.key(plan.seed, "down", t)
                    s.down.step(link, s.x, s.sum, 1 / R, key=key, to=to)
                else:
                    s.down.stay(link, s.x, to=to)


@preset(local_steps=1, schedule="sync")
class OneStep(QsparseLocalSgd):
    """Qsparse-local-SGD without local steps."""


@dataclass(frozen=True, kw_only=True)
class LocalSgd(FixedCodec, QsparseLocalSgd):
    """Local SGD: workers' models are averaged every H steps, as floats."""

    id: ClassVar[str] = "local-sgd"
    default_codec: ClassVar[str] = "dense"
    default_downlink: ClassVar[str] = "model"


@dataclass(frozen=True, kw_only=True)
class TopKSgd(OneStep):
    """TopK-SGD: the k largest entries of step and memory, error feedback."""

    id: ClassVar[str] = "topk-sgd"
    default_codec: ClassVar[str] = "topk"


@dataclass(frozen=True, kw_only=True)
class MemSgd(TopKSgd):
    """MEM-SGD: another name of TopK-SGD with the step size inside the memory."""

    id: ClassVar[str] = "mem-sgd"


@dataclass(frozen=True, kw_only=True)
class EfSignSgd(OneStep):
    """EF-signSGD: signs of step and memory with a scale per tensor, error feedback."""

    id: ClassVar[str] = "ef-signsgd"
    default_codec: ClassVar[str] = "sign"
    default_blocks: ClassVar[str] = "layers"
    default_downlink: ClassVar[str] = "model"


@dataclass(frozen=True, kw_only=True)
class QTopKSgd(OneStep):
    """QTopK: the k largest entries, stochastically quantised, error feedback."""

    id: ClassVar[str] = "qtopk"
    default_codec: ClassVar[str] = "qtopk"


@dataclass(frozen=True, kw_only=True)
class SignTopKSgd(OneStep):
    """SignTopK: signs of the k largest entries and their mean size, error feedback."""

    id: ClassVar[str] = "signtopk"
    default_codec: ClassVar[str] = "signtopk"
