"""Directories of runs: new ones in ``runs/``, and recorded ones that a user names."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from psmpi.errors import ConfigError
from psmpi.runs.record import MANIFEST

_RUNS = Path("runs")


@contextlib.contextmanager
def reserve(name: str) -> Iterator[Path]:
    """Give a directory in ``runs/`` that does not exist and that nobody else gets.

    Its name is ``name`` and the time. A file that only one process can create, removed
    at the end, keeps two runs that start in the same second apart.
    """
    first = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        _RUNS.mkdir(exist_ok=True)
        folder = next(_free(first))
    except OSError as error:
        raise ConfigError(
            f"{_RUNS.absolute()}: can't be written ({error.strerror}); give another "
            "directory to record in with --out"
        ) from None
    try:
        yield folder
    finally:
        release(folder)


def release(folder: Path) -> None:
    """Remove the file that reserves ``folder``, if there is one."""
    _mark(folder).unlink(missing_ok=True)


def _mark(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.reserved")


def _free(first: str) -> Iterator[Path]:
    """Yield directories that do not exist, each reserved by a file beside it."""
    for number in itertools.count(1):
        folder = _RUNS / (first if number == 1 else f"{first}-{number}")
        try:
            _mark(folder).open("x").close()
        except FileExistsError:
            continue
        if folder.exists():
            release(folder)
            continue
        yield folder


def short(data: str) -> str:
    """Return the name of a data set, or of a problem, as a part of a file name."""
    kind, _, rest = data.partition(":")
    if kind.endswith(".py"):  # the file of a problem of the user's own
        return Path(kind).stem
    first = rest.partition(",")[0]
    return "-".join(part for part in (kind, Path(first).stem) if part)


def runs_in(path: Path) -> list[Path]:
    """Return the run directories in a directory, in order; none if it is itself one."""
    if not path.is_dir() or (path / MANIFEST).exists():
        return []
    return sorted(manifest.parent for manifest in path.glob(f"*/{MANIFEST}"))


def run_folders(path: Path) -> list[Path]:
    """Return ``path`` if it is a run directory, else the runs in it."""
    if path.is_file():
        raise ConfigError(
            f"{path}: is a file; give the directory of a run, such as one in runs/"
        )
    return runs_in(path) or [path]
