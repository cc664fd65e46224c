"""What a session has for saving: checkpoints of all ranks, and states to take along."""

from __future__ import annotations

import abc
from typing import Any

from numpy.typing import NDArray

from psmpi.base import ConfigError
from psmpi.sessions.driven import DrivenRole
from psmpi.sessions.executor import Executor


class Saving(abc.ABC):
    """The part of a session that saves its worker's role."""

    _executor: Executor
    _role: DrivenRole

    @abc.abstractmethod
    def _require_open(self) -> None:
        """Raise an error if the session has ended."""

    @property
    def extra(self) -> Any:
        """What this worker gave to ``checkpoint`` before the run was interrupted.

        None in a session that has not gone on from a checkpoint (``resume=True``).
        """
        return self._role.extra

    def checkpoint(self, extra: Any = None) -> bool:
        """Complete a checkpoint, if one was due after the last step.

        ``checkpoint_every`` says when one is due; call this after every step, on every
        worker. ``extra`` is what the loop needs besides to go on: its position in the
        data, a scheduler's state, or a function that returns such. It may hold text,
        numbers, arrays, and lists and dicts of these. The next step writes a checkpoint
        without it. Returns whether one was due.
        """
        due = self._role.complete_checkpoint(extra)
        if not due:
            self._require_open()
        return due

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return what this worker's role remembers, to go on from (``state``).

        Named copies: residuals, references, momentum, counters; with worker 0 also
        those of the server, since worker 0 is the one whose gradient the server waits
        for first. Call it on every worker, after the same step, and with local steps
        after the last of a round. What LAQ's rule looks back on gets one entry of 0 by
        going on; everything else goes on to the bit.
        """
        self._require_open()
        if not self._executor.prepared.wire.tree:
            raise ConfigError(
                f"state_dict: the server of {self._executor.prepared.algorithm.id} "
                "does not wait for all workers, so that there is no common point to go "
                "on from; give checkpoint_every, and resume"
            )
        state = {f"worker.{k}": v for k, v in self._role.saved().items()}
        if self._role.link.worker == 0:
            server = self._executor.server_state(self._role.link)
            state |= {f"server.{name}": value for name, value in server.items()}
        return state
