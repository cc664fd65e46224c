"""Runs of problems of the user's own: over MPI, recorded, replayed, compared."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import psmpi
from psmpi.cli import app
from psmpi.runs.recorded import read_run

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_problem" / "huber.py"
OPTIONS = {
    "problem": "huber.py:Huber",
    "problem_option": {"delta": 0.5, "samples": 60},
    "workers": 2,
    "rounds": 20,
    "lr": 0.1,
}
DIFFERENT = """
import os
import numpy as np
from psmpi.processes.environment import world_rank
from psmpi.problems import Quadratic

def make(what):
    odd = world_rank() == 2
    if what == "dim":
        return Quadratic(dim=5 if odd else 4)
    if what == "data":
        return Quadratic(dim=4, condition=3.0 if odd else 2.0)
    problem = Quadratic(dim=4)
    problem.bounds = (0, 1, 4) if odd else (0, 4)
    return problem
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    shutil.copy(EXAMPLE, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_is_minimised_and_its_metric_is_recorded(folder):
    result = psmpi.run("laq", local=True, out="run", **OPTIONS)
    losses = [row["loss"] for row in result.rows]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]
    assert result.summary["metrics"] == {
        "median_error": result.rows[-1]["median_error"]
    }
    config = json.loads((folder / "run" / "manifest.json").read_text())["config"]
    assert (config["problem"], config["data"]) == ("huber.py:Huber", None)
    assert config["problem_option"] == ["delta=0.5", "samples=60"]
    assert "l2" not in config


def test_a_replay_makes_it_again_and_sees_a_changed_file(folder):
    psmpi.run("sgd", local=True, out="run", batch=4, **OPTIONS)
    assert psmpi.replay("run").summary["problem"] == "huber.py:Huber"
    (folder / "huber.py").write_text(EXAMPLE.read_text() + "# changed\n")
    with pytest.raises(psmpi.ConfigError, match="the problem file of run has changed"):
        psmpi.replay("run")


@pytest.mark.mpi
@pytest.mark.timeout(90)
def test_over_mpi_it_computes_the_same_bits(folder):
    here = psmpi.run("laq", local=True, **OPTIONS)
    there = psmpi.run("laq", **OPTIONS)
    assert there.x.tobytes() == here.x.tobytes()
    assert [row["median_error"] for row in there.rows] == [
        row["median_error"] for row in here.rows
    ]


@pytest.mark.mpi
@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("dim", "ranks disagree: dim is 5 on rank 2"),
        ("bounds", r"bounds of tensors is \(0, 1, 4\) on rank 2"),
        ("data", "data digest is '"),
    ],
)
def test_ranks_that_made_different_ones_are_refused(folder, capfd, what, message):
    (folder / "model.py").write_text(DIFFERENT)
    with pytest.raises(psmpi.ConfigError, match="ended with status 2"):
        psmpi.run(
            "gd",
            problem="model.py:make",
            problem_option={"what": what},
            workers=2,
            rounds=3,
        )
    assert re.search(message, capfd.readouterr().err)


def test_a_comparison_and_a_report_have_its_metric(folder, capsys):
    (folder / "compare.toml").write_text(
        'problem = "huber.py:Huber"\nproblem_option = ["samples=60"]\n'
        "workers = 2\nrounds = 10\n"
        '[[run]]\nalgorithm = "gd"\n[[run]]\nalgorithm = "laq"\n'
    )
    assert app.main(["compare", "compare.toml", "--local", "--out", "both"]) == 0
    assert "median_error" in capsys.readouterr().out
    assert "median_error" in (folder / "both" / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"l2": 0.5}, "l2: 0.5 is an option of psmpi's own problems"),
        ({"data": "mnist"}, "data: mnist is an option of psmpi's own problems"),
        ({"problem_option": ["delta"]}, "problem-option: 'delta' must be NAME=VALUE"),
        ({"problem_option": ["a=1", "a=2"]}, "problem-option: a is given twice"),
        ({"until": "accuracy=0.5"}, "needs test data, and huber.py:Huber has none"),
    ],
)
def test_options_that_do_not_fit_are_refused(folder, options, message):
    with pytest.raises(psmpi.ConfigError, match=message):
        psmpi.run("laq", local=True, **{**OPTIONS, **options})


def test_options_of_a_problem_need_a_problem():
    with pytest.raises(psmpi.ConfigError, match="problem-option: delta is for"):
        psmpi.run("laq", local=True, problem_option={"delta": 1})


def test_a_loop_of_the_callers_cannot_be_replayed(tmp_path):
    with psmpi.session("gd", np.zeros(3, np.float32), out=tmp_path / "run") as s:
        s.step(np.ones(3), loss=1.0)
    with pytest.raises(psmpi.ConfigError, match="a loop of the caller's own"):
        psmpi.replay(tmp_path / "run")
    assert read_run(tmp_path / "run").manifest["config"]["problem"]["dim"] == 3
