"""Reads data files: idx, CIFAR-10's binary records, svmlight/libsvm, npz and CSV.

Each reader checks that the file holds what its header says, and none unpickles objects,
because pickles can run code.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psmpi.base import ConfigError
from psmpi.data.announce import announce

# Bytes of text: control characters that text has, and everything from the space on.
_TEXT = frozenset(b"\t\n\v\f\r") | (frozenset(range(0x20, 0x100)) - {0x7F})
_SAVE_NPZ = "save with numpy.savez(path, X=features, y=targets)"
_DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError)
_CIFAR_RECORD = 1 + 3 * 32 * 32
_LARGE = 2**22  # bytes of a CSV file that takes seconds to parse


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the uint8 array of an idx file (MNIST's format), gzipped or not.

    Raises ``ConfigError`` that names the file and, if the file is truncated or too
    long, the bytes expected and found.
    """
    data, whole = _contents(path)
    if len(data) < 4 or data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * data[3]:
        raise ConfigError(
            f"{path}: not an idx file of bytes: it should start with 00 00 08 and the "
            f"number of dimensions, got {bytes(data[:4]).hex(' ') or 'nothing'}"
        )
    header = 4 + 4 * data[3]
    shape = tuple(int(n) for n in np.frombuffer(data[4:header], ">u4"))
    expected = header + math.prod(shape)
    if len(data) != expected or not whole:
        raise ConfigError(
            f"{path}: truncated or damaged: its header {shape} promises {expected} "
            f"bytes, found {len(data)}; fetch it again"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def read_cifar(path: Path, names: Sequence[str]) -> tuple[Any, Any]:
    """Return (images, labels) of CIFAR-10's binary batches ``names``, in that order.

    ``path`` is the folder ``cifar-10-batches-bin`` or the archive that contains it.
    Images have shape (samples, 3072), uint8, channels first, as in the file.
    """
    pieces = []
    for name in names:
        data = _member(path, name)
        if not data or len(data) % _CIFAR_RECORD:
            raise ConfigError(
                f"{path}: {name} holds {len(data)} bytes, expected a multiple of "
                f"{_CIFAR_RECORD} (a label and 3072 pixels); fetch it again"
            )
        pieces.append(np.frombuffer(data, np.uint8).reshape(-1, _CIFAR_RECORD))
    records = np.concatenate(pieces)
    return np.ascontiguousarray(records[:, 1:]), records[:, 0]


def read_libsvm(paths: Sequence[Path], dtype: Any) -> list[tuple[Any, Any]]:
    """Return (CSR matrix, float64 targets) of each svmlight file: plain, .gz or .bz2.

    All matrices get as many columns as the widest has. Whether indices start at 0 or 1
    is decided from all files together.
    """
    for path in paths:
        _check_libsvm(path)
    from sklearn.datasets import load_svmlight_files

    names = ", ".join(str(path) for path in paths)
    try:
        flat = load_svmlight_files([str(path) for path in paths], dtype=dtype)
    except _DAMAGE as error:
        raise ConfigError(
            f"{names}: can't be read: {error}; a compressed file may be truncated"
        ) from error
    except (ValueError, IndexError, OverflowError) as error:
        raise ConfigError(
            f"{names}: not in libsvm format (label index:value ...): {error}"
        ) from error
    return list(zip(flat[::2], flat[1::2], strict=True))


def read_npz(path: Path) -> tuple[tuple[Any, Any], tuple[Any, Any] | None]:
    """Return ((X, y), (X_test, y_test) or None) of a ``numpy.savez`` file.

    Pickled objects are refused: they could run code.
    """
    need_file(path)
    _check_npz(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            names = list(getattr(file, "files", []))
            missing = [name for name in ("X", "y") if name not in names]
            if ("X_test" in names) != ("y_test" in names):
                missing += [name for name in ("X_test", "y_test") if name not in names]
            if missing:
                raise ConfigError(
                    f"{path}: no array {' and no '.join(missing)}; found "
                    f"{', '.join(names) or 'none'}; save with numpy.savez(path, X=.., "
                    "y=.., X_test=.., y_test=..), the last two together or not at all"
                )
            has_test = "X_test" in names
            test = (file["X_test"], file["y_test"]) if has_test else None
            return (file["X"], file["y"]), test
    except ConfigError:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        pickled = "pickle" in str(error)
        raise ConfigError(
            f"{path}: "
            + (
                "holds pickled objects, which psmpi doesn't load because they can run "
                "code; save plain number arrays"
                if pickled
                else f"not an npz file of arrays, or damaged: {error}"
            )
        ) from error


def read_csv(path: Path, columns: int) -> NDArray[np.float32]:
    """Return a headerless comma-separated file of numbers, shape (rows, columns)."""
    need_file(path)
    if path.stat().st_size > _LARGE:
        announce(f"parsing {path.name}")
    try:
        table = np.loadtxt(path, np.float32, delimiter=",", ndmin=2)
    except (ValueError, *_DAMAGE) as error:
        raise ConfigError(f"{path}: not a CSV file of numbers: {error}") from error
    if table.shape[1] != columns:
        raise ConfigError(f"{path}: expected {columns} columns, found {table.shape[1]}")
    return table


def need_file(path: Path) -> None:
    """Raise ``ConfigError`` unless ``path`` is a file."""
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "no such file"
        raise ConfigError(f"{path}: {what} (looked from {Path.cwd()})")


def _open(path: Path) -> Any:
    opener: Any = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix, open)
    return opener(path, "rb")


def _contents(path: Path) -> tuple[bytearray, bool]:
    """Return a file's decompressed content, and whether it could be read to its end.

    ``read1`` returns what was decompressed before a damaged place, so that an error can
    say how many bytes were found.
    """
    data = bytearray()
    try:
        with _open(path) as file:
            while piece := file.read1(2**18):
                data += piece
    except _DAMAGE:
        return data, False
    return data, True


def _member(path: Path, name: str) -> bytes | bytearray:
    if path.is_dir():
        need_file(path / name)
        return _contents(path / name)[0]
    need_file(path)
    try:
        with tarfile.open(path) as archive:
            file = archive.extractfile(f"cifar-10-batches-bin/{name}")
            return file.read() if file else b""
    except (KeyError, tarfile.TarError, *_DAMAGE) as error:
        raise ConfigError(
            f"{path}: no readable member cifar-10-batches-bin/{name}: {error}; psmpi "
            "reads the archive cifar-10-binary.tar.gz"
        ) from error


def _check_npz(path: Path) -> None:
    """Raise ``ConfigError`` for the kinds of file that are most often taken for npz."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error}") from error
    if head.startswith(b"\x93NUMPY"):
        raise ConfigError(
            f"{path}: is one array (.npy), not an npz file of arrays; {_SAVE_NPZ}"
        )
    if head and all(byte in _TEXT for byte in head):
        line = head.lstrip().split(b"\n")[0].strip()
        raise ConfigError(
            f"{path}: not an npz file; it looks like text (its first line is "
            f"{_shown(line)}); for lines label index:value ... use libsvm:FILE, else "
            f"read it with numpy.loadtxt and {_SAVE_NPZ}"
        )


def _check_libsvm(path: Path) -> None:
    """Raise ``ConfigError`` if the file's first line can't be svmlight."""
    need_file(path)
    line = b""
    try:
        with _open(path) as file:
            while raw := file.readline(2**16):
                line = raw.split(b"#")[0].strip()
                if line:
                    break
    except _DAMAGE as error:
        raise ConfigError(
            f"{path}: can't be read, truncated or damaged: {error}; fetch it again"
        ) from error
    if not line:
        raise ConfigError(f"{path}: holds no samples; expected lines label index:value")
    if b"," in line and b":" not in line:
        raise ConfigError(
            f"{path}: looks like CSV (its first line is {_shown(line)}), not libsvm, "
            "which reads label index:value ...; convert it, or use npz:FILE"
        )


def _shown(line: bytes) -> str:
    text = line[:40].decode("utf-8", "replace")
    return repr(text + ("..." if len(line) > 40 else ""))
