"""The l1 term, the ridge, and shards that hold all samples."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

from psmpi.algorithms.sgd import Gd
from psmpi.base import ConfigError, Problem
from psmpi.data.dataset import assemble
from psmpi.links.metering import Meter, MeteredProblem
from psmpi.problems import Mlp, Quadratic, Softmax, make_problem
from psmpi.runs import config, setup
from tests.helpers.problem_data import EVERY, MODELS, STORAGE, dataset, gradient, point

L1, L2 = 0.03, 0.05
SUPERVISED = [
    pytest.param(lambda **o: Softmax(dataset(), **o), id="softmax"),
    pytest.param(lambda **o: Softmax(dataset("csr"), **o), id="csr"),
    pytest.param(lambda **o: Mlp(dataset(), hidden=(4,), **o), id="mlp"),
]


def meter():
    return Meter(lambda: 0.0)


# -- l1 ----------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [None, np.array([0, 3])])
@pytest.mark.parametrize("make", SUPERVISED)
def test_l1_is_in_losses_and_in_no_gradient(make, batch):
    for plain, problem in [
        (make(l2=L2), make(l2=L2, l1=L1)),
        (make(l2=L2).shard(1, 3), make(l2=L2, l1=L1).shard(1, 3)),
    ]:
        x = point(problem)
        more = L1 * np.abs(x).sum()
        value, out = gradient(problem, x, batch)
        plain_value, plain_out = gradient(plain, x, batch)
        np.testing.assert_array_equal(out, plain_out)
        assert value == pytest.approx(plain_value + more)
        assert problem.loss(x) == pytest.approx(plain.loss(x) + more)


def test_the_optimum_is_unknown_with_l1():
    assert Softmax(dataset(), l2=L2, l1=L1).optimum() is None


def test_the_digest_changes_with_l1_and_stays_without():
    x, y = np.eye(4), np.array([0, 1, 0, 1])
    data = assemble("eye", "test", (x, y), dtype=np.float64)
    assert (
        Softmax(data, l2=L2).digest() == Softmax(data, l2=L2, l1=0).digest() == FROZEN
    )
    assert len({FROZEN, *(Softmax(data, l2=L2, l1=v).digest() for v in (1, 2))}) == 3


FROZEN = "52c85f0576a7296b3d9a4ec96fa386fa70ed07a69427010ab12a5dde18438342"


@pytest.mark.parametrize("l1", [-1, np.nan, np.inf])
def test_l1_is_checked(l1):
    with pytest.raises(ConfigError, match="l1: must be finite and at least 0, got"):
        Softmax(dataset(), l1=l1)


def proximal():
    """Return a run of an algorithm that has a proximal step."""

    class Proximal(Gd):
        proximal = True

    options = config.RunOptions(l1=L1, until=("residual=1",))
    return SimpleNamespace(algorithm="gd", run_options=options, build=Proximal)


def test_l1_reaches_the_problem_of_a_proximal_algorithm():
    prepared = setup.prepare(proximal())
    assert prepared.problem.l1 == L1
    assert prepared.problem.shard(1, 4).l1 == L1
    with pytest.raises(
        ConfigError, match="residual=1 needs the least loss, which is n"
    ):
        setup.find_optimum(prepared)


@pytest.mark.parametrize(
    ("run", "problem", "message"),
    [
        (
            config.configure("gd", l1=0.1),
            None,
            "l1: gd has no proximal step; take asylpg, or leave --l1 out",
        ),
        (
            config.configure("gd"),
            make_problem("digits", l1=0.1),
            "l1: gd has no proximal step",
        ),
        (
            config.configure("gd", l1=0.1),
            make_problem("digits"),
            "l1: 0.1 was asked for, but the problem that was given has 0.0; set it",
        ),
        (
            config.configure("gd", l1=0.1, data="synthetic:quadratic"),
            None,
            "l1: a quadratic has no l1 term, got 0.1; take other data",
        ),
        (
            config.configure("gd", l1=-0.1),
            None,
            "l1: must be finite and at least 0, got -0",
        ),
    ],
)
def test_l1_that_the_run_would_ignore_is_refused(run, problem, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        setup.prepare(run, problem)


# -- without the ridge -------------------------------------------------------------


@pytest.mark.parametrize("make", SUPERVISED)
def test_without_ridge_is_the_problem_of_l2_zero(make):
    for problem, expected in [
        (make(l2=L2, l1=L1), make(l2=0, l1=L1)),
        (make(l2=L2, l1=L1).shard(1, 3), make(l2=0, l1=L1).shard(1, 3)),
    ]:
        before = gradient(problem, point(problem))
        bare = problem.without_ridge()
        assert (bare.l2, bare.l1, problem.l2) == (0, L1, L2)
        assert bare.digest() == expected.digest()
        x = point(problem)
        for batch in (None, np.array([0, 3])):
            value, out = gradient(bare, x, batch)
            expected_value, expected_out = gradient(expected, x, batch)
            assert value == expected_value
            np.testing.assert_array_equal(out, expected_out)
        assert bare.loss(x) == expected.loss(x)
        after = gradient(problem, x)
        assert after[0] == before[0]
        np.testing.assert_array_equal(after[1], before[1])
        assert bare.without_ridge().l2 == 0


class Ridged(Quadratic):
    l2 = 0.5


def test_a_problem_without_a_ridge_returns_itself():
    plain = Quadratic(dim=3)
    assert plain.without_ridge() is plain
    assert (Problem.l1, Problem.l2, plain.l1, plain.l2) == (0, 0, 0, 0)
    with pytest.raises(ConfigError, match=r"Ridged: its ridge \(l2=0.5\) can't be tak"):
        Ridged(dim=3).without_ridge()


def test_a_metered_problem_without_its_ridge_stays_metered():
    clock = iter(range(100))
    own = Meter(lambda: float(next(clock)))
    metered = MeteredProblem(Softmax(dataset(), l2=L2, l1=L1), own)
    assert (metered.l1, metered.l2) == (L1, L2)
    bare = metered.without_ridge()
    assert isinstance(bare, MeteredProblem)
    assert (bare.l1, bare.l2) == (L1, 0)
    bare.loss(point(metered.problem))
    assert own.seconds["compute"] == 1


# -- the partition all -------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize(("model", "classes"), MODELS)
def test_every_worker_s_objective_is_f(model, classes, storage, workers):
    whole = model(dataset(storage, classes), l2=L2, l1=L1, partition="all")
    x = point(whole)
    value, full = gradient(whole, x)
    batch = np.array([40, 0, 7])
    batch_value, batch_full = gradient(whole, x, batch)
    for m in range(workers):
        part = whole.shard(m, workers)
        assert part.data is whole.data  # no copy
        assert part.samples == 41
        part_value, out = gradient(part, x)
        assert part_value == part.loss(x) == value
        np.testing.assert_array_equal(out, full)
        part_value, out = gradient(part, x, batch)
        assert part_value == batch_value
        np.testing.assert_array_equal(out, batch_full)
        assert part.smoothness() == pytest.approx(whole.smoothness())


@pytest.mark.parametrize("workers", [2, 5, 41])
def test_own_parts_add_up_to_the_full_gradient(workers):
    whole = Softmax(dataset(), l2=L2, partition="all")
    x = point(whole)
    shards = [whole.shard(m, workers) for m in range(workers)]
    parts = [MeteredProblem(shard, meter()).own_part() for shard in shards]
    assert np.concatenate(parts).tolist() == list(range(41))
    total = np.zeros_like(x)
    for shard, part in zip(shards, parts, strict=True):
        total += part.size * workers / 41 * gradient(shard, x, part)[1] / workers
    np.testing.assert_allclose(total, gradient(whole, x)[1], atol=1e-15)


@pytest.mark.parametrize("make", EVERY)
def test_other_partitions_have_no_own_part(make):
    assert make().own_part() is None
    assert make().shard(1, 3).own_part() is None
    assert Softmax(dataset(), partition="all").own_part() is None


def test_digests_of_the_partition_all_differ_by_worker():
    whole = Softmax(dataset(), partition="all")
    digests = [whole.digest(), Softmax(dataset()).digest()]
    digests += [whole.shard(m, 2).digest() for m in range(2)]
    assert len(set(digests)) == 4


def test_the_partition_all_needs_a_sample_for_each_worker():
    with pytest.raises(ConfigError, match="41 samples can't be split over 42"):
        Softmax(dataset(), partition="all").shard(0, 42)
