"""A session outside MPI: one worker, and the server on a thread of this process."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from psmpi.links.transport import local
from psmpi.links.worker import WorkerEnd
from psmpi.runs import local as local_runs
from psmpi.runs import resumption, role_state, roles, setup, summary, warmup
from psmpi.runs.keeper import keeper_of
from psmpi.runs.role_state import Saved
from psmpi.runs.summary import Result
from psmpi.sessions.executor import Executor, with_callers_steps
from psmpi.sessions.handover import CallersLoop
from psmpi.sessions.opening import Opening, configure, split

_SAID = (
    "psmpi: not started on ranks of MPI, so this session has one worker, and the "
    "server, in this process; psmpi launch --workers 4 SCRIPT starts four"
)


class OneWorker(Executor):
    """A run of one worker, whose server takes its turns while the worker waits."""

    def __init__(
        self,
        opening: Opening,
        loop: CallersLoop,
        state: Mapping[str, NDArray[Any]] | None,
    ) -> None:
        # The worker may have moved its vector before the server begins.
        whole = copy.copy(loop)
        whole.x = loop.x.copy()
        prepared = setup.prepare(configure(opening, 1), whole)
        out = None if opening.out is None else Path(opening.out)
        if opening.resume and out is not None and resumption.exists(out):
            prepared = resumption.find(out).apply(prepared)
        warmup.load(prepared)
        parts = (None, None) if state is None else split(state)
        self.prepared = replace(with_callers_steps(prepared), saved=parts[0])
        self._server = replace(with_callers_steps(prepared), saved=parts[1])
        self._states: list[Saved] = []
        self.loop = loop
        self._out = out
        self._saving = contextlib.ExitStack()
        self._server_keeper, self.keeper = (
            self._saving.enter_context(keeper_of(prepared, out, rank))
            for rank in (0, 1)
        )
        self._scheduler, transports = local.connect(2)
        self._server_transport, self.transport = transports
        self._served: list[roles.Served] = []
        print(_SAID, file=sys.stderr)  # noqa: T201

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        server = self._server
        with contextlib.ExitStack() as stack:
            self._writer = None
            if self._out is not None:
                self._writer = stack.enter_context(
                    local_runs.new_writer(server, self._out)
                )
            stack.enter_context(self._saving)  # ends before the record is closed
            setup.caution(server)
            record = roles.Record(self._writer, None)
            asked = local_runs.requests(self.keeper is not None)
            self._asked = stack.enter_context(asked)

            def serve() -> None:
                self._served.append(
                    roles.serve(
                        server,
                        self._server_transport,
                        record,
                        send_state=lambda state, worker: self._states.append(
                            role_state.collect(state)
                        ),
                        keeper=self._server_keeper,
                        asked=self._asked,
                    )
                )

            stack.enter_context(self._scheduler.beside(1, {0: serve}))
            yield

    def server_state(self, link: WorkerEnd) -> Saved:
        link.notes.send_state_request()
        # The server's turn; it takes the note in and waits for the next upload.
        self._scheduler.yield_turn(1)
        return self._states.pop()

    def conclude(self, link: WorkerEnd) -> Result | None:
        self._scheduler.finish(1)
        (served,) = self._served
        early = served.early_end(self._out)
        if early is not None:
            print(f"psmpi: {early}", file=sys.stderr)  # noqa: T201
            return None
        ranks = [
            (
                summary.rank_report(0, self._server_transport, served.link),
                served.link.replay_log.entries,
            ),
            (
                summary.rank_report(1, self.transport, link),
                link.replay_log.entries,
            ),
        ]
        return summary.conclude(self.prepared, self._writer, served, ranks)
