"""Problems of other installed packages: the entry points ``psmpi.problems``.

A package adds a problem with these lines of its ``pyproject.toml``, and a run selects
it by ``--data rosenbrock``::

    [project.entry-points."psmpi.problems"]
    rosenbrock = "my_package:Rosenbrock"

The entry point names a callable ``factory(*, dtype, seed)``, for example a subclass of
``psmpi.base.Problem`` with these keyword arguments. It returns the whole, unsharded
problem, equal on all ranks; ``dtype`` is ``numpy.float32`` or ``numpy.float64``.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from psmpi.base import ConfigError, Problem, PsmpiError, plugins

GROUP = "psmpi.problems"


def registered() -> list[str]:
    """Return the sorted names of the problems that other packages add."""
    return plugins.names(GROUP)


def make_plugin(name: str, dtype: Any = np.float32, seed: int = 0) -> Problem:
    """Return the whole problem of the entry point ``name``.

    Raises ``ConfigError`` that names the package if there is no such entry point, if
    its callable fails, or if it returns no usable problem.
    """
    resolved = plugins.resolve(GROUP, name, f"problem {name!r}")
    if resolved is None:
        raise ConfigError(f"problem {name!r}: no installed package offers it")
    factory, origin, remedy = resolved
    if not callable(factory):
        raise ConfigError(
            f"{origin}: must be callable as factory(*, dtype, seed), got {factory!r}; "
            f"{remedy}"
        )
    try:
        problem = factory(dtype=np.dtype(dtype).type, seed=seed)
        wrong = _fault(problem, np.dtype(dtype), seed)
    except PsmpiError:
        raise
    except Exception as error:  # a plugin may raise anything
        raise ConfigError(
            f"{origin}: can't be made ({type(error).__name__}: {error}); {remedy}"
        ) from error
    if wrong:
        raise ConfigError(f"{origin}: {wrong}; {remedy}")
    whole: Problem = problem
    return whole


def _fault(problem: Any, dtype: np.dtype[Any], seed: int) -> str:
    """Return what is wrong with a plugin's problem; an empty string if nothing is."""
    if not isinstance(problem, Problem):
        return f"must return a psmpi.base.Problem, got {problem!r}"
    dim, bounds = problem.dim, tuple(problem.bounds)
    if not isinstance(dim, int | np.integer) or dim < 1:
        return f"dim must be an integer of at least 1, got {dim!r}"
    ascending = all(low < high for low, high in itertools.pairwise(bounds))
    if len(bounds) < 2 or not ascending or (bounds[0], bounds[-1]) != (0, dim):
        return f"bounds must ascend from 0 to dim={dim}, got {bounds}"
    start = np.asarray(problem.start(seed))
    if start.shape != (dim,) or start.dtype != dtype:
        return (
            f"start must return shape ({dim},) of {dtype}, got {start.shape} of "
            f"{start.dtype}"
        )
    return ""
