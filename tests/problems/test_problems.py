"""Problems: gradients compared with naive ones, shards, starts, optima, digests."""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest

from psmpi.base import ConfigError, Problem
from psmpi.data.dataset import assemble
from psmpi.problems import (
    PARTITIONS,
    PROBLEMS,
    LeastSquares,
    Logistic,
    Quadratic,
    Softmax,
    make_problem,
    optimum,
    row_blocks,
)
from psmpi.problems.linear import Linear
from psmpi.problems.supervised import Supervised
from tests.helpers.problem_data import (
    CLASSIFIERS,
    EVERY,
    L2,
    MODELS,
    QUADRATIC,
    REAL,
    STORAGE,
    dataset,
    gradient,
    point,
)
from tests.reference.naive_problems import (
    difference,
    logistic_loss,
    objective,
    softmax_loss,
    squared_loss,
)

NAIVE = {
    Softmax: softmax_loss,
    Logistic: logistic_loss,
    LeastSquares: squared_loss,
}
CURVATURE = {Softmax: 0.5, Logistic: 0.25, LeastSquares: 1.0}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PSMPI_CACHE", str(tmp_path / "cache"))


# -- gradients ---------------------------------------------------------------------


@pytest.mark.parametrize("block_rows", [1, 64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize(("model", "classes"), MODELS)
def test_gradient_is_the_naive_one(
    model, classes, storage, dtype, block_rows, monkeypatch
):
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 1)
    monkeypatch.setattr(row_blocks, "_LEAST_ROWS", block_rows * 7)  # 41 is no multiple
    data = dataset(storage, classes, dtype=dtype)
    problem = model(data, l2=L2)
    x = point(problem)
    value, out = gradient(problem, x)
    features = dataset("float", classes).x
    args = (features, data.y, classes, 1 / 41, L2)
    want_value, want = objective(NAIVE[model], x, *args)
    tolerance = 1e-12 if dtype == np.float64 else 2e-6
    assert out.dtype == dtype
    np.testing.assert_allclose(out, want, rtol=tolerance, atol=tolerance)
    assert value == pytest.approx(want_value, rel=tolerance)
    assert problem.loss(x) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize(("model", "classes"), MODELS)
def test_batch_gradient_is_the_naive_one(model, classes, storage):
    data = dataset(storage, classes)
    shard = model(data, l2=L2).shard(1, 3)  # 14 of 41 samples
    x = point(shard)
    batch = np.array([5, 0, 13, 5])
    value, out = gradient(shard, x, batch)
    rows = np.arange(14, 28)[batch]
    features = dataset("float", classes).x[rows]
    weight = 3 * 14 / 41 / 4
    want = objective(NAIVE[model], x, features, data.y[rows], classes, weight, L2)
    np.testing.assert_allclose(out, want[1], rtol=1e-12, atol=1e-12)
    assert value == pytest.approx(want[0])


@pytest.mark.parametrize("worker", [None, 1])
@pytest.mark.parametrize("make", EVERY)
def test_gradient_is_the_difference_quotient(make, worker):
    problem = make() if worker is None else make().shard(worker, 3)
    x = point(problem)
    np.testing.assert_allclose(
        gradient(problem, x)[1], difference(problem.loss, x), atol=1e-8
    )


@pytest.mark.parametrize("make", EVERY)
def test_batch_gradient_is_that_of_the_batch_loss(make):
    problem = make().shard(0, 2)
    batch = np.array([0, 3])
    x, out = point(problem), np.empty(problem.dim)
    want = difference(lambda at: problem.grad(at, out, batch), x)
    np.testing.assert_allclose(gradient(problem, x, batch)[1], want, atol=1e-8)


@pytest.mark.parametrize("make", EVERY)
def test_minibatch_gradient_is_unbiased(make):
    """Check that its mean over all batches of two samples is the full gradient."""
    problem = make().shard(1, 8)
    x = point(problem)
    pairs = itertools.combinations(range(problem.samples), 2)
    results = [gradient(problem, x, np.array(pair)) for pair in pairs]
    value, full = gradient(problem, x)
    np.testing.assert_allclose(np.mean([g for _, g in results], 0), full, atol=1e-13)
    assert np.mean([v for v, _ in results]) == pytest.approx(value)


@pytest.mark.parametrize("make", EVERY)
def test_float32_and_float64_points_agree(make):
    problem = make()
    x = point(problem).astype(np.float32)
    value, out = gradient(problem, x)
    value64, out64 = gradient(problem, x.astype(np.float64))
    assert value == pytest.approx(value64, rel=1e-6)
    np.testing.assert_allclose(out, out64, atol=1e-6)


@pytest.mark.parametrize(("model", "classes"), MODELS)
def test_huge_scores_neither_overflow_nor_warn(model, classes):
    problem = model(dataset(classes=classes, dtype=np.float32), l2=0)
    x = point(problem, 1e6)
    with np.errstate(all="raise", under="ignore"):
        value, out = gradient(problem, x)
    assert np.isfinite(value)
    assert np.isfinite(out).all()


# -- shards ------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 5, 40, 41])
@pytest.mark.parametrize(
    ("model", "classes", "partition"),
    [(*model, partition) for model in CLASSIFIERS for partition in PARTITIONS]
    + [(LeastSquares, REAL, name) for name in ("contiguous", "shuffled", "all")],
)
def test_shards_average_to_the_whole(model, classes, partition, workers):
    whole = model(dataset("bytes", classes), l2=L2, partition=partition)
    x = point(whole)
    parts = [whole.shard(m, workers) for m in range(workers)]
    results = [gradient(part, x) for part in parts]
    value, full = gradient(whole, x)
    copies = workers if partition == "all" else 1
    assert sum(part.samples for part in parts) == copies * whole.samples
    np.testing.assert_allclose(np.mean([g for _, g in results], 0), full, atol=1e-13)
    assert np.mean([v for v, _ in results]) == pytest.approx(value, rel=1e-13)


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_quadratic_shards_average_to_the_whole(workers):
    whole = Quadratic(**QUADRATIC, dtype=np.float64)
    x = point(whole)
    results = [gradient(whole.shard(m, workers), x) for m in range(workers)]
    value, full = gradient(whole, x)
    np.testing.assert_allclose(np.mean([g for _, g in results], 0), full, atol=1e-13)
    assert np.mean([v for v, _ in results]) == pytest.approx(value)


# -- start, bounds, accuracy -------------------------------------------------------


def test_glorot_start_is_bounded_and_seeded_with_zero_bias():
    problem = Softmax(dataset("float", 3))
    limit = np.sqrt(6 / (6 + 3))
    x = problem.start(3)
    weights, bias = (x[a:b] for a, b in itertools.pairwise(problem.bounds))
    assert 0.5 * limit < np.abs(weights).max() <= limit
    assert bias.tolist() == [0, 0, 0]
    np.testing.assert_array_equal(x, problem.shard(1, 4).start(3))
    assert (x != problem.start(4)).any()


@pytest.mark.parametrize("data", ["digits", "synthetic:quadratic"])
def test_zero_start(data):
    assert not make_problem(data, init="zeros").start(1).any()


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize(("model", "classes"), CLASSIFIERS)
def test_accuracy_is_the_share_of_correct_predictions(model, classes, storage):
    data = dataset(storage, classes)
    problem = model(data)
    x = point(problem)
    features = dataset("float", classes).x_test
    losses = [
        [NAIVE[model](x, row, label, classes)[0] for label in range(classes)]
        for row in features
    ]
    want = np.mean(np.argmin(losses, axis=1) == data.y_test)
    assert problem.accuracy(x) == pytest.approx(want)
    assert problem.shard(0, 2).accuracy(x) == pytest.approx(want)


def test_accuracy_is_none_without_test_data():
    problem = make_problem("synthetic:softmax,test=0")
    assert problem.accuracy(problem.start(0)) is None


# -- optimum, smoothness -----------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_quadratic_optimum_is_at_its_minimiser(workers):
    problem = Quadratic(dim=20, dtype=np.float64).shard(0, workers)
    value, out = gradient(problem, problem.minimiser)
    assert np.abs(out).max() < 1e-12
    assert value == pytest.approx(problem.optimum(), abs=1e-12)
    assert problem.optimum() <= 0


def test_quadratic_workers_have_different_minimisers():
    whole = Quadratic(dim=20)
    first, second = (whole.shard(m, 2).minimiser for m in range(2))
    assert np.linalg.norm(first - second) > 1


@pytest.mark.parametrize("condition", [1.0, 300.0])
def test_quadratic_has_its_condition_number(condition):
    problem = Quadratic(dim=12, condition=condition, dtype=np.float64)
    rows = [gradient(problem, problem.minimiser + unit)[1] for unit in np.eye(12)]
    values = np.linalg.eigvalsh(np.array(rows))
    assert values[-1] / values[0] == pytest.approx(condition)
    assert values[-1] == pytest.approx(problem.smoothness())


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize(("model", "classes"), CLASSIFIERS)
def test_optimum_is_certified_and_below_every_point(model, classes, storage):
    problem = model(dataset(storage, classes, dtype=np.float32), l2=L2)
    best = optimum.solve(problem)
    value, out = gradient(problem, best.x)
    assert value == best.value
    assert out @ out / (2 * L2) == pytest.approx(best.gap)
    assert best.gap <= 1e-10
    assert problem.optimum() == best.value


def test_optimum_of_one_sample_per_class_is_the_closed_form():
    """For two opposite points f = log(1 + exp(-w)) + (l2/2) w^2; w by bisection."""
    data = assemble("two", "test", (np.array([[1.0], [-1.0]]), np.array([1, 0])))
    low, high = 0.0, 50.0
    for _ in range(200):
        w = (low + high) / 2
        low, high = (w, high) if 1 / (1 + np.exp(w)) > L2 * w else (low, w)
    want = np.log1p(np.exp(-w)) + L2 / 2 * w * w
    assert Logistic(data, l2=L2).optimum() == pytest.approx(want, abs=1e-10)


def test_large_problems_start_in_float32(monkeypatch):
    monkeypatch.setattr(optimum, "_WARM", 1)
    problem = Softmax(dataset("bytes"), l2=L2)
    seen = []
    grad = problem.grad

    def spy(x, out, batch=None):
        seen.append(x.dtype)
        return grad(x, out, batch)

    monkeypatch.setattr(problem, "grad", spy)
    assert optimum.solve(problem).gap <= 1e-10
    assert seen[0] == np.float32
    assert seen[-1] == np.float64


@pytest.mark.parametrize("damage", [b"", b"{", b'{"layout": 1}', b"[]", b"\xff"])
def test_a_damaged_cache_file_is_replaced(damage, tmp_path, monkeypatch):
    problem = Softmax(dataset(), l2=L2)
    value = problem.optimum()
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage)
    assert problem.optimum() == value
    assert file.read_bytes() == whole
    monkeypatch.setattr(optimum, "solve", None)  # the value must come from the cache
    assert problem.optimum() == value


def test_an_unwritable_cache_does_no_harm(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PSMPI_CACHE", str(tmp_path / "file"))
    assert Softmax(dataset(), l2=L2).optimum() is not None


def test_an_optimum_without_certificate_is_none(monkeypatch):
    monkeypatch.setattr(optimum, "GAP", 1e-60)
    with pytest.warns(UserWarning, match="only proven to"):
        assert Softmax(dataset(), l2=L2).optimum() is None


def test_the_optimum_is_unknown_without_a_ridge():
    assert Logistic(dataset(classes=2), l2=0).optimum() is None


@pytest.mark.parametrize("features", [6, 100])
@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize(("model", "classes"), MODELS)
def test_smoothness_bounds_the_hessian_closely(model, classes, storage, features):
    data = dataset(storage, classes, features=features)
    shard = model(data, l2=L2).shard(1, 3)
    x = np.column_stack([dataset("float", classes, features=features).x, np.ones(41)])
    top = np.linalg.eigvalsh(x[14:28].T @ x[14:28])[-1]
    want = CURVATURE[model] * 3 / 41 * top + L2
    assert want <= shard.smoothness() <= 1.011 * want


# -- digest, registry --------------------------------------------------------------


@pytest.mark.parametrize("make", EVERY)
def test_digest_is_the_same_when_made_again(make):
    assert make().digest() == make().digest()
    assert make().shard(0, 2).digest() == make().shard(0, 2).digest()


def test_digest_changes_with_data_parameters_and_shard():
    base, other = dataset(), dataset()
    other.x[3, 2] += 1e-9
    relabelled = dataset()
    relabelled.y[0] = (relabelled.y[0] + 1) % 3
    tested = dataset()
    tested.x_test[0, 0] += 1
    digests = [
        Softmax(base).digest(),
        *(Softmax(data).digest() for data in (other, relabelled, tested)),
        Softmax(dataset("csr")).digest(),
        Softmax(base, l2=0.5).digest(),
        Softmax(base, seed=1).digest(),
        Softmax(base, init="zeros").digest(),
        Softmax(base, partition="dirichlet").digest(),
        Softmax(base, partition="dirichlet", dirichlet_alpha=2).digest(),
        Softmax(base).shard(0, 2).digest(),
        Softmax(base).shard(1, 2).digest(),
    ]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("where", [0, 5000, 2**21 - 1])
def test_digest_of_a_large_array_sees_any_change(where, monkeypatch):
    monkeypatch.setattr("psmpi.data.dataset._WHOLE_BYTES", 2**20)
    monkeypatch.setattr("psmpi.data.dataset._PIECES", 2)
    x = np.zeros((2**11, 2**10), np.uint8)
    y = np.arange(2**11) % 2
    before = assemble("big", "test", (x, y)).digest()
    x.reshape(-1)[where] = 1
    assert assemble("big", "test", (x, y)).digest() != before


def test_every_problem_is_registered():
    def below(base):
        for cls in base.__subclasses__():
            yield cls
            yield from below(cls)

    ours = {c for c in below(Problem) if c.__module__ in MODULES}
    assert ours - {Supervised, Linear} == set(PROBLEMS.values())


MODULES = tuple(
    f"psmpi.problems.{name}" for name in ("linear", "least_squares", "mlp", "quadratic")
)


@pytest.mark.parametrize(
    ("data", "model", "dim"),
    [
        ("digits", Softmax, 650),
        ("synthetic:softmax,features=3,classes=2", Softmax, 8),
        ("synthetic:logistic,features=3", Logistic, 4),
        ("synthetic:linear,features=3", LeastSquares, 4),
        ("synthetic:linear,features=3,outputs=2", LeastSquares, 8),
        ("synthetic:quadratic,dim=7,spread=0", Quadratic, 7),
    ],
)
def test_make_problem_chooses_the_model(data, model, dim):
    problem = make_problem(data)
    assert type(problem) is model
    assert problem.dim == dim == problem.bounds[-1] == problem.start(0).size
    assert problem.start(0).dtype == np.float32


# -- errors ------------------------------------------------------------------------

SMALL = dataset()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Softmax(SMALL, l2=-1), "l2: must be finite and at least 0, got -1"),
        (lambda: Softmax(SMALL, l2=np.nan), "l2: .* got nan"),
        (lambda: Softmax(SMALL, init="gloro"), "init: .*did you mean glorot[?]"),
        (lambda: Softmax(SMALL, partition="bylabel"), "did you mean by-label[?]"),
        (lambda: Softmax(SMALL, dirichlet_alpha=0), "dirichlet_alpha: must be pos"),
        (lambda: Softmax(SMALL).shard(0, 42), "41 samples can't be split over 42"),
        (lambda: Softmax(SMALL).shard(2, 2), "worker: must lie in 0 .. 1, got 2"),
        (lambda: Softmax(SMALL).shard(0, 2).shard(0, 2), "already the shard of w"),
        (lambda: Quadratic().shard(0, 2).shard(0, 2), "already the shard of worker"),
        (lambda: Logistic(SMALL), "logistic: made has 3 classes"),
        (lambda: Softmax(SMALL).start(-1), "seed: must lie in"),
        (lambda: Softmax(SMALL).loss(np.zeros(3)), r"x: must be .* of 21, got \(3,\)"),
        (lambda: Softmax(SMALL).loss(np.zeros(21, np.int64)), "x: must be a float32"),
        (lambda: Softmax(SMALL).grad(np.zeros(21), np.zeros(20)), "out: must match"),
        (lambda: gradient(Softmax(SMALL), np.zeros(21), np.array([41])), "0 .. 40"),
        (lambda: gradient(Softmax(SMALL), np.zeros(21), np.array([-1])), "0 .. 40"),
        (lambda: gradient(Softmax(SMALL), np.zeros(21), np.array([])), "at least one"),
        (lambda: gradient(Quadratic(), np.zeros(100), np.array([1000])), "0 .. 999"),
        (lambda: Quadratic(samples=3), "samples must be even"),
        (lambda: Quadratic(spread=1), r"spread must be in \[0, 1\), got 1"),
        (lambda: Quadratic(condition=0.5), "condition must be finite, at least 1"),
        (lambda: make_problem("synthetic:quadratc"), "did you mean quadratic[?]"),
        (lambda: make_problem("synthetic:quadratic,dim=x"), "dim must be an integer"),
    ],
)
def test_errors_name_the_thing(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


# -- real data ---------------------------------------------------------------------


@pytest.mark.skipif(
    not os.environ.get("PSMPI_DATA"), reason="PSMPI_DATA is not set: no MNIST files"
)
@pytest.mark.timeout(300)
@pytest.mark.skipif(
    not os.environ.get("PSMPI_SLOW"), reason="takes 30 s: set PSMPI_SLOW to run it"
)
def test_mnist_optimum_is_the_published_one():
    problem = make_problem("mnist", l2=0.01)
    best = optimum.solve(problem)
    assert problem.dim == 7850
    assert best.value == pytest.approx(0.5551074, abs=5e-8)
    assert problem.accuracy(best.x) == pytest.approx(0.9082)
