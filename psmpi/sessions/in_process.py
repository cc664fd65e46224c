"""A session outside MPI: one worker, and the server on a thread of this process."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Iterator

from psmpi.links.transport import local
from psmpi.links.worker import WorkerEnd
from psmpi.runs import local as local_runs
from psmpi.runs import roles, setup, summary, warmup
from psmpi.runs.summary import Result
from psmpi.sessions.executor import Executor, with_callers_steps
from psmpi.sessions.handover import CallersLoop
from psmpi.sessions.opening import Opening, configure

_SAID = (
    "psmpi: not started on ranks of MPI, so this session has one worker, and the "
    "server, in this process; psmpi launch --workers 4 SCRIPT starts four"
)


class OneWorker(Executor):
    """A run of one worker, whose server takes its turns while the worker waits."""

    def __init__(self, opening: Opening, loop: CallersLoop) -> None:
        # The worker may have moved its vector before the server begins.
        whole = copy.copy(loop)
        whole.x = loop.x.copy()
        prepared = setup.prepare(configure(opening, 1), whole)
        warmup.load(prepared)
        self.prepared = with_callers_steps(prepared)
        self.loop = loop
        self._out = opening.out
        self._scheduler, transports = local.connect(2)
        self._server_transport, self.transport = transports
        self._served: list[roles.Served] = []
        print(_SAID, file=sys.stderr)  # noqa: T201

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        server = with_callers_steps(self.prepared)
        with contextlib.ExitStack() as stack:
            self._writer = None
            if self._out is not None:
                self._writer = stack.enter_context(
                    local_runs.new_writer(server, self._out)
                )
            setup.caution(server)
            record = roles.Record(self._writer, None)

            def serve() -> None:
                self._served.append(roles.serve(server, self._server_transport, record))

            stack.enter_context(self._scheduler.beside(1, {0: serve}))
            yield

    def conclude(self, link: WorkerEnd) -> Result:
        self._scheduler.finish(1)
        (served,) = self._served
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
