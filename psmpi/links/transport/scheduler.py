"""One thread per rank, of which only one runs at a time, so a run is deterministic.

A rank runs until it must wait; then the next rank that can go on gets its turn. With a
``seed``, every send and receive is a place where another rank may get its turn, so that
tests can run the same program under many schedules. When nobody can go on, that is
a deadlock, and each rank says what it waits for.

On simulated clocks (``timed``) the rank that can go on at the earliest time is next,
and every wait is handed in: so nothing is done that an earlier message of another rank
could still change.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

from psmpi.base import LinkError

When = Callable[[], float | None]


class _Given(Exception):
    """Another rank has failed; raised in the others to unwind their threads."""


class Scheduler:
    """Runs one function per rank, one at a time.

    ``names`` are for messages; ``seed`` None gives the plainest schedule. A wait is
    over at the time that its function returns, in seconds; None: nobody knows yet.
    """

    def __init__(
        self, names: Sequence[str], seed: int | None = None, *, timed: bool = False
    ) -> None:
        self._names = names
        self._random = None if seed is None or timed else random.Random(seed)
        self._timed = timed
        self._turns = [threading.Semaphore(0) for _ in names]
        self._waits: list[tuple[str, When] | None] = [None] * len(names)
        self._ended = [False] * len(names)
        self._error: BaseException | None = None

    def run(self, functions: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run all functions to their ends; return their results in order.

        The first exception in any of them ends all and is raised here, with a note that
        names its rank.
        """
        results: list[Any] = [None] * len(functions)
        threads = [
            threading.Thread(
                target=self._rank, args=(i, function, results), name=self._names[i]
            )
            for i, function in enumerate(functions)
        ]
        for thread in threads:
            thread.start()
        self._turns[0].release()
        try:
            for thread in threads:
                thread.join()
        except BaseException as interrupt:  # Ctrl-C: unwind the ranks before leaving
            self._fail(interrupt)
            for thread in threads:
                thread.join()
            raise
        if self._error is not None:
            raise self._error
        return results

    def wait(self, rank: int, reason: str, when: When) -> None:
        """Let others run until ``when()`` has come; ``reason``: "x waits ..."."""
        self.pause(rank)
        if not self._timed and when() is not None:
            return
        self._waits[rank] = reason, when
        self._pass_on(rank)
        self._waits[rank] = None

    def pass_on(self, rank: int) -> None:
        """Let others that can go on have a turn first."""
        self._pass_on(rank)

    def pause(self, rank: int) -> None:
        """Under a seeded schedule, perhaps let others run first."""
        if self._error is not None:
            raise _Given
        if self._random is not None and self._random.random() < 0.5:
            self._pass_on(rank)

    def _pass_on(self, rank: int) -> None:
        after = self._next(rank)
        if after is None:
            raise LinkError(f"deadlock: {self._diagnosis()}")
        if after != rank:
            self._turns[after].release()
            self._turns[rank].acquire()
        if self._error is not None:
            raise _Given

    def _next(self, rank: int) -> int | None:
        """Return who can go on first: the nearest after ``rank``, or one at random."""
        order = [(rank + 1 + i) % len(self._names) for i in range(len(self._names))]
        if self._random is not None:
            self._random.shuffle(order)
        first, earliest = None, math.inf
        for other in order:
            if self._ended[other]:
                continue
            wait = self._waits[other]
            time = 0.0 if wait is None else wait[1]()
            if time is not None and time < earliest:
                first, earliest = other, time
                if not self._timed:
                    break
        return first

    def _diagnosis(self) -> str:
        parts = []
        for name, wait, ended in zip(
            self._names, self._waits, self._ended, strict=True
        ):
            parts.append(
                f"{name} has ended"
                if ended
                else f"{name} {'runs' if wait is None else 'waits ' + wait[0]}"
            )
        return ", ".join(parts)

    def _rank(self, rank: int, function: Callable[[], Any], results: list[Any]) -> None:
        self._turns[rank].acquire()
        try:
            if self._error is None:
                results[rank] = function()
        except _Given:
            pass
        except BaseException as error:  # also SystemExit: no rank leaves unnoticed
            error.add_note(f"in {self._names[rank]}, in process")
            self._fail(error)
        self._ended[rank] = True
        if self._error is None:
            self._hand_over(rank)

    def _hand_over(self, rank: int) -> None:
        if all(self._ended):
            return
        after = self._next(rank)
        if after is None:
            self._fail(LinkError(f"deadlock: {self._diagnosis()}"))
        else:
            self._turns[after].release()

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        for turn in self._turns:
            turn.release()
