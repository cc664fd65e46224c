"""Which worker holds which samples: four ways to split a data set, and one not to.

The four give each sample to exactly one worker and each worker at least one sample.
``contiguous`` keeps file order, as the released LAQ code does; ``by-label`` and
``dirichlet`` make workers differ, which is where lazy and local methods are tested.
``all`` gives everything to everyone: then workers that send more often than others
don't weigh their samples more.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from psmpi.base import ConfigError, Indices
from psmpi.data.spec import nearest
from psmpi.random import PARTITION, generator


def split(
    kind: str, labels: Indices, workers: int, *, alpha: float = 0.5, seed: int = 0
) -> list[Indices]:
    """Return each worker's sample indices, int64, ascending but for ``shuffled``.

    ``labels`` are the class indices of all samples, shape (samples,). ``alpha`` is the
    concentration of ``dirichlet``: small values give each worker few classes. Parts
    of the other kinds differ in size by at most one, or are one array of all samples.
    Raises ``ConfigError`` for an unknown kind, an alpha that isn't positive, or more
    workers than samples.
    """
    if kind not in PARTITIONS:
        raise ConfigError(
            f"partition: no way to split is called {kind!r}; "
            f"{nearest(kind, PARTITIONS)}use one of {', '.join(PARTITIONS)}"
        )
    if workers < 1:
        raise ConfigError(f"workers: must be at least 1, got {workers}")
    if workers > labels.size:
        raise ConfigError(
            f"workers: {labels.size} samples can't be split over {workers} workers, "
            f"each needs one; use at most {labels.size} workers"
        )
    if not (np.isfinite(alpha) and alpha > 0):
        raise ConfigError(f"dirichlet_alpha: must be positive and finite, got {alpha}")
    return PARTITIONS[kind](labels, workers, alpha, seed)


def _contiguous(labels: Indices, workers: int, _: float, seed: int) -> list[Indices]:
    return np.array_split(np.arange(labels.size), workers)


def _shuffled(labels: Indices, workers: int, _: float, seed: int) -> list[Indices]:
    order = generator(seed, PARTITION).permutation(labels.size)
    return np.array_split(order, workers)


def _by_label(labels: Indices, workers: int, _: float, seed: int) -> list[Indices]:
    parts = np.array_split(np.argsort(labels, kind="stable"), workers)
    return [np.sort(part) for part in parts]


def _dirichlet(labels: Indices, workers: int, alpha: float, seed: int) -> list[Indices]:
    """Deal each class out by its own Dirichlet(alpha, .., alpha) shares."""
    draw = generator(seed, PARTITION)
    parts: list[list[Indices]] = [[] for _ in range(workers)]
    for label in range(int(labels.max()) + 1):
        members = draw.permutation(np.flatnonzero(labels == label))
        shares = draw.dirichlet(np.full(workers, alpha))
        cuts = np.rint(np.cumsum(shares)[:-1] * members.size).astype(np.int64)
        for part, piece in zip(parts, np.split(members, cuts), strict=True):
            part.append(piece)
    whole = [np.sort(np.concatenate(part)) for part in parts]
    for worker in range(workers):
        if whole[worker].size == 0:
            # Who has most can spare one: there are at least as many samples as workers.
            rich = max(range(workers), key=lambda w: whole[w].size)
            whole[worker], whole[rich] = whole[rich][:1], whole[rich][1:]
    return whole


def _all(labels: Indices, workers: int, _: float, seed: int) -> list[Indices]:
    return [np.arange(labels.size)] * workers


ALL = "all"
PARTITIONS: dict[str, Callable[[Indices, int, float, int], list[Indices]]] = {
    "contiguous": _contiguous,
    "shuffled": _shuffled,
    "by-label": _by_label,
    "dirichlet": _dirichlet,
    ALL: _all,
}
