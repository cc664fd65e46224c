"""The cache folder: keeps results that are slow to compute; writes are atomic."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from psmpi.base import ConfigError
from psmpi.data.announce import announce

_WORTH_CACHING = 2**20  # bytes of text files from which on a parsed copy is kept
# Stands for the cache folder where none is known: no file can be read or made in it.
_NOWHERE = Path(os.devnull) / "psmpi"


def folder() -> Path:
    """Return ``$PSMPI_CACHE``, or the user's cache folder of this platform.

    Where the user has no home folder, the result is a path that can't exist, so that
    nothing is cached.
    """
    chosen = os.environ.get("PSMPI_CACHE")
    if chosen:
        return expand(chosen)
    import pooch

    path = Path(pooch.os_cache("psmpi"))
    return path if path.is_absolute() else _NOWHERE


def expand(path: str) -> Path:
    """Return ``path`` with ``~`` and ``~user`` replaced by the home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{path}: there is no such home folder; write the path in full"
        ) from error


def write(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Write a temporary file and rename it to ``path``: readers never see half of it.

    Does nothing if the folder can't be written to: the content can be computed again.
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
    """Return ``read(paths, dtype)``, (CSR matrix, targets) pairs, if possible cached.

    Parsing text takes seconds, on every rank. A cached copy is identified by the files'
    paths, sizes and modification times, and by ``dtype``; a copy that can't be read is
    replaced. Small files are not cached.
    """
    try:
        files = stamps(paths)
    except OSError:
        return read(paths, dtype)
    if sum(size for _, size, _ in files) < _WORTH_CACHING:
        return read(paths, dtype)
    key = hashlib.sha256(repr((files, np.dtype(dtype).str)).encode()).hexdigest()
    path = folder() / f"parsed-{key[:40]}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            return [_unpack(stored, i) for i in range(len(paths))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        announce(
            f"parsing {', '.join(path.name for path in paths)} (cached afterwards)"
        )
        pairs = read(paths, dtype)
    arrays: dict[str, Any] = {}
    for i, (x, y) in enumerate(pairs):
        parts = {"data": x.data, "indices": x.indices, "indptr": x.indptr}
        parts |= {"shape": np.array(x.shape), "labels": y}
        arrays |= {f"{name}{i}": part for name, part in parts.items()}
    write(path, lambda file: np.savez(file, **arrays))
    return pairs


def stamps(paths: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Return (resolved path, bytes, modification time in ns) of each file.

    Raises ``OSError`` if a file is missing.
    """
    status = [(str(path.resolve()), path.stat()) for path in paths]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in status]


def _unpack(stored: Any, i: int) -> tuple[Any, Any]:
    from scipy.sparse import csr_array

    parts = tuple(stored[f"{name}{i}"] for name in ("data", "indices", "indptr"))
    shape = tuple(int(n) for n in stored[f"shape{i}"])
    return csr_array(parts, shape=shape), stored[f"labels{i}"]
