"""What depended on time in a run, so that it can be had again bit for bit.

Which worker the server heard next, how many samples were done by a deadline, which of a
neighbour's frames was the newest: every end writes down such decisions as it makes
them, and an end that is given them makes no others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from psmpi.base import LinkError


class ReplayLog:
    """One rank's decisions, as whole numbers in the order of making."""

    def __init__(self, recorded: Iterable[int] | None = None) -> None:
        self.entries: list[int] = []
        self.replaying = recorded is not None
        self._recorded = deque(map(int, recorded or ()))

    @property
    def used_up(self) -> bool:
        """Whether there is nothing left to replay."""
        return not self._recorded

    def close(self) -> None:
        """Raise ``LinkError`` if the recorded run decided more than this one."""
        if self._recorded:
            raise LinkError(
                f"replay: {len(self._recorded)} recorded decisions of this rank are "
                "left over; the recorded run was another one"
            )

    def note(self, decision: int) -> int:
        """Write down, and return, what was decided."""
        self.entries.append(decision)
        return decision

    def take(self) -> int:
        """Return what was decided here in the recorded run."""
        if not self._recorded:
            raise LinkError(
                "replay: the recorded decisions of this rank are used up; the recorded "
                "run was another one"
            )
        return self.note(self._recorded.popleft())
