"""Problems of other packages: selected by name, checked, and used in a run."""

from __future__ import annotations

import numpy as np
import pytest

from psmpi.base import ConfigError
from psmpi.data.registry import load
from psmpi.problems import make_own, make_problem, registered
from psmpi.runs import config, local
from tests.helpers import plugins as helper

CODE = """
import numpy as np
from psmpi.base import ConfigError, Problem

class Bowl(Problem):
    "f(x) = ||x - 1||^2 / 2, the same on every worker."
    samples = 4

    def __init__(self, *, dtype, seed):
        self.dim, self.bounds = 6, (0, 2, 6)
        self.dtype, self.seed = dtype, seed

    def start(self, seed):
        return np.zeros(self.dim, self.dtype)

    def loss(self, x):
        return float(np.sum((x - 1) ** 2) / 2)

    def grad(self, x, out, batch=None):
        np.subtract(x, 1, out=out)
        return self.loss(x)

    def shard(self, worker, workers):
        return self

    def digest(self):
        return f"bowl {self.seed}"

    def optimum(self):
        return 0.0

def changed(**values):
    def factory(*, dtype, seed):
        bowl = Bowl(dtype=dtype, seed=seed)
        vars(bowl).update(values)
        return bowl
    return factory

made_by_a_function = changed()
no_dim = changed(dim=0)
gap = changed(bounds=(0, 2))
unordered = changed(bounds=(0, 4, 2, 6))
misshapen = changed(start=lambda seed: np.zeros(5, np.float32))
other_dtype = changed(start=lambda seed: np.zeros(6, np.int64))
value = 5

def nothing(*, dtype, seed):
    return None

def failing(*, dtype, seed):
    raise KeyError("data")

def refusing(*, dtype, seed):
    raise ConfigError("bowl: not today")

def positional(dtype):
    return None
"""
NAMES = ["made_by_a_function", "no_dim", "gap", "unordered", "misshapen"]
NAMES += ["other_dtype", "value", "nothing", "failing", "refusing", "positional"]


@pytest.fixture(autouse=True)
def _installed(tmp_path, monkeypatch):
    names = {"bowl": "acme_bowl:Bowl"} | {n: f"acme_bowl:{n}" for n in NAMES}
    groups = {"psmpi.problems": names}
    helper.install(tmp_path, monkeypatch, "acme-bowl", groups, "acme_bowl", CODE)


def test_problems_are_listed_by_name():
    assert {"bowl", "made_by_a_function", "failing", "positional"} <= set(registered())


@pytest.mark.parametrize("name", ["bowl", "made_by_a_function"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_plugin_is_chosen_by_the_name_of_the_data(name, dtype):
    problem = make_problem(name, dtype=dtype, seed=3)
    assert type(problem).__name__ == "Bowl"
    assert (problem.dtype, problem.seed) == (dtype, 3)
    assert problem.start(0).dtype == dtype


def test_a_run_minimises_a_plugin():
    run = config.configure(
        "gd", data="bowl", workers=2, rounds=50, lr=0.1, until="residual=1e-3", l2=0.01
    )
    result = local.run_local(run)
    np.testing.assert_allclose(result.x, 1, atol=0.1)


def test_a_data_set_wins_over_a_plugin_of_its_name(tmp_path, monkeypatch):
    groups = {"psmpi.problems": {"digits": "acme_bowl:Bowl"}}
    helper.install(tmp_path, monkeypatch, "acme-digits", groups, "acme_digits", CODE)
    assert make_problem("digits").data is load("digits")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"l2": 0.5}, "l2: bowl is a problem of another package, .* leave it out"),
        ({"hidden": (4,)}, "hidden: bowl is"),
        ({"partition": "shuffled"}, "partition: bowl is"),
        ({"init": "zeros", "l1": 1}, "takes no l1, init; leave them out"),
    ],
)
def test_options_of_data_sets_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        make_problem("bowl", **options)


def test_a_misspelt_name_is_answered_with_the_plugin():
    with pytest.raises(ConfigError, match=r"called 'bawl'; did you mean bowl[?]"):
        make_problem("bawl")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing", "must return a psmpi.base.Problem, got None"),
        ("value", "must be callable, got 5"),
        ("failing", "can't be made .KeyError: 'data'"),
        ("positional", "must return a psmpi.base.Problem, got None"),
        ("no_dim", "dim must be an integer of at least 1, got 0"),
        ("gap", r"bounds must ascend from 0 to dim=6, got \(0, 2\)"),
        ("unordered", "bounds must ascend"),
        ("misshapen", r"start must return shape \(6,\) of float32, got \(5,\)"),
        ("other_dtype", "of float32, got .* of int64"),
    ],
)
def test_a_bad_plugin_is_named_with_its_package(name, reason):
    with pytest.raises(ConfigError, match=f"package acme-bowl .*{reason}") as caught:
        make_problem(name)
    assert f"problem '{name}'" in str(caught.value)
    assert "uninstall acme-bowl" in str(caught.value)


def test_a_plugin_s_own_errors_pass_unchanged():
    with pytest.raises(ConfigError, match=r"^bowl: not today$"):
        make_problem("refusing")


def test_a_plugin_that_is_not_installed():
    with pytest.raises(ConfigError, match="no installed package offers 'nowhere'"):
        make_own("nowhere")
