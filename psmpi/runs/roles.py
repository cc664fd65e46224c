"""A rank's part of a run: the server's role or a worker's, over any link."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from psmpi.base import ConfigError, Problem, Stopped, Vector
from psmpi.links import compute_speed
from psmpi.links.metering import MeteredProblem
from psmpi.links.replay_log import ReplayLog
from psmpi.links.server import ServerEnd
from psmpi.links.transport.base import Transport
from psmpi.links.worker import WorkerEnd
from psmpi.runs.evaluation import Diverged, Evaluation
from psmpi.runs.record import RunWriter
from psmpi.runs.schema import Row
from psmpi.runs.setup import PreparedRun, speeds_of


@dataclass(frozen=True)
class Served:
    """What the server's role leaves: rows and targets, its end, its last state."""

    evaluation: Evaluation
    link: ServerEnd
    state: Any


@dataclass(frozen=True)
class Record:
    """Where the server's rows go: to a run directory, to a function, or to both."""

    writer: RunWriter | None = None
    on_row: Callable[[Row], None] | None = None

    def append(self, row: Row, x: Vector) -> None:
        """Take in a row and the model that it is about."""
        if self.writer is not None:
            self.writer.append(row)
            self.writer.keep_model(x)
        if self.on_row is not None:
            self.on_row(row)


def serve(
    prepared: PreparedRun,
    transport: Transport,
    record: Record,
    optimum: float | None,
    replay_log: ReplayLog | None = None,
    stop_at: int | None = None,
) -> Served:
    """Run the server's role to the end of the run, evaluation and farewell included.

    ``stop_at``: end in this round, whatever the targets say.
    """
    server = ServerEnd(transport, prepared.wire, prepared.plan, replay_log)
    state = prepared.algorithm.server_state(server, prepared.problem, prepared.plan)
    evaluation = Evaluation(
        prepared.problem,
        prepared.run.run_options,
        optimum,
        server.meter,
        transport.now,
        record.append,
    )
    more = partial(prepared.algorithm.row, server, state)
    every = prepared.run.run_options.evaluate_every
    with _telling(lambda: f"the server, round {state.round}"):
        for iterate in prepared.algorithm.server(server, prepared.plan, state):
            due = iterate.round % every == 0
            enough = due and evaluation.take(iterate.round, iterate.x, more)
            if iterate.round == stop_at if stop_at is not None else enough:
                break
        else:
            evaluation.take(state.round, state.x, more)
    server.stop()
    return Served(evaluation, server, state)


def work(
    prepared: PreparedRun,
    transport: Transport,
    part: Problem,
    replay_log: ReplayLog | None = None,
) -> WorkerEnd:
    """Run a worker's role until the server ends the run."""
    number = transport.node - 1
    speeds, slow = speeds_of(prepared.run.run_options)
    own = compute_speed.ComputeSpeed(
        number, prepared.plan.seed, speeds, slow.get(number, 1.0)
    )
    worker = WorkerEnd(transport, prepared.wire, prepared.plan, own, replay_log)
    metered = MeteredProblem(part, worker.meter, worker.clock.slow_down)
    state = prepared.algorithm.worker_state(worker, metered, prepared.plan)
    try:
        with _telling(lambda: f"worker {worker.worker}, round {worker.round}"):
            prepared.algorithm.worker(worker, metered, prepared.plan, state)
    except Stopped:
        worker.leave()
    return worker


@contextmanager
def _telling(where: Callable[[], str]) -> Iterator[None]:
    """Say where a run broke that was well configured: its numbers did not stay finite.

    A codec refuses what is not finite as it refuses any bad input; once rounds have
    begun that is a failed run, not a wrong command.
    """
    try:
        yield
    except ConfigError as error:
        raise Diverged(f"{where()}: {error}; if it diverged, lower --lr") from error
