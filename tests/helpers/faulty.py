"""A quadratic some of whose gradients are not finite; also a file for --problem."""

import numpy as np

from psmpi.problems import Quadratic

VALUES = (np.nan, np.inf, -np.inf, 1e25)  # of the last one, the norm overflows


class Faulty(Quadratic):
    """Worker m's n-th gradient has an entry of ``VALUES``, with some probability."""

    def __init__(self, probability: float = 0.05, fault_seed: int = 0) -> None:
        super().__init__(dim=30, condition=20.0, heterogeneity=1.0)
        self.probability, self.fault_seed, self.calls = probability, fault_seed, 0

    def grad(self, x, out, batch=None):
        loss = super().grad(x, out, batch)
        key = [self.fault_seed, self.worker, self.calls]
        self.calls += 1
        generator = np.random.default_rng(key)
        if generator.random() < self.probability:
            out[generator.integers(out.size)] = generator.choice(VALUES)
        return loss
