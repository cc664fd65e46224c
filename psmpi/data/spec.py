"""Reads ``synthetic:KIND,key=value,...`` and words the hint for an unknown name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from psmpi.base import ConfigError
from psmpi.errors import did_you_mean

Defaults = Mapping[str, int | float]


def hint(name: str, known: Collection[str]) -> str:
    """Return the end of an error message: the nearest known name, then all of them."""
    return f"{did_you_mean(name, known)} use one of {', '.join(known)}".lstrip()


def parse(spec: str, kinds: Mapping[str, Defaults]) -> tuple[str, dict[str, Any]]:
    """Return the kind and all its values of ``KIND,key=value,...``, defaults filled in.

    ``kinds`` gives each kind's keys with their defaults; a default's type is the type
    of the value. Raises ``ConfigError`` that names the first kind, key or value that
    does not fit.
    """
    kind, *pairs = spec.split(",")
    if kind not in kinds:
        raise ConfigError(f"synthetic: no kind is called {kind!r}; {hint(kind, kinds)}")
    values: dict[str, Any] = dict(kinds[kind])
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if key not in values or not equals:
            nearest = did_you_mean(key, values)
            raise ConfigError(
                f"synthetic:{kind}: {pair!r} is not key=value with a known key; "
                + f"{nearest} keys are {', '.join(values)}".lstrip()
            )
        try:
            values[key] = type(values[key])(text)
        except ValueError:
            expected = "an integer" if isinstance(values[key], int) else "a number"
            raise ConfigError(
                f"synthetic:{kind}: {key} must be {expected}, got {text!r}"
            ) from None
    return kind, values


def write(kind: str, values: Mapping[str, Any]) -> str:
    """Return ``synthetic:KIND,key=value,...``, which ``parse`` reads."""
    return ",".join([f"synthetic:{kind}", *(f"{k}={v}" for k, v in values.items())])
