"""Reads ``synthetic:KIND,key=value,...``, and suggests what a wrong name meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from psmpi.base import ConfigError


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"did you mean 'x'? "``, or nothing where no known name is close."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]!r}? " if close else ""


def parse(
    spec: str, kinds: Mapping[str, Mapping[str, int | float]]
) -> tuple[str, dict[str, Any]]:
    """Return the kind and all its values of ``KIND,key=value,...``, defaults filled in.

    ``kinds`` gives each kind's keys with their defaults; a default's type is the type
    of the value. Raises ``ConfigError`` naming the first kind, key or value that does
    not fit.
    """
    kind, *pairs = spec.split(",")
    if kind not in kinds:
        raise ConfigError(
            f"synthetic: no kind is called {kind!r}; {nearest(kind, kinds)}"
            f"use one of {', '.join(kinds)}"
        )
    values: dict[str, Any] = dict(kinds[kind])
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if key not in values or not equals:
            raise ConfigError(
                f"synthetic:{kind}: {pair!r} is not key=value with a known key; "
                f"{nearest(key, values)}keys are {', '.join(values)}"
            )
        try:
            values[key] = type(values[key])(text)
        except ValueError:
            wanted = "an integer" if isinstance(values[key], int) else "a number"
            raise ConfigError(
                f"synthetic:{kind}: {key} must be {wanted}, got {text!r}"
            ) from None
    return kind, values
