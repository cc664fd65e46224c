"""``psmpi.jax.session``: a session whose model is a pytree of JAX arrays.

It is a session and no ``optax.GradientTransformation``: such a transformation is a
pure function that JAX may trace, compile and call again, while a step here sends
messages and waits for others. The gradient is computed under ``jax.jit`` as usual, and
the step stands outside of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import jax
import numpy as np

from psmpi.base import ConfigError
from psmpi.sessions import api
from psmpi.sessions.session import Session

_FLOATS = (np.float32, np.float64)


class TreeSession:
    """A ``psmpi.Session`` with pytrees in place of flat vectors.

    ``flat`` is that session: ``worker``, ``workers``, ``round``, ``lr``, ``report`` and
    ``stopped`` are its. Leaves are the tensors of the model, named by their paths.

    A step copies twice, gradients into the session's vector and the model out of it,
    because JAX's arrays never change.
    """

    def __init__(self, algorithm: str, params: Any, **options: Any) -> None:
        paths, tree = jax.tree_util.tree_flatten_with_path(params)
        self._tree: Any = tree
        self._names = [jax.tree_util.keystr(path) or "params" for path, _ in paths]
        leaves = [np.asarray(leaf) for _, leaf in paths]
        _check(self._names, leaves)
        self._shapes = [leaf.shape for leaf in leaves]
        ends = np.cumsum([0, *(leaf.size for leaf in leaves)]).tolist()
        self._parts = list(itertools.pairwise(ends))
        x = np.concatenate([leaf.ravel() for leaf in leaves])
        self.flat: Session = api.session(
            algorithm, x, bounds=ends, names=self._names, **options
        )

    @property
    def params(self) -> Any:
        """The model, a pytree like the one given; copies of the session's vector."""
        x = self.flat.x
        leaves = [
            jax.numpy.array(x[low:high].reshape(shape))
            for (low, high), shape in zip(self._parts, self._shapes, strict=True)
        ]
        return jax.tree_util.tree_unflatten(self._tree, leaves)

    @property
    def worker(self) -> int:
        """Number of this worker, 0 .. workers - 1."""
        return self.flat.worker

    @property
    def workers(self) -> int:
        """Number of workers."""
        return self.flat.workers

    def step(self, grads: Any, *, loss: Any = None) -> Any:
        """Do one step with gradients like the model, and return the new model.

        Raises what ``Session.step`` does, and ``ConfigError`` for another tree.
        """
        self._write(grads, self.flat.gradient, "grads")
        self.flat.step(loss=None if loss is None else float(loss))
        return self.params

    def advance(self, params: Any, *, loss: Any = None) -> Any:
        """Give a model that steps of an own optimizer have made; return the global one.

        For local-updates, diloco and sparseloco: with an optimizer of optax, for one.
        """
        self._write(params, self.flat.x, "params")
        self.flat.advance(loss=None if loss is None else float(loss))
        return self.params

    def report(self, **metrics: Any) -> None:
        """Record what has been measured of the model; see ``Session.report``."""
        self.flat.report(**{name: float(value) for name, value in metrics.items()})

    def close(self) -> None:
        """End this worker's loop, and with it the run."""
        self.flat.close()

    def __enter__(self) -> TreeSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        return self.flat.__exit__(kind, error, trace)

    def _write(self, tree: Any, vector: np.ndarray, what: str) -> None:
        leaves, structure = jax.tree_util.tree_flatten(tree)
        if structure != self._tree:
            raise ConfigError(
                f"{what}: must be a tree like the model, {self._tree}, got {structure}"
            )
        places = zip(leaves, self._parts, self._shapes, self._names, strict=True)
        for leaf, (low, high), shape, name in places:
            array = np.asarray(leaf)
            if array.shape != shape:
                raise ConfigError(
                    f"{what}: {name} must have shape {shape}, got {array.shape}"
                )
            vector[low:high] = array.ravel()


def session(algorithm: str, params: Any, **options: Any) -> TreeSession:
    """Open a session that starts at the pytree ``params``.

    ::

        with psmpi.jax.session("dist-ef-sgdm", params, lr=0.1) as s:
            for batch in batches:
                loss, grads = value_and_grad(params, batch)
                params = s.step(grads, loss=loss)

    ``options`` are those of ``psmpi.session``. All leaves must be float32, or all
    float64. Raises ``ConfigError`` that names a leaf for what can't be trained.
    """
    return TreeSession(algorithm, params, **options)


def _check(names: Sequence[str], leaves: Sequence[np.ndarray]) -> None:
    if not leaves:
        raise ConfigError("params: has no leaves; give a pytree of arrays")
    for name, leaf in zip(names, leaves, strict=True):
        if leaf.dtype not in _FLOATS or leaf.dtype != leaves[0].dtype:
            raise ConfigError(
                f"params: {name} is {leaf.dtype}, and {names[0]} {leaves[0].dtype}; "
                "all leaves must be float32, or all float64: convert them with "
                "jax.tree.map(lambda leaf: leaf.astype('float32'), params)"
            )
        if leaf.size == 0:
            raise ConfigError(f"params: {name} is empty, shape {leaf.shape}")
