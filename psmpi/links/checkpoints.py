"""When the ranks of a run save their roles, so that what they save fits together.

A role is saved between two rounds, when all that survives is in its state object. What
all ranks save then belongs together if no message was sent before one rank's save and
received after another one's.

*Workers in step* count the server's rounds, and every message belongs to a round: all
ranks save before the same round, each in its own time. Either every so many rounds, or
before a round that the server has announced (CHECKPOINT, whose envelope has that
round), ahead of a message of the round before.

*Called workers* (``Wire.called``) begin a round only when the server sends them a
model. The server saves when it has nothing of them under way (``Algorithm.quiet``), and
tells them to save as well; they get that where they wait for their next round.

*Free workers* (``Wire.free``) save every so many rounds of their own, after receiving
what their neighbours have sent up to theirs (``PeerExchange.synchronise``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from psmpi.links import envelope
from psmpi.links.context import LinkContext
from psmpi.links.envelope import CHECKPOINT
from psmpi.links.messages import is_due

#: Saves a role's state for the checkpoint of a round.
Save = Callable[[Any, int], None]


@dataclass(frozen=True)
class Cadence:
    """How often a run is saved: every so many rounds, or seconds; 0: not by these."""

    rounds: int = 0
    seconds: float = 0.0

    def is_due(self, round_: int) -> bool:
        """Return whether all ranks save before this round, unless told otherwise."""
        return self.rounds > 0 and round_ > 0 and round_ % self.rounds == 0


@dataclass(frozen=True)
class Saving:
    """How one rank saves its role.

    ``quiet`` says whether the server's state is one to go on from, and ``asked``
    whether the run is to be saved as soon as possible and then ended; both concern the
    server alone.
    """

    cadence: Cadence
    save: Save
    quiet: Callable[[Any], bool] = lambda state: True
    asked: Callable[[], bool] = lambda: False


class Preempted(Exception):
    """The run is to end early. Control flow, raised in the server's role.

    ``saved`` is the round before which it was saved; None if it was not.
    """

    def __init__(self, saved: int | None) -> None:
        super().__init__("the run was asked to end early")
        self.saved = saved


class WorkerCheckpoints:
    """A worker's side."""

    def __init__(self, context: LinkContext, saving: Saving | None) -> None:
        self._context = context
        self._saving = saving
        self._announced = -1  # the round that the server has announced
        self._resumed = -1  # the round of the checkpoint that the run has gone on from
        self._state: Any = None

    def resume(self, round_: int) -> None:
        """Go on from the checkpoint of a round, which is not saved again."""
        self._resumed = round_

    def at_round(self, state: Any) -> None:
        """Save the role before round ``state.round``, if that is due."""
        self._state = state
        if self.is_due(state.round):
            assert self._saving is not None
            self._saving.save(state, state.round)

    def is_due(self, round_: int) -> bool:
        """Return whether this worker saves its role before this round by itself."""
        context, saving = self._context, self._saving
        if saving is None or context.wire.called or round_ >= context.plan.rounds:
            return False
        if round_ == self._resumed:
            return False
        return saving.cadence.is_due(round_) or round_ == self._announced

    def take(self, message: envelope.Unsealed) -> bool:
        """Take in a message if it is the server's CHECKPOINT."""
        if message.kind != CHECKPOINT:
            return False
        if not self._context.wire.called:
            self._announced = message.round
        elif self._saving is not None:
            self._saving.save(self._state, message.round)
        return True


class ServerCheckpoints:
    """The server's side, which decides what is not decided by the round's number."""

    def __init__(self, context: LinkContext, saving: Saving | None) -> None:
        self._context = context
        self._saving = saving
        self._announced: int | None = None
        self._told: set[int] = set()
        self._leaving = False
        self._last = 0  # the round of the last checkpoint
        self._last_time = time.monotonic()

    def resume(self, round_: int) -> None:
        """Go on from the checkpoint of a round, which is not saved again."""
        self._last = round_

    def decide(self, round_: int, answering: bool) -> None:
        """Decide whether to announce a checkpoint, before round ``round_``.

        ``answering``: workers wait for an answer before this round, and don't do
        anything else until they have it.
        """
        saving, wire = self._saving, self._context.wire
        if saving is None or wire.called or self._announced is not None:
            return
        if not saving.asked() and not self._time_has_come(saving):
            return
        if wire.free:
            if saving.asked():
                raise Preempted(None)
            return
        if wire.peers and not answering:
            every = self._context.plan.evaluate_every
            reports = is_due(every, round_, self._context.plan.rounds)
            if not (wire.relay and reports):
                return
        self._announced = round_ if answering else round_ + 1
        self._told, self._leaving = set(), saving.asked()

    def announce(self, workers: Sequence[int], tree: bool) -> None:
        """Tell workers of an announced checkpoint, ahead of their next message."""
        if self._announced is None:
            return
        new = [worker for worker in workers if worker not in self._told]
        if new:
            self._tell(new, self._announced, tree)
            self._told.update(new)

    def at_round(self, state: Any) -> None:
        """Save the role before round ``state.round``, if that is due.

        Raises ``Preempted`` if the run was to end after that.
        """
        saving, round_ = self._saving, state.round
        if saving is None or round_ >= self._context.plan.rounds:
            return
        if self._context.wire.called:
            self._at_called_round(saving, state)
            return
        announced = round_ == self._announced
        if announced:
            self._announced = None
        whole = announced and len(self._told) == self._context.plan.workers
        if whole or (saving.cadence.is_due(round_) and round_ != self._last):
            self._save(saving, state)
        if announced and self._leaving:
            raise Preempted(round_ if whole else None)

    def _at_called_round(self, saving: Saving, state: Any) -> None:
        every, asked = saving.cadence.rounds, saving.asked()
        due = asked or self._time_has_come(saving)
        due = due or (every > 0 and state.round // every > self._last // every)
        if not (due and state.round and saving.quiet(state)):
            return
        self._tell(range(self._context.plan.workers), state.round, tree=False)
        self._save(saving, state)
        if asked:
            raise Preempted(state.round)

    def _save(self, saving: Saving, state: Any) -> None:
        saving.save(state, state.round)
        self._last, self._last_time = state.round, time.monotonic()

    def _time_has_come(self, saving: Saving) -> bool:
        seconds = saving.cadence.seconds
        return seconds > 0 and time.monotonic() - self._last_time >= seconds

    def _tell(self, workers: Sequence[int], round_: int, tree: bool) -> None:
        context = self._context
        context.transport.release()
        buffer = envelope.new_buffer(0)
        message = envelope.seal(buffer, 0, round_, CHECKPOINT, 0)
        if tree:
            context.transport.bcast(message)
        else:
            for worker in workers:
                context.transport.send(worker + 1, message, free=True)
        context.meter.wire_bytes_observed += message.size * len(workers)
