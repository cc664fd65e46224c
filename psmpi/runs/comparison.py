"""Several runs in one table: general options, and one ``[[run]]`` each."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from psmpi import algorithms
from psmpi.base import ConfigError
from psmpi.runs import config


def runs(table: Mapping[str, Any], source: str) -> list[config.RunConfig]:
    """Return the runs of a comparison: general keys, then one ``[[run]]`` each.

    A run has ``algorithm``, perhaps ``name``, and options that override the general
    ones.
    """
    table = dict(table)
    entries = table.pop("run", None)
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{source}: has no [[run]]; give one per algorithm")
    made = []
    for entry in entries:
        if "algorithm" not in entry:
            raise ConfigError(f"{source}: a [[run]] has no algorithm: {dict(entry)}")
        cls = algorithms.find(entry["algorithm"])
        own = {field.name for field in algorithms.options(cls)}
        general = {
            key: value
            for key, value in table.items()
            if key.replace("-", "_") in own | _general()
        }
        try:
            made.append(config.configure(**{**general, **entry}))
        except ConfigError as error:
            name = entry.get("name", entry["algorithm"])
            raise ConfigError(f"{source}, run {name}: {error}") from None
    _check_used(table, entries, source)
    names = [r.name for r in made]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{source}: two runs are called {name!r}; give names")
    return made


def _check_used(
    table: Mapping[str, Any], entries: Iterable[Mapping[str, Any]], source: str
) -> None:
    """Refuse a general key that no run has an option for: it would be ignored."""
    used = set(_general())
    for entry in entries:
        cls = algorithms.find(entry["algorithm"])
        used |= {field.name for field in algorithms.options(cls)}
    for key in table:
        if key.replace("-", "_") not in used:
            near = difflib.get_close_matches(key, used, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{source}: no run has an option {key!r}{hint}")


def _general() -> set[str]:
    return {field.name for field in dataclasses.fields(config.RunOptions)}
