"""Local updates: against the board, against its baselines, and the problem's own loop.

The identity of the error memories is in ``test_invariants``.
"""

import numpy as np
import pytest

from psmpi.base import ConfigError
from psmpi.problems import Quadratic, make_problem
from psmpi.runs import config
from psmpi.runs.local import run_local
from tests.helpers.algorithm_table import QUADRATIC, go
from tests.reference import naive_algorithms as naive


def gradients(workers):
    whole = make_problem(QUADRATIC, dtype=np.float64)
    shards = [whole.shard(m, workers) for m in range(workers)]

    def of(shard):
        def gradient(x):
            out = np.empty_like(x)
            shard.grad(x, out)
            return out

        return gradient

    return whole.start(3), [of(shard) for shard in shards]


def board(x, parts, inner, **rule):
    return naive.local_updates(parts, x, inner=inner, **rule)


INNER = [
    ("sgd", {"momentum": 0.6, "weight_decay": 0.05}),
    ("adamw", {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6, "weight_decay": 0.05}),
]


@pytest.mark.parametrize(("inner", "options"), INNER)
@pytest.mark.parametrize("reduce", ["mean", "senders"])
@pytest.mark.parametrize("clip", ["none", "median"])
@pytest.mark.parametrize("mu", [0.0, 0.8])
def test_it_is_as_on_the_board(inner, options, reduce, clip, mu):
    x, parts = gradients(4)
    rule = {"H": 3, "alpha": 0.7, "mu": mu, "beta": 0.9, "rounds": 12}
    optimizers = [naive.INNER[inner](lr=0.01, **options) for _ in parts]
    rule |= {"reduce": reduce, "clip": clip, "compress": lambda v: naive.top(v, 7)}
    expected = board(x, parts, optimizers, **rule)
    given = {"local_steps": 3, "outer_lr": 0.7, "outer_momentum": mu}
    given |= {"feedback_decay": 0.9, "codec": "topk", "k": 7, "batch": None}
    given |= {"inner": inner, "lr": 0.01, "reduce": reduce, "clip": clip} | options
    for downlink in ("model", "update"):
        run = go("local-updates", workers=4, rounds=12, dtype="float64",
                 downlink=downlink, **given)  # fmt: skip
        np.testing.assert_allclose(run.x, expected, rtol=1e-6, atol=1e-8)


def test_the_options_of_the_board_matter():
    x, parts = gradients(4)
    rule = {"H": 3, "alpha": 0.7, "mu": 0.0, "beta": 0.9, "rounds": 12}
    rule |= {"reduce": "mean", "clip": "none", "compress": lambda v: naive.top(v, 7)}
    changes = [{}, {"reduce": "senders"}, {"clip": "median"}, {"mu": 0.8}, {"beta": 1}]
    ends = [
        board(x, parts, [naive.INNER["sgd"](lr=0.01) for _ in parts], **rule | change)
        for change in changes
    ]
    for i, one in enumerate(ends):
        assert all(np.abs(one - other).max() > 1e-3 for other in ends[:i])


def test_diloco_is_as_on_the_board():
    x, parts = gradients(3)
    optimizers = [naive.AdamW(lr=0.003, weight_decay=0.1) for _ in parts]
    rule = {"H": 20, "alpha": 0.7, "mu": 0.9, "beta": 1, "rounds": 10}
    rule |= {"reduce": "mean", "clip": "none", "compress": lambda v: v}
    expected = board(x, parts, optimizers, **rule)
    given = {"lr": 0.003, "local_steps": 20, "rounds": 10, "batch": None}
    run = go("diloco", dtype="float64", **given)
    np.testing.assert_allclose(run.x, expected, rtol=1e-9, atol=1e-12)


# Qsparse-local-SGD with its steps in another floating-point order.
SAME = {"lr": 0.25, "batch": 8, "rounds": 40, "dtype": "float64", "momentum": 0.5}


@pytest.mark.parametrize(
    "codec",
    [{"codec": "topk", "k": 7}, {"codec": "sign", "blocks": 10}, {"codec": "dense"}],
    ids=str,
)
@pytest.mark.parametrize("downlink", ["model", "update"])
def test_it_is_qsparse_local_sgd_with_sgd_inside(codec, downlink):
    given = SAME | codec | {"local_steps": 3, "downlink": downlink, "lr": 0.05}
    a = go("local-updates", inner="sgd", **given)
    b = go("qsparse-local-sgd", **given)
    np.testing.assert_allclose(a.x, b.x, rtol=1e-6, atol=1e-9)
    for key in ("paper_bits_up", "wire_bytes_up", "wire_bytes_down", "uploads"):
        assert a.summary[key] == pytest.approx(b.summary[key], rel=1e-3)


@pytest.mark.parametrize("mu", [0.0, 0.9])
def test_one_step_in_floats_is_sgd(mu):
    """An outer step along the mean of single steps is one along the mean gradient."""
    given = {"lr": 0.05, "batch": 9, "dtype": "float64", "workers": 4}
    a = go("diloco", inner="sgd", weight_decay=0.0, local_steps=1, outer_lr=1.0,
           outer_momentum=mu, **given)  # fmt: skip
    b = go("sgd", reduce="mean", momentum=mu, **given)
    np.testing.assert_allclose(a.x, b.x, rtol=1e-9, atol=1e-12)


def test_senders_is_mean_where_all_send_all():
    given = {"codec": "dense", "workers": 4, "local_steps": 3, "lr": 0.01}
    runs = [go("local-updates", reduce=name, **given) for name in ("mean", "senders")]
    np.testing.assert_allclose(runs[0].x, runs[1].x, rtol=1e-4, atol=1e-5)


class OwnLoop(Quadratic):
    """The quadratic, with an optimizer of its own: gradient steps of 0.02."""

    rate = 0.02

    def advance(self, x, steps):
        g, total = np.empty_like(x), 0.0
        for _ in range(steps):
            total += super().grad(x, g)
            x -= self.rate * g
        return total / steps

    def grad(self, x, out, batch=None):
        raise AssertionError("the algorithm took a step of its own")


def test_the_problems_own_optimizer_comes_first():
    given = {"local_steps": 4, "codec": "topk", "k": 9, "rounds": 30}
    run = config.configure("local-updates", workers=3, lr=123.0, **given)
    own = run_local(run, problem=OwnLoop(dim=30))
    built_in = go("local-updates", problem=Quadratic(dim=30), inner="sgd", lr=0.02,
                  batch=None, seed=0, **given)  # fmt: skip
    np.testing.assert_allclose(own.x, built_in.x, rtol=1e-3, atol=1e-5)


def test_sparseloco_sends_ten_bits_an_entry():
    data = "synthetic:softmax,samples=60,features=9999,classes=10"
    given = {"data": data, "workers": 2, "rounds": 2, "optimum": False, "batch": 4}
    s = go("sparseloco", local_steps=1, **given).summary
    kept = 64 * 25 + 10  # of 99990 weights in 25 chunks, and all biases
    assert s["paper_bits_up"] == 4 * (14 * kept + 2 * 5 * 32)
    assert 8 * s["wire_bytes_up"] < 4 * 10.2 * kept  # envelopes of 16 bytes included


def test_senders_are_cautioned_against_on_split_labels():
    given = {"data": "digits", "workers": 2, "rounds": 1, "local_steps": 1}
    warned = go("sparseloco", partition="by-label", **given).summary["warnings"]
    assert any("compare with --reduce mean" in line for line in warned)
    for other in ({"partition": "shuffled"}, {"reduce": "mean"}):
        given_here = given | {"partition": "by-label"} | other
        told = go("sparseloco", **given_here).summary["warnings"]
        assert not any("--reduce" in line for line in told)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"inner": "adam"}, "inner: must be adamw or sgd, got 'adam'"),
        ({"momentum": 0.9}, "momentum: 0.9 is an option of --inner sgd"),
        ({"inner": "sgd", "beta2": 0.9}, "beta2: is an option of --inner adamw"),
        ({"beta1": 1.0}, "beta1: must be at least 0 and below 1, got 1"),
        ({"epsilon": 0.0}, "epsilon: must be above 0"),
        ({"local_steps": 0}, "local-steps: must be at least 1, got 0"),
        ({"outer_lr": 0.0}, "outer-lr: must be above 0, got 0"),
        ({"outer_momentum": 1.0}, "outer-momentum: must be at least 0 and below 1"),
        ({"feedback_decay": 1.5}, r"feedback-decay: must be 0 .. 1, got 1.5"),
        ({"reduce": "sum"}, "reduce: must be mean or senders, got 'sum'"),
        ({"clip": "mean"}, "clip: must be none or median, got 'mean'"),
        ({"codec": "stochastic", "bits": 1}, "local-updates: error feedback needs"),
    ],
)
def test_what_cannot_run_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        go("local-updates", **given)


def test_the_way_down_can_be_as_short_as_the_way_up():
    given = {"inner": "sgd", "weight_decay": 0.0, "lr": 0.03, "local_steps": 4}
    given |= {"codec": "chunktopk:chunk=10,k=3", "rounds": 400}
    runs = [
        go("sparseloco", downlink=way, **given).summary
        for way in ("update", "feedback")
    ]
    assert all(s["residual"] < 0.1 for s in runs)
    up, union, feedback = (
        runs[0]["paper_bits_up"],
        runs[0]["paper_bits_down"],
        runs[1]["paper_bits_down"],
    )
    assert feedback == pytest.approx(up, rel=0.02)
    assert union > 1.5 * feedback
