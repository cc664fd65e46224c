"""The decisions of a run that depended on time, so that it can be replayed exactly.

Such decisions are: which worker the server served next, how many samples a worker
processed before a deadline, and which of a neighbour's frames was the newest. Every
link end records its decisions; an end with a recorded log takes them from there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from psmpi.base import LinkError


class ReplayLog:
    """One rank's decisions, as integers in the order in which they were made.

    ``recorded`` are the decisions of a run to be replayed; None records a new run.
    """

    def __init__(self, recorded: Iterable[int] | None = None) -> None:
        self.entries: list[int] = []
        self.replaying = recorded is not None
        self._recorded = deque(map(int, recorded or ()))

    def saved(self) -> NDArray[np.int64]:
        """Return the decisions so far, to go on from."""
        return np.array(self.entries, np.int64)

    def resume(self, saved: NDArray[np.int64]) -> None:
        """Go on from what ``saved`` gave."""
        self.entries = saved.tolist()

    @property
    def exhausted(self) -> bool:
        """Whether no recorded decision is left to replay."""
        return not self._recorded

    def close(self) -> None:
        """Raise ``LinkError`` if the recorded run made more decisions than this one."""
        if self._recorded:
            raise LinkError(
                f"replay: {len(self._recorded)} recorded decisions of this rank are "
                "left over; the recorded run was another one"
            )

    def record(self, decision: int) -> int:
        """Append a decision and return it."""
        self.entries.append(decision)
        return decision

    def next_decision(self) -> int:
        """Return the next decision of the recorded run, and record it again."""
        if not self._recorded:
            raise LinkError(
                "replay: the recorded decisions of this rank are used up; the recorded "
                "run was another one"
            )
        return self.record(self._recorded.popleft())
