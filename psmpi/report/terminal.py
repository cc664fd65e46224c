"""Reports for a terminal: tables that split by groups of columns where it is narrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from psmpi.report.comparison import SPENT, arrivals, headline, notes
from psmpi.report.metrics import COLUMNS, NONE, PARTS, flat, names, totals
from psmpi.report.units import seconds, size
from psmpi.runs.record import Json
from psmpi.runs.recorded import RecordedRun

PIPED_WIDTH = 200  # one line a run, for grep and for logs
KEY_WIDTH = 26  # a longer name is folded, not cut
GAP = 2


def console(file: IO[str] | None = None) -> Console:
    """Return a console that is wide where the output is a file or a pipe."""
    terminal = Console(file=file)
    if terminal.is_terminal:
        return terminal
    return Console(file=file, width=PIPED_WIDTH)


def table(runs: Sequence[RecordedRun]) -> RenderableType:
    """Return the comparison of runs, one row each, for any width of terminal.

    All columns are there at every width: where they do not fit beside one another, the
    groups (result, sent, time) become tables below one another.
    """
    found = [totals(run) for run in runs]
    cells = [
        [name, *(column.cell(total) for column in COLUMNS)]
        for name, total in zip(names(runs), found, strict=True)
    ]
    columns = [_Column("algorithm"), *(_Column(c.title, c.group) for c in COLUMNS)]
    parts: list[RenderableType] = [_Sheet(columns, cells)]
    parts += _targets(runs)
    sentence = headline(runs)
    if sentence:
        parts.append(Text(sentence, style="bold"))
    parts += [Text(f"* {note}", style="dim") for note in notes(runs)]
    parts.append(Text(LEGEND, style="dim"))
    return Group(*parts)


LEGEND = (
    "up: from workers, to the server or to peers. paper: bits by the papers' formulas; "
    "wire: bytes handed to MPI, control messages included. ratio: 32 bits x entries x "
    "the uncompressed method's frames over paper up. Shares: of a worker's time, on "
    "average; wait includes the server's evaluations."
)


def details(run: RecordedRun) -> RenderableType:
    """Return all there is to know about one run: settings, result, targets, ranks."""
    total = totals(run)
    facts = {c.title: c.cell(total) for c in COLUMNS if c.group != "time"}
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
    parts += _asynchrony(total)
    about = {k: v for k, v in run.manifest.items() if k not in ("config", "created")}
    parts.append(_pairs("configuration", flat(run.manifest.get("config", {}))))
    parts.append(_pairs("written by", flat(about)))
    return Group(*parts)


def _pairs(title: str, facts: dict[str, str]) -> RenderableType:
    grid = _grid()
    grid.add_column(title)
    grid.add_column("", overflow="fold")
    for key, value in facts.items():
        grid.add_row(Text(key, style="dim"), Text(value))
    return Group(grid, "")


def _targets(runs: Sequence[RecordedRun]) -> Iterator[RenderableType]:
    for target, titles, rows in arrivals(runs):
        columns = [_Column(title, "spent") for title in titles[: len(SPENT)]]
        columns += [_Column(title, "against") for title in titles[len(SPENT) :]]
        yield _Sheet([_Column(target), *columns], [[name, *row] for name, row in rows])


def _asynchrony(total: Json) -> Iterator[RenderableType]:
    """Yield what is known of who was served when, and how wide models were."""
    facts = {
        "frames by staleness": total.get("staleness"),
        "late frames, discarded": total.get("late"),
        "frames of each worker": total.get("arrivals"),
        "most of one in a row": total.get("bursts"),
        "models by bits": total.get("model_bits"),
        **{f"{name}, as it came out": v for name, v in _resolved(total).items()},
        "clock": total.get("clock"),
        "shown to the server": total.get("wire_bytes_observed") or None,
        "overshoot of deadlines": _overshoot(total.get("ranks") or ()),
    }
    shown = {key: _said(value) for key, value in facts.items() if value is not None}
    if shown.keys() - {"clock"}:
        yield _pairs("time and order", shown)


def _resolved(total: Json) -> Json:
    """Return options that the run itself has settled."""
    found: Json = total.get("resolved") or {}
    return found


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {count}" for key, count in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _overshoot(ranks: Sequence[Json]) -> str | None:
    late = [rank["overshoot"] for rank in ranks if rank.get("samples")]
    if not late:
        return None
    return f"{seconds(max(late))} in all at most, {seconds(min(late))} at least"


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
        _Column("rank, host"),
        *(_Column(title, "sent") for title in titles),
        *(_Column(part, "time") for part in (*PARTS, "evaluate")),
    ]
    return _Sheet(columns, cells)


@dataclass(frozen=True)
class _Column:
    title: str
    group: str = ""


@dataclass(frozen=True)
class _Sheet:
    """Rows under a key column; drawn as one table, or as several where it is narrow."""

    columns: list[_Column]
    cells: list[list[str]]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        for chosen in self._pack(options.max_width):
            yield self._table(chosen)
            yield ""

    def _width(self, column: int) -> int:
        texts = [self.columns[column].title, *(row[column] for row in self.cells)]
        return max(cell_len(text) for text in texts)

    def _pack(self, width: int) -> Iterator[list[int]]:
        """Yield the columns of each table, whole groups together where they fit."""
        room = width - min(self._width(0), KEY_WIDTH)
        groups: dict[str, list[int]] = {}
        for i, column in enumerate(self.columns[1:], 1):
            groups.setdefault(column.group, []).append(i)
        chosen: list[int] = []
        for group in groups.values():
            if chosen and self._need(chosen + group) > room:
                yield chosen
                chosen = []
            for i in group:
                if chosen and self._need([*chosen, i]) > room:
                    yield chosen
                    chosen = []
                chosen.append(i)
        yield chosen

    def _need(self, chosen: Sequence[int]) -> int:
        return sum(self._width(i) + GAP for i in chosen)

    def _table(self, chosen: Sequence[int]) -> Table:
        key, width = self.columns[0].title, min(self._width(0), KEY_WIDTH)
        grid = _grid()
        grid.add_column(key, width=width, overflow="fold")
        for i in chosen:
            grid.add_column(self.columns[i].title, justify="right", no_wrap=True)
        for row in self.cells:
            grid.add_row(Text(row[0]), *(row[i] for i in chosen))
        return grid


def _grid() -> Table:
    return Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True
    )
