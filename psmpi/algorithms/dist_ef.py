"""dist-EF-SGD(M): error feedback at the workers and at the server, two-way compression.

Zheng, Huang, Kwok, "Communication-Efficient Distributed Blockwise Momentum SGD with
Error-Feedback", NeurIPS 2019, Algorithms 1 to 3.

::

    worker i:  m_i <- mu m_i + g_i                             (drop when mu = 0)
               p_i  = g_i + mu m_i + (eta_{t-1}/eta_t) e_i
               D_i  = C(p_i);   e_i <- p_i - D_i;              send D_i
    server:    pt   = (1/M) sum_i D_i + (eta_{t-1}/eta_t) et
               Dt   = C(pt);    et <- pt - Dt;                 broadcast Dt
    all:       x   <- x - eta_t Dt

An absent worker has D_i = 0, and e_i and m_i as before; the server divides by the
number P of those present. Then x - eta_{t-1} (et + (1/M) sum_i e_i), with all workers'
errors, moves by -eta_t ((1/M) sum_i (g_i + mu m_i) + (1/P - 1/M) sum_i D_i), with sums
over the present.

That is SGD with ``ErrorFeedback`` for both directions' memory: the loop is ``Sgd``'s,
the lines with e are ``psmpi.parts.memory.ErrorFeedback.encode``. The server keeps M et,
as it sums and the step size divides. For every step size and codec x - eta_{t-1} (et +
(1/M) sum_i e_i) moves by exactly -(eta_t / M) sum_i (g_i + mu m_i). In a round with
eta_t = 0, as at the start of a warm-up from 0, x and the errors stay as they are.

C is the sign with a scale for each block, by default each tensor. DoubleSqueeze (Tang,
Lian, Yu, Zhang, Liu, ICML 2019) has no momentum and does not rescale; ECQ-SGD (Wu,
Huang, Huang, Zhang, ICML 2018) lets old errors fade at the workers; AdaComp (Chen,
Choi, Brand, Agrawal, Zhang, Gopalakrishnan, AAAI 2018) sends what is large in its bin.
The last two were made for all-to-all broadcasts; here the server sends on the sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from psmpi.algorithms.sgd import Sgd
from psmpi.base import Codec, ConfigError, Plan, Vector, Wire
from psmpi.parts.downlink import require_contraction
from psmpi.parts.memory import DecayedFeedback, Memory
from psmpi.parts.presets import preset


@dataclass(frozen=True, kw_only=True)
class FeedbackSgd(Sgd):
    """SGD with error feedback at the workers, along the mean over workers."""

    lr: float = 0.1
    reduce: str = "mean"

    def up_memory(self, codec: Codec, x: Vector) -> Memory:
        """Return the error feedback of a worker."""
        return self.feedback(codec, x)


@preset(momentum=0.0)
class DistEfSgd(FeedbackSgd):
    """dist-EF-SGD: one bit an entry in both directions, with error feedback at both.

    Any codec that is a contraction will do; ``--codec stochastic --scaled`` makes it
    dist-EF-QSGD.

    Parameters
    ----------
    rescale:
        Rescale errors by eta_{t-1} / eta_t, so that a change of the step size does not
        change what they weigh in the model.
    """

    id: ClassVar[str] = "dist-ef-sgd"
    rescale: bool = True
    default_codec: ClassVar[str] = "sign"
    default_blocks: ClassVar[str] = "layers"
    default_downlink: ClassVar[str] = "feedback"

    def wire(self, plan: Plan) -> Wire:
        require_contraction(self.up_codec(plan), plan.dim, self.id)
        return super().wire(plan)

    def rescales(self) -> bool:
        return self.rescale


@dataclass(frozen=True, kw_only=True)
class DistEfSgdm(DistEfSgd):
    """dist-EF-SGDM: dist-EF-SGD with Nesterov's momentum at the workers."""

    id: ClassVar[str] = "dist-ef-sgdm"
    momentum: float = 0.9


@preset(rescale=False)
class DoubleSqueeze(DistEfSgd):
    """DoubleSqueeze: error feedback at workers and server, without rescaling."""

    id: ClassVar[str] = "doublesqueeze"


@preset(momentum=0.0)
class EcqSgd(FeedbackSgd):
    """ECQ-SGD: quantised gradients plus alpha times an error that fades by beta.

    Refused where alpha^2 omega + (beta - alpha)^2 >= 1, omega being the quantiser's
    variance (for a biased codec the square of alpha sqrt(1 - delta) + |beta - alpha|):
    the errors could grow without bound.

    Parameters
    ----------
    feedback_weight:
        alpha, the weight of accumulated errors in what is quantised.
    feedback_decay:
        beta, what is left of them a round later. With both 1: error feedback.
    """

    id: ClassVar[str] = "ecq-sgd"
    feedback_weight: float = 0.2
    feedback_decay: float = 0.9
    default_codec: ClassVar[str] = "stochastic"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("feedback_weight", "feedback_decay"):
            if not 0 <= getattr(self, name) <= 1:
                flag = name.replace("_", "-")
                raise ConfigError(
                    f"{flag}: must be in 0 .. 1, got {getattr(self, name)}"
                )

    def wire(self, plan: Plan) -> Wire:
        wire = super().wire(plan)
        alpha, beta = self.feedback_weight, self.feedback_decay
        loss = wire.up.error(plan.dim)
        if wire.up.unbiased:
            growth = alpha**2 * loss + (beta - alpha) ** 2
        else:  # what a biased codec leaves behind need not be at right angles to it
            growth = (alpha * loss**0.5 + abs(beta - alpha)) ** 2
        if not growth < 1:  # also where it is not a number: 0 times infinity
            raise ConfigError(
                f"{self.id}: errors could grow by a factor of {growth:.3g} a round, "
                f"which is not below 1, with {wire.up} at dimension {plan.dim}; give "
                "it more bits, or a smaller --feedback-weight"
            )
        return wire

    def up_memory(self, codec: Codec, x: Vector) -> Memory:
        alpha, beta = self.feedback_weight, self.feedback_decay
        return DecayedFeedback(codec, x.size, x.dtype, alpha, beta)


@preset(codec=None, scaled=None, bits=None, k=None, momentum=0.0)
class AdaCompSgd(FeedbackSgd):
    """AdaComp: of every bin of entries the large ones, as a sign and a layer's scale.

    Large is what the latest gradient would lift over the bin's largest residue. There
    is no guarantee that its residues stay bounded.

    Parameters
    ----------
    bin:
        Entries per bin: the source has 50 for convolutions, 500 for dense layers.
    """

    id: ClassVar[str] = "adacomp"
    bin: int = 500
    default_codec: ClassVar[str] = "adacomp"
    default_blocks: ClassVar[str] = "layers"
    default_downlink: ClassVar[str] = "update"

    def codec_options(self) -> dict[str, Any]:
        return super().codec_options() | {"bin": self.bin}

    def rescales(self) -> bool:
        return False
