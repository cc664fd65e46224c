"""Which targets are classes and which are real numbers: the rule and its override."""

from __future__ import annotations

import numpy as np
import pytest

from psmpi.base import ConfigError
from psmpi.data.registry import forget, load
from psmpi.data.targets import MOST_CLASSES, split_option
from psmpi.problems import LeastSquares, Logistic, Softmax, make_problem

HALVES = np.arange(120) / 2
MANY = np.arange(120)  # more different integers than classes are expected


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PSMPI_CACHE", str(tmp_path / "cache"))
    forget()


def write_npz(tmp_path, y, **test):
    y = np.asarray(y)
    x = np.random.Generator(np.random.Philox(key=3)).standard_normal((len(y), 4))
    np.savez(tmp_path / "a.npz", X=x, y=y, **test)
    return f"npz:{tmp_path / 'a.npz'}"


def write_libsvm(tmp_path, y):
    path = tmp_path / "a.txt"
    path.write_text("".join(f"{value} 1:{i + 1}\n" for i, value in enumerate(y)))
    return f"libsvm:{path}"


@pytest.mark.parametrize("write", [write_npz, write_libsvm])
@pytest.mark.parametrize(
    ("y", "option", "model"),
    [
        ([0, 1, 0, 1], "", Logistic),
        ([0.0, 1.0, 2.0, 1.0], "", Softmax),
        (np.arange(MOST_CLASSES), "", Softmax),
        ([0, 1, 0.5, 1], "", LeastSquares),
        (HALVES, "", LeastSquares),
        (HALVES, ",targets=real", LeastSquares),
        (MANY, ",targets=real", LeastSquares),
        (MANY, ",targets=classes", Softmax),
        ([-1, 1, -1, 1], ",targets=real", LeastSquares),
        ([3, 3, 3, 3], ",targets=real", LeastSquares),
    ],
)
def test_the_rule_and_its_override(tmp_path, write, y, option, model):
    name = write(tmp_path, y) + option
    problem = make_problem(name)
    assert type(problem) is model
    assert problem.data.name == name
    if model is LeastSquares:
        assert problem.data.y.dtype == np.float64
        np.testing.assert_array_equal(problem.data.y, y)
    else:
        np.testing.assert_array_equal(np.array(problem.data.labels)[problem.data.y], y)


@pytest.mark.parametrize("write", [write_npz, write_libsvm])
@pytest.mark.parametrize("y", [MANY, MANY.astype(float)])
def test_many_integers_have_to_be_explained(tmp_path, write, y):
    name = write(tmp_path, y)
    with pytest.raises(ConfigError) as caught:
        make_problem(name)
    message = str(caught.value)
    assert "120 different integers" in message
    for way_out, model in (
        (",targets=real", LeastSquares),
        (",targets=classes", Softmax),
    ):
        assert f"add {way_out}" in message or f"or {way_out}" in message
        assert type(make_problem(name + way_out)) is model


def test_targets_of_several_outputs_and_test_targets(tmp_path):
    y = np.stack([HALVES, -HALVES], axis=1)
    data = load(write_npz(tmp_path, y, X_test=np.ones((2, 4)), y_test=y[:2]))
    assert data.y.shape == (120, 2)
    assert data.y_test.tolist() == y[:2].tolist()


@pytest.mark.parametrize(
    ("y", "test", "option", "message"),
    [
        (HALVES, [1.0, np.inf], "", r"1 test targets are not finite .* inf"),
        (HALVES, [1.0], "", r"2 test samples need targets of shape \(2,\) or \(2, out"),
        (HALVES, [[1.0, 2], [3, 4]], "", r"test targets have shape \(2, 2\), training"),
        (HALVES, [1.0, 2], ",targets=classes", "60 training labels are not inte"),
        ([0, 1, 0, 1], [0.5, 1], "", "1 test labels are not integers .*targets=real"),
        (np.array(list("abab")), [0, 1], ",targets=real", "must be numbers, got <U1"),
        (HALVES.reshape(60, 2, 1), [0, 1], "", r"got \(60, 2, 1\)"),
    ],
)
def test_targets_that_do_not_fit(tmp_path, y, test, option, message):
    name = write_npz(tmp_path, y, X_test=np.ones((2, 4)), y_test=np.array(test))
    with pytest.raises(ConfigError, match=message):
        load(name + option)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a", ("a", "auto")),
        ("a,b,targets=real", ("a,b", "real")),
        ("a,targets=classes", ("a", "classes")),
        ("targets=real", ("targets=real", "auto")),
    ],
)
def test_the_option_is_taken_off_the_end_of_a_name(name, parts):
    assert split_option(name) == parts


def test_training_and_test_files_share_the_option(tmp_path):
    name = write_libsvm(tmp_path, [1, 2, 3])
    (tmp_path / "test").write_text("4 1:1\n")
    data = load(f"{name},{tmp_path / 'test'},targets=real")
    assert data.y_test.tolist() == [4]
