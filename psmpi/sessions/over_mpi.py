"""A worker's rank of a session over MPI, and what it agrees on with the server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psmpi.base import LinkError, Vector
from psmpi.errors import RunPreempted
from psmpi.links.intents import Intent
from psmpi.links.mpi_job import MpiJob
from psmpi.links.transport.mpi import MpiTransport
from psmpi.links.worker import WorkerEnd
from psmpi.runs import rank, role_state
from psmpi.runs.agreement import prepare_together
from psmpi.runs.resumption import exists
from psmpi.runs.role_state import Saved
from psmpi.runs.saving import keeper_of_rank
from psmpi.runs.setup import PreparedRun
from psmpi.runs.summary import Result
from psmpi.sessions.executor import Executor, with_callers_steps
from psmpi.sessions.handover import CallersLoop
from psmpi.sessions.opening import Opening, configure, difference, split


def agree(
    job: MpiJob,
    own: Opening | None,
    x: Vector | None,
    state: Mapping[str, NDArray[Any]] | None = None,
    out: Path | None = None,
    resume: bool = False,
) -> tuple[PreparedRun, Path | None, CallersLoop]:
    """Prepare a session on all ranks; the server, without an opening, gets the start.

    ``state`` is the state to go on from, of a worker; that of worker 0 has the server's
    part, too, which the server gets. On the server ``out`` is where a session is
    recorded that doesn't say so itself, and ``resume`` whether it goes on there. Also
    returns where it is recorded.

    Raises ``ConfigError``, the same on all ranks, if workers differ.
    """
    openings = job.allgather(own)[1:]
    if not all(isinstance(opening, Opening) for opening in openings):
        raise LinkError(
            "session: other ranks do something else; call psmpi.session on all workers"
        )
    first = openings[0]
    trouble = difference(openings)
    if trouble is not None:
        raise job.agreed(trouble)
    saved = None
    if x is None:
        x = np.frombuffer(job.receive(1), first.dtype)
        if first.round is not None:
            saved = role_state.unpack(job.receive(1))
    else:
        parts = None if state is None else split(state)
        saved = None if parts is None else parts[0]
        if job.rank == 1:
            job.send(0, x.tobytes())
            if parts is not None:
                job.send(0, role_state.pack(parts[1]))
    samples = sum(opening.samples for opening in openings)
    loop = CallersLoop(x, first.bounds, first.names, samples, first.digest())
    folder = Path(first.out) if first.out else out
    again = (first.resume or resume) and folder is not None and exists(folder)
    shared: str | None = job.allgather(str(folder) if again else None)[0]
    goes_on = None if shared is None else Path(shared)
    workers = job.size - 1
    prepared = prepare_together(job, lambda: configure(first, workers), loop, goes_on)
    if not isinstance(prepared, PreparedRun):
        raise job.agreed(prepared)
    return replace(with_callers_steps(prepared), saved=saved), folder, loop


class WorkerRank(Executor):
    """The part of a worker's rank in a session of an MPI job."""

    transport: MpiTransport

    def __init__(
        self, opening: Opening, x: Vector, state: Mapping[str, NDArray[Any]] | None
    ) -> None:
        self._job = MpiJob.current()
        self._run = contextlib.ExitStack()
        self._run.enter_context(self._job.run(Intent.SESSION))
        try:
            self.prepared, _, self.loop = agree(self._job, opening, x, state)
            rank.warm_up(self._job, self.prepared)
            self.transport = rank.transport_of(self._job, self.prepared)
            saver = keeper_of_rank(self._job, self.prepared, None)
            self.keeper = self._run.enter_context(saver)
        except BaseException as error:
            self._run.__exit__(type(error), error, error.__traceback__)
            raise

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with self._run:
            yield

    def server_state(self, link: WorkerEnd) -> Saved:
        link.notes.send_state_request()
        return role_state.unpack(self._job.receive(0))

    def conclude(self, link: WorkerEnd) -> Result | None:
        try:
            rank.conclude_work(self._job, self.transport, link)
        except RunPreempted:
            return None
        result: Result = self._job.allgather(None)[0]
        return replace(result, x=self.loop.x)
