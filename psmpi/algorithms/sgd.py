"""Gradient descent with memoryless uploads: GD, SGD, QSGD, SSGD, compressed GD.

::

    worker m:  g_m = gradient of f_m at x, full or over a minibatch;  send C(g_m)
    server:    x <- x - alpha sum_m C(g_m);  broadcast x

GD and SGD send floats (C = identity); QSGD quantises stochastically (Alistarh, Grubic,
Li, Tomioka, Vojnovic, NeurIPS 2017); SSGD sparsifies at random (Wangni, Wang, Liu,
Zhang, NeurIPS 2018); Khirirat, Feyzmahdavian, Johansson (2018) quantise full gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from psmpi import steps
from psmpi.algorithms.parts import Descent, ServerState, WorkerState
from psmpi.base import Iterate, Plan, Problem, ServerLink, WorkerLink
from psmpi.kernels.vector import add_scaled
from psmpi.memory import Direct, expected


@dataclass(frozen=True, kw_only=True)
class Sgd(Descent):
    """SGD: every worker uploads its minibatch gradient every round."""

    id: ClassVar[str] = "sgd"
    batch: int | None = 50

    def worker_state(
        self, link: WorkerLink, problem: Problem, plan: Plan
    ) -> WorkerState:
        x = problem.start(plan.seed)
        return WorkerState(
            x=x,
            gradient=np.zeros_like(x),
            up=Direct(link.up),
            down=self.down_memory(link.down, x),
        )

    def worker(
        self, link: WorkerLink, problem: Problem, plan: Plan, state: WorkerState
    ) -> None:
        s, m = state, link.worker
        for k in link.rounds(s):
            s.down.accept(link.pull(), s.x)
            # g_m = gradient of f_m at x^k over the batch
            problem.grad(s.x, s.gradient, self.draw(problem, plan, m, k))
            link.push(s.up.encode(s.gradient, steps.key(plan.seed, "up", m, k)))

    def server(
        self, link: ServerLink, plan: Plan, state: ServerState
    ) -> Iterator[Iterate]:
        s, alpha = state, self.schedule(plan.workers)
        for k in link.rounds(s):
            link.bcast(s.down.encode(s.x, steps.key(plan.seed, "down", k)))
            s.down.commit()
            yield Iterate(k, s.x)
            s.sum[:] = 0
            for frame in link.gather():
                link.up.decode_add(expected(frame), s.sum)
            # x^{k+1} = x^k - alpha sum_m C(g_m)
            add_scaled(s.x, s.sum, -alpha(k))


@dataclass(frozen=True, kw_only=True)
class Gd(Sgd):
    """GD: every worker uploads its full gradient every round, as floats."""

    id: ClassVar[str] = "gd"
    batch: int | None = field(default=None, init=False)
    codec: str | None = field(default=None, init=False)
    bits: int | None = field(default=None, init=False)
    k: float | None = field(default=None, init=False)


@dataclass(frozen=True, kw_only=True)
class Qsgd(Sgd):
    """QSGD: SGD with unbiased stochastic quantisation of uploads."""

    id: ClassVar[str] = "qsgd"
    default_codec: ClassVar[str] = "stochastic"


@dataclass(frozen=True, kw_only=True)
class Ssgd(Sgd):
    """SSGD: SGD that uploads a random part of the entries, scaled to be unbiased.

    ``--codec bernoulli`` (default) keeps each entry with the same probability, as LAQ's
    authors ran it; ``--codec wangni`` prefers large entries, as the cited paper does.
    """

    id: ClassVar[str] = "ssgd"
    default_codec: ClassVar[str] = "bernoulli"


@dataclass(frozen=True, kw_only=True)
class CompressedGd(Sgd):
    """Compressed GD (Khirirat et al. 2018): full gradients, unbiased quantisation.

    Linear to the optimum with one worker, only to a neighbourhood with several.
    """

    id: ClassVar[str] = "compressed-gd"
    batch: int | None = field(default=None, init=False)
    default_codec: ClassVar[str] = "stochastic"
