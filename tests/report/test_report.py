"""Reports: complete at every width, one file that loads nothing, never a crash."""

import io
import math
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from psmpi.base import ConfigError
from psmpi.report import console, details, html, table
from psmpi.report.comparison import headline, notes, reaches
from psmpi.report.metrics import names, split, totals
from psmpi.report.pictures import COLUMNS_OF_PIXELS, _thin
from psmpi.report.style import pen
from psmpi.report.units import bits, seconds, share, size, three
from psmpi.runs.record import RunWriter
from psmpi.runs.recorded import read_run

PARTS = {"compute": 0.5, "encode": 0.1, "send": 0.05, "wait": 0.2, "decode": 0.05}
COUNTS = ("uploads", "paper_bits_up", "paper_bits_down", "wire_bytes_up")
DIM, WORKERS = 100, 4


def made_row(number, width, residual, accuracy):
    value = math.exp(-0.2 * number)
    sent = number * WORKERS * width * DIM
    return {
        "round": number,
        "loss": 0.2 + value,
        "residual": value if residual else None,
        "accuracy": 1 - value if accuracy else None,
        "gradient_norm": None,
        "uploads": number * WORKERS,
        "paper_bits_up": sent,
        "paper_bits_down": number * WORKERS * 32 * DIM,
        "wire_bytes_up": sent // 8 + 16 * number,
        "wire_bytes_down": number * WORKERS * (4 * DIM + 16),
        "seconds": 0.01 * number,
    }


def made_ranks(count, total):
    spent = {part: total * part_of for part, part_of in PARTS.items()}
    spent |= {"evaluate": 0.0, "total": total}
    fixed = {"host": "node-a", "rounds": 3, "frames_sent": 3, "bytes_sent": 1234}
    fixed |= {"bytes_received": 5678, "seconds": spent, "max_rss": 50_000_000}
    return [{"rank": rank, **fixed} for rank in range(count)]


def made(path, algorithm="gd", width=32, rounds=60, *, ended=True, **more):
    """Write and return a run of ``algorithm`` that sends ``width`` bits an entry."""
    residual, accuracy = more.pop("residual", True), more.pop("accuracy", True)
    config = {"algorithm": algorithm, "workers": WORKERS, "data": "digits", "dim": DIM}
    options = more.pop("options", {})
    config |= {"options": options, "seed": 0}
    out = RunWriter(path, config, hosts=["node-a"], digests={"data": "abc"})
    rows = [made_row(i, width, residual, accuracy) for i in range(rounds + 1)]
    for row in rows:
        out.append({**row, **more})
    last = {**rows[-1], **more}
    spent = {"round", "loss", "accuracy", "seconds", *COUNTS, "wire_bytes_down"}
    there = [{k: r[k] for k in spent} for r in rows if (r["residual"] or 9) <= 1e-4]
    if ended:
        values = {k: v for k, v in last.items() if k not in ("round", "gradient_norm")}
        values |= {"algorithm": algorithm, "workers": WORKERS, "rounds": rounds}
        values |= {"seconds": {"total": last["seconds"]}, "dim": DIM, "data": "digits"}
        values |= {"reached": {"residual=0.0001": there[0]} if there else {}}
        values |= {"ranks": made_ranks(WORKERS + 1, 2.0), "options": options}
        out.finish({**values, "dtype": "float32", "seed": 0})
    out.close()
    return read_run(path)


@pytest.fixture
def pair(tmp_path):
    return [made(tmp_path / "a"), made(tmp_path / "b", "laq", 4, options={"bits": 4})]


ODD = {
    "zero-bit": {"width": 0, "wire_bytes_up": 0, "wire_bytes_down": 0},
    "one-row": {"rounds": 0},
    "two-rows": {"rounds": 1},
    "without-target": {"rounds": 5},
    "without-residual": {"residual": False},
    "without-accuracy": {"accuracy": False},
    "did-not-end": {"ended": False},
    "diverged": {"loss": None, "residual": False},
    "no-time": {"seconds": 0.0},
    "below-the-optimum": {"loss": -1.0},
    "markup": {"options": {"x": "<b>&\"'"}},
}


@pytest.fixture(params=ODD, ids=str)
def odd(request, tmp_path):
    return made(tmp_path / "odd", "laq", **{"width": 4, **ODD[request.param]})


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
    runs = [made(tmp_path / f"{'long-name-' * 4}{i}", rounds=3) for i in range(2)]
    text = text_of(table(runs), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "#" not in names(runs)[0]


def test_a_pipe_gets_one_line_a_run(pair):
    file = io.StringIO()
    console(file).print(table(pair))
    line = next(x for x in file.getvalue().splitlines() if x.startswith("laq"))
    assert "96.0 kbit" in line
    assert "600 ms" in line


@pytest.mark.parametrize("width", [80, 160])
def test_details_tell_everything(pair, width):
    text = text_of(details(pair[1]), width)
    for word in ("options.bits", "node-a", "residual=0.0001", "1.23 kB", "50.0 MB"):
        assert word in text
    assert max(map(len, text.splitlines())) <= width


def test_a_missed_target_is_told(pair):
    pair[1].summary["unmet"] = ["loss=0.1"]
    assert "loss=0.1 was not reached" in text_of(details(pair[1]), 80)


class Page(HTMLParser):
    """Collects what a browser would load, ids, text, and tags left open."""

    VOID = frozenset({"meta", "path", "use", "rect"})

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.text, self.open = [], [], [], []
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


def test_the_page_has_every_run_and_loads_nothing(pair, tmp_path):
    text = html(pair, tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert all(link.startswith("#") for link in page.links)
    assert not re.search(r"https?:|//\w|@import|<script|file:", text)
    words = "".join(page.text)
    for word in ("gd", "laq", "768 kbit", "96.0 kbit", "97.0 kB", "options.bits"):
        assert word in words
    assert headline(pair) in words
    assert text.count("<figure>") == 4
    assert not re.search(r"#0[a1]0[b2]\w\w", text)  # a colour that was not replaced


def test_a_page_is_not_overwritten_unless_asked(pair, tmp_path):
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


def test_odd_runs_are_reported(odd, tmp_path):
    ordinary = made(tmp_path / "gd")
    page = Page(html([odd, ordinary], tmp_path / "r.html").read_text(encoding="utf-8"))
    assert {"laq", "gd"} <= {word.split()[0] for word in page.text if word.strip()}
    assert "laq" in text_of(table([odd, ordinary]), 80)
    assert "laq" in text_of(details(odd), 80)


@pytest.mark.parametrize("kind", ["zero-bit", "one-row", "did-not-end"])
def test_a_page_of_one_odd_run(tmp_path, kind):
    run = made(tmp_path / "run", "laq", **{"width": 4, **ODD[kind]})
    text = html([run], tmp_path / "report.html").read_text(encoding="utf-8")
    figures = {"zero-bit": 1, "one-row": 0, "did-not-end": 4}  # one is against time
    assert text.count("<figure>") == figures[kind]


def test_a_run_without_rows(tmp_path):
    RunWriter(tmp_path / "run", {}, hosts=[], digests={}).close()
    run = read_run(tmp_path / "run")
    assert "did not end" in text_of(table([run]), 80)
    assert "did not end" in text_of(details(run), 80)
    html([run], tmp_path / "report.html")


def test_markup_in_names_is_escaped(tmp_path):
    runs = [made(tmp_path / str(i), options={"x": "<b>"} if i else {}) for i in (0, 1)]
    text = html(runs, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<b>'" not in text
    assert "gd x=&lt;b&gt;" in text


def test_the_headline_compares_with_the_uncompressed_run(pair):
    sentence = headline(pair)
    assert sentence.startswith("laq reached residual 0.0001 with 12 % of gd's uplink")
    assert sentence.endswith("in 100 % of its time")


def test_no_headline_without_targets_or_baseline(pair, tmp_path):
    assert headline(pair[1:]) is None
    assert headline([made(tmp_path / "c", rounds=3), pair[1]]) is None


def test_reaches_give_the_share_of_bits(pair):
    by_name = {reach.name: reach for reach in reaches(pair)}
    assert by_name["gd"].share == 1
    assert by_name["laq"].share == pytest.approx(4 / 32)


def test_notes_tell_what_differs_and_what_failed(pair, tmp_path):
    killed = made(tmp_path / "c", "qgd", 4, 7, ended=False)
    pair[1].summary["data"] = "mnist"
    text = " ".join(notes([*pair, killed]))
    assert "qgd: did not end; its numbers are of round 7" in text
    assert "differ in data: digits, mnist" in text


def test_a_killed_run_has_a_ratio(tmp_path):
    killed = made(tmp_path / "c", "qgd", 4, 7, ended=False)
    assert totals(killed)["dense_bits_up"] == 32 * DIM * WORKERS * 7


def test_names_say_what_differs(tmp_path):
    runs = [
        made(tmp_path / f"{i}", "laq", 4, 2, options={"bits": i, "lr": 1})
        for i in (3, 4)
    ]
    assert names(runs) == ["laq bits=3", "laq bits=4"]
    assert names([runs[0], runs[0]]) == ["laq 3 #1", "laq 3 #2"]
    runs[1].summary["name"] = "mine"
    assert names(runs) == ["laq", "mine"]


def test_the_split_is_of_workers_alone(pair):
    total = dict(totals(pair[0]))
    total["ranks"][0]["seconds"] = {"wait": 1000.0, "total": 1000.0}
    shares = split(total)
    assert shares["compute"] == pytest.approx(0.5)
    assert shares["other"] == pytest.approx(0.1)
    assert sum(shares.values()) == pytest.approx(1)


def test_a_rank_without_a_total_has_the_runs(pair):
    total = dict(totals(pair[0]))
    total["seconds"] = {"total": 4.0}
    for rank in total["ranks"]:
        del rank["seconds"]["total"]
    assert split(total)["compute"] == pytest.approx(0.25)


def test_the_first_24_pens_differ():
    assert len({(p.colour, p.dashes, p.marker) for p in map(pen, range(24))}) == 24


def test_thinning_keeps_the_extremes():
    curve = [(float(x), float(x % 7)) for x in range(50_000)]
    curve[31_111] = (31_111.0, 99.0)
    thin = _thin(curve, log=False)
    assert len(thin) <= 4 * (COLUMNS_OF_PIXELS + 1)
    assert (31_111.0, 99.0) in thin
    assert (thin[0], thin[-1]) == (curve[0], curve[-1])


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        (bits, 1.94e7, "19.4 Mbit"),
        (bits, 0, "0 bit"),
        (bits, 832, "832 bit"),
        (bits, 999_600, "1.00 Mbit"),
        (bits, 3.1e13, "31.0 Tbit"),
        (size, 2_430_000, "2.43 MB"),
        (size, 2**60, "1150 PB"),
        (seconds, 0.01234, "12.3 ms"),
        (seconds, 0, "0 s"),
        (seconds, 75.25, "75.2 s"),
        (seconds, 7523.4, "7523 s"),
        (share, 0.0161, "1.6 %"),
        (share, 0.0996, "10 %"),
        (three, 100.0, "100"),
        (three, 1.5e-5, "1.50e-05"),
    ],
)
def test_units_have_three_digits(form, value, expected):
    assert form(value) == expected
