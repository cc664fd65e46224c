"""The HTML page has every run, loads nothing, and no recorded run makes it fail."""

import re
from html.parser import HTMLParser

import pytest

from psmpi.base import ConfigError
from psmpi.report import html
from psmpi.report.comparison import headline
from psmpi.report.style import pen
from psmpi.runs.record import RunWriter
from psmpi.runs.recorded import read_run
from tests.helpers.recorded_runs import ODD, record_run


class Page(HTMLParser):
    """Collects what a browser would load, ids, text, bold text, and tags left open."""

    VOID = frozenset({"meta", "path", "use", "rect"})

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.text, self.open, self.bold = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for key, value in attrs:
            if key in ("href", "src", "xlink:href", "srcset", "data", "action"):
                self.links.append(value)
            if key == "id":
                self.ids.append(value)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if self.open and self.open[-1] == "b":
            self.bold.append(data)


def page_of(runs, tmp_path):
    return html(runs, tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_page_has_every_run_and_loads_nothing(pair, tmp_path):
    text = page_of(pair, tmp_path)
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert all(link.startswith("#") for link in page.links)
    assert not re.search(r"https?:|//\w|@import|<script|file:", text)
    words = "".join(page.text)
    for word in ("gd", "laq", "768 kbit", "96.0 kbit", "97.0 kB", "bits"):
        assert word in words
    assert headline(pair) in words
    assert text.count("<figure>") == 6
    assert not re.search(r"#0[a1]0[b2]\w\w", text)  # a colour that was not replaced


def test_curves_are_against_everything_that_a_run_spends(pair, tmp_path):
    bold = Page(page_of(pair, tmp_path)).bold
    assert bold == [
        "Residual against uplink bits.",
        "Residual against bytes both ways.",
        "Residual against rounds.",
        "Residual against uploads.",
        "Residual against time.",
        "Test accuracy against uplink bits.",
    ]


def test_given_settings_are_bold_and_the_effective_values_shown(pair, tmp_path):
    for run in pair:
        run.manifest["given"] = ["data"]
        run.manifest["effective"] = {"error_weight": 3.0}
    page = Page(page_of(pair, tmp_path))
    assert "digits" in page.bold
    assert {"gd", "laq"} <= set(page.bold)  # the algorithms
    assert "3.0" in page.text
    assert "3.0" not in page.bold
    assert "Bold: set by the user." in "".join(page.text)


def test_the_page_of_older_runs_has_no_word_about_given_settings(pair, tmp_path):
    assert "set by the user" not in page_of(pair, tmp_path)


def test_the_page_says_where_time_is_not_that_of_a_parallel_run(pair, tmp_path):
    assert "took turns" not in page_of(pair, tmp_path)
    (tmp_path / "local").mkdir()
    run = record_run(tmp_path / "local" / "a", mpi=None)
    assert page_of([run], tmp_path / "local").count("took turns") == 2


def test_a_page_has_no_control_characters(tmp_path):
    run = record_run(tmp_path / "a", mpi="Open MPI v5.0.8\0")
    text = page_of([run], tmp_path)
    assert "Open MPI v5.0.8" in text
    assert "\0" not in text


def test_a_page_is_not_overwritten_without_force(pair, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="already exists"):
        html(pair, path)
    assert path.read_text() == "mine"
    html(pair[:1], path, force=True)
    assert path.read_text().startswith("<!doctype html>")


def test_a_page_needs_runs_and_a_folder(pair, tmp_path):
    with pytest.raises(ConfigError, match="at least one run"):
        html([], tmp_path / "report.html")
    with pytest.raises(ConfigError, match="can't be written"):
        html(pair[:1], tmp_path / "none" / "report.html")


def test_odd_runs_have_a_page(odd, tmp_path):
    page = Page(page_of([odd, record_run(tmp_path / "gd")], tmp_path))
    assert {"laq", "gd"} <= {word.split()[0] for word in page.text if word.strip()}


@pytest.mark.parametrize(
    ("kind", "figures"),
    # Without bits there remain rounds, uploads and time.
    [("zero-bit", 3), ("one-row", 0), ("did-not-end", 6), ("no-time", 5)],
)
def test_a_page_of_one_odd_run_leaves_out_empty_pictures(tmp_path, kind, figures):
    run = record_run(tmp_path / "run", "laq", **{"width": 4, **ODD[kind]})
    assert page_of([run], tmp_path).count("<figure>") == figures


def test_a_run_without_rows_has_a_page(tmp_path):
    RunWriter(tmp_path / "run", {}, hosts=[], digests={}).close()
    assert "did not end" in page_of([read_run(tmp_path / "run")], tmp_path)


def test_markup_in_names_is_escaped(tmp_path):
    options = [{}, {"x": "<b>"}]
    runs = [record_run(tmp_path / str(i), options=o) for i, o in enumerate(options)]
    text = page_of(runs, tmp_path)
    assert "<b>'" not in text
    assert "gd x=&lt;b&gt;" in text


def test_the_first_24_pens_differ():
    assert len({(p.hue, p.dashes, p.marker) for p in map(pen, range(24))}) == 24


def test_options_that_only_some_runs_have_stand_among_the_options(tmp_path):
    gd = record_run(tmp_path / "a", rounds=1, options={"lr": 1, "reduce": "sum"})
    options = {"lr": 1, "slack": 0, "reduce": "sum"}
    laq = record_run(tmp_path / "b", "laq", 4, 1, options=options)
    words = [text for text in Page(page_of([gd, laq], tmp_path)).text if text.strip()]
    differing = words[words.index("Configuration") : words.index("created")]
    assert differing.index("algorithm") < differing.index("slack")
    assert differing.index("slack") < differing.index("directory")
