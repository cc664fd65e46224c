"""What a run was configured with: the value of each setting, and who chose it.

A manifest's ``config`` holds the options as they were before the run was prepared, so
an option that was left out may be null there. ``effective`` holds the values that the
run used in place of these, and ``given`` the names of the options that the user set.
Runs recorded before these two keys existed have only ``config``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psmpi.report.metrics import NONE
from psmpi.runs.recorded import RecordedRun

_SETTINGS = ("config", "given", "effective")


@dataclass(frozen=True)
class Setting:
    """The value a run used, as text.

    ``given`` is True if the user chose the value and False for a default; None if the
    manifest does not say.
    """

    text: str
    given: bool | None = None


def settings(run: RecordedRun) -> dict[str, Setting]:
    """Return the run's settings by name; names are those of the command line."""
    config = dict(run.manifest.get("config") or {})
    options = config.pop("options", None) or {}
    effective = run.manifest.get("effective") or {}
    given = run.manifest.get("given")
    chosen = None if given is None else {*map(_plain_name, given), "algorithm"}
    # The algorithm stands before its options, and these before those of every run.
    first = {key: config.pop(key) for key in ("algorithm", "name") if key in config}
    values = flat(first) | flat(options) | flat(config) | flat(effective)
    return {
        name: Setting(text, None if chosen is None else name in chosen)
        for name, text in values.items()
    }


def provenance(run: RecordedRun) -> dict[str, str]:
    """Return the rest of the manifest: versions, hosts, machine, digests."""
    return flat({k: v for k, v in run.manifest.items() if k not in _SETTINGS})


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a nested mapping as dotted names and texts."""
    result: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            result[prefix + key] = _printable(", ".join(map(str, value))) or NONE
        elif value is None:
            result[prefix + key] = NONE
        else:
            result[prefix + key] = _printable(str(value)) or NONE
    return result


def _plain_name(option: str) -> str:
    return option.removeprefix("options.").replace("-", "_")


def _printable(text: str) -> str:
    # MPI libraries may end the text of their version with a NUL byte.
    return "".join(c if c.isprintable() else " " for c in text.strip("\0")).strip()
