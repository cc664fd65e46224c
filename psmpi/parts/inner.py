"""Inner optimizers: what a worker's local steps are made of, between two messages.

They are used where a problem has no optimizer of its own (``Problem.advance``). Their
arrays stay with the worker: they are never sent, averaged or reset.
"""

from __future__ import annotations

import abc

import numpy as np

from psmpi.base import Vector
from psmpi.kernels.vector import adamw, add_scaled
from psmpi.parts.momentum import Nesterov

INNER = ("adamw", "sgd")


class Inner(abc.ABC):
    """One worker's inner optimizer."""

    @abc.abstractmethod
    def step(self, x: Vector, gradient: Vector, eta: float) -> None:
        """Do one step on ``x`` in place; ``gradient`` may be overwritten."""


class Sgd(Inner):
    """SGD with Nesterov's momentum: g <- g + lambda x, m <- mu m + g, g <- g + mu m.

    Then x <- x - eta g. It is PyTorch's ``SGD`` with ``nesterov=True``: weight decay is
    part of the gradient.
    """

    def __init__(self, x: Vector, momentum: float, weight_decay: float) -> None:
        self.momentum = Nesterov(x, momentum)
        self.weight_decay = weight_decay

    def step(self, x: Vector, gradient: Vector, eta: float) -> None:
        if self.weight_decay:
            add_scaled(gradient, x, self.weight_decay)
        self.momentum.add_to(gradient)
        add_scaled(x, gradient, -eta)


class AdamW(Inner):
    """AdamW (Loshchilov, Hutter, ICLR 2019): Adam, weight decay on the model itself.

    In step t = 1, 2, ...::

        x <- (1 - eta lambda) x
        m <- b1 m + (1 - b1) g;   v <- b2 v + (1 - b2) g^2
        x <- x - eta (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)

    A new array of zeros takes no memory before it is written to, so one that is never
    stepped costs nothing.
    """

    def __init__(
        self, x: Vector, beta1: float, beta2: float, epsilon: float, weight_decay: float
    ) -> None:
        self.beta1, self.beta2 = beta1, beta2
        self.epsilon, self.weight_decay = epsilon, weight_decay
        self.mean: Vector = np.zeros(x.size, x.dtype)
        self.square: Vector = np.zeros(x.size, x.dtype)
        self.steps = 0

    def step(self, x: Vector, gradient: Vector, eta: float) -> None:
        self.steps += 1
        size = eta / (1 - self.beta1**self.steps)
        adamw(
            x,
            self.mean,
            self.square,
            gradient,
            (self.beta1, self.beta2),
            1 - eta * self.weight_decay,
            size,
            (1 - self.beta2**self.steps) ** 0.5,
            self.epsilon,
        )
