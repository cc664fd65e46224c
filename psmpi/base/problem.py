"""The interface of problems: objectives with gradients, split over workers."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np

from psmpi.base.arrays import Indices, Vector
from psmpi.errors import ConfigError


class Problem(abc.ABC):
    """One worker's share f_m of the objective f(x) = (1/M) sum_m f_m(x).

    The unsharded problem (M = 1) is f itself. ``shard`` scales f_m so that this mean is
    the same f for every M and for every partition of the data, also into unequal parts.
    Algorithms that step along the *sum* over workers, as LAQ does, say so themselves.

    With ``l1`` above 0, f and every f_m include l1 ||x||_1: losses include this term,
    gradients do not, because it is not differentiable. An algorithm treats it by a
    proximal step.
    """

    dim: int
    bounds: tuple[int, ...]  # tensor i is x[bounds[i]:bounds[i + 1]]
    samples: int  # number of samples of this shard; 0 for a problem without samples
    l1: float = 0.0  # factor of ||x||_1
    l2: float = 0.0  # factor of the ridge (l2 / 2) ||x||^2
    _second: Vector | None = None  # scratch of ``difference``

    @abc.abstractmethod
    def start(self, seed: int) -> Vector:
        """Return the initial point, shape (dim,): the same on all ranks for a seed."""

    @abc.abstractmethod
    def loss(self, x: Vector) -> float:
        """Return f_m(x) over all samples of the shard."""

    @abc.abstractmethod
    def grad(self, x: Vector, out: Vector, batch: Indices | None = None) -> float:
        """Write the gradient at ``x`` into ``out``; return the loss it belongs to.

        ``batch`` holds indices into the shard's samples; None stands for all samples.
        """

    @abc.abstractmethod
    def shard(self, worker: int, workers: int) -> Problem:
        """Return f_m of worker ``worker`` (0-based) of ``workers``."""

    @abc.abstractmethod
    def digest(self) -> str:
        """Return a hex digest of data and parameters, the same for equal problems."""

    def saved(self) -> Any:
        """Return what this part of the problem remembers, for a checkpoint.

        Numbers, text, arrays, and lists and dicts of these; None if it remembers
        nothing, like most problems. An optimizer of ``advance``'s has its state here.
        """
        return None

    def resume(self, saved: Any) -> None:  # noqa: B027 - most remember nothing
        """Go on from what ``saved`` gave in an earlier run of the same problem."""

    def difference(
        self, x: Vector, reference: Vector, out: Vector, batch: Indices | None = None
    ) -> Indices | None:
        """Write grad f_B(x) - grad f_B(reference) into ``out``; SVRG needs this.

        All three vectors have shape (dim,) and the same dtype, and share no memory.
        Returns the ascending indices outside of which ``out`` is now exactly 0, or None
        if any entry may be different from 0.

        A problem may remember the array that it filled last, to clear only the entries
        that it wrote. A caller who passes the same array again must therefore leave its
        content unchanged or set it to zero. Any other array may hold anything.
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
        """Return the share of test samples that ``x`` classifies correctly, or None.

        None stands for a problem without test samples or without classes.
        """
        return None

    def metrics(self, x: Vector) -> Mapping[str, float]:
        """Return further metrics of the model by their names, each a column of a row.

        Names are those of Python variables, and none of a row's own keys.
        """
        return {}

    def advance(self, x: Vector, steps: int) -> float | None:
        """Do a worker's local steps on ``x`` in place, by an optimizer of the problem.

        Returns the mean loss of the steps, or None if the problem has no optimizer of
        its own; the algorithm then takes the steps itself, by gradients. A training
        loop that belongs to the caller does so here (``psmpi.session``).
        """
        return None

    def optimum(self) -> float | None:
        """Return min f, or None if it is unknown; subclasses state the precision."""
        return None

    def optimum_nbytes(self) -> int:
        """Return the bytes that ``optimum`` takes while it computes, at most."""
        return 0

    def own_part(self) -> Indices | None:
        """Return the samples that this worker computes in a full gradient.

        None stands for all samples of the shard. Otherwise every worker holds all N
        samples, and the returned indices are this worker's part; each sample belongs to
        one worker. The full gradient is (1/M) sum_m (|part_m| M / N)
        grad(batch=part_m), which computes each sample once.
        """
        return None

    def without_ridge(self) -> Problem:
        """Return this problem with l2 = 0, in losses and gradients; l1 stays.

        The result may share data and buffers with this problem: use both from one
        thread.
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
