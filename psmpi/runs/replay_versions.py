"""Declared versions of what a run computes, which decide whether it can be replayed.

A recorded run can be replayed as long as the same configuration still computes the same
bits. A change of what is computed raises one of these numbers, and then a replay of an
older run is refused with the name of the part that changed. Files may be moved, renamed
and reworded freely.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from psmpi.base import ConfigError
from psmpi.runs.setup import PreparedRun

#: Raised when a run of any algorithm may compute other bits than before, since the
#: order of sums, the keys of random numbers, a problem, a data set or the evaluation
#: has changed.
REPLAY_FORMAT = 1


def declared(prepared: PreparedRun) -> dict[str, int]:
    """Return the version of each part that decides what this run computes, by name.

    The version of a codec is its wire id, which no other byte layout ever gets.
    """
    return {
        "replay format": REPLAY_FORMAT,
        f"algorithm {prepared.run.algorithm}": prepared.algorithm.version,
        **{f"codec {codec.id}": codec.wire_id for codec in prepared.codecs()},
    }


def digest(prepared: PreparedRun) -> str:
    """Return a hex digest of the declared versions."""
    text = json.dumps(declared(prepared), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def require_equal(
    recorded: Mapping[str, Any], declared_now: Mapping[str, int], path: object
) -> None:
    """Raise ``ConfigError`` with the first part whose version differs, and both."""
    for part in {**declared_now, **recorded}:
        then, now = recorded.get(part), declared_now.get(part)
        if then != now:
            raise ConfigError(
                f"replay: {path} was made with version {then} of the {part}, and this "
                f"psmpi has version {now}, which computes something else; replay with "
                "the psmpi that wrote it (see versions in its manifest.json)"
            )
