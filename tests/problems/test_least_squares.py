"""Least squares: several outputs, the closed-form optimum, refusals, and a run."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from psmpi.base import ConfigError
from psmpi.data.dataset import assemble
from psmpi.problems import (
    LeastSquares,
    Logistic,
    Mlp,
    Softmax,
    least_squares,
    make_problem,
    optimum,
)
from psmpi.runs import config, local
from tests.helpers.problem_data import L2, REAL, STORAGE, dataset, gradient, point
from tests.reference.naive_problems import objective, squared_loss


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PSMPI_CACHE", str(tmp_path / "cache"))


def outputs(storage="float", dtype=np.float64, columns=3, samples=41):
    """Return data with several real targets for each sample."""
    draw = np.random.Generator(np.random.Philox(key=5))
    x = draw.standard_normal((samples, 6))
    x[draw.random(x.shape) < 0.5] = 0
    y = draw.standard_normal((samples, columns))
    features = csr_array(x) if storage == "csr" else x
    data = assemble("made", "test", (features, y), dtype=dtype, kind="real")
    return data, x, y


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch", [None, np.array([5, 0, 13, 5])])
@pytest.mark.parametrize("storage", ["float", "csr"])
def test_gradient_with_several_outputs_is_the_naive_one(storage, batch, dtype):
    data, x, y = outputs(storage, dtype)
    problem = LeastSquares(data, l2=L2)
    at = point(problem)
    value, out = gradient(problem, at, batch)
    rows = np.arange(41) if batch is None else batch
    want = objective(squared_loss, at, x[rows], y[rows], None, 1 / len(rows), L2)
    tolerance = 1e-12 if dtype == np.float64 else 3e-6
    np.testing.assert_allclose(out, want[1], rtol=tolerance, atol=tolerance)
    assert value == pytest.approx(want[0], rel=tolerance)
    assert problem.bounds == (0, 18, 21)


def test_shards_with_several_outputs_average_to_the_whole():
    whole = LeastSquares(outputs()[0], l2=L2, partition="shuffled")
    x = point(whole)
    parts = [gradient(whole.shard(m, 4), x)[1] for m in range(4)]
    np.testing.assert_allclose(np.mean(parts, 0), gradient(whole, x)[1], atol=1e-13)


def test_one_column_of_targets_is_one_output():
    data, _, y = outputs(columns=1)
    assert data.y.shape == (41,)
    assert data.y.tolist() == y[:, 0].tolist()


def closed_form(x, y, l2):
    """Return min f by an augmented least-squares problem, without normal equations."""
    rows = np.column_stack([x, np.ones(len(x))])
    left = np.vstack([rows / np.sqrt(len(x)), np.sqrt(l2) * np.eye(rows.shape[1])])
    right = np.concatenate([y / np.sqrt(len(x)), np.zeros((rows.shape[1], y.shape[1]))])
    solution = np.linalg.lstsq(left, right, rcond=None)[0]
    return 0.5 * np.sum((left @ solution - right) ** 2)


@pytest.mark.parametrize("direct", [0, 1024])
@pytest.mark.parametrize("l2", [0, 1e-4, 0.05])
@pytest.mark.parametrize("storage", ["float", "csr"])
def test_optimum_is_the_closed_form(storage, l2, direct, monkeypatch):
    monkeypatch.setattr(least_squares, "_DIRECT", direct)
    data, x, y = outputs(storage, np.float32)
    x = data.rows(slice(None))
    x = x.toarray() if storage == "csr" else x
    value = LeastSquares(data, l2=l2).optimum()
    if l2 == 0 and not direct:
        assert value is None  # L-BFGS has no certificate without a ridge
    else:
        assert value == pytest.approx(closed_form(x.astype(float), y, l2), abs=1e-10)


@pytest.mark.parametrize("scale", [1e-3, 1, 1e4])
@pytest.mark.parametrize("storage", STORAGE)
def test_the_certificate_holds_for_large_and_small_targets(storage, scale):
    data = dataset(storage, REAL)
    data.y[:] *= scale
    problem = LeastSquares(data, l2=L2)
    best = problem._solve()
    value, out = gradient(problem, best.x)
    assert value == best.value == problem.optimum()
    assert best.gap <= optimum.GAP
    assert np.linalg.norm(out) <= 1e-12 * max(scale, 1)
    rng = np.random.default_rng(0)
    near = best.x + 1e-3 * rng.standard_normal(best.x.size)
    assert problem.loss(near) > value


@pytest.mark.filterwarnings("error")
def test_dependent_features_without_ridge_have_no_known_optimum():
    draw = np.random.Generator(np.random.Philox(key=5))
    x = np.repeat(draw.standard_normal((41, 3)), 2, axis=1)
    data = assemble("twice", "test", (x, x[:, 0] / 3), dtype=np.float64, kind="auto")
    assert LeastSquares(data, l2=0).optimum() is None
    assert LeastSquares(data, l2=1e-6).optimum() is not None
    assert LeastSquares(data, l2=1e-6, l1=0.1).optimum() is None


def test_the_optimum_is_cached(monkeypatch):
    problem = LeastSquares(dataset(classes=REAL), l2=L2)
    value = problem.optimum()
    monkeypatch.setattr(LeastSquares, "_solve", None)
    assert problem.optimum() == value


def test_there_is_no_accuracy_even_with_test_data():
    problem = LeastSquares(dataset(classes=REAL))
    assert problem.data.y_test is not None
    assert problem.accuracy(point(problem)) is None


def test_digest_changes_with_the_targets():
    data, other = dataset(classes=REAL), dataset(classes=REAL)
    other.y[3] += 1e-9
    assert LeastSquares(data).digest() == LeastSquares(dataset(classes=REAL)).digest()
    assert LeastSquares(data).digest() != LeastSquares(other).digest()


TARGETS, CLASSES = dataset(classes=REAL), dataset()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LeastSquares(CLASSES), "least squares: made has 3 classes, but"),
        (lambda: Softmax(TARGETS), "softmax: the targets of made are real .*LeastSq"),
        (lambda: Logistic(TARGETS), "logistic: made has 0 classes.*use LeastSquares"),
        (lambda: Mlp(TARGETS, hidden=(4,)), "hidden: the targets of made are real"),
        (lambda: LeastSquares(TARGETS, partition="by-label"), "by-label splits by cla"),
        (
            lambda: LeastSquares(TARGETS, partition="dirichlet"),
            "partition: dirichlet splits by class, .* use one of contiguous, shuffled,",
        ),
        (
            lambda: make_problem("synthetic:linear", hidden=(4,)),
            "leave hidden out for least squares",
        ),
    ],
)
def test_classes_and_targets_are_told_apart(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


def test_gradient_descent_reaches_the_optimum():
    run = config.configure(
        "gd",
        data="synthetic:linear,samples=100,features=4",
        workers=3,
        rounds=2000,
        lr=0.3,
        reduce="mean",
        dtype="float64",
        until="residual=1e-6",
    )
    result = local.run_local(run)
    assert result.rows[-1]["residual"] <= 1e-6
    assert result.rows[-1]["accuracy"] is None
