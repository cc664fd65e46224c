"""The curves as CSV hold every recorded number; pictures are files of their format."""

import csv
import subprocess
import sys

import pytest

from psmpi import report
from psmpi.base import ConfigError
from tests.helpers.recorded_runs import record_run


def test_csv_has_every_row_of_every_run(pair, tmp_path):
    path = report.csv(pair, tmp_path / "curves.csv")
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == sum(len(run.rows) for run in pair)
    assert {line["run"] for line in lines} == {"gd", "laq"}
    rows = [row for run in pair for row in run.rows]
    for line, row in zip(lines, rows, strict=True):
        assert float(line["residual"]) == row["residual"]
        assert int(line["paper_bits_up"]) == row["paper_bits_up"]
    assert lines[0]["gradient_norm"] == ""  # null


def test_csv_has_the_keys_of_rows_that_only_some_runs_have(pair, tmp_path):
    more = record_run(tmp_path / "c", "dsgd", rounds=1, spread=[1, 2])
    path = report.csv([*pair, more], tmp_path / "curves.csv")
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert lines[0]["spread"] == ""
    assert lines[-1]["spread"] == "[1, 2]"


def test_csv_is_not_overwritten_without_force(pair, tmp_path):
    path = tmp_path / "curves.csv"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="already exists"):
        report.csv(pair, path)
    assert path.read_text() == "mine"
    report.csv(pair, path, force=True)
    assert path.read_text().startswith("run,algorithm,directory,round,loss,")


@pytest.mark.parametrize(("form", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_every_picture_becomes_a_file(pair, tmp_path, form, start):
    files = report.images(pair, tmp_path / "new" / "pictures", form=form)
    assert len(files) == 6
    assert files[0].name == f"residual-against-uplink-bits.{form}"
    assert all(path.read_bytes().startswith(start) for path in files)


def test_pictures_are_not_overwritten_without_force(pair, tmp_path):
    old = tmp_path / "residual-against-time.png"
    old.write_text("mine")
    with pytest.raises(ConfigError, match="already exists"):
        report.images(pair, tmp_path)
    assert list(tmp_path.glob("*.png")) == [old]  # nothing else was written either
    report.images(pair[:1], tmp_path, force=True)
    assert old.read_bytes().startswith(b"\x89PNG")


def test_an_unknown_format_is_refused(pair, tmp_path):
    with pytest.raises(ConfigError, match="png, pdf, svg, got 'gif'"):
        report.images(pair, tmp_path, form="gif")


@pytest.mark.parametrize("write", [report.csv, report.images])
def test_an_export_needs_runs(write, tmp_path):
    with pytest.raises(ConfigError, match="at least one run"):
        write([], tmp_path / "x")


def test_matplotlib_is_loaded_only_for_pictures(pair, tmp_path):
    code = f"""
import sys
from psmpi import report
from psmpi.runs.recorded import read_run
runs = [read_run(path) for path in {[str(run.path) for run in pair]}]
console = report.console()
for text in (report.table(runs), report.details(runs[0]), report.overview(runs)):
    console.print(text)
report.csv(runs, {str(tmp_path / "x.csv")!r})
assert "matplotlib" not in sys.modules, "loaded without need"
report.html(runs, {str(tmp_path / "x.html")!r})
assert "matplotlib" in sys.modules, "the page is drawn by something else?"
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
