"""Where results that are slow to make again are kept, and how they get there whole."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

_WORTH = 2**20  # bytes of text files from which a parsed copy is kept


def folder() -> Path:
    """Return ``$PSMPI_CACHE``, or the user's cache folder of this platform."""
    given = os.environ.get("PSMPI_CACHE")
    if given:
        return Path(given).expanduser()
    import pooch

    return Path(pooch.os_cache("psmpi"))


def write(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Write a file of its own and rename it: readers see all of it or nothing.

    A folder that can't be written to is left alone; what is cached can be made again.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=path.stem, delete=False
        ) as file:
            temporary = file.name
            fill(file)
        os.replace(temporary, path)
    except OSError:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def matrices(
    paths: Sequence[Path],
    dtype: Any,
    read: Callable[[Sequence[Path], Any], list[tuple[Any, Any]]],
) -> list[tuple[Any, Any]]:
    """Return ``read(paths, dtype)``, (CSR matrix, labels) pairs, from cache if it can.

    Parsing text takes seconds, on every rank. The copy is known by the files' paths,
    sizes and times of change, and by ``dtype``; one that can't be read is replaced.
    """
    try:
        stats = [(str(path.resolve()), path.stat()) for path in paths]
    except OSError:
        return read(paths, dtype)
    if sum(stat.st_size for _, stat in stats) < _WORTH:
        return read(paths, dtype)
    files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    key = hashlib.sha256(repr((files, np.dtype(dtype).str)).encode()).hexdigest()
    path = folder() / f"parsed-{key[:40]}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            return [_unpack(stored, i) for i in range(len(paths))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pairs = read(paths, dtype)
    arrays: dict[str, Any] = {}
    for i, (x, y) in enumerate(pairs):
        parts = {"data": x.data, "indices": x.indices, "indptr": x.indptr}
        parts |= {"shape": np.array(x.shape), "labels": y}
        arrays |= {f"{name}{i}": part for name, part in parts.items()}
    write(path, lambda file: np.savez(file, **arrays))
    return pairs


def _unpack(stored: Any, i: int) -> tuple[Any, Any]:
    from scipy.sparse import csr_array

    parts = tuple(stored[f"{name}{i}"] for name in ("data", "indices", "indptr"))
    shape = tuple(int(n) for n in stored[f"shape{i}"])
    return csr_array(parts, shape=shape), stored[f"labels{i}"]
