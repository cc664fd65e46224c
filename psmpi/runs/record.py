"""Writes the run directory: what a run was, its progress, and its result.

``manifest.json`` is written first: configuration, digests, hosts, machine, versions.
``rows.jsonl`` grows by one line per evaluated round, flushed at once, so that another
process can follow it; ``model.npy`` is the model of the last row, or of one shortly
before. ``summary.json`` appears, whole, when the run has ended; without it the run is
still going on or was interrupted. These files are strict JSON: a number that is not
finite is null. ``decisions.npz`` has what each rank decided by time, for a replay.

*Dense bits* are what the uncompressed method would have sent for the same number of
gradient steps: 32 bits per entry, whatever the run's dtype. With a server that is
gradient descent or plain SGD, every worker, every step; a round has one step, or
``local_steps``, and of AsyLPG one step of one worker. Without, it is DSGD, every worker
to every neighbour::

    dense_bits_up = dense_bits_down = 32 * dim * workers * rounds * local_steps
    dense_bits_up = 32 * dim * 2 * edges * rounds

Where the server relays, DSGD's frames go up once each, and those bits are down.

The *ratio to uncompressed* is ``dense_bits_up / paper_bits_up``.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from psmpi import __version__
from psmpi.base import ConfigError, PsmpiError, Vector
from psmpi.runs.schema import ROW_KEYS, ROW_NULLABLE, SUMMARY_KEYS, Json
from psmpi.storage.atomic import replacing

FORMAT = 1  # of the directory; readers refuse any other
MANIFEST, ROWS, SUMMARY = "manifest.json", "rows.jsonl", "summary.json"
MODEL = "model.npy"  # the last model, shape (dim,)
RESUMES = "resumes.jsonl"  # a line for each time that the run went on
DECISIONS = "decisions.npz"  # what each rank decided by time: int64, in their order

_MODEL_SHARE = 50  # times as long as writing a model took, until the next one


def plain(value: Any) -> Any:
    """Return ``value`` as strict JSON has it: no numpy, no NaN, no infinity."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.dtype | type):
        return np.dtype(value).name
    return value


def versions(mpi: str | None = None) -> Json:
    """Return the versions a result depends on; ``mpi`` is the MPI library's own line.

    They are read from the installed metadata, so nothing heavy is imported for them.
    """
    installed: Json = {"python": platform.python_version(), "psmpi": __version__}
    for package in ("numpy", "numba", "mpi4py"):
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            installed[package] = None
    return {**installed, "mpi": mpi}


def dense_bits(summary: Mapping[str, Any]) -> tuple[int, int]:
    """Return the bits that an uncompressed run of this length sends up, and down."""
    frames = summary.get("dense_frames")
    if frames is None:  # the run has not ended, or its record is older than this key
        steps = int((summary.get("options") or {}).get("local_steps") or 1)
        frames = [int(summary["rounds"]) * int(summary["workers"]) * steps] * 2
    up, down = (32 * int(summary["dim"]) * int(count) for count in frames)
    return up, down


class RunWriter:
    """Creates a run directory and fills it: row by row, and with the summary at last.

    ``more`` are further keys of the manifest. A run that ``goes_on`` keeps the
    directory that it has, with its manifest and rows. The writer is a context manager:
    leaving it closes the files and writes no summary, since that marks a run that has
    ended. A file that can't be written, on a full disk for example, raises
    ``PsmpiError`` with its path.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        config: Mapping[str, Any],
        *,
        hosts: Sequence[str],
        digests: Mapping[str, str],
        mpi: str | None = None,
        goes_on: bool = False,
        **more: Any,
    ) -> None:
        self.path = Path(path)
        self._next_model = 0.0  # when the model may be written again, time.monotonic
        if goes_on:
            self._open("a")
            return
        _create(self.path)
        manifest = {
            "format": FORMAT,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": config,
            "digests": digests,
            "hosts": list(hosts),
            "machine": _machine(),
            "versions": versions(mpi),
            **more,
        }
        try:
            _write_json(self.path / MANIFEST, manifest)
            self._open("x")
        except BaseException:
            # What is no record must not stand in the way of the next try.
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def _open(self, mode: Literal["x", "a"]) -> None:
        with _naming(self.path / ROWS):
            self._rows = (self.path / ROWS).open(mode, encoding="utf-8")

    def sync(self) -> None:
        """Make the rows durable that have been written; raises ``OSError``."""
        os.fsync(self._rows.fileno())

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row, flushed. What is nullable may be missing; more may be there.

        Raises ``ConfigError`` for a row that lacks one of ``ROW_KEYS``.
        """
        require_keys(row, ROW_KEYS, "a row")
        line = _strict({**dict.fromkeys(ROW_NULLABLE), **row})
        with _naming(self.path / ROWS):
            self._rows.write(line + "\n")
            self._rows.flush()

    def keep_model(self, x: Vector) -> None:
        """Write the model of the last row, so that an interrupted run leaves one.

        A model that takes long to write is not written after every row: at most 2 % of
        the time goes into this.
        """
        begin = time.monotonic()
        if begin < self._next_model:
            return
        with _replacing(self.path / MODEL, durable=False) as file:
            np.save(file, x)
        end = time.monotonic()
        self._next_model = end + _MODEL_SHARE * (end - begin)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, with the dense bits added, and close the directory.

        Raises ``ConfigError`` for a summary that lacks one of ``SUMMARY_KEYS``.
        """
        require_keys(summary, SUMMARY_KEYS, "a summary")
        up, down = dense_bits(summary)
        self.close()
        full = {**summary, "dense_bits_up": up, "dense_bits_down": down}
        _write_json(self.path / SUMMARY, full)

    def save(self, name: str, array: NDArray[Any]) -> None:
        """Write an array into the directory."""
        with _replacing(self.path / name) as file:
            np.save(file, array)

    def save_decisions(self, decisions: Sequence[Sequence[int]]) -> None:
        """Write what each rank decided by time, if any rank did."""
        if any(decisions):
            arrays: dict[str, Any] = {
                f"rank{rank}": np.array(entries, np.int64)
                for rank, entries in enumerate(decisions)
            }
            with _replacing(self.path / DECISIONS) as file:
                np.savez_compressed(file, **arrays)

    def close(self) -> None:
        """Close the files; a second time does nothing."""
        with _naming(self.path / ROWS):
            self._rows.close()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        with contextlib.suppress(OSError):  # the error under way says more
            self._rows.close()


def _create(path: Path) -> None:
    """Create the directory, which is this run's alone."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise ConfigError(
            f"{path}: already exists, and nothing is overwritten; "
            "give another directory, or move this one away"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path}: can't be created ({error.strerror}); "
            "give a directory that you may write to"
        ) from None


def _machine() -> Json:
    return {
        "system": platform.platform(),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
    }


def _strict(value: Any, indent: int | None = None) -> str:
    return json.dumps(plain(value), allow_nan=False, indent=indent)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Explain in one line that a file can't be written."""
    try:
        yield
    except OSError as error:
        kept = f"the rows until here stay in {path.parent}"
        if path.name == MANIFEST or (path.name == ROWS and not path.exists()):
            kept = "nothing is recorded"
        raise PsmpiError(
            f"{path}: can't be written ({error.strerror or error}); the run ends, and "
            f"{kept}; free some space there, or record the run elsewhere"
        ) from error


@contextlib.contextmanager
def _replacing(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """Give a file that takes the place of ``path`` once it is complete."""
    with _naming(path), replacing(path, durable) as file:
        yield file


def _write_json(path: Path, value: Any) -> None:
    with _replacing(path) as file:
        file.write(_strict(value, indent=2).encode() + b"\n")


def require_keys(value: Mapping[str, Any], keys: Sequence[str], what: str) -> None:
    """Raise ``ConfigError`` that names the keys which ``value`` lacks."""
    missing = [key for key in keys if key not in value]
    if missing:
        raise ConfigError(f"{what}: lacks {', '.join(missing)}")
