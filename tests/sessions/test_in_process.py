"""A session outside MPI, and what every session checks."""

import subprocess
import sys

import numpy as np
import pytest

import psmpi
from psmpi import algorithms
from psmpi.runs.evaluation import Diverged
from tests.helpers import own_loops

PEERS = {
    id
    for id in own_loops.DRIVEN
    if "topology" in algorithms.find(id).__dataclass_fields__
}


@pytest.fixture
def x0():
    return np.zeros(5, np.float32)


@pytest.mark.parametrize("id", sorted(set(own_loops.DRIVEN) - PEERS))
def test_a_loop_of_ones_own_computes_the_bits_of_a_run(id):
    session = own_loops.drive(id, 0, 1)
    closure = algorithms.find(id).driven_by == "closure"
    result = psmpi.run(
        id,
        workers=1,
        local=True,
        data=own_loops.DATA,
        **own_loops.PROBLEM,
        rounds=session.result.summary["rounds"] if closure else own_loops.ROUNDS,
        **own_loops.options(id),
    )
    assert session.result.x.tobytes() == result.x.tobytes()
    # Down there may be more: the model of the round that the loop never does.
    for name in ("uploads", "paper_bits_up"):
        assert session.result.summary[name] == result.summary[name]


@pytest.mark.parametrize(
    ("id", "instead"), [("lag-ps", "lag-wk"), ("quantimed-dsgd", "q-dsgd")]
)
def test_an_algorithm_that_cannot_be_driven_names_one_that_can(x0, id, instead):
    with pytest.raises(psmpi.ConfigError, match=f"can't be driven .* take {instead}"):
        psmpi.session(id, x0)


def test_the_callers_vector_is_the_model(x0, capsys):
    view = x0[1:3]
    with psmpi.session("gd", x0, lr=0.5) as s:
        gradient = s.gradient
        s.step(np.arange(5))
        assert s.x is x0
        assert s.gradient is gradient
        assert np.array_equal(view, [-0.5, -1.0])
    assert (s.worker, s.workers, s.round) == (0, 1, 1)
    assert "one worker" in capsys.readouterr().err


def test_rows_have_what_the_caller_reports(x0, tmp_path):
    with psmpi.session("gd", x0, evaluate_every=2, out=tmp_path / "run") as s:
        for step in range(5):
            s.step(np.ones(5), loss=10.0 - step)
            if step == 2:
                s.report(accuracy=0.25, perplexity=3.5)
    rows = [
        (r["round"], r["loss"], r["accuracy"], r.get("perplexity"))
        for r in s.result.rows
    ]
    assert rows == [
        (2, 9.5, None, None),
        (4, 7.5, 0.25, 3.5),
        (5, 6.0, None, None),
    ]
    assert s.result.summary["accuracy"] == 0.25
    assert (tmp_path / "run" / "summary.json").exists()


def test_a_target_ends_the_loop(x0):
    done = 0
    with psmpi.session("gd", x0, until=("loss=3",), evaluate_every=1) as s:
        for step in range(100):
            s.step(np.ones(5), loss=10.0 - step)
            done += 1
    assert "a target" in s.stopped
    assert (done, s.result.unmet) == (8, ())
    assert s.result.summary["reached"]["loss=3"]["loss"] == 3


def test_the_rounds_end_the_loop(x0):
    with psmpi.session("gd", x0, rounds=3) as s:
        while True:
            s.step(np.ones(5))
    assert "the last of 3 rounds" in s.stopped
    with pytest.raises(psmpi.PsmpiError, match=r"has ended .*last of 3 rounds"):
        s.step(np.ones(5))


def test_the_step_size_can_change(x0):
    with psmpi.session("sgd", x0, lr=1.0, reduce="mean") as s:
        s.step(np.ones(5))
        s.lr = 0.25
        s.step(np.ones(5))
        s.step(np.ones(5))
        assert s.lr == 0.25
    assert np.array_equal(s.x, np.full(5, -1.5))


def test_a_schedule_holds_until_the_step_size_is_set(x0):
    with psmpi.session("sgd", x0, lr=1.0, lr_schedule="drop:0.5@1") as s:
        s.step(np.ones(5))
        s.step(np.ones(5))
    assert np.array_equal(s.x, np.full(5, -1.5))


def test_sessions_follow_each_other_but_not_at_once(x0):
    with (
        psmpi.session("gd", x0),
        pytest.raises(psmpi.ConfigError, match="open already"),
    ):
        psmpi.session("gd", x0)
    with psmpi.session("gd", x0) as s:
        s.step(np.ones(5))


def test_an_error_in_the_block_comes_through_and_ends_the_session(x0):
    with pytest.raises(ZeroDivisionError), psmpi.session("gd", x0):
        _ = 1 / 0
    with psmpi.session("gd", x0) as s:
        s.step(np.ones(5))
    assert s.round == 1


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("laqq", None), {}, "there is no 'laqq'; did you mean laq"),
        (
            ("laq", np.zeros((2, 3), np.float32)),
            {},
            r"x0: must be one flat vector.*\(2, 3\)",
        ),
        (("laq", np.zeros(3, int)), {}, "x0: must be float32 or float64, got int64"),
        (("laq", np.array([0, np.inf])), {}, "x0: entry 1 is inf"),
        (("laq", None), {"bounds": (0, 2)}, r"bounds: must ascend from 0 to the 5"),
        (("laq", None), {"names": ("a", "b")}, "names: must be one for each of the 1"),
        (("laq", None), {"data": "mnist"}, "data: 'mnist' is an option of psmpi run"),
        (("laq", None), {"batch": 3}, "batch: 3, but the loop is yours"),
        (
            ("laq", None),
            {"until": ("residual=1e-3",)},
            "until: residual=0.001 is a metric",
        ),
        (("asylpg", None), {}, "asylpg: draws its samples itself.* give samples="),
        (("dsgd", None), {}, "dsgd needs at least 2"),
        (("sgd", None), {"lr_schedule": "horizon"}, "give rounds="),
        (("sgd", None), {"samples": -1}, "samples: must be a whole number"),
        (("sgd", None), {"lrr": 1.0}, "lrr"),
    ],
)
def test_bad_openings_are_refused(x0, arguments, options, message):
    id, start = arguments
    with pytest.raises(psmpi.ConfigError, match=message):
        psmpi.session(id, x0 if start is None else start, **options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.step(None), psmpi.ConfigError, "gradient: got None"),
        (
            lambda s: s.step(np.ones(4)),
            psmpi.ConfigError,
            r"gradient: must be numbers of shape \(5,\), got shape \(4,\)",
        ),
        (
            lambda s: s.step(np.full(5, np.nan)),
            Diverged,
            "worker 0, round 0: the gradient's entry 0 is nan",
        ),
        (
            lambda s: s.step(np.ones(5), loss=np.inf),
            Diverged,
            "worker 0, round 0: the loss is inf",
        ),
        (
            lambda s: s.advance(np.ones(5)),
            psmpi.ConfigError,
            "advance: sgd takes one gradient a step",
        ),
        (lambda s: s.report(accuracy=93), psmpi.ConfigError, "accuracy is a share"),
        (lambda s: s.report(round=1), psmpi.ConfigError, "metric 'round'"),
        (lambda s: s.report(f1=float("nan")), psmpi.ConfigError, "report: f1 is nan"),
        (
            lambda s: setattr(s, "lr", -1),
            psmpi.ConfigError,
            "lr: must be a number of at least 0",
        ),
    ],
)
def test_bad_calls_are_refused(x0, call, error, message):
    with pytest.raises(error, match=message), psmpi.session("sgd", x0) as s:
        call(s)


def test_a_closure_is_needed_where_several_gradients_are(x0):
    with (
        pytest.raises(psmpi.ConfigError, match="give a closure"),
        psmpi.session("asylpg", x0, samples=9) as s,
    ):
        s.step(np.ones(5))


def test_a_loop_that_is_not_closed_ends_with_the_interpreter(tmp_path):
    code = (
        "import sys, numpy, psmpi\n"
        "s = psmpi.session('sgd', numpy.zeros(3, 'f4'), out=sys.argv[1])\n"
        "s.step(numpy.ones(3), loss=1.0)\n"
    )
    line = [sys.executable, "-c", code, str(tmp_path / "run")]
    done = subprocess.run(line, timeout=60, check=False)
    assert done.returncode == 0
    assert (tmp_path / "run" / "summary.json").exists()
