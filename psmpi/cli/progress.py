"""Progress of runs on stderr: a bar a run on a terminal, a line now and then elsewhere.

Before the first row a run has a status, such as "computing the optimum". Output that is
no terminal gets plain lines: the first row of a run, then one every ten seconds, and
the last row. They have no escape codes and are not wrapped.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars
from rich.table import Column

from psmpi.runs.config import RunConfig

LOGGER = "psmpi"
EVERY = 10.0  # seconds between lines of a run
_ELAPSED = 7  # columns of 0:00:00
WIDE = 100  # columns of a terminal that has room for long bars


class Display(Protocol):
    """Where progress is shown; runs are known by their names."""

    def start(self) -> None:
        """Begin to show."""

    def status(self, name: str, text: str) -> None:
        """Show what a run does before its rounds."""

    def row(self, name: str, round_: int, measures: Sequence[str]) -> None:
        """Show how far a run is: rounds done, and its measures by importance."""

    def stop(self) -> None:
        """Show the last rows, and end."""


class BarDisplay:
    """A progress bar a run, for terminals."""

    def __init__(self, rounds: Mapping[str, int], console: Console) -> None:
        bar = 30 if console.width >= WIDE else 8
        counts = 2 * max(len(str(total)) for total in rounds.values()) + 1
        names = max(map(len, rounds))
        self._room = console.width - names - bar - counts - _ELAPSED - 4
        self._bars = Bars(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=bar),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[state]}", table_column=Column(no_wrap=True)),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {
            name: self._bars.add_task(escape(name), total=total, start=False, state="")
            for name, total in rounds.items()
        }

    def start(self) -> None:
        self._bars.start()

    def status(self, name: str, text: str) -> None:
        # A longer text would make the bar and the counts disappear.
        short = text if len(text) <= self._room else text[: self._room - 1] + "…"
        self._bars.start_task(self._tasks[name])
        self._bars.update(self._tasks[name], state=escape(short))

    def row(self, name: str, round_: int, measures: Sequence[str]) -> None:
        text = ""
        for measure in measures:
            longer = f"{text}  {measure}" if text else measure
            text = longer if len(longer) <= self._room else text
        self._bars.start_task(self._tasks[name])
        self._bars.update(self._tasks[name], completed=round_, state=escape(text))

    def stop(self) -> None:
        self._bars.stop()


class LineDisplay:
    """Plain lines on stderr, for logs and pipes."""

    def __init__(self, rounds: Mapping[str, int]) -> None:
        self._rounds = rounds
        self._printed: dict[str, float] = {}  # run -> when its last line was printed
        self._held: dict[str, str] = {}  # run -> line that came too early to print

    def start(self) -> None:
        pass

    def status(self, name: str, text: str) -> None:
        self._print(f"{name}: {text}")

    def row(self, name: str, round_: int, measures: Sequence[str]) -> None:
        done = f"{name}: round {round_}/{self._rounds[name]}"
        line = "  ".join([done, *measures])
        last = self._printed.get(name)
        if last is not None and time.monotonic() - last < EVERY:
            self._held[name] = line
            return
        self._held.pop(name, None)
        self._printed[name] = time.monotonic()
        self._print(line)

    def stop(self) -> None:
        for line in self._held.values():
            self._print(line)
        self._held.clear()

    def _print(self, line: str) -> None:
        print(f"psmpi: {line}", file=sys.stderr, flush=True)  # noqa: T201


@dataclass
class _Seen:
    """The rows of a run so far."""

    first: int  # round of the first row
    since: float  # when it came
    newest: int


class _StatusHandler(logging.Handler):
    """Shows what the package logs at level INFO, such as a download, as a status."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        self._show(record.getMessage())


class Progress(AbstractContextManager["Progress"]):
    """Shows several runs, one after the other, and remembers how far each came.

    While it is started, slow steps that the package logs are shown too. ``plain`` asks
    for lines also where stderr looks like a terminal: under mpiexec it does, and is a
    log.
    """

    def __init__(self, runs: Sequence[RunConfig], *, plain: bool = False) -> None:
        rounds = {run.name: run.run_options.rounds for run in runs}
        console = Console(stderr=True)
        self._display: Display = (
            BarDisplay(rounds, console)
            if console.is_terminal and not plain
            else LineDisplay(rounds)
        )
        self._rounds = rounds
        self._seen: dict[str, _Seen] = {}
        self._current = next(iter(rounds), "")
        self._handler = _StatusHandler(self.status)

    def __enter__(self) -> Progress:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to show, also what the package logs."""
        logger = logging.getLogger(LOGGER)
        logger.setLevel(logging.INFO)
        logger.addHandler(self._handler)
        self._display.start()

    def stop(self) -> None:
        """Show the last rows, and end."""
        logging.getLogger(LOGGER).removeHandler(self._handler)
        self._display.stop()

    def begin(self, run: RunConfig, text: str = "") -> None:
        """Make a run the one that later statuses are of; show a first one, if any."""
        self._current = run.name
        if text:
            self._display.status(run.name, text)

    def status(self, text: str) -> None:
        """Show what the current run does before its rounds."""
        self._display.status(self._current, text)

    def row(self, run: RunConfig, row: Mapping[str, Any]) -> None:
        """Show a new row of a run."""
        self._current, round_ = run.name, row["round"]
        seen = self._seen.setdefault(run.name, _Seen(round_, time.monotonic(), round_))
        seen.newest = round_
        loss, *others = _measures(row)
        measures = [loss, *self._left(run.name, seen), *others]
        self._display.row(run.name, round_, measures)

    def rounds(self, run: RunConfig) -> int | None:
        """Return how many rounds of a run have been recorded; None before any row."""
        seen = self._seen.get(run.name)
        return None if seen is None else seen.newest

    def _left(self, name: str, seen: _Seen) -> list[str]:
        """Return the time left, if rounds go on as they went, in words."""
        done, todo = seen.newest - seen.first, self._rounds[name] - seen.newest
        if done <= 0 or todo <= 0:
            return []
        left = (time.monotonic() - seen.since) / done * todo
        return [f"{_clock(left)} left"]


def _measures(row: Mapping[str, Any]) -> list[str]:
    """Return the measures of a row, in words, the loss first; unknown ones are out."""
    words = [] if row["loss"] is None else [f"loss {row['loss']:.6g}"]
    words.append(f"{_bits(row['paper_bits_up'])} up")
    if row.get("accuracy") is not None:
        words.append(f"accuracy {100 * row['accuracy']:.1f} %")
    if row.get("residual") is not None:
        words.append(f"residual {row['residual']:.2e}")
    return words


def _bits(count: float) -> str:
    power = min(int(math.log10(count)) // 3, 4) if count >= 1 else 0
    return f"{count / 1000**power:.3g} {('bit', 'kbit', 'Mbit', 'Gbit', 'Tbit')[power]}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
