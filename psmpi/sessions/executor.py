"""Where a session's worker runs: the interface of the two executors."""

from __future__ import annotations

import abc
from contextlib import AbstractContextManager
from dataclasses import replace

from psmpi.base import StepSize
from psmpi.links.transport.base import Transport
from psmpi.links.worker import WorkerEnd
from psmpi.runs.keeper import Keeper
from psmpi.runs.role_state import Saved
from psmpi.runs.setup import PreparedRun
from psmpi.runs.summary import Result
from psmpi.sessions.handover import CallersLoop


class Executor(abc.ABC):
    """The run that a session's worker takes part in.

    ``running`` is a context from the first round to the last: an exception in it ends
    the run for all ranks.
    """

    prepared: PreparedRun
    loop: CallersLoop
    transport: Transport
    keeper: Keeper | None = None  # what saves this worker's role

    @abc.abstractmethod
    def running(self) -> AbstractContextManager[object]:
        """Return the context of the run, which has been entered on no rank yet."""

    @abc.abstractmethod
    def server_state(self, link: WorkerEnd) -> Saved:
        """Return a copy of the state of the server's role, before its next upload."""

    @abc.abstractmethod
    def conclude(self, link: WorkerEnd) -> Result | None:
        """Return the run's result, after the end of this worker's role.

        None if the run was asked to end early, and is to go on later.
        """


def with_callers_steps(prepared: PreparedRun) -> PreparedRun:
    """Return the run of a caller's own loop, whose step size may change.

    Each role needs one of its own.
    """
    return replace(prepared, plan=replace(prepared.plan, step_size=StepSize()))
