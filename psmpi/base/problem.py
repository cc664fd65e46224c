"""What a problem promises."""

from __future__ import annotations

import abc

import numpy as np

from psmpi.base.arrays import Indices, Vector
from psmpi.errors import ConfigError


class Problem(abc.ABC):
    """One worker's share f_m of the objective f(x) = (1/M) sum_m f_m(x).

    The unsharded problem (M = 1) is f itself. ``shard`` scales f_m so that this mean is
    the same f for every M and every way to split the data, also into unequal parts.
    Algorithms that step along the *sum* over workers, as LAQ does, say so themselves.

    With ``l1`` above 0, f and every f_m include l1 ||x||_1: it is in all losses, but in
    no gradient, as it has none. That is what an algorithm's proximal step is for.
    """

    dim: int
    bounds: tuple[int, ...]  # tensor i is x[bounds[i]:bounds[i + 1]]
    samples: int  # samples of this shard; 0 where the problem has none
    l1: float = 0.0
    l2: float = 0.0  # of the ridge (l2 / 2) ||x||^2, where the problem has one
    _second: Vector | None = None  # scratch of ``difference``

    @abc.abstractmethod
    def start(self, seed: int) -> Vector:
        """Return the initial point of this seed, shape (dim,); equal on all ranks."""

    @abc.abstractmethod
    def loss(self, x: Vector) -> float:
        """Return f_m(x) over all samples of the shard."""

    @abc.abstractmethod
    def grad(self, x: Vector, out: Vector, batch: Indices | None = None) -> float:
        """Write the gradient at ``x`` into ``out`` and return the loss it belongs to.

        ``batch`` holds indices into the shard's samples; None takes them all.
        """

    @abc.abstractmethod
    def shard(self, worker: int, workers: int) -> Problem:
        """Return f_m of worker ``worker`` (0-based) of ``workers``."""

    @abc.abstractmethod
    def digest(self) -> str:
        """Return a hex digest of data and parameters: equal where the problem is."""

    def difference(
        self, x: Vector, reference: Vector, out: Vector, batch: Indices | None = None
    ) -> Indices | None:
        """Write grad f_B(x) - grad f_B(reference) into ``out``, as SVRG steps by.

        All three have shape (dim,) and one dtype, and share no memory. Returns the
        ascending indices outside of which ``out`` is now exactly 0, or None where it
        may be anything anywhere. A problem may remember the array that it last filled
        here, to clear no more than it wrote: given the same object again, it must hold
        what was left there, or zeros. Any other array may hold anything.
        """
        second = self._second
        if second is None or (second.shape, second.dtype) != (out.shape, out.dtype):
            second = self._second = np.empty_like(out)
        self.grad(x, out, batch)
        self.grad(reference, second, batch)
        out -= second
        return None

    def batch(self, key: int, size: int) -> Indices:
        """Return ``size`` distinct sample indices; a pure function of ``key``."""
        generator = np.random.Generator(np.random.Philox(key=key))
        return generator.choice(self.samples, size, replace=False)

    def accuracy(self, x: Vector) -> float | None:
        """Return the share of test samples that ``x`` predicts right; None without."""
        return None

    def optimum(self) -> float | None:
        """Return min f to the precision its docstring states; None where unknown."""
        return None

    def own_part(self) -> Indices | None:
        """Return what of the samples is this worker's turn in a full gradient.

        None: all of the shard. Otherwise every worker holds all N samples and these are
        the indices of its part; each sample is in one worker's. The full gradient is
        (1/M) sum_m (|part_m| M / N) grad(batch=part_m), each sample computed once.
        """
        return None

    def without_ridge(self) -> Problem:
        """Return this without its ridge: l2 = 0, in losses and gradients; l1 stays.

        It may share data and buffers with this problem: use both from one thread.
        """
        if self.l2 == 0:
            return self
        raise ConfigError(
            f"{type(self).__name__}: its ridge (l2={self.l2}) can't be taken apart, "
            "which this algorithm needs; set l2 to 0"
        )

    def smoothness(self) -> float:
        """Return an upper bound on the Lipschitz constant of f_m's gradient."""
        raise ConfigError(
            f"{type(self).__name__}: its smoothness is not known, which this algorithm "
            "needs; take another one, like lag-wk"
        )
