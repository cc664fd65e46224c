"""A report as one HTML file, which loads nothing from anywhere and runs no script."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from psmpi.base import ConfigError
from psmpi.report import svg
from psmpi.report.comparison import arrival_tables, headline, notes
from psmpi.report.curves import Plot, plots
from psmpi.report.files import refuse_existing, write_new
from psmpi.report.metrics import (
    COLUMNS,
    PARTS,
    clock,
    names,
    own_columns,
    split,
    totals,
)
from psmpi.report.settings import Setting, provenance, settings
from psmpi.report.style import CSS, RAMP
from psmpi.report.units import share
from psmpi.runs.recorded import RecordedRun


def html(
    runs: Sequence[RecordedRun], path: str | os.PathLike[str], *, force: bool = False
) -> Path:
    """Write the report of ``runs`` to ``path`` and return that.

    Raises ``ConfigError`` without runs, or if the file exists and not ``force``.
    """
    target = Path(path)
    if not runs:
        raise ConfigError("report: needs at least one run, got none")
    refuse_existing(target, force=force)  # before the pictures, which take seconds
    write_new(target, page(runs), force=force)
    return target


def page(runs: Sequence[RecordedRun]) -> str:
    """Return the report of ``runs`` as the text of an HTML page."""
    called = names(runs)
    legend = [f"{svg.swatch(i)}{escape(name)}" for i, name in enumerate(called)]
    labels = [f"{svg.swatch_again(i)}{escape(name)}" for i, name in enumerate(called)]
    title = called[0] if len(runs) == 1 else f"Comparison of {len(runs)} runs"
    sentence = headline(runs)
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>psmpi: {escape(title)}</title>\n<style>{CSS}</style>\n</head>",
            f"<body>\n<main>\n<h1>{escape(title)}</h1>",
            f'<p class="lead">{escape(sentence)}.</p>' if sentence else "",
            *(f'<p class="soft">{escape(note)}.</p>' for note in notes(runs)),
            _list("legend", legend),
            '<div class="pictures">',
            *(_figure(plot) for plot in plots(runs, called)),
            "</div>",
            *_numbers(runs, labels),
            *_targets(runs, labels),
            *_time(runs, labels),
            *_configuration(runs, labels),
            "</main>\n</body>\n</html>\n",
        ]
    )


def _list(kind: str, items: Iterable[str]) -> str:
    return f'<ul class="{kind}">{"".join(f"<li>{item}</li>" for item in items)}</ul>'


def _figure(plot: Plot) -> str:
    remarks = "".join(f" {escape(note)}" for note in plot.notes)
    caption = f"<b>{escape(plot.title)}.</b>{remarks}"
    return f"<figure><figcaption>{caption}</figcaption>{svg.picture(plot)}</figure>"


def _table(
    head: Sequence[str], labels: Sequence[str], rows: Sequence[Sequence[str]], kind: str
) -> str:
    """Return a table of HTML; the cells of ``rows`` are whole <td> elements."""
    titles = "".join(f"<th>{title}</th>" for title in head)
    top = f"<thead><tr>{titles}</tr></thead>" if any(head) else ""
    body = "\n".join(
        f"<tr><th>{label}</th>{''.join(cells)}</tr>"
        for label, cells in zip(labels, rows, strict=True)
    )
    return (
        f'<div class="wide"><table class="{kind}">{top}\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(text: str, exact: object = None) -> str:
    more = "" if exact is None else f' title="{escape(str(exact))}"'
    return f"<td{more}>{escape(text)}</td>"


def _numbers(runs: Sequence[RecordedRun], labels: Sequence[str]) -> list[str]:
    every = [totals(run) for run in runs]
    # The shares of time have a table of their own, beside their bars.
    columns = [column for column in COLUMNS if column.title not in PARTS]
    columns += own_columns(runs)
    rows = [[_cell(c.cell(t), c.value(t)) for c in columns] for t in every]
    head = ["", *(column.title for column in columns)]
    return [
        "<h2>Numbers</h2>",
        _table(head, labels, rows, "numbers"),
        '<p class="soft">Up: sent by the workers, to the server or to other workers. '
        "Down: sent by the server. Paper: bits by the formulas of the papers. Wire: "
        "bytes measured where messages are handed to MPI, control messages included. "
        "Ratio: the uplink bits of the uncompressed method for as many steps (32 bits "
        "× entries × frames), over paper up. Hold the pointer over a cell to see the "
        "exact number.</p>",
    ]


def _targets(runs: Sequence[RecordedRun], labels: Sequence[str]) -> list[str]:
    label_of = dict(zip(names(runs), labels, strict=True))
    result = []
    for arrived in arrival_tables(runs):
        target = escape(arrived.target.replace("=", " "))
        result.append(f"<h2>Cost of reaching {target}</h2>")
        who = [label_of[name] for name, _ in arrived.rows]
        cells = [[_cell(text) for text in texts] for _, texts in arrived.rows]
        result.append(
            _table(["", *map(escape, arrived.titles)], who, cells, "numbers reached")
        )
    return result


def _time(runs: Sequence[RecordedRun], labels: Sequence[str]) -> list[str]:
    colours = dict(zip((*PARTS, "other"), RAMP, strict=True))
    who, rows = [], []
    for run, label in zip(runs, labels, strict=True):
        shares = split(totals(run))
        if shares is None:
            continue
        spans = "".join(
            f'<span style="width:{100 * shares[part]:.2f}%;background:{colour}"></span>'
            for part, colour in colours.items()
        )
        who.append(label)
        bar = f'<td><div class="bar">{spans}</div></td>'
        rows.append([bar, *(_cell(share(shares[part])) for part in colours)])
    if not rows:
        return []
    key = [
        f'<span class="swatch" style="background:{colour}"></span>{part}'
        for part, colour in colours.items()
    ]
    turns = any(clock(run) == "in turns" for run in runs)
    return [
        "<h2>Where a worker's time goes</h2>",
        _list("legend", key),
        _table(["", "", *colours], who, rows, "bars"),
        '<p class="soft">Means over the workers. Wait includes the server\'s '
        "evaluations"
        + (", and with --local the turns of all other ranks" if turns else "")
        + ". Other is the training loop itself.</p>",
    ]


def _configuration(runs: Sequence[RecordedRun], labels: Sequence[str]) -> list[str]:
    """Return the settings in which the runs differ, and those that all have."""
    every = [_facts(run) for run in runs]
    keys = _merged(every)
    texts = {key: {facts[key].text for facts in every if key in facts} for key in keys}
    differ = [
        key
        for key in keys
        if len(texts[key]) > 1 or any(key not in facts for facts in every)
    ]
    result = ["<h2>Configuration</h2>"]
    if any(setting.given is not None for facts in every for setting in facts.values()):
        result.append(
            '<p class="soft">Bold: set by the user. Everything else is a default, with '
            "the value that the run used.</p>"
        )
    if differ:
        rows = [[_setting(facts.get(key)) for facts in every] for key in differ]
        result.append(
            _table(["", *labels], list(map(escape, differ)), rows, "settings")
        )
        result.append("<h2>The same in all runs</h2>")
    same = [key for key in keys if key not in differ]
    rows = [[_setting(every[0][key])] for key in same]
    return [*result, _table(["", ""], list(map(escape, same)), rows, "facts")]


def _merged(every: Sequence[Iterable[str]]) -> list[str]:
    """Return all keys; one that only some have stands where these have it."""
    result: list[str] = []
    for keys in every:
        place = 0
        for key in keys:
            if key not in result:
                result.insert(place, key)
            place = result.index(key) + 1
    return result


def _setting(setting: Setting | None) -> str:
    if setting is None:
        return _cell("")
    if not setting.given:
        return _cell(setting.text)
    return f'<td title="set by the user"><b>{escape(setting.text)}</b></td>'


def _facts(run: RecordedRun) -> dict[str, Setting]:
    """Return a run's settings, then what it was written by."""
    # The name of the directory alone, without its path: reports are made to be shared.
    facts = {"directory": run.path.name, **provenance(run)}
    shortened = {
        key: value[:12] if key.startswith("digest") else value
        for key, value in facts.items()
    }
    return settings(run) | {key: Setting(value) for key, value in shortened.items()}
