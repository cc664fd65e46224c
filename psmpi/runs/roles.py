"""The two roles in a run, server and worker, over any transport."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from psmpi.base import ConfigError, Problem, Stopped, Vector
from psmpi.links import compute_speed
from psmpi.links.metering import MeteredProblem
from psmpi.links.notes import LoopEnded, PeerLeft, WorkerLeft
from psmpi.links.replay_log import ReplayLog
from psmpi.links.server import ServerEnd
from psmpi.links.transport.base import Transport
from psmpi.links.worker import WorkerEnd
from psmpi.runs import role_state
from psmpi.runs.evaluation import Diverged, Evaluation, Measure, ReportedMeasure
from psmpi.runs.record import RunWriter
from psmpi.runs.schema import Row
from psmpi.runs.setup import PreparedRun, speeds_of


@dataclass(frozen=True)
class Served:
    """What the server's role returns: its evaluation, its link and its last state."""

    evaluation: Evaluation
    link: ServerEnd
    state: Any


@dataclass(frozen=True)
class Record:
    """Takes the server's rows: into a run directory, to a function, or both."""

    writer: RunWriter | None = None
    on_row: Callable[[Row], None] | None = None

    def append(self, row: Row, x: Vector) -> None:
        """Record a row, and the model ``x`` that was evaluated for it."""
        if self.writer is not None:
            self.writer.append(row)
            self.writer.keep_model(x)
        if self.on_row is not None:
            self.on_row(row)


def serve(
    prepared: PreparedRun,
    transport: Transport,
    record: Record,
    measure: Measure | None = None,
    replay_log: ReplayLog | None = None,
    stop_at: int | None = None,
    send_state: Callable[[Any, int], None] | None = None,
) -> Served:
    """Run the server's role to the end of the run, its evaluations included.

    ``measure`` measures models for the record; None: the workers' loops belong to
    callers, who report what they have measured. ``stop_at``: end the run in this round,
    even if its targets are not reached. ``send_state`` sends the server's state to a
    worker that asks for it.
    """
    server = ServerEnd(transport, prepared.wire, prepared.plan, replay_log)
    state = prepared.algorithm.server_state(server, prepared.problem, prepared.plan)
    if prepared.saved is not None:
        role_state.restore(state, prepared.saved)
    if measure is None:
        measure = ReportedMeasure(server.notes)
    if send_state is not None:
        server.notes.send_state = partial(send_state, state)
    evaluation = Evaluation(
        measure,
        prepared.run.run_options,
        server.meter,
        transport.now,
        record.append,
    )
    try:
        with _diverging(lambda: f"the server, round {state.round}"):
            reason = _rounds(prepared, server, state, evaluation, measure, stop_at)
    except WorkerLeft as left:
        reason = str(left)
        # Without uploads to wait for, the server's count runs ahead of the workers'.
        evaluation.take(min(state.round, left.round), state.x, end=True)
    server.stop("" if prepared.plan.step_size is None else reason)
    return Served(evaluation, server, state)


def _rounds(
    prepared: PreparedRun,
    server: ServerEnd,
    state: Any,
    evaluation: Evaluation,
    measure: Measure,
    stop_at: int | None,
) -> str:
    """Run the server's rounds; return in words why they have ended."""
    more = partial(prepared.algorithm.row, server, state)
    every = prepared.run.run_options.evaluate_every
    for iterate in prepared.algorithm.server(server, prepared.plan, state):
        due = iterate.round % every == 0 or measure.pending()
        done = due and evaluation.take(iterate.round, iterate.x, more)
        if iterate.round == stop_at if stop_at is not None else done:
            return f"a target or a budget was reached in round {iterate.round}"
    evaluation.take(state.round, state.x, more, end=True)
    return f"the last of {prepared.plan.rounds} rounds is done"


@dataclass(frozen=True)
class Work:
    """A worker's role that is ready to run."""

    prepared: PreparedRun
    link: WorkerEnd
    problem: MeteredProblem
    state: Any

    def run(self) -> str:
        """Run the role until the server ends the run; return why, if it says so."""
        link, algorithm = self.link, self.prepared.algorithm
        try:
            with _diverging(lambda: f"worker {link.worker}, round {link.round}"):
                algorithm.worker(link, self.problem, self.prepared.plan, self.state)
        except LoopEnded:
            link.leave_early()
            reason = ""
        except PeerLeft as stopped:
            link.leave_early()
            reason = str(stopped)
        except Stopped as stopped:
            reason = str(stopped)
        link.leave()
        return reason


def prepare_work(
    prepared: PreparedRun,
    transport: Transport,
    part: Problem,
    replay_log: ReplayLog | None = None,
) -> Work:
    """Return a worker's role with its link and its state before round 0."""
    number = transport.node - 1
    speeds, slow = speeds_of(prepared.run.run_options)
    speed = compute_speed.ComputeSpeed(
        number, prepared.plan.seed, speeds, slow.get(number, 1.0)
    )
    link = WorkerEnd(transport, prepared.wire, prepared.plan, speed, replay_log)
    metered = MeteredProblem(part, link.meter, link.clock.slow_down)
    state = prepared.algorithm.worker_state(link, metered, prepared.plan)
    if prepared.saved is not None:
        role_state.restore(state, prepared.saved)
    return Work(prepared, link, metered, state)


def work(
    prepared: PreparedRun,
    transport: Transport,
    part: Problem,
    replay_log: ReplayLog | None = None,
) -> WorkerEnd:
    """Run a worker's role until the server ends the run."""
    role = prepare_work(prepared, transport, part, replay_log)
    role.run()
    return role.link


@contextmanager
def _diverging(where: Callable[[], str]) -> Iterator[None]:
    """Turn a ``ConfigError`` of the block into ``Diverged``, with rank and round.

    A codec refuses numbers that are not finite as it refuses any wrong input. Once
    rounds have begun, that is a run that failed, not a wrong configuration.
    """
    try:
        yield
    except ConfigError as error:
        raise Diverged(f"{where()}: {error}; if it diverged, lower --lr") from error
