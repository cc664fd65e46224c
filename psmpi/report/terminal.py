"""Reports for a terminal: the comparison of runs, and everything about one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from psmpi.report.comparison import SPENT, arrival_tables, headline, notes
from psmpi.report.metrics import COLUMNS, NONE, PARTS, names, own_columns, totals
from psmpi.report.settings import Setting, provenance, settings
from psmpi.report.sheets import Sheet, SheetColumn, grid
from psmpi.report.units import seconds, size
from psmpi.runs.recorded import RecordedRun
from psmpi.runs.schema import Json

PIPED_WIDTH = 200  # one line for each run, for grep and for log files
OVERVIEW = ("rounds", "loss", "residual", "accuracy", "paper up", "paper down", "time")


def console(file: IO[str] | None = None) -> Console:
    """Return a console that is wide where the output is a file or a pipe."""
    terminal = Console(file=file)
    if terminal.is_terminal:
        return terminal
    return Console(file=file, width=PIPED_WIDTH)


def table(runs: Sequence[RecordedRun]) -> RenderableType:
    """Return the comparison of runs, one row each, for any width of terminal.

    Every width shows all columns: where they do not fit beside one another, the groups
    (result, sent, time) become tables below one another.
    """
    parts: list[RenderableType] = [_columns(runs, [c.title for c in COLUMNS])]
    parts += _targets(runs)
    parts += _remarks(runs)
    parts.append(Text(LEGEND, style="dim"))
    return Group(*parts)


LEGEND = (
    "up: sent by the workers, to the server or to other workers; down: sent by the "
    "server. paper: bits by the formulas of the papers; wire: bytes handed to MPI, "
    "control messages included. ratio: uplink bits of the uncompressed method for as "
    "many steps (32 bits x entries x frames), over paper up. Shares of time are means "
    "over the workers; wait includes the server's evaluations."
)


def overview(runs: Sequence[RecordedRun]) -> RenderableType:
    """Return a short table of the runs in a directory, and how to see more of them."""
    if not runs:
        return Text("no runs")
    parts: list[RenderableType] = [_columns(runs, OVERVIEW), *_remarks(runs)]
    folders = list(dict.fromkeys(str(run.path.parent) for run in runs))
    pages = " ".join(folders if len(folders) == 1 else [str(r.path) for r in runs])
    parts.append(Text(f"one run in full: psmpi show {runs[0].path}"))
    parts.append(Text(f"all with curves: psmpi report {pages} --html FILE"))
    return Group(*parts)


def details(run: RecordedRun) -> RenderableType:
    """Return all that is recorded of one run: result, targets, ranks, settings."""
    total = totals(run)
    columns = [*COLUMNS, *own_columns([run])]
    facts = {c.title: c.cell(total) for c in columns if c.group != "time"}
    facts["time"] = seconds(total["seconds"].get("total") or 0.0)
    created = str(run.manifest.get("created", NONE))
    parts: list[RenderableType] = [
        Text.assemble((names([run])[0], "bold"), f"  {run.path}  {created}\n"),
        *(Text(f"* {note}", style="bold red") for note in notes([run])),
        _pairs("result", facts),
    ]
    parts += _targets([run])
    if total["ranks"]:
        parts.append(_ranks(total["ranks"]))
    parts += _order(total)
    parts += _settings(settings(run))
    written_by = provenance(run)
    written_by.pop("created", None)
    parts.append(_pairs("written by", written_by))
    return Group(*parts)


def _columns(runs: Sequence[RecordedRun], titles: Sequence[str]) -> Sheet:
    shown = [column for column in COLUMNS if column.title in titles]
    last = max(i for i, column in enumerate(shown, 1) if column.group == "result")
    shown[last:last] = own_columns(runs)
    cells = [
        [name, *(column.cell(totals(run)) for column in shown)]
        for name, run in zip(names(runs), runs, strict=True)
    ]
    columns = [SheetColumn(column.title, column.group) for column in shown]
    return Sheet([SheetColumn("algorithm"), *columns], cells)


def _remarks(runs: Sequence[RecordedRun]) -> Iterator[RenderableType]:
    sentence = headline(runs)
    if sentence:
        yield Text(sentence, style="bold")
    yield from (Text(f"* {note}", style="dim") for note in notes(runs))


def _pairs(title: str, facts: dict[str, str]) -> RenderableType:
    table = grid()
    table.add_column(title)
    table.add_column("", overflow="fold")
    for key, value in facts.items():
        table.add_row(Text(key, style="dim"), Text(value))
    return Group(table, "")


def _settings(values: dict[str, Setting]) -> Iterator[RenderableType]:
    """Yield the settings: those that the user gave, and below them the defaults."""
    titles = {
        None: "configuration",
        True: "configuration: given",
        False: "configuration: defaults",
    }
    for given, title in titles.items():
        chosen = {name: s.text for name, s in values.items() if s.given is given}
        if chosen:
            yield _pairs(title, chosen)


def _targets(runs: Sequence[RecordedRun]) -> Iterator[RenderableType]:
    for arrived in arrival_tables(runs):
        spent, compared = arrived.titles[: len(SPENT)], arrived.titles[len(SPENT) :]
        columns = [SheetColumn(title, "spent") for title in spent]
        columns += [SheetColumn(title, "compared") for title in compared]
        cells = [[name, *row] for name, row in arrived.rows]
        yield Sheet([SheetColumn(arrived.target), *columns], cells)


def _order(total: Json) -> Iterator[RenderableType]:
    """Yield what an asynchronous or decentralised run records besides.

    These are counts of frames by age and by worker, the bits of quantised models, and
    what a run with deadlines or a simulated clock adds.
    """
    resolved: Json = total.get("resolved") or {}
    facts = {
        "frames by staleness": total.get("staleness"),
        "late frames, discarded": total.get("late"),
        "frames of each worker": total.get("arrivals"),
        "most frames of a worker in a row": total.get("bursts"),
        "models by bits": total.get("model_bits"),
        **{f"{name}, set by the run": value for name, value in resolved.items()},
        "clock": total.get("clock"),
        "bytes observed by the server": total.get("wire_bytes_observed") or None,
        "time past deadlines": _overshoot(total.get("ranks") or ()),
    }
    shown = {key: _as_text(value) for key, value in facts.items() if value is not None}
    if shown.keys() - {"clock"}:
        yield _pairs("time and order", shown)


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {count}" for key, count in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _overshoot(ranks: Sequence[Json]) -> str | None:
    """Return by how much the workers' gradients ended after their deadlines."""
    late = [rank["overshoot"] for rank in ranks if rank.get("samples")]
    if not late:
        return None
    return f"{seconds(min(late))} to {seconds(max(late))} in total, by worker"


def _ranks(ranks: Sequence[Json]) -> RenderableType:
    forms: dict[str, Callable[[Any], str]] = {
        "frames_sent": str,
        "bytes_sent": size,
        "bytes_received": size,
    }
    cells = []
    for rank in ranks:
        spent = [rank["seconds"].get(part) for part in (*PARTS, "evaluate")]
        cells.append(
            [
                f"{rank['rank']} {rank.get('host', '')}",
                str(rank.get("rounds", NONE)),
                *(form(rank.get(key) or 0) for key, form in forms.items()),
                size(rank["max_rss"]) if rank.get("max_rss") else NONE,
                *(NONE if value is None else seconds(value) for value in spent),
            ]
        )
    titles = ("rounds", "frames", "sent", "received", "memory")
    columns = [
        SheetColumn("rank, host"),
        *(SheetColumn(title, "sent") for title in titles),
        *(SheetColumn(part, "time") for part in (*PARTS, "evaluate")),
    ]
    return Sheet(columns, cells)
