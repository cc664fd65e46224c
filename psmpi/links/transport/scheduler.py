"""Runs one thread per rank, one at a time, so that a run is deterministic.

A rank runs until it must wait; then the next rank that is ready gets its turn. With a
``seed``, another rank may also get its turn at every send and receive, so that tests
can run the same program under many schedules. When no rank is ready there is a
deadlock, and the error lists what each rank waits for.

On simulated clocks (``timed``) the rank that is ready at the earliest simulated time is
next, and a rank waits even if it is ready, so that no rank acts before a message that
another one sends at an earlier time.
"""

from __future__ import annotations

import contextlib
import math
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from psmpi.base import LinkError

When = Callable[[], float | None]


class OtherRankFailed(Exception):
    """Unwinds the thread of a rank after another one has failed."""


class Scheduler:
    """Runs one function per rank, one at a time.

    ``names`` are for error messages. With ``seed`` None ranks take turns in order. A
    rank that waits gives a function that returns the time in seconds at which the rank
    is ready, or None if that is not known yet.
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
        self._threads: list[threading.Thread] = []

    def run(self, functions: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run all functions to the end; return their results in order.

        The first exception in any of them ends all ranks and is raised here, with a
        note that names its rank.
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
        except BaseException as interrupt:  # Ctrl-C: unwind all ranks before raising
            self._fail(interrupt)
            for thread in threads:
                thread.join()
            raise
        if self._error is not None:
            raise self._error
        return results

    @contextlib.contextmanager
    def beside(
        self, rank: int, functions: Mapping[int, Callable[[], object]]
    ) -> Iterator[None]:
        """Run the functions of the other ranks beside the block, which is ``rank``.

        The block has the first turn, and calls ``finish`` at its end. An exception in
        the block ends all ranks; one in another rank is raised here.
        """
        results: list[Any] = [None] * len(self._names)
        self._threads = [
            threading.Thread(
                target=self._rank,
                args=(i, function, results),
                name=self._names[i],
                daemon=True,  # the caller may forget to end the block
            )
            for i, function in functions.items()
        ]
        for thread in self._threads:
            thread.start()
        try:
            yield
        except OtherRankFailed:
            assert self._error is not None
            raise self._error from None
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            for thread in self._threads:
                thread.join()

    def finish(self, rank: int) -> None:
        """End the rank that is a block of ``beside``; return when all have ended."""
        self._ended[rank] = True
        self._start_next(rank)
        for thread in self._threads:
            thread.join()
        if self._error is not None:
            raise self._error

    def wait(self, rank: int, reason: str, when: When) -> None:
        """Let other ranks run until this one is ready; ``reason`` is for deadlocks."""
        self.pause(rank)
        if not self._timed and when() is not None:
            return
        self._waits[rank] = reason, when
        self.yield_turn(rank)
        self._waits[rank] = None

    def pause(self, rank: int) -> None:
        """With a seed, let other ranks run first in half of the cases."""
        if self._error is not None:
            raise OtherRankFailed
        if self._random is not None and self._random.random() < 0.5:
            self.yield_turn(rank)

    def yield_turn(self, rank: int) -> None:
        """Let the next rank that is ready run; return at this rank's next turn."""
        after = self._next(rank)
        if after is None:
            raise LinkError(f"deadlock: {self._diagnosis()}")
        if after != rank:
            self._turns[after].release()
            self._turns[rank].acquire()
        if self._error is not None:
            raise OtherRankFailed

    def _next(self, rank: int) -> int | None:
        """Return the rank that is ready first: the next in order, or a random one."""
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
        except OtherRankFailed:
            pass
        except BaseException as error:  # also SystemExit: it would end only this rank
            error.add_note(f"in {self._names[rank]}, in process")
            self._fail(error)
        self._ended[rank] = True
        if self._error is None:
            self._start_next(rank)

    def _start_next(self, rank: int) -> None:
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
