"""Reads TOML files of options: one run for ``psmpi run --config``, or a comparison.

A file holds options by their names on the command line, with dashes or underscores.
``psmpi show`` prints an algorithm's options as ``options.NAME``, so a table [options]
is read as if its keys stood above it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from psmpi.errors import ConfigError


def read_toml(path: Path) -> dict[str, Any]:
    """Return the table in a file; ``ConfigError`` names the file and the fault."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: is not TOML: byte {error.start} is not UTF-8; save it as UTF-8"
        ) from None


def flat(table: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return a table of options with the keys of its table [options] among the others.

    Keys get underscores. ``ConfigError`` refuses a key that is there twice, and tables
    of other names.
    """
    options: dict[str, Any] = {}
    inner = table.get("options", {})
    if not isinstance(inner, Mapping):
        raise ConfigError(f"{source}: options: must be a table, got {inner!r}")
    for key, value in [*table.items(), *inner.items()]:
        if key == "options" and value is inner:
            continue
        name = key.replace("-", "_")
        if isinstance(value, Mapping):
            raise ConfigError(
                f"{source}: [{key}] is a table, and options don't stand in tables; put "
                "its keys at the top of the file, or in a table [options]"
            )
        if name in options:
            raise ConfigError(
                f"{source}: {key} is given twice (with dashes and underscores, or in "
                "the table [options] too); leave one out"
            )
        options[name] = value
    return options


def run_table(path: Path) -> dict[str, Any]:
    """Return the options of one run in a file, ``algorithm`` among them."""
    table = read_toml(path)
    if "run" in table:
        raise ConfigError(
            f"{path}: has [[run]], so it is a comparison of several runs; use psmpi "
            f"compare {path}"
        )
    if "algorithm" not in table:
        raise ConfigError(f"{path}: has no key algorithm; psmpi list shows their names")
    return flat(table, str(path))
