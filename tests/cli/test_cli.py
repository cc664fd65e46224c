"""The command line in process: what it prints, and its exit statuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from psmpi import algorithms
from psmpi.base import ConfigError
from psmpi.cli import app
from psmpi.codecs import CODECS
from psmpi.problems import DATASETS

RUN = [
    "--local",
    "--data",
    "synthetic:softmax,samples=240,features=4",
    "--rounds",
    "20",
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def status_of(words):
    """Run a command line as its own process does, without starting one."""
    try:
        return app.main(words)
    except SystemExit as leaving:
        return leaving.code


@pytest.mark.parametrize("id", algorithms.ALGORITHMS)
def test_every_algorithm_runs_and_explains_its_options(id, capsys):
    assert status_of(["run", id, "--help"]) in (0, None)
    shown = capsys.readouterr().out
    for field in algorithms.options(algorithms.ALGORITHMS[id]):
        assert f"--{field.name.replace('_', '-')}" in shown
    assert app.main(["run", id, *RUN, "--out", "x"]) == 0
    assert json.loads(Path("x/summary.json").read_text())["rounds"] == 20


COMPOSED = {"choice", "piecewise", "scaled"}  # made of codecs, not named in options


def test_list_shows_all_names_that_options_take(capsys):
    assert app.main(["list"]) == 0
    names = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line}
    assert {*algorithms.ALGORITHMS, *DATASETS} <= names
    assert set(CODECS) - COMPOSED <= names
    assert not COMPOSED & names


def test_list_shows_the_options_of_codecs_and_the_keys_of_data(capsys):
    assert app.main(["list"]) == 0
    shown = capsys.readouterr().out
    for text in ("bits=4", "norm=l2", "k=0.01", "bounds"):
        assert (text in shown) is (text != "bounds"), text
    for text in ("synthetic:softmax", "samples=1000", "synthetic:quadratic", "X_test"):
        assert text in shown
    for text in ("libsvm:TRAIN[,TEST]", "npz:FILE"):
        assert text in shown


def test_run_without_out_makes_a_new_directory_each_time(capsys):
    for _ in range(2):
        app.main(["run", "gd", *RUN])
    recorded = [w for w in capsys.readouterr().out.split() if w.startswith("runs/")]
    assert len(set(recorded)) == 2


def test_until_takes_several(capsys):
    words = ["run", "gd", *RUN, "--until", "loss=9", "residual=9", "--out", "x"]
    assert app.main(words) == 0
    reached = json.loads(Path("x/summary.json").read_text())["reached"]
    assert set(reached) == {"loss=9", "residual=9"}


CONFIG = """
algorithm = "laq"
bits = 3
rounds = 7
local = true
data = "synthetic:softmax,samples=240,features=4"
until = ["loss=9", "residual=9"]
optimum = true
"""


def test_run_by_a_file_with_overrides():
    Path("c.toml").write_text(CONFIG)
    words = ["run", "--config", "c.toml", "--bits", "5", "--until=loss=8", "--out", "x"]
    assert app.main(words) == 0
    config = json.loads(Path("x/manifest.json").read_text())["config"]
    assert (config["options"]["bits"], config["rounds"]) == (5, 7)
    assert config["until"] == ["loss=8"]


@pytest.mark.parametrize(
    ("in_file", "words", "hidden"),
    [
        ("[8, 4]", [], [8, 4]),
        ('"8,4"', [], [8, 4]),
        ("8", [], [8]),
        ("8", ["--hidden", "5,3"], [5, 3]),
        ("8", ["--hidden=5,3"], [5, 3]),
        ("8", ["--hidden", "5", "3", "--loss", "logistic"], [5, 3]),
    ],
)
def test_a_perceptron_by_a_file_and_by_options(in_file, words, hidden):
    Path("c.toml").write_text(f"{CONFIG}hidden = {in_file}\n")
    found = ["--until", "loss=9", *words, "--out", "x"]
    assert app.main(["run", "--config", "c.toml", *found]) == 0
    config = json.loads(Path("x/manifest.json").read_text())["config"]
    assert config["hidden"] == hidden


COMPARISON = """
local = true
workers = 2
rounds = 20
data = "synthetic:softmax,samples=240,features=4"
[[run]]
algorithm = "gd"
[[run]]
algorithm = "laq"
name = "laq3"
bits = 3
"""


def test_compare_draws_and_report_and_show_read_it_again(capsys):
    Path("c.toml").write_text(COMPARISON.replace("local = true\n", ""))
    assert app.main(["compare", "c.toml", "--local", "--out", "x"]) == 0
    assert "laq3" in Path("x/report.html").read_text()
    assert app.main(["report", "x", "--html", "again.html"]) == 0
    assert "laq3" in capsys.readouterr().out
    assert app.main(["show", "x/laq3"]) == 0
    assert "laq3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "lac"], "did you mean laq"),
        (["run"], "which algorithm"),
        (["run", "--config"], "give a file"),
        (["run", "--config", "none.toml"], "none.toml: can't be read"),
        (["run", "gd", *RUN, "--workers", "0"], "workers: must be a whole number"),
        (["run", "gd", *RUN, "--workers", "241"], "workers"),
        (["run", "gd", *RUN, "--out", "."], "already exists"),
        (["run", "laq", *RUN, "--codec", "unifrom"], "did you mean uniform"),
        (["run", "gd", *RUN, "--until", "los=1"], "did you mean loss"),
        (["run", "gd", *RUN, "--hidden", "20,x"], "hidden: '20,x'"),
        (["run", "gd", *RUN, "--loss", "logistic"], "choice for perceptrons"),
        (
            ["run", "gd", "--local", "--data", "synthetic:quadratic", "--hidden", "5"],
            "a quadratic has no layers",
        ),
        (["compare", "none.toml"], "none.toml: is neither a file nor one of asylpg"),
        (["report"], "give one or more"),
        (["report", "nowhere"], "nowhere"),
        (["show", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line(words, message):
    with pytest.raises(ConfigError, match=message):
        app.main(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "laq", "--bitz", "3"], "--bits"),
        (["run", "laq", "--bits", "x"], "bits must be a whole number, got 'x'"),
        (["run", "laq", "--broadcast", "ring"], "ring"),
        (["rum"], "run"),
        (["show"], "RUN"),
    ],
)
def test_a_usage_error_is_status_2(words, message):
    done = subprocess.run(
        [sys.executable, "-m", "psmpi", *words], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_configuration_error_is_one_line_and_status_2():
    done = subprocess.run(
        [sys.executable, "-m", "psmpi", "run", "lac"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("psmpi: algorithm: there is no 'lac'")
    assert done.stderr.count("\n") == 1


def test_report_exports_rows_and_pictures(capsys):
    assert app.main(["run", "gd", *RUN, "--out", "x"]) == 0
    words = ["report", "x", "--csv", "rows.csv", "--images", "pictures"]
    assert app.main([*words, "--image-format", "svg"]) == 0
    assert len(Path("rows.csv").read_text().splitlines()) == 1 + 3
    assert {path.suffix for path in Path("pictures").iterdir()} == {".svg"}
    assert "rows: rows.csv" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="already exists"):
        app.main(words)
