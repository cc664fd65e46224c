"""Nested values with arrays, as the bytes of an npz file, and back; no pickle.

A tree consists of dicts with text or whole numbers as keys, lists, tuples (which come
back as lists), text, numbers, truth values, None, and numeric arrays of any shape. What
can be converted to an array by ``numpy.asarray`` comes back as one: tensors on the CPU,
for example.

The file has one entry per array, ``0``, ``1``, ..., and the entry ``tree``: the rest as
JSON in UTF-8, where ``{"$array": i}`` stands for array i, ``{"$number": i}`` for a
NumPy scalar, and ``{"$items": [[key, value], ...]}`` for a dict whose keys are not all
text, or begin with a dollar sign.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from psmpi.base import ConfigError

Tree: TypeAlias = Any
_TREE = "tree"
_KINDS = "biufc"  # kinds of arrays: truth values and numbers


def write(file: BinaryIO, tree: Tree) -> None:
    """Write a tree; ``ConfigError`` names a value that can't be in one."""
    arrays: list[NDArray[Any]] = []
    text = json.dumps(_plain(tree, "", arrays))
    named: dict[str, Any] = {str(i): array for i, array in enumerate(arrays)}
    np.savez(file, **{_TREE: np.frombuffer(text.encode(), np.uint8), **named})


def read(file: BinaryIO, name: str) -> Tree:
    """Return the tree in a file; ``ConfigError`` names a file that can't be read."""
    try:
        with np.load(file, allow_pickle=False) as entries:
            text = entries[_TREE].tobytes().decode()
            return _tree(json.loads(text), entries)
    except (
        *(OSError, ValueError, EOFError, KeyError, TypeError, AttributeError),
        *(zipfile.BadZipFile, NotImplementedError, MemoryError, RecursionError),
    ) as error:
        raise ConfigError(
            f"{name}: can't be read ({type(error).__name__}: {error}); it is damaged, "
            "or not what psmpi wrote"
        ) from None


def pack(tree: Tree) -> bytes:
    """Return a tree as bytes."""
    file = io.BytesIO()
    write(file, tree)
    return file.getvalue()


def unpack(data: bytes, name: str) -> Tree:
    """Return the tree that ``pack`` made into bytes; ``name`` is for errors."""
    return read(io.BytesIO(data), name)


def _plain(value: Any, where: str, arrays: list[NDArray[Any]]) -> Any:
    """Return ``value`` as JSON has it, and append its arrays to ``arrays``."""
    if value is None or isinstance(value, bool | int | float | str):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, Mapping):
        return _plain_dict(value, where, arrays)
    if isinstance(value, list | tuple):
        return [_plain(v, f"{where}[{i}]", arrays) for i, v in enumerate(value)]
    try:
        array = np.asarray(value)
    except Exception as error:
        raise _refused(value, where, f" ({error})") from None
    if array.dtype.kind not in _KINDS:
        raise _refused(value, where)
    arrays.append(array)
    kind = "$number" if isinstance(value, np.generic) else "$array"
    return {kind: len(arrays) - 1}


def _plain_dict(
    value: Mapping[Any, Any], where: str, arrays: list[NDArray[Any]]
) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str | int):
            raise _refused(key, f"{where} as a key")
    items = [(k, _plain(v, f"{where}[{k!r}]", arrays)) for k, v in value.items()]
    if all(isinstance(k, str) and not k.startswith("$") for k in value):
        return dict(items)
    return {"$items": items}


def _refused(value: Any, where: str, why: str = "") -> ConfigError:
    kind = f"{type(value).__module__}.{type(value).__name__}"
    return ConfigError(
        f"checkpoint: the value at {where or 'the top'} is of {kind}{why}; it can "
        "hold text, numbers, arrays, and lists and dicts of these; convert it"
    )


def _tree(value: Any, entries: Mapping[str, NDArray[Any]]) -> Tree:
    if isinstance(value, list):
        return [_tree(item, entries) for item in value]
    if not isinstance(value, dict):
        return value
    if "$array" in value:
        return entries[str(value["$array"])]
    if "$number" in value:
        return entries[str(value["$number"])][()]
    if "$items" in value:
        return {key: _tree(item, entries) for key, item in value["$items"]}
    return {key: _tree(item, entries) for key, item in value.items()}
