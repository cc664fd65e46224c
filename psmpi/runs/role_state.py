"""The state of a role as named arrays, and back: what a resumed run goes on from.

Whatever survives a round is a public attribute of the role's state object, or of the
memories, triggers and schedules in it: arrays, numbers, and dicts, lists and deques of
these. Codecs hold nothing, and names with an underscore are scratch.
"""

from __future__ import annotations

import io
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psmpi.base import Codec, ConfigError

Saved = dict[str, NDArray[Any]]
_NONE: NDArray[Any] = np.empty(0, np.bool_)  # stands for None


def collect(state: Any) -> Saved:
    """Return copies of all values of a state, by their dotted names."""
    return {name: np.array(value) for name, value, _ in _values(state)}


def restore(state: Any, saved: Mapping[str, NDArray[Any]]) -> None:
    """Set all values of a new state to saved ones; arrays stay the same objects.

    Raises ``ConfigError`` for a state that was saved by another configuration.
    """
    places = {name: (value, put) for name, value, put in _values(state)}
    if places.keys() != saved.keys():
        name = min(places.keys() ^ saved.keys())
        where = "it lacks" if name in places else "it has"
        raise ConfigError(
            f"state: was saved by another configuration ({where} {name}); resume with "
            "the algorithm and the options that it was saved with"
        )
    for name, (value, put) in places.items():
        new = saved[name]
        if value is _NONE or not isinstance(value, np.ndarray):
            put(None if new.shape == (0,) else new.item())
            continue
        if (new.shape, new.dtype) != (value.shape, value.dtype):
            raise ConfigError(
                f"state: {name} has shape {new.shape} of {new.dtype}, and this run "
                f"{value.shape} of {value.dtype}; resume with the same model"
            )
        value[...] = new


def pack(saved: Mapping[str, NDArray[Any]]) -> bytes:
    """Return saved values as the bytes of an npz file."""
    file = io.BytesIO()
    arrays: dict[str, Any] = dict(saved)
    np.savez(file, **arrays)
    return file.getvalue()


def unpack(data: bytes) -> Saved:
    """Return the values that ``pack`` made into bytes."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"state: can't be read ({error}); it is not what state_dict gave"
        ) from None


def _values(thing: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield name, value and setter of every array and number below ``thing``."""
    for key, value, put in _members(thing):
        label = f"{name}.{key}" if name else str(key)
        if isinstance(value, np.ndarray | None | bool | int | float | np.generic):
            yield label, _NONE if value is None else value, put
        elif not isinstance(value, Codec | str | tuple) and not callable(value):
            yield from _values(value, label)


def _members(thing: Any) -> list[tuple[Any, Any, Any]]:
    """Return key, value and setter of what ``thing`` consists of."""
    if isinstance(thing, dict):
        items = list(thing.items())
        return [(key, value, _setter(thing, key)) for key, value in items]
    if isinstance(thing, list | deque):
        items = list(enumerate(thing))
        return [(key, value, _setter(thing, key)) for key, value in items]
    public = [(k, v) for k, v in vars(thing).items() if not k.startswith("_")]
    return [(k, v, lambda new, k=k: setattr(thing, k, new)) for k, v in public]


def _setter(container: Any, key: Any) -> Any:
    return lambda new: container.__setitem__(key, new)
