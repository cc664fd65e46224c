"""Differences of gradients at two points, which variance reduction needs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.sparse import csr_array

from psmpi.base import ConfigError, Problem
from psmpi.data.dataset import assemble
from psmpi.links.metering import Meter, MeteredProblem
from psmpi.problems import Logistic, Mlp, Softmax, make_problem
from tests.helpers.problem_data import EVERY, MODELS, REAL, dataset, gradient, point

BATCHES = [np.array([0]), np.array([5, 0, 12, 5]), np.array([3, 11]), np.arange(13)]


def two_points(problem):
    x = point(problem)
    return x, (x[::-1] * 0.8).copy()


def naive(problem, x, reference, batch):
    return gradient(problem, x, batch)[1] - gradient(problem, reference, batch)[1]


def sparse(classes, samples=41, features=50, dtype=np.float64):
    """Return CSR data with few entries per row and none in row 0."""
    draw = np.random.Generator(np.random.Philox(key=7))
    x = draw.standard_normal((samples, features))
    x[draw.random(x.shape) < 0.9] = 0
    x[0] = 0
    y = np.arange(samples) % classes if classes != REAL else np.arange(samples) / 8
    return assemble("made", "test", (csr_array(x), y), dtype=dtype, kind="auto")


MLP = pytest.param(lambda: Mlp(dataset("csr"), hidden=(4,), l2=0), id="mlp")


@pytest.mark.parametrize("batch", [None, *BATCHES], ids=str)
@pytest.mark.parametrize("worker", [None, 1])
@pytest.mark.parametrize("make", [*EVERY, MLP])
def test_difference_is_the_difference_of_two_gradients(make, worker, batch):
    problem = make() if worker is None else make().shard(worker, 3)
    if batch is not None:
        batch = batch[batch < problem.samples]
    x, reference = two_points(problem)
    out = np.full_like(x, np.nan)
    assert problem.difference(x, reference, out, batch) is None
    np.testing.assert_array_equal(out, naive(problem, x, reference, batch))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("l2", [0, 0.05])
@pytest.mark.parametrize(("model", "classes"), MODELS)
def test_consecutive_sparse_differences(model, classes, l2, dtype):
    """Alternate between two arrays ``out``, which the problem clears sparsely."""
    data = sparse(classes, dtype=dtype)
    problem = model(data, l2=l2, partition="all").shard(1, 3)
    x, reference = two_points(problem)
    tolerance = 1e-13 if dtype == np.float64 else 3e-6
    first, second = (np.full_like(x, np.nan) for _ in range(2))
    outs = [first, first, second, first, second, second]
    for step, out in enumerate(outs):
        batch = BATCHES[step % 4]
        support = problem.difference(x, reference, out, batch)
        expected = naive(problem, x, reference, batch)
        np.testing.assert_allclose(out, expected, atol=tolerance)
        if l2:
            assert support is None
            continue
        assert support.dtype == np.int64
        assert (np.diff(support) > 0).all()
        np.testing.assert_array_equal(support, reached(data, batch, problem.columns))
        outside = np.ones(x.size, bool)
        outside[support] = False
        assert not out[outside].any()
        x += dtype(0.1)


def reached(data, batch, columns):
    used = np.flatnonzero(data.x[batch].toarray().any(axis=0))
    rows = [*used.tolist(), data.features]
    return [row * columns + column for row in rows for column in range(columns)]


@pytest.mark.parametrize("between", ["zeros", "all", "dense", "other"])
def test_an_array_that_was_overwritten_is_cleared(between):
    problem = Logistic(sparse(2), l2=0)
    x, reference = two_points(problem)
    out, other = np.full_like(x, np.nan), np.full_like(x, np.nan)
    problem.difference(x, reference, out, BATCHES[3])
    if between == "zeros":
        out[:] = 0
    elif between == "all":
        assert problem.difference(x, reference, out) is None
    elif between == "dense":
        with pytest.raises(ConfigError):
            problem.difference(x, reference, out, np.array([99]))
        out[:] = np.nan  # after an error the array may hold anything
    else:
        problem.difference(x, reference, other, BATCHES[2])
        out[:] = np.nan
    problem.difference(x, reference, out, BATCHES[2])
    expected = naive(problem, x, reference, BATCHES[2])
    np.testing.assert_allclose(out, expected, atol=1e-13)


def test_a_problem_without_its_ridge_remembers_no_array():
    whole = Logistic(sparse(2), l2=0.05)
    x, reference = two_points(whole)
    out = np.full_like(x, np.nan)
    bare = whole.without_ridge()
    bare.difference(x, reference, out, BATCHES[3])
    again = bare.without_ridge()
    assert again.difference(x, reference, out, BATCHES[2]).size < 20
    expected = naive(bare, x, reference, BATCHES[2])
    np.testing.assert_allclose(out, expected, atol=1e-13)


def test_the_default_takes_both_dtypes_also_after_an_error():
    problem = Softmax(dataset(), l2=0.05)
    x, reference = two_points(problem)
    with pytest.raises(ConfigError, match="out: must match x"):
        problem.difference(x, reference, np.empty(3), BATCHES[1])
    for dtype in (np.float64, np.float32, np.float64):
        out = np.empty_like(x, dtype)
        a, b = x.astype(dtype), reference.astype(dtype)
        assert Problem.difference(problem, a, b, out, BATCHES[1]) is None
        np.testing.assert_array_equal(out, naive(problem, a, b, BATCHES[1]))


@pytest.mark.parametrize(
    ("x", "reference", "out", "message"),
    [
        (21, 20, 21, r"reference: must match x, \(21,\) of float64, got \(20,\)"),
        (21, 21, 20, "out: must match x"),
        (20, 20, 20, "x: must be a float32 or float64 vector of 51"),
    ],
)
def test_vectors_that_do_not_match_are_refused(x, reference, out, message):
    problem = Logistic(sparse(2), l2=0)
    with pytest.raises(ConfigError, match=message):
        problem.difference(np.ones(x), np.ones(reference), np.ones(out), BATCHES[1])


# -- metered -----------------------------------------------------------------------


@pytest.mark.parametrize("l2", [0, 0.05])
def test_a_metered_difference_is_timed_and_must_be_finite(l2):
    clock = iter(range(100))
    meter = Meter(lambda: float(next(clock)))
    problem = MeteredProblem(Logistic(sparse(2, dtype=np.float32), l2=l2), meter)
    x, reference = two_points(problem.problem)
    out = np.full_like(x, np.nan)
    support = problem.difference(x, reference, out, BATCHES[3])
    assert (support is None) == bool(l2)
    expected = naive(problem.problem, x, reference, BATCHES[3])
    np.testing.assert_allclose(out, expected, atol=1e-6)
    assert (
        meter.seconds["compute"] == 3
    )  # between the first and the last of four readings
    x[50] = np.nan
    with pytest.raises(ConfigError, match="batch of samples 3, 11 of the shard"):
        problem.difference(x, reference, out, BATCHES[2])


# -- a million features ------------------------------------------------------------


def test_a_million_features_are_never_dense(tmp_path, monkeypatch):
    """As dense arrays, 200 rows of a million floats would take 800 MB."""
    monkeypatch.setenv("PSMPI_CACHE", str(tmp_path))
    draw = np.random.default_rng(0)
    lines = []
    for i in range(200):
        columns = np.unique(np.append(draw.integers(1, 10**6, 9), 10**6))
        entries = " ".join(f"{c}:{draw.standard_normal():.3f}" for c in columns)
        lines.append(f"{i % 2 * 2 - 1} {entries}\n")
    (tmp_path / "wide").write_text("".join(lines))
    tracemalloc.start()
    try:
        whole = make_problem(f"libsvm:{tmp_path / 'wide'}", l2=0.0)
        shard = whole.shard(1, 4)
        x = np.full(10**6 + 1, 0.1, np.float32)
        out = np.zeros_like(x)
        batch = shard.batch(3, 8)
        value = shard.grad(x, out, batch)
        assert shard.loss(x) == pytest.approx(value, rel=0.5)
        support = shard.difference(x, 2 * x, out, batch)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(whole, Logistic)
    assert isinstance(shard.data.x, csr_array)
    assert peak < 60 * 2**20
    assert support.size <= 8 * 10 + 1
    expected = naive(shard, x, 2 * x, batch)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    assert np.flatnonzero(expected).tolist() == support.tolist()
