"""Gradient descent, uploads coded: GD, SGD, QSGD, SSGD, TernGrad, compressed GD.

::

    worker m:  g_m = gradient of f_m at x, full or over a minibatch
               v_m <- mu v_m + g_m;  p_m = g_m + mu v_m       (Nesterov, if mu > 0)
               send C(p_m)
    server:    x <- x - alpha sum_m C(p_m);  broadcast x, or the sum

Where workers are absent, the sum is over the present ones, and with ``--reduce mean`` M
is their number. An absent worker's momentum and memory stay; it does the step as well.
If nobody is present, nothing is done.

GD and SGD send floats (C = identity); QSGD quantises stochastically (Alistarh, Grubic,
Li, Tomioka, Vojnovic, NeurIPS 2017), in both directions with ``--downlink update
--down-codec stochastic``; SSGD sparsifies at random (Wangni, Wang, Liu, Zhang, NeurIPS
2018); TernGrad keeps three values (Wen, Xu, Yan, Wu, Wang, Chen, Li, NeurIPS 2017);
Khirirat, Feyzmahdavian, Johansson (2018) quantise full gradients.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from psmpi import random
from psmpi.base import Codec, Iterate, Plan, Problem, ServerStar, Vector, WorkerStar
from psmpi.parts.absence import taking_part
from psmpi.parts.downlink import DownlinkReceiver, DownlinkSender, Replicated, add_up
from psmpi.parts.memory import Direct, Memory
from psmpi.parts.momentum import Nesterov, WeightDecay
from psmpi.parts.options import FixedCodec
from psmpi.parts.presets import preset


@dataclass(kw_only=True)
class SgdWorkerState:
    """A worker between rounds: the model, and what it remembers of its uploads."""

    x: Vector
    gradient: Vector
    momentum: Nesterov
    decay: WeightDecay
    up: Memory
    down: DownlinkReceiver
    round: int = 0


@dataclass(kw_only=True)
class SgdServerState:
    """The server between rounds: the model, and its side of the downlink."""

    x: Vector
    sum: Vector
    decay: WeightDecay
    down: DownlinkSender
    round: int = 0


@dataclass(frozen=True, kw_only=True)
class Sgd(Replicated):
    """SGD: every worker uploads its minibatch gradient every round.

    The base of all methods that differ from it in codecs, and in what the senders
    remember (``up_memory``).
    """

    id: ClassVar[str] = "sgd"
    can_leave_out = True
    batch: int | None = 50

    def up_memory(self, codec: Codec, x: Vector) -> Memory:
        """Return what a worker remembers of its uploads: here nothing."""
        return Direct(codec)

    def replicas(
        self, state: SgdWorkerState | SgdServerState
    ) -> Sequence[Sequence[Vector]]:
        velocity = state.decay.velocity if state.down.updates else None
        return ((state.x,),) if velocity is None else ((state.x,), (velocity,))

    def worker_state(
        self, link: WorkerStar, problem: Problem, plan: Plan
    ) -> SgdWorkerState:
        x = problem.start(plan.seed)
        down = self.down_end(link.down, plan)
        # A model that comes down has the server's decay in it.
        rate = self.weight_decay if down.updates else 0.0
        return SgdWorkerState(
            x=x,
            gradient=np.zeros_like(x),
            momentum=Nesterov(x, self.momentum),
            decay=WeightDecay(x, rate, self.momentum),
            up=self.up_memory(link.up, x),
            down=down,
        )

    def server_state(
        self, link: ServerStar, problem: Problem, plan: Plan
    ) -> SgdServerState:
        x = problem.start(plan.seed)
        return SgdServerState(
            x=x,
            sum=np.zeros_like(x),
            decay=WeightDecay(x, self.weight_decay, self.momentum),
            down=self.down_sender(link.down, x, plan),
        )

    def worker(
        self, link: WorkerStar, problem: Problem, plan: Plan, state: SgdWorkerState
    ) -> None:
        s, m, eta, alpha = state, link.worker, self.eta(plan), self.alpha(plan)
        for k in link.rounds(s):
            with taking_part(link):
                # g_m = gradient of f_m at x^k over the batch
                problem.grad(s.x, s.gradient, self.draw(problem, plan, m, k))
                # v_m <- mu v_m + g_m;   p_m = g_m + mu v_m
                s.momentum.add_to(s.gradient)
                # C(p_m), or of p_m and what the memory holds
                key = random.key(plan.seed, "up", m, k)
                link.push(s.up.encode(s.gradient, key, eta(k)))
                s.up.commit()
            frame = link.pull()
            if frame is None:  # nobody was present
                continue
            # x^{k+1} = x^k - eta lambda x^k - alpha D^k
            s.decay.step(s.x, eta(k))
            s.down.accept(link, frame, s.x, alpha(k))

    def server(
        self, link: ServerStar, plan: Plan, state: SgdServerState
    ) -> Iterator[Iterate]:
        s, eta, alpha = state, self.eta(plan), self.alpha(plan)
        for k in link.rounds(s):
            yield Iterate(k, s.x)
            # sum_m C(p_m), of a mean times M / number of those present
            if not add_up(link, s.sum, mean=self.reduce == "mean"):
                s.down.stay(link, s.x)
                continue
            # x^{k+1} = x^k - eta lambda x^k - alpha D^k,  D^k the sum or what C leaves
            s.decay.step(s.x, eta(k))
            key = random.key(plan.seed, "down", k)
            s.down.step(link, s.x, s.sum, alpha(k), key=key, eta=eta(k))


@preset(batch=None)
class Gd(FixedCodec, Sgd):
    """GD: every worker uploads its full gradient every round, as floats."""

    id: ClassVar[str] = "gd"


@dataclass(frozen=True, kw_only=True)
class Qsgd(Sgd):
    """QSGD: SGD with unbiased stochastic quantisation of uploads.

    Two-way: ``--downlink update --down-codec stochastic`` quantises the sum again.
    """

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


@preset(codec=None, scaled=None, bits=None, k=None)
class TernGrad(Sgd):
    """TernGrad: uploads of three values, a scale for each tensor.

    Parameters
    ----------
    clip:
        Entries are clipped at this many standard deviations of their block first; 0:
        they are not, and uploads are unbiased.
    """

    id: ClassVar[str] = "terngrad"
    clip: float = 2.5
    default_codec: ClassVar[str] = "ternary"
    default_blocks: ClassVar[str] = "layers"

    def codec_options(self) -> dict[str, Any]:
        return super().codec_options() | {"clip": self.clip}


@preset(batch=None)
class CompressedGd(Sgd):
    """Compressed GD (Khirirat et al. 2018): full gradients, unbiased quantisation.

    Linear to the optimum with one worker, only to a neighbourhood with several.
    """

    id: ClassVar[str] = "compressed-gd"
    default_codec: ClassVar[str] = "stochastic"
