"""Reads run directories: of finished, interrupted and still running runs."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from psmpi import __version__
from psmpi.base import ConfigError
from psmpi.runs.record import (
    DECISIONS,
    FORMAT,
    MANIFEST,
    ROWS,
    SUMMARY,
    require_keys,
)
from psmpi.runs.schema import ROW_KEYS, ROW_NULLABLE, SUMMARY_KEYS, Json


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """A run directory as read: ``summary`` is None if the run did not end.

    ``torn`` is the number of the last line of ``rows.jsonl`` where that line was cut
    short and therefore left out; None where all is whole.
    """

    path: Path
    manifest: Json
    rows: list[Json]
    summary: Json | None = None
    torn: int | None = None


@dataclass(frozen=True)
class Recorded:
    """What each rank decided by time, and the number of rounds of the run."""

    decisions: list[list[int]]
    rounds: int


def read_decisions(run: RecordedRun) -> Recorded:
    """Return what a finished run decided by time: nothing, if it is synchronous.

    Raises ``ConfigError`` for a run that has not ended, or a broken file.
    """
    if run.summary is None:
        raise ConfigError(
            f"{run.path}: the run has not ended, so it can't be replayed; give one "
            "that has a summary.json"
        )
    ranks = len(run.summary["ranks"])
    decisions: list[list[int]] = [[] for _ in range(ranks)]
    if (run.path / DECISIONS).exists():
        try:
            with np.load(run.path / DECISIONS) as arrays:
                decisions = [arrays[f"rank{r}"].tolist() for r in range(ranks)]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ConfigError(
                f"{run.path / DECISIONS}: broken ({error}); the run can't be replayed"
            ) from None
    return Recorded(decisions, int(run.summary["rounds"]))


def read_run(path: str | os.PathLike[str]) -> RecordedRun:
    """Return the run in the directory ``path``, also one that did not end.

    Raises ``ConfigError`` that names the missing file, or the broken file and line.
    """
    folder = Path(path)
    if folder.is_file():
        raise ConfigError(f"{folder}: is a file; give the directory of a run")
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: no such directory; give one that `psmpi run --out` wrote"
        )
    manifest = read_manifest(folder)
    summary = None  # read before the rows: once it exists, there are no more rows
    if (folder / SUMMARY).exists():
        summary = _read(folder / SUMMARY)
        keys = (*SUMMARY_KEYS, "dense_bits_up", "dense_bits_down")
        require_keys(summary, keys, str(folder / SUMMARY))
    text = _bytes(folder / ROWS)
    end = text.rfind(b"\n") + 1
    rows = _parse_rows(text[:end], folder / ROWS, 1)
    torn = len(rows) + 1 if text[end:] else None
    return RecordedRun(
        path=folder, manifest=manifest, rows=rows, summary=summary, torn=torn
    )


def read_manifest(folder: Path) -> Json:
    """Return the manifest of the run in a directory; raises ``ConfigError``."""
    manifest = _read(folder / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise ConfigError(
            f"{folder / MANIFEST}: format {manifest.get('format')!r}, this psmpi "
            f"{__version__} reads format {FORMAT}; use the psmpi that wrote it"
        )
    return manifest


def follow(path: str | os.PathLike[str]) -> Iterator[list[Json]]:
    """Yield, each time it is asked, the rows completed since the last time.

    It never ends and never waits: the list is empty if there is no new row, also before
    the run has begun. Call ``new_rows = follow(path)`` once, then ``next(new_rows)``.
    When a run goes on from a checkpoint, what it repeats is not yielded again.
    """
    rows, offset, line = Path(path) / ROWS, 0, 1
    inode, last, repeated = 0, -1, -1  # the last round that was yielded
    while True:
        fresh = b""
        if rows.exists():
            with rows.open("rb") as file:
                if (number := os.fstat(file.fileno()).st_ino) != inode:
                    inode, offset, line = number, 0, 1
                    repeated = last  # the run goes on from before that
                file.seek(offset)
                fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        parsed = _parse_rows(whole, rows, line)
        offset, line = offset + len(whole), line + len(parsed)
        new = [row for row in parsed if row["round"] > repeated]
        last = max([last, *(row["round"] for row in new)])
        yield new


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: is missing, so {path.parent} is not a whole run directory; "
            "give one that `psmpi run --out` wrote"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _parse(text: bytes, where: str) -> Json:
    try:
        value = json.loads(text.decode(), parse_constant=_no_constant)
    except ValueError as error:  # JSON's and UTF-8's errors are ValueErrors
        raise ConfigError(
            f"{where}: broken ({error}); restore it, or leave this run out"
        ) from None
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: an object was expected, got {value!r:.40}")
    return value


def _read(path: Path) -> Json:
    return _parse(_bytes(path), str(path))


def _parse_rows(text: bytes, path: Path, first: int) -> list[Json]:
    rows = []
    for number, line in enumerate(text.split(b"\n")[:-1], first):
        where = f"{path}, line {number}"
        row = _parse(line, where)
        require_keys(row, (*ROW_KEYS, *ROW_NULLABLE), where)
        rows.append(row)
    return rows
