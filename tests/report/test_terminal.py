"""Terminal reports are complete at every width, and no recorded run makes them fail."""

import io
import re

import pytest
from rich.console import Console

from psmpi.report import console, details, overview, table
from psmpi.report.metrics import names
from psmpi.runs.record import RunWriter
from psmpi.runs.recorded import read_run
from tests.helpers.recorded_runs import record_run


def text_of(renderable, width):
    file = io.StringIO()
    Console(file=file, width=width).print(renderable)
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_the_table_is_complete_and_fits(pair, width):
    text = text_of(table(pair), width)
    assert max(map(len, text.splitlines())) <= width
    wanted = ["gd", "laq", "0.2000", "6.14e-06", "100.00 %", "240", "768 kbit", "97 kB"]
    wanted += ["96 kbit", "13 kB", "8.00x", "1.00x", "600 ms", "50 %", "10 %", "20 %"]
    assert [w for w in wanted if w not in text.replace(".0 k", " k")] == []
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 160])
def test_a_long_name_is_folded_not_cut(tmp_path, width):
    runs = [record_run(tmp_path / f"{'long-name-' * 4}{i}", rounds=3) for i in range(2)]
    text = text_of(table(runs), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "#" not in names(runs)[0]


def test_a_pipe_gets_one_line_for_each_run(pair):
    file = io.StringIO()
    console(file).print(table(pair))
    line = next(x for x in file.getvalue().splitlines() if x.startswith("laq"))
    assert "96.0 kbit" in line
    assert "600 ms" in line


def test_square_brackets_in_a_name_are_not_markup(tmp_path):
    run = record_run(tmp_path / "a", options={})
    run.summary["name"] = "[bold]mine"
    assert "[bold]mine" in text_of(table([run]), 80)


@pytest.mark.parametrize("width", [80, 160])
def test_details_contain_everything(pair, width):
    text = text_of(details(pair[1]), width)
    for word in ("bits", "node-a", "residual=0.0001", "1.23 kB", "50.0 MB"):
        assert word in text
    assert max(map(len, text.splitlines())) <= width


def test_details_separate_given_settings_from_defaults(pair):
    pair[1].manifest["given"] = ["bits"]
    pair[1].manifest["effective"] = {"codec": "uniform:bits=4"}
    text = text_of(details(pair[1]), 80)
    given, defaults = text.split("configuration: given")[1].split(
        "configuration: defaults"
    )
    assert re.search(r"^bits +4", given, re.MULTILINE)
    assert re.search(r"^codec +uniform:bits=4", defaults, re.MULTILINE)
    assert "workers" in defaults
    assert "effective" not in text


def test_details_of_an_older_run_mark_nothing(pair):
    text = text_of(details(pair[1]), 80)
    assert re.search(r"^configuration +$", text, re.MULTILINE)
    assert "configuration: " not in text


def test_details_show_no_control_characters(tmp_path):
    run = record_run(tmp_path / "a", mpi="Open MPI v5.0.8\0")
    text = text_of(details(run), 80)
    assert "Open MPI v5.0.8" in text
    assert "\0" not in text


def test_details_report_a_missed_target(pair):
    pair[1].summary["unmet"] = ["loss=0.1"]
    assert "loss=0.1 was not reached" in text_of(details(pair[1]), 80)


def test_overview_lists_the_runs_and_says_how_to_show_one(pair):
    text = text_of(overview(pair), 200)
    assert [line.split()[0] for line in text.splitlines()[2:4]] == ["gd", "laq"]
    assert f"psmpi show {pair[0].path}\n" in text
    assert f"psmpi report {pair[0].path.parent} --html FILE" in text
    assert len(text.splitlines()) < 12


def test_overview_of_no_runs():
    assert text_of(overview([]), 80) == "no runs\n"


def test_odd_runs_are_reported(odd, tmp_path):
    ordinary = record_run(tmp_path / "gd")
    for report in (table([odd, ordinary]), overview([odd, ordinary]), details(odd)):
        assert "laq" in text_of(report, 80)


def test_a_run_without_rows(tmp_path):
    RunWriter(tmp_path / "run", {}, hosts=[], digests={}).close()
    run = read_run(tmp_path / "run")
    for report in (table([run]), overview([run]), details(run)):
        assert "did not end; no row was recorded" in text_of(report, 80)
