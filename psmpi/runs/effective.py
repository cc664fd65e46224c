"""The settings that a run really uses, also where options were left to defaults."""

from __future__ import annotations

from typing import Any

from psmpi import codecs
from psmpi.runs.setup import PreparedRun


def effective(prepared: PreparedRun) -> dict[str, Any]:
    """Return the settings that a run really uses, by the names of their options.

    Codecs are in the notation of ``--codec``, with all of their parameters.
    """
    return {
        "codec": codecs.describe(prepared.wire.up),
        "down_codec": codecs.describe(prepared.wire.down),
        **prepared.algorithm.effective(prepared.plan),
    }
