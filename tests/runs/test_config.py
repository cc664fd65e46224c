"""Bad input is refused before anything starts, in words that help."""

import re

import pytest

from psmpi import algorithms
from psmpi.base import ConfigError
from psmpi.runs import comparison, config
from psmpi.runs.config import Target


def test_options_are_sorted():
    made = config.configure("laq", bits=3, workers=2, **{"max-skip": 7})
    assert made.algorithm_options == {"bits": 3, "max_skip": 7}
    assert made.run_options.workers == 2


@pytest.mark.parametrize(
    ("algorithm", "given", "message"),
    [
        ("lac", {}, "no 'lac'; did you mean laq?"),
        ("zzz", {}, "see psmpi list"),
        ("laq", {"bitz": 3}, "no option --bitz; did you mean --bits?"),
        ("gd", {"bits": 3}, "gd: there is no option --bits"),
        ("laq", {"workers": 0}, "workers: must be a whole number of at least 1, got 0"),
        ("laq", {"rounds": -1}, "rounds: must be a whole number of at least 0"),
        ("laq", {"seed": 1.5}, "seed: must be a whole number"),
        ("laq", {"dtype": "float16"}, "one of float32, float64, got 'float16'"),
        ("laq", {"hidden": "20,x"}, "hidden: '20,x' must be whole numbers above 0; gi"),
        ("laq", {"hidden": [20, 0]}, "hidden: '20,0' must be whole numbers above 0"),
        ("laq", {"hidden": "20,"}, "hidden: '20,' must be"),
        ("laq", {"hidden": 2.5}, "hidden: '2.5' must be"),
        ("laq", {"hidden": True}, "hidden: 'True' must be"),
        ("laq", {"hidden": 5, "loss": "hinge"}, "loss: must be one of softmax, logist"),
        ("laq", {"hidden": 5, "activation": "elu"}, "activation: must be one of relu"),
        ("laq", {"loss": "logistic"}, "loss: logistic is a choice for perceptrons"),
        ("laq", {"activation": "tanh", "hidden": ""}, "or leave --activation out"),
        ("laq", {"broadcast": "ring"}, "broadcast: must be one of tree, linear, mpi"),
        ("laq", {"until": ("los=1",)}, "no metric 'los'; did you mean loss?"),
        ("laq", {"until": ("loss",)}, "'loss' has no value"),
        ("laq", {"until": ("loss=nan",)}, "has no value"),
        ("laq", {"lr": 0.0}, "lr: must be a positive number, got 0"),
        ("laq", {"batch": 0}, "batch: must be at least 1, got 0"),
        ("laq", {"reduce": "max"}, "reduce: must be sum or mean, got 'max'"),
        ("laq", {"lazy_window": 0}, "lazy-window: must be at least 1, got 0"),
        ("laq", {"lr_schedule": "cosine"}, "lr-schedule: can't read 'cosine'"),
        ("random-selection", {"probability": 0.0}, "probability: must be above 0"),
        ("dynamic-averaging", {"local_steps": 0}, "local-steps: must be at least 1"),
        ("dynamic-averaging", {"delta": -1.0}, "delta: must not be negative"),
    ],
)
def test_bad_input_is_refused(algorithm, given, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        config.configure(algorithm, **given)


@pytest.mark.parametrize(
    ("text", "value", "met"),
    [
        ("loss=0.5", 0.5, True),
        ("loss=0.5", 0.6, False),
        ("accuracy=0.9", 0.9, True),
        ("accuracy=0.9", 0.89, False),
        ("residual=1e-6", None, False),
        ("bits=1e6", 2e6, True),
        ("seconds=5", 4.9, False),
    ],
)
def test_targets(text, value, met):
    assert Target.parse(text).met(value) is met


def test_targets_are_named_as_in_the_contract():
    assert str(Target.parse("residual=0.000001")) == "residual=1e-06"


@pytest.mark.parametrize("id", algorithms.ALGORITHMS)
def test_every_algorithm_has_its_id_and_a_line_of_help(id):
    cls = algorithms.ALGORITHMS[id]
    assert cls.id == id
    assert (cls.__doc__ or "").partition("\n")[0].endswith(".")


TABLE = {"rounds": 5, "run": [{"algorithm": "gd"}, {"algorithm": "laq", "rounds": 7}]}


def test_a_comparison_shares_general_options():
    runs = comparison.runs(TABLE, "x")
    assert [(r.name, r.run_options.rounds) for r in runs] == [("gd", 5), ("laq", 7)]


def test_a_comparison_gives_options_to_those_that_have_them():
    runs = comparison.runs({**TABLE, "bits": 3}, "x")
    assert [dict(r.algorithm_options) for r in runs] == [{}, {"bits": 3}]


def test_a_comparison_takes_sizes_as_toml_has_them():
    runs = comparison.runs({**TABLE, "hidden": [8, 4], "activation": "tanh"}, "x")
    assert [r.run_options.hidden for r in runs] == [(8, 4), (8, 4)]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "x: has no [[run]]"),
        ({"run": [{}]}, "x: a [[run]] has no algorithm"),
        ({**TABLE, "roundz": 5}, "no run has an option 'roundz'; did you mean rounds?"),
        ({"run": [{"algorithm": "gd"}] * 2}, "two runs are called 'gd'"),
    ],
)
def test_bad_comparisons_are_refused(table, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        comparison.runs(table, "x")


def test_a_file_that_is_not_toml_is_named(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("rounds 5")
    with pytest.raises(ConfigError, match=f"{path}: is not TOML"):
        config.read_toml(path)
