"""A report as one HTML file: nothing is loaded from anywhere, and no script runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from psmpi.base import ConfigError
from psmpi.report.comparison import arrivals, headline, notes
from psmpi.report.metrics import COLUMNS, PARTS, flat, names, split, totals
from psmpi.report.pictures import Picture, pictures, swatch, swatch_again
from psmpi.report.style import CSS, RAMP
from psmpi.report.units import share
from psmpi.runs.record import Json
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
    if target.exists() and not force:
        raise ConfigError(
            f"{target}: already exists, and nothing is overwritten; "
            "give another name, or --force"
        )
    text = page(runs)
    part = target.with_name(target.name + ".tmp")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(target)
    except OSError as error:
        raise ConfigError(f"{target}: can't be written ({error.strerror})") from None
    return target


def page(runs: Sequence[RecordedRun]) -> str:
    """Return the report of ``runs`` as the text of an HTML page."""
    called = [escape(name) for name in names(runs)]
    legend = [f"{swatch(i)}{name}" for i, name in enumerate(called)]
    labels = [f"{swatch_again(i)}{name}" for i, name in enumerate(called)]
    only = names(runs)[0]
    title = only if len(runs) == 1 else f"Comparison of {len(runs)} runs"
    sentence = headline(runs)
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>psmpi: {escape(title)}</title>\n<style>{CSS}</style>\n</head>",
            f"<body>\n<main>\n<h1>{escape(title)}</h1>",
            f'<p class="lead">{escape(sentence)}.</p>' if sentence else "",
            *(f'<p class="soft">{escape(note)}</p>' for note in notes(runs)),
            _list("legend", legend),
            '<div class="pictures">',
            *(_figure(picture) for picture in pictures(runs, names(runs))),
            "</div>",
            *_numbers(runs, labels),
            *_arrivals(runs, labels),
            *_time(runs, labels),
            *_settings(runs, labels),
            "</main>\n</body>\n</html>\n",
        ]
    )


def _list(kind: str, items: Iterable[str]) -> str:
    return f'<ul class="{kind}">{"".join(f"<li>{item}</li>" for item in items)}</ul>'


def _figure(picture: Picture) -> str:
    words = "".join(f" {escape(note)}" for note in picture.notes)
    caption = f"<b>{escape(picture.title)}.</b>{words}"
    return f"<figure><figcaption>{caption}</figcaption>{picture.svg}</figure>"


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
    found = [totals(run) for run in runs]
    # The parts of the time have a table of their own, beside their bars.
    columns = [column for column in COLUMNS if column.title not in PARTS]
    rows = [[_cell(c.cell(t), c.value(t)) for c in columns] for t in found]
    head = ["", *(column.title for column in columns)]
    return [
        "<h2>Numbers</h2>",
        _table(head, labels, rows, "numbers"),
        '<p class="soft">Up is from the workers, to the server or to their peers. '
        "Paper: bits by the papers' formulas. Wire: bytes measured where messages are "
        "handed to MPI, control messages included. Ratio: the bits that the "
        "uncompressed method sends up in as many steps (32 bits × entries × frames) "
        "over paper up. Exact "
        "numbers show where the pointer rests on a cell.</p>",
    ]


def _arrivals(runs: Sequence[RecordedRun], labels: Sequence[str]) -> list[str]:
    known = dict(zip(names(runs), labels, strict=True))
    result = []
    for target, head, rows in arrivals(runs):
        result.append(f"<h2>To {escape(target.replace('=', ' '))}</h2>")
        who = [known[name] for name, _ in rows]
        cells = [[_cell(text) for text in texts] for _, texts in rows]
        result.append(_table(["", *map(escape, head)], who, cells, "numbers"))
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
    return [
        "<h2>Where a worker's time goes</h2>",
        _list("legend", key),
        _table(["", "", *colours], who, rows, "bars"),
        '<p class="soft">Shares of a worker\'s time, on average over the workers. Wait '
        "includes the server's evaluations; other is the loop itself.</p>",
    ]


def _settings(runs: Sequence[RecordedRun], labels: Sequence[str]) -> list[str]:
    """Return what all runs have in common, and what they differ in."""
    every = [_facts(run) for run in runs]
    keys = list(dict.fromkeys(key for facts in every for key in facts))
    same = {
        key: every[0][key]
        for key in keys
        if all(facts.get(key) == every[0].get(key) for facts in every)
    }
    differ = [key for key in keys if key not in same]
    rows = [[_cell(facts.get(key, "")) for facts in every] for key in differ]
    common = [[_cell(value)] for value in same.values()]
    result = ["<h2>Configuration</h2>"]
    if differ:
        names_of = [escape(key) for key in differ]
        result.append(_table(["", *labels], names_of, rows, "settings"))
        result.append("<h2>The same in all runs</h2>")
    return [*result, _table(["", ""], [escape(key) for key in same], common, "facts")]


def _facts(run: RecordedRun) -> Mapping[str, str]:
    manifest: Json = {k: v for k, v in run.manifest.items() if k != "config"}
    return {
        **flat(run.manifest.get("config", {})),
        # The directory's name alone: a report is made to be given away.
        "directory": run.path.name,
        **{
            key: value[:12] if key.startswith("digest") else value
            for key, value in flat(manifest).items()
        },
    }
