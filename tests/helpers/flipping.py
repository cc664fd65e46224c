"""A quadratic that changes a worker's model behind psmpi's back; for --problem, too."""

import numpy as np

from psmpi.problems import Quadratic


class Flipping(Quadratic):
    """Flips a bit of worker 1's model after its gradient number ``at``; 0: never."""

    def __init__(self, at: int = 9, everybody: bool = False) -> None:
        super().__init__(dim=30, condition=20.0, heterogeneity=1.0)
        self.at, self.everybody, self.calls = at, everybody, 0

    def grad(self, x, out, batch=None):
        loss = super().grad(x, out, batch)
        self.calls += 1
        if self.calls == self.at and (self.everybody or self.worker == 1):
            x.view(np.uint32)[3] ^= 1 << 18
        return loss
