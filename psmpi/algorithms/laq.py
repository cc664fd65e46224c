"""LAQ and its family: lazily aggregated quantised gradients.

Sun, Chen, Giannakis, Yang, "Communication-Efficient Distributed Learning via Lazily
Aggregated Quantized Gradients", NeurIPS 2019. Equation numbers are that paper's.

::

    worker m:  dQ_m = C( grad f_m(theta^k) - Qhat_m )         innovation, b bits
               upload dQ_m and Qhat_m <- Qhat_m + dQ_m,  unless (7a) and (7b) hold
    server:    S <- S + sum of uploaded dQ_m;   theta^{k+1} = theta^k - alpha S

An absent worker is one that skips: Qhat_m stays on both sides, and so in S, however
long it is absent. To take it out, the server would need a copy of every Qhat_m.

QGD is LAQ that never skips, LAG-WK is LAQ without quantisation, SLAQ is LAQ on
minibatches, and random selection is LAQ that skips by a coin instead of the innovation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from psmpi import random
from psmpi.base import (
    ConfigError,
    Iterate,
    Plan,
    Problem,
    ServerStar,
    Vector,
    WorkerStar,
)
from psmpi.kernels.reduce import distance_squares
from psmpi.kernels.vector import add_scaled
from psmpi.parts import triggers
from psmpi.parts.absence import taking_part
from psmpi.parts.memory import Innovation
from psmpi.parts.options import Descent, FixedCodec, ServerState, WorkerState
from psmpi.parts.presets import preset
from psmpi.parts.triggers import LazyTrigger, Trigger, Window


@dataclass(kw_only=True)
class LaqWorkerState(WorkerState):
    """A worker of LAQ; ``up.reference`` is Qhat_m, what the server holds of it."""

    up: Innovation
    trigger: Trigger
    previous: Vector


@dataclass(frozen=True, kw_only=True)
class Qgd(Descent):
    """QGD: every worker uploads the quantised innovation of its gradient every round.

    The base of the LAQ family, which differs in when a worker uploads (``trigger``).
    """

    id: ClassVar[str] = "qgd"
    can_leave_out = True
    default_codec: ClassVar[str] = "uniform"

    def trigger(self, plan: Plan) -> Trigger:
        """Return what decides whether a worker uploads."""
        return Trigger()

    def worker_state(
        self, link: WorkerStar, problem: Problem, plan: Plan
    ) -> LaqWorkerState:
        x = problem.start(plan.seed)
        return LaqWorkerState(
            x=x,
            gradient=np.zeros_like(x),
            up=Innovation(link.up, np.zeros_like(x)),
            down=self.down_receiver(link.down, plan),
            trigger=self.trigger(plan),
            previous=x.copy(),
        )

    def worker(
        self, link: WorkerStar, problem: Problem, plan: Plan, state: LaqWorkerState
    ) -> None:
        s, m, alpha = state, link.worker, self.alpha(plan)
        for k in link.rounds(s):
            s.previous[:] = s.x
            s.down.accept(link.pull(), s.x)
            if k > 0:
                # ||theta^k - theta^{k-1}||^2 enters the window of (7a)
                s.trigger.moved(float(distance_squares(s.x, s.previous)))
            with taking_part(link):
                problem.grad(s.x, s.gradient, self.draw(problem, plan, m, k))
                # dQ_m^k = Q_m(theta^k) - Qhat_m^{k-1}
                frame = s.up.encode(s.gradient, random.key(plan.seed, "up", m, k))
                if s.trigger.fires(
                    s.up.change_sq,
                    s.up.error_sq,
                    alpha(k),
                    random.key(plan.seed, "skip", m, k),
                ):
                    # Qhat_m^k = Q_m(theta^k)
                    s.up.commit()
                    link.push(frame)
                else:
                    link.push(None)

    def server(
        self, link: ServerStar, plan: Plan, state: ServerState
    ) -> Iterator[Iterate]:
        s, alpha = state, self.alpha(plan)
        for k in link.rounds(s):
            link.bcast(s.down.encode(s.x, random.key(plan.seed, "down", k)))
            s.down.commit()
            yield Iterate(k, s.x)
            # (4)  S^k = S^{k-1} + sum_{m in M^k} dQ_m^k
            for frame in link.gather():
                if frame is not None:
                    link.up.decode_add(frame, s.sum)
            # (4)  theta^{k+1} = theta^k - alpha S^k
            add_scaled(s.x, s.sum, -alpha(k))


@dataclass(frozen=True, kw_only=True)
class Laq(Qgd):
    """LAQ: quantised innovations, uploaded only where they matter.

    With ``--codec topk`` it is joined with error compensation: the entries that TopK
    leaves out stay in the innovation and compete again. The rule then goes by what an
    upload would change alone (error weight 0), as in LAG, since TopK's error is no
    rounding noise.

    Parameters
    ----------
    lazy_window:
        D, how many changes of the model rule (7a) looks back on.
    lazy_weight:
        Sum of its weights: xi_d = weight / D.
    max_skip:
        tbar of (7b): rounds that a worker may skip in a row.
    error_weight:
        Weight of the quantisation errors in (7a). Default: 3 for the codecs uniform and
        stochastic, 0 for others.
    slack:
        Constant added to the bound of (7a); the released SLAQ code has 0.2.
    """

    id: ClassVar[str] = "laq"
    lazy_window: int = 10
    lazy_weight: float = 0.8
    max_skip: int = 100
    error_weight: float | None = None
    slack: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._lazy(1, 0.0)

    def trigger(self, plan: Plan) -> Trigger:
        quantiser = self.wire(plan).up.id in ("uniform", "stochastic")
        weight = 3.0 if quantiser else 0.0
        return self._lazy(plan.workers, weight)

    def effective(self, plan: Plan) -> Mapping[str, Any]:
        trigger = self.trigger(plan)
        assert isinstance(trigger, LazyTrigger)
        return {"error_weight": trigger.error_weight}

    def _lazy(self, workers: int, error_weight: float) -> LazyTrigger:
        return LazyTrigger(
            window=Window(self.lazy_window, self.lazy_weight),
            workers=workers,
            max_skip=self.max_skip,
            error_weight=(
                error_weight if self.error_weight is None else self.error_weight
            ),
            slack=self.slack,
        )


@preset(error_weight=0.0)
class LagWk(FixedCodec, Laq):
    """LAG-WK: lazily aggregated floats (Chen, Giannakis, Sun, Yin, NeurIPS 2018).

    With LAQ's constants, as LAQ compares with it.
    """

    id: ClassVar[str] = "lag-wk"
    default_codec: ClassVar[str] = "dense"


@dataclass(frozen=True, kw_only=True)
class Slaq(Laq):
    """SLAQ: LAQ with minibatch gradients, by rule (7a) as printed.

    The released code runs another rule: ``--error-weight 1.5 --slack 0.2``.
    """

    id: ClassVar[str] = "slaq"
    lr: float = 0.008
    batch: int | None = 50
    default_bits: ClassVar[int | None] = 3


@dataclass(frozen=True, kw_only=True)
class RandomSelection(Qgd):
    """Innovation-agnostic selection: a coin says who uploads, stale gradients stay.

    Parameters
    ----------
    probability:
        Chance of each worker to upload in a round; all upload in the first.
    """

    id: ClassVar[str] = "random-selection"
    probability: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.probability <= 1:
            raise ConfigError(
                f"probability: must be above 0 and at most 1, got {self.probability}"
            )

    def trigger(self, plan: Plan) -> Trigger:
        return triggers.CoinTrigger(self.probability)
