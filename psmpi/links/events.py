"""What a rank has put up with: counted, the first kept, ever fewer named on stderr."""

from __future__ import annotations

import sys
from typing import Any

KEPT = 100  # events that are kept
_ALL_NAMED = 4  # events that are named one by one; then those with a power of 2


class Events:
    """Events of one kind on one rank: their ``count``, and the ``first`` of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[dict[str, Any]] = []

    def add(self, event: dict[str, Any], message: str) -> None:
        """Count an event, keep it if it is one of the first, and maybe name it."""
        self.count += 1
        if len(self.first) < KEPT:
            self.first.append(event)
        if self.count > _ALL_NAMED and self.count & (self.count - 1):
            return
        so_far = f" ({self.count} so far)" if self.count > _ALL_NAMED else ""
        print(f"psmpi: warning: {message}{so_far}", file=sys.stderr)  # noqa: T201

    def saved(self) -> dict[str, Any]:
        """Return the events so far, to go on from."""
        return {"count": self.count, "first": list(self.first)}

    def resume(self, saved: dict[str, Any]) -> None:
        """Go on from what ``saved`` gave."""
        self.count, self.first = saved["count"], list(saved["first"])
