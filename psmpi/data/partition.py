"""Which worker holds which samples: partitions of a data set over workers.

Every partition except ``all`` gives each sample to exactly one worker and each worker
at least one sample. ``contiguous`` keeps file order, as the released LAQ code does.
``by-label`` and ``dirichlet`` make the workers' data heterogeneous, which lazy and
local methods are sensitive to. ``all`` gives all samples to every worker, so that the
samples of workers that send more often don't count more.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from psmpi.base import ConfigError, Indices
from psmpi.data.spec import hint
from psmpi.data.targets import Targets
from psmpi.random import PARTITION, generator


def split(
    kind: str, labels: Targets, workers: int, *, alpha: float = 0.5, seed: int = 0
) -> list[Indices]:
    """Return each worker's sample indices, int64, ascending except for ``shuffled``.

    ``labels`` are the targets of all samples: int64 class indices, or real numbers with
    samples along the first axis. ``alpha`` is the concentration of ``dirichlet``: small
    values give each worker few classes. Parts of the other kinds differ in size by at
    most one, or are all the same array of all samples. Raises ``ConfigError`` for an
    unknown kind, a kind that needs classes where there are none, an alpha that isn't
    positive, or more workers than samples.
    """
    if kind not in PARTITIONS:
        raise ConfigError(
            f"partition: no partition is called {kind!r}; {hint(kind, PARTITIONS)}"
        )
    if kind in _NEED_CLASSES and labels.dtype.kind == "f":
        others = ", ".join(name for name in PARTITIONS if name not in _NEED_CLASSES)
        raise ConfigError(
            f"partition: {kind} splits by class, but these targets are real numbers; "
            f"use one of {others}"
        )
    samples = len(labels)
    if workers < 1:
        raise ConfigError(f"workers: must be at least 1, got {workers}")
    if workers > samples:
        raise ConfigError(
            f"workers: {samples} samples can't be split over {workers} workers, "
            f"each needs one; use at most {samples} workers"
        )
    if not (np.isfinite(alpha) and alpha > 0):
        raise ConfigError(f"dirichlet_alpha: must be positive and finite, got {alpha}")
    return PARTITIONS[kind](labels, workers, alpha, seed)


def _contiguous(labels: Targets, workers: int, _: float, seed: int) -> list[Indices]:
    return np.array_split(np.arange(len(labels)), workers)


def _shuffled(labels: Targets, workers: int, _: float, seed: int) -> list[Indices]:
    order = generator(seed, PARTITION).permutation(len(labels))
    return np.array_split(order, workers)


def _by_label(labels: Targets, workers: int, _: float, seed: int) -> list[Indices]:
    parts = np.array_split(np.argsort(labels, kind="stable"), workers)
    return [np.sort(part) for part in parts]


def _dirichlet(labels: Targets, workers: int, alpha: float, seed: int) -> list[Indices]:
    """Split each class over workers by its own Dirichlet(alpha, .., alpha) shares."""
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
            # The largest part has a sample to spare: there are as many samples as
            # workers, or more.
            largest = max(range(workers), key=lambda w: whole[w].size)
            whole[worker], whole[largest] = whole[largest][:1], whole[largest][1:]
    return whole


def _all(labels: Targets, workers: int, _: float, seed: int) -> list[Indices]:
    return [np.arange(len(labels))] * workers


ALL = "all"
_NEED_CLASSES = ("by-label", "dirichlet")
PARTITIONS: dict[str, Callable[[Targets, int, float, int], list[Indices]]] = {
    "contiguous": _contiguous,
    "shuffled": _shuffled,
    "by-label": _by_label,
    "dirichlet": _dirichlet,
    ALL: _all,
}
