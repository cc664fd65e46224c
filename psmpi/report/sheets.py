"""A table for the terminal that becomes several tables where the terminal is narrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

KEY_WIDTH = 26  # of the first column; a longer name is folded, not cut
GAP = 2  # between two columns


@dataclass(frozen=True)
class SheetColumn:
    """A column's title, and the group of columns that it should stay beside."""

    title: str
    group: str = ""


@dataclass(frozen=True)
class Sheet:
    """Rows of text under a key column; several tables where one would be too wide."""

    columns: list[SheetColumn]
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
        table = grid()
        table.add_column(key, width=width, overflow="fold")
        for i in chosen:
            table.add_column(self.columns[i].title, justify="right", no_wrap=True)
        for row in self.cells:
            table.add_row(Text(row[0]), *(Text(row[i]) for i in chosen))
        return table


def grid() -> Table:
    """Return an empty table in the style of all reports: one rule under the titles."""
    return Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True
    )
