"""Perceptrons: compared with a naive one and with difference quotients, and in runs."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from psmpi.base import ConfigError
from psmpi.problems import Mlp, Softmax, make_problem, row_blocks
from psmpi.runs import config, job, local, setup
from tests.helpers.problem_data import L2, STORAGE, dataset, gradient, point
from tests.reference.naive_problems import difference, mlp_layers, mlp_loss, objective

ACTIVATIONS = ["relu", "tanh", "sigmoid"]
LOSSES = ["softmax", "logistic"]
DEPTHS = [(4,), (5, 3, 4)]


def perceptron(data, hidden=(5, 3, 4), activation="tanh", loss="softmax", **options):
    return Mlp(data, hidden=hidden, activation=activation, loss=loss, l2=L2, **options)


def naive(problem, x, rows, labels, weight):
    """Return (f, gradient) by the naive formulas."""
    sizes = (6, *problem.hidden, problem.data.classes)
    functions = (problem.activation, problem.criterion)

    def sample(x, row, label, _):
        return mlp_loss(x, row, label, sizes, *functions)

    return objective(sample, x, rows, labels, None, weight, L2)


# -- loss and gradient -------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", DEPTHS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("storage", STORAGE)
def test_gradient_is_the_naive_one(storage, dtype, hidden, activation, loss):
    problem = perceptron(dataset(storage, dtype=dtype), hidden, activation, loss)
    x = point(problem)
    value, out = gradient(problem, x)
    features, labels = dataset("float").x, problem.data.y
    want_value, want = naive(problem, x, features, labels, 1 / 41)
    tolerance = 1e-12 if dtype == np.float64 else 2e-6
    assert out.dtype == dtype
    np.testing.assert_allclose(out, want, rtol=tolerance, atol=tolerance)
    assert value == pytest.approx(want_value, rel=tolerance)
    assert problem.loss(x) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch", [None, np.tile([40, 0, 13, 13, 7], 5)])
@pytest.mark.parametrize("storage", STORAGE)
def test_the_result_is_the_same_in_one_block_and_in_several(
    storage, batch, dtype, monkeypatch
):
    """Compare 41 rows, or a batch of 25, in one block and in blocks of 7."""
    data = dataset(storage, dtype=dtype)
    whole = perceptron(data)
    x = point(whole)
    value, out = gradient(whole, x, batch)
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 1)
    monkeypatch.setattr(row_blocks, "_LEAST_ROWS", 7)
    parts = perceptron(data)
    assert parts._train.rows(x.dtype) == 7
    got_value, got = gradient(parts, x, batch)
    tolerance = 1e-13 if dtype == np.float64 else 1e-6
    np.testing.assert_allclose(got, out, rtol=tolerance, atol=tolerance)
    assert got_value == pytest.approx(value, rel=tolerance)
    assert parts.accuracy(x) == whole.accuracy(x)


@pytest.mark.parametrize("storage", ["float", "csr"])
def test_blocks_are_small_if_layers_are_wide(storage):
    """Activations have to fit into a block too: here 3 + 3 + 1000 numbers a row."""
    data = dataset(storage, samples=4000)
    rows = perceptron(data, hidden=(3, 1000))._train.rows(np.dtype(np.float64))
    assert rows == row_blocks.BLOCK_BYTES // (1006 * 8)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("storage", STORAGE)
def test_batch_gradient_is_the_naive_one(storage, loss):
    shard = perceptron(dataset(storage), loss=loss).shard(1, 3)  # 14 of 41 samples
    x = point(shard)
    batch = np.array([5, 0, 13, 5])
    value, out = gradient(shard, x, batch)
    rows = np.arange(14, 28)[batch]
    features, labels = dataset("float").x[rows], dataset().y[rows]
    want_value, want = naive(shard, x, features, labels, 3 * 14 / 41 / 4)
    np.testing.assert_allclose(out, want, rtol=1e-12, atol=1e-12)
    assert value == pytest.approx(want_value)


@pytest.mark.parametrize("batch", [None, np.array([0, 3])])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", DEPTHS)
def test_gradient_is_the_difference_quotient(hidden, activation, loss, batch):
    problem = perceptron(dataset(), hidden, activation, loss).shard(1, 3)
    x, out = point(problem), np.empty(problem.dim)
    want = difference(lambda at: problem.grad(at, out, batch), x)
    np.testing.assert_allclose(gradient(problem, x, batch)[1], want, atol=1e-8)


def test_earlier_calls_don_t_change_a_result():
    """Use the shared buffers for batches, other dtypes and points in between."""
    problem = perceptron(dataset())
    x = point(problem)
    value, out = gradient(problem, x)
    gradient(problem, 2 * x, np.array([1, 2]))
    gradient(problem, x.astype(np.float32))
    problem.loss(3 * x)
    problem.accuracy(4 * x)
    again_value, again = gradient(problem, x)
    assert again_value == value
    np.testing.assert_array_equal(again, out)


def test_the_ridge_adds_its_loss_and_gradient():
    data = dataset()
    ridged, bare = (
        perceptron(data),
        Mlp(data, hidden=(5, 3, 4), activation="tanh", l2=0),
    )
    x = point(ridged)
    (value, out), (bare_value, bare_out) = gradient(ridged, x), gradient(bare, x)
    np.testing.assert_allclose(out - bare_out, L2 * x, rtol=1e-9, atol=1e-15)
    assert value - bare_value == pytest.approx(L2 / 2 * float(x @ x))


@pytest.mark.parametrize("workers", [1, 5, 41])
@pytest.mark.parametrize("storage", STORAGE)
def test_shards_average_to_the_whole(storage, workers):
    whole = perceptron(dataset(storage))
    x = point(whole)
    results = [gradient(whole.shard(m, workers), x) for m in range(workers)]
    value, full = gradient(whole, x)
    np.testing.assert_allclose(np.mean([g for _, g in results], 0), full, atol=1e-13)
    assert np.mean([v for v, _ in results]) == pytest.approx(value, rel=1e-13)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_huge_scores_neither_overflow_nor_warn(activation, loss):
    data = dataset(dtype=np.float32)
    problem = Mlp(data, hidden=(4,), activation=activation, loss=loss, l2=0)
    x = point(problem, 1e6)
    with np.errstate(all="raise", under="ignore"):
        value, out = gradient(problem, x)
    assert value > 1e4  # the scores are huge
    assert np.isfinite(value)
    assert np.isfinite(out).all()


# -- vector, start, accuracy, digest -----------------------------------------------


def test_bounds_give_each_tensor_its_own_entry():
    problem = perceptron(dataset(), hidden=(5, 3))
    assert problem.bounds == (0, 30, 35, 50, 53, 62, 65)
    assert problem.dim == 65


def test_start_is_glorot_layer_by_layer():
    problem = perceptron(dataset(), hidden=(50, 30))
    x = problem.start(3)
    parts = [x[a:b] for a, b in itertools.pairwise(problem.bounds)]
    for weights, bias, fans in zip(
        parts[::2], parts[1::2], [(6, 50), (50, 30), (30, 3)], strict=True
    ):
        limit = np.sqrt(6 / sum(fans))
        assert 0.9 * limit < np.abs(weights).max() <= limit
        assert bias.tolist() == [0] * fans[1]


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize(
    ("loss", "classes"), [("softmax", 3), ("logistic", 3), ("logistic", 2)]
)
def test_accuracy_is_the_share_of_correct_predictions(loss, classes, storage):
    data = dataset(storage, classes)
    problem = perceptron(data, loss=loss)
    x = point(problem, 2)
    sizes = (6, 5, 3, 4, classes)
    rows = dataset("float", classes).x_test
    scores = [mlp_layers(x, row, sizes, "tanh")[0][-1] for row in rows]
    guesses = np.argmax(scores, axis=1)
    assert len(set(guesses)) > 1
    want = np.mean(guesses == data.y_test)
    assert problem.accuracy(x) == pytest.approx(want)
    assert problem.shard(0, 2).accuracy(x) == pytest.approx(want)


def test_optimum_and_smoothness_are_unknown():
    problem = perceptron(dataset())
    assert problem.optimum() is None
    with pytest.raises(ConfigError, match="Mlp: its smoothness is not known"):
        problem.smoothness()


def test_digest_changes_with_layers_activation_and_loss():
    data = dataset()
    digests = [
        perceptron(data).digest(),
        perceptron(data, hidden=(5, 4, 3)).digest(),
        perceptron(data, hidden=(5,)).digest(),
        perceptron(data, activation="relu").digest(),
        perceptron(data, loss="logistic").digest(),
        perceptron(data, init="zeros").digest(),
        perceptron(data).shard(0, 2).digest(),
    ]
    assert len(set(digests)) == len(digests)
    assert perceptron(data).digest() == digests[0]


SMALL = dataset()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: perceptron(SMALL, hidden=()), r"hidden: .*got \(\); give sizes like"),
        (lambda: perceptron(SMALL, hidden=(5, 0)), r"at least 1 unit, got \(5, 0\)"),
        (lambda: perceptron(SMALL, hidden=(2.5,)), r"at least 1 unit, got \(2.5,\)"),
        (
            lambda: perceptron(SMALL, activation="rely"),
            "activation: .*did you mean relu[?]",
        ),
        (
            lambda: perceptron(SMALL, loss="logistik"),
            "loss: .*did you mean logistic[?]",
        ),
        (
            lambda: perceptron(SMALL).loss(np.zeros(3)),
            r"x: must be .* of 84, got \(3,\)",
        ),
        (lambda: perceptron(SMALL).grad(np.zeros(84), np.zeros(83)), "out: must match"),
        (lambda: gradient(perceptron(SMALL), np.zeros(84), np.array([41])), "0 .. 40"),
        (lambda: make_problem("digits", loss="logistic"), "hidden: no layers, but"),
        (lambda: make_problem("digits", activation="tanh"), "activation tanh"),
        (lambda: make_problem("synthetic:quadratic", hidden=(4,)), "has no layers"),
    ],
)
def test_errors_name_the_thing(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


# -- in a run ----------------------------------------------------------------------

RUN = {
    "data": "synthetic:softmax,samples=200,features=6,classes=3",
    "workers": 2,
    "rounds": 50,
    "lr": 0.3,
    "reduce": "mean",
    "batch": 20,
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_run_lowers_the_loss_and_reports_no_residual(loss):
    run = config.configure("sgd", **RUN, hidden="8,4", loss=loss, activation="tanh")
    result = local.run_local(run)
    assert result.x.size == 6 * 8 + 8 + 8 * 4 + 4 + 4 * 3 + 3
    assert result.rows[-1]["loss"] < 0.9 * result.rows[0]["loss"]
    assert {row["residual"] for row in result.rows} == {None}


def test_a_target_that_needs_the_optimum_is_refused():
    run = config.configure("sgd", **RUN, hidden="8,4", until="residual=1e-3")
    with pytest.raises(ConfigError, match="needs the least loss, which is not known"):
        local.run_local(run)


@pytest.mark.parametrize(
    ("hidden", "sizes"),
    [
        ("8,4", (8, 4)),
        (" 8, 4", (8, 4)),
        (("8", "4"), (8, 4)),
        (["8,4"], (8, 4)),
        ([8, 4], (8, 4)),
        (8, (8,)),
        ("", ()),
        ((), ()),
    ],
)
def test_sizes_can_be_given_in_many_ways(hidden, sizes):
    run = config.configure("sgd", **RUN, hidden=hidden)
    assert run.run_options.hidden == sizes
    problem = setup.prepare(run).problem
    assert getattr(problem, "hidden", ()) == sizes
    assert isinstance(problem, Mlp if sizes else Softmax)


def test_all_options_of_perceptrons_reach_the_ranks():
    run = config.configure(
        "sgd", **RUN, hidden="8,4", activation="sigmoid", loss="logistic"
    )
    (entry,) = job.decode(job.encode([run], [Path("x")], [False]))
    again = entry.configure()
    assert (again.run_options, again.given) == (run.run_options, run.given)
    problem = setup.prepare(again).problem
    assert (problem.hidden, problem.activation) == ((8, 4), "sigmoid")
    assert problem.criterion == "logistic"
    assert setup.prepare(run).digests() == setup.prepare(again).digests()
