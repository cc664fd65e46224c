"""What a caller's own training loop sends the server besides frames.

A worker whose loop belongs to the caller may send, before any of its uploads:

- NOTE: the sum and number of its losses since the last note, and metrics that the
  caller has measured, as JSON; it is observation, not part of an algorithm,
- STEP_SIZE: the step size of its next rounds, on which all workers have to agree,
- LEAVE: that its loop has ended. The server then ends the run for all.
- STATE: that it wants a copy of the state of the server's role.

The server takes these in wherever it waits for an upload of the worker.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from psmpi.base import ConfigError, Frame, LinkError, Plan, Stopped
from psmpi.links import envelope
from psmpi.links.context import LinkContext
from psmpi.links.envelope import LEAVE, NOTE, STATE, STEP_SIZE
from psmpi.links.messages import pack_numbers

NOTE_NBYTES = 4096  # of the JSON text of a note, at most


class WorkerLeft(Exception):
    """A worker's own loop has ended. Control flow, raised in the server's role."""

    def __init__(self, worker: int, round_: int) -> None:
        super().__init__(f"worker {worker} left after {round_} rounds")
        self.round = round_


class LoopEnded(Stopped):
    """The caller's loop has ended. Raised where a role asks for its next gradient."""


class PeerLeft(Stopped):
    """A neighbour's own loop has ended, and with it the run."""


@dataclass
class Losses:
    """Sum and number of the losses that workers gave with their gradients."""

    total: float = 0.0
    count: int = 0


@dataclass
class Notes:
    """What the server has of workers' notes since it last took them.

    ``losses`` has an entry for every worker, ``metrics`` the last value of each name.
    """

    plan: Plan
    losses: list[Losses] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    closing: bool = False  # whether the run has ended, so that nobody leaves early
    send_state: Callable[[int], None] | None = None  # to a worker
    _step_sizes: list[float | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clear()
        self._step_sizes = [None] * self.plan.workers

    def clear(self) -> None:
        """Forget losses and metrics, which are recorded."""
        self.losses = [Losses() for _ in range(self.plan.workers)]
        self.metrics = {}

    def saved(self) -> dict[str, Any]:
        """Return what has not been recorded yet, and the step sizes, to go on from."""
        return {
            "losses": [[loss.total, loss.count] for loss in self.losses],
            "metrics": dict(self.metrics),
            "step_sizes": list(self._step_sizes),
        }

    def resume(self, saved: dict[str, Any]) -> None:
        """Go on from what ``saved`` gave."""
        self.losses = [Losses(total, count) for total, count in saved["losses"]]
        self.metrics = dict(saved["metrics"])
        self._step_sizes = list(saved["step_sizes"])

    def take(self, worker: int, message: envelope.Unsealed) -> bool:
        """Take in a message if it is a note; raise ``WorkerLeft`` if it is LEAVE."""
        if message.kind not in (NOTE, STEP_SIZE, LEAVE, STATE):
            return False
        if self.plan.step_size is None:
            raise LinkError(
                f"worker {worker}: a note of a caller's own loop came, where there is "
                "none; do all ranks run the same script?"
            )
        if message.kind == NOTE:
            self._read(worker, message)
        elif message.kind == STEP_SIZE:
            assert message.frame is not None
            self._step_sizes[worker] = float(message.frame.view(np.float64)[0])
        elif message.kind == STATE:
            assert self.send_state is not None
            self.send_state(worker)
        elif not self.closing:
            raise WorkerLeft(worker, message.round)
        return True

    def mean_loss(self) -> float | None:
        """Return the mean over workers of their mean losses; None without losses."""
        means = [loss.total / loss.count for loss in self.losses if loss.count]
        return math.fsum(means) / len(means) if means else None

    def agree(self, round_: int, present: Sequence[int]) -> None:
        """Set the run's step size to what all ``present`` workers have set.

        Raises ``LinkError`` that names a worker with another one.
        """
        step_size = self.plan.step_size
        if step_size is None or not present:
            return
        first = self._step_sizes[present[0]]
        for worker in present:
            other = self._step_sizes[worker]
            if other != first:
                own = "not set" if first is None else f"{first:g}"
                theirs = "not set" if other is None else f"{other:g}"
                raise LinkError(
                    f"lr: in round {round_} it is {theirs} on worker {worker} and "
                    f"{own} on worker {present[0]}; all workers must set the same step "
                    "size before the same step"
                )
        step_size.value = first

    def _read(self, worker: int, message: envelope.Unsealed) -> None:
        assert message.frame is not None
        content = json.loads(message.frame.tobytes())
        if "loss" in content:
            total, count = content["loss"]
            self.losses[worker].total += total
            self.losses[worker].count += count
        self.metrics.update(content.get("metrics", {}))


class NoteSender:
    """A worker's side: sends what the caller's own loop has to say."""

    def __init__(self, context: LinkContext) -> None:
        self._context = context
        self._losses = Losses()
        self._waiting: list[str] = []  # notes that go with this worker's next report
        self._since_save: list[str] = []  # that were given since the role was saved

    def saved(self) -> dict[str, Any]:
        """Return what has not been sent yet, to go on from."""
        self._since_save = []
        losses = [self._losses.total, self._losses.count]
        return {"losses": losses, "waiting": list(self._waiting)}

    def resume(self, saved: dict[str, Any]) -> None:
        """Go on from what ``saved`` gave."""
        total, count = saved["losses"]
        self._losses = Losses(total, int(count))
        self._waiting = list(saved["waiting"])

    def since_save(self) -> list[str]:
        """Return the notes that the caller has given since the role was saved."""
        return list(self._since_save)

    def give(self, notes: Sequence[str]) -> None:
        """Send notes again that were lost with what came after the checkpoint."""
        for note in notes:
            self._give(note)

    def flush(self) -> None:
        """Send what waits, ahead of a report of this worker's model."""
        for note in self._waiting:
            self._send(np.frombuffer(note.encode(), np.uint8), NOTE)
        self._waiting = []

    def add_loss(self, loss: float) -> None:
        """Add a loss to the next note."""
        self._losses.total += loss
        self._losses.count += 1

    def send(self, metrics: Mapping[str, float] | None = None) -> None:
        """Send the losses since the last note, and ``metrics``; nothing if none."""
        content: dict[str, Any] = {}
        if self._losses.count:
            content["loss"] = [self._losses.total, self._losses.count]
            self._losses = Losses()
        if metrics:
            content["metrics"] = dict(metrics)
        if not content:
            return
        note = json.dumps(content)
        if len(note) > NOTE_NBYTES:
            raise ConfigError(
                f"report: {len(note)} bytes of names and numbers, and a report has at "
                f"most {NOTE_NBYTES}; report fewer metrics at once"
            )
        self._give(note)

    def _give(self, note: str) -> None:
        self._since_save.append(note)
        self._waiting.append(note)
        # Where workers have models of their own, the server receives nothing between
        # two reports, and a note on its way could be lost when the run is saved.
        if not self._context.wire.peers:
            self.flush()

    def send_step_size(self, value: float) -> None:
        """Send the step size of the next rounds."""
        message = pack_numbers([value], self._context.round, STEP_SIZE)
        self._context.transport.send(0, message)

    def send_leave(self) -> None:
        """Send that this worker's loop has ended."""
        self._send(np.empty(0, np.uint8), LEAVE)

    def send_state_request(self) -> None:
        """Ask for the state of the server's role."""
        self._send(np.empty(0, np.uint8), STATE)

    def _send(self, text: Frame, kind: int) -> None:
        buffer = envelope.new_buffer(text.size)
        buffer[envelope.NBYTES :] = text
        message = envelope.seal(buffer, text.size, self._context.round, kind, 0)
        self._context.transport.send(0, message, free=True)
        self._context.meter.wire_bytes_observed += message.size
