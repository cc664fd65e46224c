"""Partitions: every sample has a worker, and what each kind promises."""

from __future__ import annotations

import numpy as np
import pytest

from psmpi.base import ConfigError
from psmpi.data.partition import PARTITIONS, split


@pytest.mark.parametrize("workers", [1, 3, 100])
@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("partition", [name for name in PARTITIONS if name != "all"])
def test_split_assigns_each_sample_once_and_each_worker_at_least_one(
    partition, seed, workers
):
    labels = np.repeat(np.arange(4), 25)
    parts = split(partition, labels, workers, alpha=0.05, seed=seed)
    assert len(parts) == workers
    assert min(part.size for part in parts) >= 1
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(100))


def test_contiguous_keeps_file_order():
    parts = split("contiguous", np.zeros(10, np.int64), 3)
    assert [part.tolist() for part in parts] == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_by_label_assigns_each_worker_few_labels():
    labels = np.tile(np.arange(5), 20)
    parts = split("by-label", labels, 5)
    assert [np.unique(labels[part]).tolist() for part in parts] == [
        [i] for i in range(5)
    ]


@pytest.mark.parametrize(("alpha", "low", "high"), [(0.05, 0.6, 1), (1000, 0.2, 0.35)])
def test_dirichlet_alpha_sets_the_heterogeneity(alpha, low, high):
    labels = np.tile(np.arange(5), 400)
    parts = split("dirichlet", labels, 5, alpha=alpha)
    share = np.mean([np.bincount(labels[p]).max() / p.size for p in parts])
    assert low <= share <= high


@pytest.mark.parametrize("partition", ["shuffled", "dirichlet"])
def test_partitions_depend_on_the_seed(partition):
    labels = np.tile(np.arange(5), 20)
    first, again, other = (
        np.concatenate(split(partition, labels, 4, seed=seed)) for seed in (1, 1, 2)
    )
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


@pytest.mark.parametrize("kind", ["contiguous", "shuffled", "all"])
@pytest.mark.parametrize("shape", [(20,), (20, 3)])
def test_real_targets_are_split_by_position(kind, shape):
    labels = np.arange(20) % 2
    for real, of_classes in zip(
        split(kind, np.ones(shape), 3, seed=5),
        split(kind, labels, 3, seed=5),
        strict=True,
    ):
        np.testing.assert_array_equal(real, of_classes)


@pytest.mark.parametrize("kind", ["by-label", "dirichlet"])
def test_real_targets_have_no_labels_to_split_by(kind):
    with pytest.raises(ConfigError, match=f"{kind} splits by class, .* contiguous, sh"):
        split(kind, np.ones(20), 3)
