"""Directories of runs: unique new ones, comparisons, and what Ctrl-C leaves."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from psmpi.cli import app, folders
from psmpi.errors import ConfigError

COMPARISON = """
workers = 2
rounds = 20
data = "synthetic:softmax,samples=240,features=4"
[[run]]
algorithm = "gd"
[[run]]
algorithm = "laq"
name = "laq3"
[run.options]
bits = 3
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_runs_that_start_at_once_get_directories_of_their_own():
    both, names = threading.Barrier(8), []

    def start():
        both.wait()
        with folders.reserve("laq-digits") as folder:
            names.append(folder)
            both.wait()

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 8
    assert list(Path("runs").iterdir()) == []


def test_a_directory_that_exists_is_not_given():
    with folders.reserve("laq") as first:
        first.mkdir()
    with folders.reserve("laq") as second:
        assert second != first


def test_a_place_that_cannot_be_written_is_named():
    Path("runs").write_text("")
    refusal = pytest.raises(ConfigError, match=r"runs: can't be written .* --out")
    with refusal, folders.reserve("laq"):
        pass


def test_show_of_a_comparison_shows_its_runs(capsys):
    Path("c.toml").write_text(COMPARISON)
    assert app.main(["compare", "c.toml", "--local", "--out", "x"]) == 0
    capsys.readouterr()
    assert app.main(["show", "x"]) == 0
    shown = capsys.readouterr().out
    assert "x holds 2 runs" in shown
    assert "laq3" in shown
    assert "psmpi show x/gd" in shown


LONG = [
    *("run", "sgd", "--rounds", "10000000", "--no-optimum", "--workers", "2"),
    *("--data", "synthetic:softmax,samples=240,features=4", "--evaluate-every", "5"),
]


@pytest.mark.parametrize(
    "words", [["--local"], pytest.param([], marks=pytest.mark.mpi)]
)
def test_ctrl_c_names_the_directory_with_what_is_recorded(words, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "psmpi", *LONG, *words, "--out", "x"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1"},
    )
    seen = ""
    while "round 0/" not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert re.search(r"psmpi: interrupted; \d+ rounds are recorded in x\n", rest), rest
    assert "Traceback" not in rest
    assert (tmp_path / "x" / "rows.jsonl").exists()
    assert (tmp_path / "x" / "model.npy").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_line():
    """Rows go to a device that is always full."""
    code = (
        "import pathlib, sys; old = pathlib.Path.open\n"
        "def full(self, *a, **k):\n"
        "    full = self.name == 'rows.jsonl'\n"
        "    return open('/dev/full', 'w') if full else old(self, *a, **k)\n"
        "pathlib.Path.open = full\n"
        "from psmpi.__main__ import main; main()"
    )
    line = [sys.executable, "-c", code, *LONG, "--local", "--out", "x"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    full = "x/rows.jsonl: can't be written (No space left on device); "
    assert last.startswith(f"psmpi: {full}")
    assert "Traceback" not in done.stderr
