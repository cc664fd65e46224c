"""The state of a role as named arrays, and back: what a resumed run goes on from.

Whatever survives a round is a public attribute of the role's state object, or of the
memories, triggers and schedules in it: arrays, numbers, and dicts, lists and deques of
these. Those of numbers alone may grow and shrink; others keep their length. Codecs hold
nothing, and names with an underscore are scratch.
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
_NUMBER = bool | int | float | np.generic


def collect(state: Any) -> Saved:
    """Return copies of all values of a state, by their dotted names."""
    return {name: _as_array(value) for name, value, _ in _values(state)}


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
        if isinstance(value, list | deque | dict):
            _refill(value, new.tolist())
            continue
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
    """Yield name, value and setter of every array and number below ``thing``.

    A list, deque or dict of numbers alone is one value, since its length may change.
    """
    for key, value, put in _members(thing):
        label = f"{name}.{key}" if name else str(key)
        if isinstance(value, np.ndarray | None | _NUMBER):
            yield label, _NONE if value is None else value, put
        elif _holds_numbers(value):
            yield label, value, put
        elif not isinstance(value, Codec | str | tuple) and not callable(value):
            yield from _values(value, label)


def _holds_numbers(value: Any) -> bool:
    """Return whether this is a list, deque or dict of numbers, or an empty one."""
    if not isinstance(value, list | deque | dict):
        return False
    items = value.values() if isinstance(value, dict) else value
    return all(isinstance(item, _NUMBER) for item in items)


def _as_array(value: Any) -> NDArray[Any]:
    if isinstance(value, dict):
        return np.array(list(value.items())).reshape(len(value), 2)
    return np.array(value)


def _refill(container: Any, items: list[Any]) -> None:
    container.clear()
    if isinstance(container, dict):
        container.update(dict(items))
    else:
        container.extend(items)


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
