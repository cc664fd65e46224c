"""What the ranks of a script do next, on which they agree before each run."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from psmpi.base import LinkError


class Intent(enum.Enum):
    """What a rank does next; a rank that follows does what the others do."""

    RUN = "call psmpi.run"
    SESSION = "open a session"
    EXIT = "exit"
    FOLLOW = "follow"


def exiting(intents: Sequence[Intent]) -> list[int]:
    """Return the ranks that exit, ascending, if others do something else; else none."""
    leading = [intent for intent in intents if intent is not Intent.FOLLOW]
    ranks = [rank for rank, intent in enumerate(intents) if intent is Intent.EXIT]
    return [] if len(ranks) == len(leading) else ranks


def common(intents: Sequence[Intent]) -> Intent:
    """Return what all ranks do that don't follow; ``LinkError`` if they differ."""
    leading = {
        intent: rank
        for rank, intent in reversed(list(enumerate(intents)))
        if intent is not Intent.FOLLOW
    }
    if len(leading) != 1:
        what = " and ".join(
            f"rank {rank} would {intent.value}" for intent, rank in leading.items()
        )
        raise LinkError(
            f"ranks disagree: {what or 'all ranks would follow'}; the script must do "
            "the same on all of them"
        )
    (intent,) = leading
    return intent
