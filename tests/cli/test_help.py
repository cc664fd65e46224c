"""Help is fast, grouped and says what it describes."""

import subprocess
import sys

import pytest

from psmpi import algorithms
from psmpi.cli import app, help
from psmpi.runs.options import RunOptions

HEAVY = ("numba", "scipy", "sklearn", "matplotlib", "mpi4py")


def shown(capsys, monkeypatch, *words, columns=100):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert app.main(words) == 0
    return capsys.readouterr().out


def test_the_first_help_has_commands_examples_statuses_and_variables(
    capsys, monkeypatch
):
    text = shown(capsys, monkeypatch, "--help")
    for word in ("compare", "replay", "warmup", "Examples:", "130", "PSMPI_DATA"):
        assert word in text
    for name in ("PSMPI_CACHE", "PSMPI_TRACEBACK", "PSMPI_OVERSUBSCRIBE"):
        assert name in text
    assert shown(capsys, monkeypatch) == text


def test_the_help_of_an_algorithm_begins_with_what_it_is(capsys, monkeypatch):
    text = shown(capsys, monkeypatch, "run", "laq", "--help")
    usage, _, rest = text.partition("\n")
    assert usage == "Usage: psmpi run laq [OPTIONS]"
    assert rest.lstrip().startswith("LAQ: quantised innovations")
    places = [text.index(f"─ {title} ─") for title in help.groups()]
    assert places == sorted(places)
    assert "[default: 0.02]" in text
    assert text.rstrip().splitlines()[-3].startswith("  psmpi run laq --local")


def test_every_option_of_a_run_has_a_group_of_its_own():
    groups = [title for title in help.groups() if title != "Method"]
    for field in RunOptions.__dataclass_fields__:
        assert help.title_of(field) in groups, field


@pytest.mark.parametrize("words", [["run", "--help"], ["run", "-h"]])
def test_the_help_of_run_names_all_algorithms_and_shows_a_file(
    words, capsys, monkeypatch
):
    text = shown(capsys, monkeypatch, *words)
    assert set(algorithms.ALGORITHMS) <= set(text.split())
    assert "--config FILE.toml" in text
    assert 'algorithm = "laq"' in text


def test_the_help_of_compare_shows_a_file_with_runs(capsys, monkeypatch):
    text = shown(capsys, monkeypatch, "compare", "--help")
    assert text.count("  [[run]]") == 2


def test_help_fits_a_narrow_terminal(capsys, monkeypatch):
    text = shown(capsys, monkeypatch, "run", "laq", "--help", columns=60)
    assert max(map(len, text.splitlines())) <= 60


@pytest.mark.parametrize(
    ("words", "modules"),
    [
        (["--help"], ("numpy", *HEAVY)),
        (["compare", "--help"], ("numpy", *HEAVY)),
        (["run", "laq", "--help"], HEAVY),
    ],
)
def test_help_imports_nothing_heavy(words, modules):
    code = (
        "import sys; from psmpi.cli import app; app.main(sys.argv[1:]); "
        f"found = set({modules!r}) & set(sys.modules); "
        "sys.exit(f'imported {found}' if found else 0)"
    )
    line = [sys.executable, "-c", code, *words]
    done = subprocess.run(line, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
