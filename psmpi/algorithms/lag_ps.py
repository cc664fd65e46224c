"""LAG-PS: the server decides whose gradient is stale enough to ask for.

Chen, Giannakis, Sun, Yin, "LAG: Lazily Aggregated Gradient for Communication-Efficient
Distributed Learning", NeurIPS 2018.

::

    server:    ask m if  L_m^2 ||thetahat_m - theta^k||^2
                           >= 1/(alpha^2 M^2) sum_d xi_d ||theta^{k+1-d}-theta^{k-d}||^2
               and set thetahat_m <- theta^k
    worker m:  when asked, upload the change of its gradient since it was last asked
    server:    S <- S + sum of those;   theta^{k+1} = theta^k - alpha S

Of a worker that is asked and absent the old term stays, with the old thetahat_m. A
worker that is not asked gets nothing and sends nothing. Unlike the authors' script,
which starts from gradients of ones and asks nobody for D rounds, all are asked first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from psmpi.base import Iterate, Plan, Problem, ServerStar, Vector, Wire, WorkerStar
from psmpi.kernels.reduce import distance_squares
from psmpi.kernels.vector import add_scaled
from psmpi.parts.absence import taking_part
from psmpi.parts.memory import Direct, Innovation, Overwrite, expected
from psmpi.parts.options import Addressed, ServerState, WorkerState
from psmpi.parts.presets import preset
from psmpi.parts.triggers import Window, ratio


@dataclass(kw_only=True)
class LagPsServerState(ServerState):
    """Besides the model: stale models (M, p), smoothness constants, the window."""

    stale: list[Vector]
    smoothness: NDArray[np.float64]
    window: Window
    previous: Vector


@preset(batch=None)
class LagPs(Addressed):
    """LAG-PS: the server asks only workers whose gradient has changed, as floats.

    Parameters
    ----------
    lazy_window:
        D, how many changes of the model the rule looks back on.
    lazy_weight:
        Sum of its weights: xi_d = weight / D. The authors' script has 10, which is
        stable only where workers' constants L_m differ much; 0.8 is LAQ's.
    """

    id: ClassVar[str] = "lag-ps"
    can_leave_out = True
    driven_by = "nothing"  # the server has to know the smoothness of every shard
    instead = "lag-wk"
    lazy_window: int = 10
    lazy_weight: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        Window(self.lazy_window, self.lazy_weight)

    def wire(self, plan: Plan) -> Wire:
        return dataclasses.replace(super().wire(plan), called=True)

    def worker_state(
        self, link: WorkerStar, problem: Problem, plan: Plan
    ) -> WorkerState:
        x = problem.start(plan.seed)
        return WorkerState(
            x=x,
            gradient=np.zeros_like(x),
            up=Innovation(link.up, np.zeros_like(x)),
            down=Overwrite(link.down),
        )

    def server_state(
        self, link: ServerStar, problem: Problem, plan: Plan
    ) -> LagPsServerState:
        x = problem.start(plan.seed)
        return LagPsServerState(
            x=x,
            sum=np.zeros_like(x),
            down=Direct(link.down),
            stale=[np.full_like(x, np.nan) for _ in range(plan.workers)],
            smoothness=np.array(
                [
                    problem.shard(m, plan.workers).smoothness()
                    for m in range(plan.workers)
                ]
            ),
            window=Window(self.lazy_window, self.lazy_weight),
            previous=x.copy(),
        )

    def worker(
        self, link: WorkerStar, problem: Problem, plan: Plan, state: WorkerState
    ) -> None:
        s = state
        for _ in link.rounds(s):
            s.down.accept(link.pull(), s.x)
            with taking_part(link):
                problem.grad(s.x, s.gradient)
                # grad f_m(theta^k) - grad f_m(thetahat_m)
                frame = s.up.encode(s.gradient)
                s.up.commit()
                link.push(frame)

    def server(
        self, link: ServerStar, plan: Plan, state: LagPsServerState
    ) -> Iterator[Iterate]:
        s, alpha = state, self.alpha(plan)
        for k in link.rounds(s):
            asked = [m for m in range(plan.workers) if self._stale(s, m, alpha(k))]
            frame = s.down.encode(s.x)
            for m in asked:
                link.send(m, frame)
            yield Iterate(k, s.x)
            # S^k = S^{k-1} + sum_{m asked} delta grad f_m
            for upload in link.gather(asked):
                link.up.decode_add(expected(upload), s.sum)
                s.stale[link.present[-1]][:] = s.x
            # theta^{k+1} = theta^k - alpha S^k
            s.previous[:] = s.x
            add_scaled(s.x, s.sum, -alpha(k))
            s.window.add(float(distance_squares(s.x, s.previous)))

    def _stale(self, s: LagPsServerState, m: int, alpha: float) -> bool:
        # L_m^2 ||thetahat_m - theta^k||^2 >= 1/(alpha^2 M^2) sum_d xi_d ||...||^2
        distance_sq = float(distance_squares(s.stale[m], s.x))
        bound = ratio(s.window.value(), (alpha * len(s.stale)) ** 2)
        # NaN, never asked before, is asked
        return not (s.smoothness[m] ** 2 * distance_sq < bound or distance_sq == 0)
