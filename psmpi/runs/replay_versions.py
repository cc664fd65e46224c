"""Versions of what a run computes: the declared ones, to which a replay is keyed.

A recorded run can be replayed as long as the same configuration still computes the same
bits. Whoever changes what is computed says so by raising a number, and a replay of an
older run is then refused with the name of what changed. Files may be moved, renamed
and reworded freely.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from psmpi.base import ConfigError
from psmpi.runs.setup import PreparedRun

#: Raised when any run may compute other bits than before: the order of sums, the keys
#: of random numbers, problems, data sets, or the evaluation.
REPLAY_FORMAT = 1


def declared(prepared: PreparedRun) -> dict[str, int]:
    """Return the version of each part of psmpi that decides what this run computes.

    A codec's version is its wire id, which no other byte layout ever gets.
    """
    wire = prepared.wire
    return {
        "replay format": REPLAY_FORMAT,
        f"algorithm {prepared.run.algorithm}": prepared.algorithm.version,
        **{f"codec {codec.id}": codec.wire_id for codec in (wire.up, wire.down)},
    }


def digest(prepared: PreparedRun) -> str:
    """Return a hex digest of the declared versions."""
    text = json.dumps(declared(prepared), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def require_equal(
    recorded: Mapping[str, Any], declared_now: Mapping[str, int], path: object
) -> None:
    """Raise ``ConfigError`` that names the first part whose version is another now."""
    for part in {**declared_now, **recorded}:
        then, now = recorded.get(part), declared_now.get(part)
        if then != now:
            raise ConfigError(
                f"replay: {path} was made with version {then} of the {part}, and this "
                f"psmpi has version {now}, which computes something else; replay with "
                "the psmpi that wrote it (see versions in its manifest.json)"
            )
