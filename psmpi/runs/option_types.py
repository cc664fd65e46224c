"""Types of options: one check of values by annotation, and text read as such a type.

The command line, TOML files and Python all end in ``fit``, so that a value is refused
or accepted alike whichever way it came. Nothing is rounded: 2.7 is no whole number.
"""

from __future__ import annotations

import numbers
import typing
from functools import cache
from types import NoneType, UnionType
from typing import Any

_NAMES = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
}


class Unfit(Exception):
    """A value is not of the annotated type; its text says what would be."""


@cache
def hints(cls: type) -> dict[str, Any]:
    """Return the annotations of a dataclass, resolved, by field name."""
    return typing.get_type_hints(cls)


def fit(value: Any, hint: Any) -> Any:
    """Return ``value`` as the annotated type; raise ``Unfit`` if it is of another.

    Whole floats, such as 1e3, are whole numbers; NumPy scalars become Python's; lists
    become tuples, and a single item a tuple of one. An int where a float is annotated
    stays an int, because records of runs hold it as it was given.
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()  # a NumPy scalar
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        if value in typing.get_args(hint):
            return value
    elif origin is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_items(items, hint))
    elif hint is Any or origin not in (None, typing.Union, UnionType):
        return value  # an annotation that only its own class can check
    else:
        kinds = kinds_of(hint)
        if isinstance(value, bool) or value is None:
            if type(value) in kinds:
                return value
        elif int in kinds and _whole(value):
            return int(value)
        elif isinstance(value, numbers.Real):
            if float in kinds:
                return value
        elif isinstance(value, kinds):
            return value
    raise Unfit(spoken(hint))


def _items(items: list[Any] | tuple[Any, ...], hint: Any) -> list[Any]:
    try:
        return [fit(item, typing.get_args(hint)[0]) for item in items]
    except Unfit:
        raise Unfit(spoken(hint)) from None


def _whole(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, numbers.Integral)


def kinds_of(hint: Any) -> tuple[type, ...]:
    """Return the types in an annotation: (int, NoneType) of ``int | None``."""
    return typing.get_args(hint) or (hint,)


def spoken(hint: Any) -> str:
    """Return an annotation in words: "a whole number or text"."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if typing.get_origin(hint) is tuple:
        kind = arguments[0]
        several = {str: "texts", int: "whole numbers"}.get(kind, kind.__name__)
        return f"{_NAMES.get(kind, kind.__name__)} or a list of {several}"
    kinds = [kind for kind in kinds_of(hint) if kind is not NoneType]
    return " or ".join(_NAMES.get(kind, kind.__name__) for kind in kinds)


def read(text: str, hint: Any) -> Any:
    """Return a word of the command line as the annotated type where it can be read so.

    A word that can't be read stays text, and a fraction stays a fraction, so that
    ``fit`` refuses them with the value that was typed.
    """
    kinds = kinds_of(hint)
    if int in kinds:
        try:
            return int(text)
        except ValueError:
            pass
    if float in kinds or (int in kinds and str not in kinds):
        try:
            return float(text)
        except ValueError:
            pass
    return text
