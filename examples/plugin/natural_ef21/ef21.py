"""EF21: workers send the compressed change of their gradient, every round.

Richtárik, Sokolov, Fatkhullin, "EF21: A new, simpler, theoretically better, and
practically faster error feedback", NeurIPS 2021, Algorithm 2.

::

    server:    broadcast x^k
    worker i:  c_i^k = C( grad f_i(x^k) - g_i^{k-1} );   g_i^k = g_i^{k-1} + c_i^k
               send c_i^k
    server:    g^k = g^{k-1} + (1/n) sum_i c_i^k;   x^{k+1} = x^k - gamma g^k

g_i is the reference of an innovation (``psmpi.parts.memory``) and begins with 0, so
that the first frame is the compressed gradient. The options (``--lr``, ``--codec``,
``--k``, ``--down-codec``, ...) come with ``Descent``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi import random
from psmpi.base import Iterate, Plan, Problem, ServerStar, Wire, WorkerStar
from psmpi.kernels.vector import add_scaled
from psmpi.parts.absence import taking_part
from psmpi.parts.downlink import require_contraction
from psmpi.parts.memory import Innovation
from psmpi.parts.options import Descent, ServerState, WorkerState


@dataclass(frozen=True, kw_only=True)
class Ef21(Descent):
    """EF21: the compressed change of every worker's gradient, every round.

    The codec must be a contraction; an unbiased quantiser takes ``--scaled``.
    """

    id: ClassVar[str] = "ef21"
    can_leave_out = True
    default_codec: ClassVar[str] = "topk"
    reduce: str = "mean"

    def wire(self, plan: Plan) -> Wire:
        wire = super().wire(plan)
        require_contraction(wire.up, plan.dim, self.id)
        return wire

    def worker_state(
        self, link: WorkerStar, problem: Problem, plan: Plan
    ) -> WorkerState:
        x = problem.start(plan.seed)
        return WorkerState(
            x=x,
            gradient=np.zeros_like(x),
            up=Innovation(link.up, np.zeros_like(x)),
            down=self.down_receiver(link.down, plan),
        )

    def worker(
        self, link: WorkerStar, problem: Problem, plan: Plan, state: WorkerState
    ) -> None:
        s, m = state, link.worker
        for k in link.rounds(s):
            s.down.accept(link.pull(), s.x)
            with taking_part(link):
                problem.grad(s.x, s.gradient, self.draw(problem, plan, m, k))
                # c_i^k = C( grad f_i(x^k) - g_i^{k-1} )
                link.push(s.up.encode(s.gradient, random.key(plan.seed, "up", m, k)))
                # g_i^k = g_i^{k-1} + c_i^k
                s.up.commit()

    def server(
        self, link: ServerStar, plan: Plan, state: ServerState
    ) -> Iterator[Iterate]:
        s, alpha = state, self.alpha(plan)
        for k in link.rounds(s):
            link.bcast(s.down.encode(s.x, random.key(plan.seed, "down", k)))
            s.down.commit()
            yield Iterate(k, s.x)
            # n g^k = n g^{k-1} + sum_i c_i^k
            for frame in link.gather():
                if frame is not None:
                    link.up.decode_add(frame, s.sum)
            # x^{k+1} = x^k - gamma g^k
            add_scaled(s.x, s.sum, -alpha(k))
