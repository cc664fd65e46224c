"""Every example runs, plain and compressed, and the twins differ by a few lines."""

import difflib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from psmpi.runs.recorded import read_run

EXAMPLES = Path(__file__).parents[2] / "examples"
ROOT = EXAMPLES.parent
CHANGED = 8  # lines that the compressed twin has, and the plain script has not
# Arguments of a small form, and a bound on the loss that it gets to.
TWINS = {
    "regression": (["--steps", "60"], 60.0),
    "sparse_text": (["--steps", "30"], 0.65),
    "jax_perceptron": (["--steps", "40"], 2.0),
    "transformer": (
        [
            *("--steps", "30", "--width", "16", "--layers", "1", "--heads", "2"),
            *("--context", "16", "--batch", "4", "--windows", "8"),
        ],
        5.0,
    ),
    "resnet": (
        ["--steps", "8", "--batch", "8", "--blocks", "1", "--width", "4"],
        4.0,
    ),
}
NEEDS = {"jax_perceptron": "jax", "resnet": "torch", "transformer": "torch"}


def run(words, folder):
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("name", TWINS)
def test_the_twin_changes_a_few_lines(name):
    plain, compressed = (
        (EXAMPLES / name / f"{kind}.py").read_text().splitlines()
        for kind in ("plain", "compressed")
    )
    # Indentation is not counted: a loop that stands in a with block is the same loop.
    a, b = ([line.strip() for line in lines] for lines in (plain, compressed))
    added = [line for line in difflib.ndiff(a, b) if line.startswith("+ ") and line[2:]]
    assert 0 < len(added) <= CHANGED, added


@pytest.mark.parametrize("name", TWINS)
def test_the_plain_script_runs(name, tmp_path):
    pytest.importorskip(NEEDS.get(name, "numpy"))
    done = run([EXAMPLES / name / "plain.py", *TWINS[name][0]], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.mpi
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", TWINS)
def test_its_twin_runs_on_two_workers(name, tmp_path):
    pytest.importorskip(NEEDS.get(name, "numpy"))
    arguments, bound = TWINS[name]
    script = EXAMPLES / name / "compressed.py"
    launch = ["-m", "psmpi", "launch", "--workers", "2", "--out", "run"]
    done = run([*launch, script, *arguments], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = read_run(tmp_path / "run").summary
    assert summary["workers"] == 2
    assert summary["loss"] < bound
    every = summary["options"].get("local_steps", 1)
    assert summary["rounds"] == int(arguments[1]) // every
