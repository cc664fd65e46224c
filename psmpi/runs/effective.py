"""What a run really uses where an option was left to its default."""

from __future__ import annotations

from typing import Any

from psmpi import codecs
from psmpi.runs.setup import PreparedRun


def effective(prepared: PreparedRun) -> dict[str, Any]:
    """Return the settings that a run ends up with, by the names of their options.

    Codecs are in the notation of ``--codec``, with all of their parameters.
    """
    found: dict[str, Any] = {
        "codec": codecs.describe(prepared.wire.up),
        "down_codec": codecs.describe(prepared.wire.down),
    }
    return {**found, **prepared.algorithm.effective(prepared.plan)}
