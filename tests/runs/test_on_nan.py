"""Gradients that are not finite, and what --on-nan makes of them."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

import psmpi
from psmpi.base import ConfigError
from psmpi.cli import app
from psmpi.links.events import KEPT
from psmpi.runs import role_state, roles
from psmpi.runs.evaluation import Diverged
from psmpi.runs.recorded import read_run
from tests.helpers import faulty, own_loops
from tests.helpers.algorithm_table import IDS, ROWS, TIMED, go, same
from tests.helpers.faulty import Faulty

ACTIONS = ("zero", "skip")
EVERY_ROUND = {"check_every": 1}  # compare replicated models


@pytest.fixture
def works(monkeypatch):
    """The workers' roles of the runs of a test, in the order in which they begin."""
    found, prepare = [], roles.prepare_work

    def noting(*args):
        found.append(prepare(*args))
        return found[-1]

    monkeypatch.setattr(roles, "prepare_work", noting)
    return found


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(("id", "options", "residual"), ROWS, ids=IDS)
def test_nothing_but_finite_numbers_survives(id, options, residual, action, works):
    if (id, action) == ("quantimed-dsgd", "skip"):
        return
    given = options | EVERY_ROUND | {"on_nan": action, "rounds": 80}
    result = go(id, problem=Faulty(), **given)
    assert np.isfinite(result.x).all()
    assert all(math.isfinite(row["loss"]) for row in result.rows)
    events = result.summary["nan_events"]
    assert 0 < len(events) <= result.summary["nan_steps"]
    assert events == sorted(events, key=lambda e: (e["round"], e["worker"]))
    assert {event["worker"] for event in events} <= {0, 1, 2}
    for work in works:
        for name, value in role_state.collect(work.state).items():
            assert np.isfinite(value).all(), name
    if id not in (*TIMED, "lag-ps"):  # whose workers count their calls
        assert {work.link.rounds_done for work in works} == {80}
    if work.prepared.wire.replicated:
        for work in works:
            assert work.state.x.tobytes() == result.x.tobytes()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    "id", ["sgd", "laq", "dist-ef-sgd", "qsparse-local-sgd", "dsgd", "asylpg"]
)
def test_one_percent_of_bad_steps_costs_little(id, action):
    options, residual = next(row[1:] for row in ROWS if row[0] == id)
    how = options | {"rounds": 400, "on_nan": action}
    plain = go(id, problem=Faulty(0.0), **how)
    hurt = go(id, problem=Faulty(0.01), **how)
    assert "nan_steps" not in plain.summary
    assert hurt.summary["nan_steps"] >= 4
    assert hurt.rows[-1]["residual"] < max(10 * residual, 2e-2)


@pytest.mark.parametrize("id", ["sgd", "laq", "qsparse-local-sgd"])
def test_without_a_bad_gradient_the_bits_are_those_of_stop(id):
    runs = [go(id, on_nan=action, **EVERY_ROUND) for action in ("stop", *ACTIONS)]
    assert same(runs[0], runs[1])
    assert same(runs[0], runs[2])
    bytes_up = {run.summary["wire_bytes_up"] for run in runs}
    assert len(bytes_up) == 1


def test_zero_is_a_step_with_a_gradient_of_zero():
    class Zeroed(Faulty):
        def grad(self, x, out, batch=None):
            loss = super().grad(x, out, batch)
            if not math.isfinite(np.dot(out, out)):
                out[:] = 0
            return loss

    how = {"batch": 5, "momentum": 0.5, "evaluate_every": 60}
    with np.errstate(over="ignore", invalid="ignore"):
        expected = go("sgd", problem=Zeroed(), **how)
    assert same(go("sgd", problem=Faulty(), on_nan="zero", **how), expected)


def test_stop_is_the_default_and_names_worker_and_round():
    with pytest.raises(Diverged, match=r"worker \d, round \d+: the gradient's entry"):
        go("sgd", problem=Faulty(), batch=9)


def test_an_overflowing_norm_does_not_stop_a_run():
    class Huge(Faulty):
        def grad(self, x, out, batch=None):
            loss = super().grad(x, out, batch)
            out *= 0 if self.calls != 5 else 1e22
            return loss

    x = go("sgd", problem=Huge(0.0), batch=9, rounds=8, lr=1e-30).x
    assert np.isfinite(x).all()


def test_bad_gradients_are_named_ever_less_often(capsys):
    how = {"on_nan": "skip", "rounds": 100, "batch": 9, "workers": 1}
    summary = go("sgd", problem=Faulty(1.0), **how).summary
    lines = capsys.readouterr().err.splitlines()
    named = [line for line in lines if "worker 0, round" in line]
    # 1, 2, 3, 4, 8, 16, 32 and 64
    assert len(named) == 8
    assert "the worker is left out of the round (64 so far)" in named[-1]
    assert "over the batch of samples" in named[0]
    assert summary["nan_steps"] == 100


def test_the_summary_has_the_first_events_of_all_workers():
    how = {"on_nan": "zero", "rounds": 200, "batch": 9}
    summary = go("sgd", problem=Faulty(1.0), **how).summary
    assert summary["nan_steps"] == 600
    events = summary["nan_events"]
    assert len(events) == KEPT
    assert [event["worker"] for event in events[:6]] == [0, 1, 2, 0, 1, 2]
    assert [event["round"] for event in events[:6]] == [0, 0, 0, 1, 1, 1]
    assert all(len(event["samples"]) == 8 for event in events)


def test_a_run_of_nothing_but_bad_gradients_stays_where_it_is():
    problem = Faulty(1.0)
    for id in ("sgd", "dist-ef-sgdm", "signum", "qsparse-local-sgd", "diloco", "dsgd"):
        start = problem.start(3)
        for action in ACTIONS:
            if id in ("signum", "diloco") and action == "zero":
                continue  # sign(0) is +1, and weight decay goes on
            x = go(id, problem=problem, on_nan=action, rounds=20).x
            np.testing.assert_array_equal(x, start, err_msg=id)


def test_what_cannot_leave_out_a_worker_says_so():
    with pytest.raises(ConfigError, match=r"quantimed-dsgd can't do without .* zero"):
        go("quantimed-dsgd", on_nan="skip", speeds="uniform:500,4500")
    with pytest.raises(
        ConfigError, match="on-nan: must be one of stop, skip, zero, got"
    ):
        go("sgd", on_nan="ignore")


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("id", own_loops.DRIVEN)
def test_loops_of_ones_own_go_on(id, action):
    whole = Faulty(0.3)
    part = whole.shard(0, 1)
    options = own_loops.options(id) | {"on_nan": action, "evaluate_every": 2}
    if "topology" in psmpi.algorithms.find(id).__dataclass_fields__:
        return  # these need peers
    by_closure = psmpi.algorithms.find(id).driven_by == "closure"
    x = whole.start(0)
    with psmpi.session(id, x, samples=part.samples, **options) as session:
        for _ in range(30):
            if by_closure:
                session.step(part.grad)
            else:
                loss = part.grad(session.x, session.gradient, session.batch)
                session.step(loss=loss if part.calls % 2 else math.nan)
    assert np.isfinite(x).all()
    assert np.isfinite(session.result.x).all()
    assert session.result.summary["nan_steps"] > 0


@pytest.mark.parametrize("action", ACTIONS)
def test_progress_that_is_not_finite_is_undone(action):
    x = np.zeros(5, np.float32)
    how = {"on_nan": action, "codec": "topk", "k": 2}
    with psmpi.session("local-updates", x, **how) as session:
        session.advance(np.arange(5, dtype=np.float32))
        before = session.x.copy()
        session.advance(np.full(5, np.nan, np.float32))
        after = session.x.copy()
    if action == "skip":  # nothing was sent
        np.testing.assert_array_equal(after, before)
    else:  # what the memory held has been sent
        np.testing.assert_array_equal(after, [0, 1, 2, 3, 4])
    assert session.result.summary["nan_steps"] == 1


@pytest.mark.mpi
@pytest.mark.timeout(120)
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    "id", ["laq", "dist-ef-sgdm", "qsparse-local-sgd", "dynamic-averaging", "dsgd"]
)
def test_over_mpi_the_bits_are_the_same(id, action, tmp_path, monkeypatch):
    shutil.copy(Path(faulty.__file__), tmp_path / "faulty.py")
    monkeypatch.chdir(tmp_path)
    how = {"problem": "faulty.py:Faulty", "workers": 3, "rounds": 40} | EVERY_ROUND
    how |= {"on_nan": action, "lr": 0.02}
    runs = [psmpi.run(id, local=local, **how) for local in (True, False)]
    assert same(*runs)
    for key in ("nan_steps", "nan_events", "wire_bytes_up", "uploads"):
        assert runs[0].summary[key] == runs[1].summary[key]


@pytest.mark.mpi
@pytest.mark.timeout(120)
@pytest.mark.parametrize("action", ACTIONS)
def test_loops_of_ones_own_over_mpi_compute_the_bits_of_a_run(action, mpiexec):
    ids = ["sgd", "laq", "dist-ef-sgdm", "qsparse-local-sgd", "diloco"]
    ended = mpiexec("faulty_loops.py", action, *ids, ranks=4, limit=60)
    assert ended.status == 0, ended.output
    for id in ids:
        how = own_loops.options(id) | EVERY_ROUND | {"on_nan": action, "seed": 0}
        result = go(id, problem=Faulty(0.1), rounds=own_loops.ROUNDS, **how)
        told = f"model {id} {result.x.tobytes().hex()} {result.summary['nan_steps']}"
        assert ended.output.count(told) == 3, id


def test_the_command_line_has_it(tmp_path, monkeypatch, capsys):
    shutil.copy(Path(faulty.__file__), tmp_path / "faulty.py")
    monkeypatch.chdir(tmp_path)
    words = "run sgd --local --problem faulty.py:Faulty --rounds 40 --batch 9"
    assert app.main([*words.split(), "--on-nan", "skip", "--out", "run"]) == 0
    assert read_run("run").summary["nan_steps"] > 0
