"""Comparisons: several runs in one TOML file, general options and a [[run]] each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from psmpi.errors import ConfigError
from psmpi.runs import config, option_names, toml_file

_LONGEST_NAME = 200  # bytes; file systems take up to 255


def runs(table: Mapping[str, Any], source: str) -> list[config.RunConfig]:
    """Return the runs of a comparison: general options, then one ``[[run]]`` each.

    A run has ``algorithm``, perhaps ``name``, and options that override the general
    ones. ``source`` names the file in errors. A name is also the name of the directory
    that records the run, so names that are no plain file names are refused.
    """
    top = dict(table)
    entries = top.pop("run", None)
    if isinstance(entries, Mapping):
        raise ConfigError(f"{source}: [run] must be written [[run]], with two brackets")
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{source}: has no [[run]]; give one per algorithm")
    general = toml_file.flat(top, source)
    flat = [_entry(entry, source) for entry in entries]
    made = [_run(general, entry, source) for entry in flat]
    _check_used(general, flat, source)
    names = [run.name for run in made]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{source}: two runs are called {name!r}; give names")
    return made


def _entry(entry: Any, source: str) -> dict[str, Any]:
    """Return a ``[[run]]`` as options, with its algorithm and name checked."""
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{source}: run: must be tables [[run]], got {entry!r}")
    if "algorithm" not in entry:
        raise ConfigError(f"{source}: a [[run]] has no algorithm: {dict(entry)}")
    options = toml_file.flat(entry, source)
    name = options.get("name", options["algorithm"])
    try:
        option_names.own(_text("algorithm", options["algorithm"]))
        _check_name(_text("name", name))
    except ConfigError as error:
        raise ConfigError(f"{source}, run {name}: {error}") from None
    return options


def _run(
    general: Mapping[str, Any], entry: Mapping[str, Any], source: str
) -> config.RunConfig:
    known = option_names.own(entry["algorithm"]) | option_names.general()
    shared = {key: value for key, value in general.items() if key in known}
    try:
        return config.configure(**{**shared, **entry})
    except ConfigError as error:
        name = entry.get("name", entry["algorithm"])
        raise ConfigError(f"{source}, run {name}: {error}") from None


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{key}: must be text, got {value!r}")
    return value


def _check_name(name: str) -> None:
    """Refuse names that would record a run outside of the comparison's directory."""
    plain = name.strip() not in ("", ".", "..") and name.isprintable()
    if not plain or "/" in name or "\\" in name or len(name.encode()) > _LONGEST_NAME:
        raise ConfigError(
            f"name: {name!r} must be a plain file name, since the run is recorded in a "
            "directory of that name"
        )


def _check_used(
    general: Mapping[str, Any], entries: Iterable[Mapping[str, Any]], source: str
) -> None:
    """Refuse a general key that no run has an option for: it would be ignored."""
    used = option_names.general()
    for entry in entries:
        used |= option_names.own(entry["algorithm"])
    for key in general:
        if key in option_names.LAUNCH:
            raise ConfigError(
                f"{source}: {key} is an option of the command; give it there: psmpi "
                f"compare {source} {option_names.flag(key)} ..."
            )
        if key not in used:
            near = option_names.near(key, used)
            hint = f"; did you mean {near}?" if near else ""
            raise ConfigError(f"{source}: no run has an option {key!r}{hint}")
