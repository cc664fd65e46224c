"""A worker's role that a caller drives from one gradient to the next."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from psmpi.base import Vector
from psmpi.links.worker import WorkerEnd
from psmpi.runs import role_state, roles
from psmpi.runs.role_state import Saved
from psmpi.sessions.executor import Executor
from psmpi.sessions.handover import Handover, Request
from psmpi.storage import tree


class DrivenRole:
    """The role of a session's worker, and what it waits for.

    ``x`` is the caller's vector, and ``gradient`` the one that gradients are written
    to; both stay the same arrays. ``ended`` says why the role has ended; it is empty
    while the role waits for its ``request``.
    """

    def __init__(self, executor: Executor, samples: int) -> None:
        self.x = executor.loop.x
        self.ended = ""
        self._handover = Handover(executor.loop, samples)
        self._wire = executor.prepared.wire
        self._keeper = executor.keeper
        lost: list[str] = []  # what the caller reported after the role was saved
        self.extra: Any = None  # what the caller gave to the checkpoint, if it goes on
        if executor.prepared.resumed is not None:
            part = executor.prepared.resumed.read_part(executor.transport.node)
            self.extra = part["extra"]
            lost = part["notes"]
        if self._keeper is not None:
            self._keeper.waits_for_extra = True
        self._work = roles.prepare_work(
            executor.prepared,
            executor.transport,
            self._handover,
            keeper=self._keeper,
        )
        self._work.link.notes.give(lost)
        self._request: Request | None = None
        self._take(self._handover.begin(self._work.run))
        self.gradient = self._gradient()

    @property
    def link(self) -> WorkerEnd:
        """The worker's end of the link."""
        return self._work.link

    @property
    def request(self) -> Request:
        """What the role waits for."""
        assert self._request is not None
        return self._request

    def go_on(self, loss: float | None) -> None:
        """Let the role run on with its request met, up to the next or to its end."""
        self._take(self._handover.answer(None if loss is None else float(loss)))

    def choose_gradients(self) -> None:
        """Let a role that asks for progress go on to its first gradient instead.

        It takes gradient steps itself if it gets no progress. No message is sent here.
        """
        if self.request.out is None:
            self.go_on(None)

    def give_gradient(self, loss: float | None) -> None:
        """Meet the role's request with what is in ``gradient``."""
        self.choose_gradients()
        out = self.request.out
        assert out is not None
        if out is not self.gradient:
            out[:] = self.gradient
        self.go_on(loss)

    @property
    def saved_last(self) -> bool:
        """Whether the role was saved in the last step, and the caller may add to it."""
        return self._keeper is not None and self._keeper.held is not None

    def complete_checkpoint(self, extra: Any) -> bool:
        """Write what was saved in the last step with ``extra``; return whether it was.

        ``extra`` may be a function that returns it.
        """
        if not self.saved_last:
            return False
        assert self._keeper is not None
        content = extra() if callable(extra) else extra
        # A copy, checked here: the caller's arrays change while it is being written.
        self._keeper.release(
            extra=tree.unpack(tree.pack(content), "extra"),
            notes=self.link.notes.since_save(),
        )
        if self.ended:
            self._keeper.finish()
        return True

    def saved(self) -> Saved:
        """Return copies of what this worker's role remembers."""
        return role_state.collect(self._work.state)

    def leave(self) -> None:
        """End the caller's loop, and with it the run for all workers."""
        if self._wire.tree or self._wire.peers:
            self._take(self._handover.end())
            return
        # The server addresses single workers, so the role goes on answering it, with
        # gradients of zero, until the server has ended.
        self.link.notes.send_leave()
        kept = self.x.copy()
        while not self.ended:
            if self.request.out is not None:
                self.request.out[:] = 0
            self.go_on(math.nan)
        self.x[:] = kept

    def _gradient(self) -> Vector:
        """Return the role's own vector for gradients, if it waits for one, or a new."""
        own = None if self.ended else self.request.out
        return np.zeros_like(self.x) if own is None else own

    def _take(self, outcome: Any) -> None:
        """Take in the role's next request, or the reason for its end."""
        if isinstance(outcome, Request):
            self._request = outcome
            if outcome.x is not self.x:
                self.x[:] = outcome.x
            return
        self._request = None
        self.ended = str(outcome) or "the run has ended"
