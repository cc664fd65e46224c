"""The two roles in a run, server and worker, over any transport."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from psmpi.base import ConfigError, Problem, Stopped, Vector
from psmpi.links import compute_speed
from psmpi.links.checkpoints import Cadence, Preempted, Saving
from psmpi.links.metering import MeteredProblem
from psmpi.links.notes import LoopEnded, PeerLeft, WorkerLeft
from psmpi.links.replay_log import ReplayLog
from psmpi.links.server import ServerEnd
from psmpi.links.transport.base import Transport
from psmpi.links.worker import WorkerEnd
from psmpi.runs import role_state
from psmpi.runs.evaluation import Diverged, Evaluation, Measure, ReportedMeasure
from psmpi.runs.keeper import Keeper
from psmpi.runs.record import RunWriter
from psmpi.runs.schema import Row
from psmpi.runs.setup import PreparedRun, speeds_of


@dataclass(frozen=True)
class Served:
    """What the server's role returns: its evaluation, its link and its last state."""

    evaluation: Evaluation
    link: ServerEnd
    state: Any
    preempted: Preempted | None = None  # the run was asked to end early
    own_loop: bool = False  # whether the workers' loops belong to callers

    def early_end(self, out: object) -> str | None:
        """Return in words that the run has ended early, and how it goes on."""
        if self.preempted is None:
            return None
        saved = "it has no new checkpoint"
        if self.preempted.saved is not None:
            saved = f"it is saved as of round {self.preempted.saved}"
        how = f"psmpi run --resume {out}"
        if self.own_loop:
            how = f"psmpi launch --resume {out} SCRIPT, or resume=True in the script"
        return f"{out}: the run was asked to end early, and {saved}; go on with {how}"


@dataclass(frozen=True)
class Record:
    """Takes the server's rows: into a run directory, to a function, or both."""

    writer: RunWriter | None = None
    on_row: Callable[[Row], None] | None = None

    def sync(self) -> None:
        """Make the rows durable that have been recorded."""
        if self.writer is not None:
            self.writer.sync()

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
    keeper: Keeper | None = None,
    asked: Callable[[], bool] = lambda: False,
) -> Served:
    """Run the server's role to the end of the run, its evaluations included.

    ``measure`` measures models for the record; None: the workers' loops belong to
    callers, who report what they have measured. ``stop_at``: end the run in this round,
    even if its targets are not reached. ``send_state`` sends the server's state to a
    worker that asks for it. ``keeper`` saves the role; ``asked``: whether the run is to
    be saved and ended early.
    """
    saving = None
    if keeper is not None:
        quiet = prepared.algorithm.quiet
        saving = Saving(cadence_of(prepared), keeper.save, quiet, asked)
    server = ServerEnd(transport, prepared.wire, prepared.plan, replay_log, saving)
    server.replicas = prepared.algorithm.replicas
    state = prepared.algorithm.server_state(server, prepared.problem, prepared.plan)
    if prepared.saved is not None:
        role_state.restore(state, prepared.saved)
    if measure is None:
        measure = ReportedMeasure(server.notes, prepared.run.run_options)
    if send_state is not None:
        server.notes.send_state = partial(send_state, state)
    evaluation = Evaluation(
        measure,
        prepared.run.run_options,
        server.meter,
        transport.now,
        record.append,
    )
    if prepared.resumed is not None:
        _resume_server(prepared, transport, server, state, evaluation)
    if keeper is not None:
        _describe_server(keeper, prepared, server, evaluation, record)
    preempted = None
    try:
        with _diverging(lambda: f"the server, round {state.round}"):
            reason = _rounds(prepared, server, state, evaluation, measure, stop_at)
    except WorkerLeft as left:
        reason = str(left)
        # Without uploads to wait for, the server's count runs ahead of the workers'.
        evaluation.take(min(state.round, left.round), state.x, end=True)
    except Preempted as error:
        saved = "" if error.saved is None else f", and is saved as of {error.saved}"
        preempted, reason = error, f"{error}{saved}"
    server.stop("" if prepared.plan.step_size is None else reason)
    if keeper is not None:
        keeper.finish()
    own_loop = prepared.plan.step_size is not None
    return Served(evaluation, server, state, preempted, own_loop)


def cadence_of(prepared: PreparedRun) -> Cadence:
    """Return how often a run is saved."""
    return Cadence(*prepared.run.run_options.checkpoint_cadence)


def _resume_server(
    prepared: PreparedRun,
    transport: Transport,
    server: ServerEnd,
    state: Any,
    evaluation: Evaluation,
) -> None:
    assert prepared.resumed is not None
    part = prepared.resumed.read_part(0)
    role_state.restore(state, part["state"])
    server.resume(part["link"], prepared.resumed.round)
    evaluation.resume(part["evaluation"], prepared.rows, transport.virtual)
    if prepared.plan.step_size is not None:
        prepared.plan.step_size.value = part["step_size"]


def _describe_server(
    keeper: Keeper,
    prepared: PreparedRun,
    server: ServerEnd,
    evaluation: Evaluation,
    record: Record,
) -> None:
    step_size = prepared.plan.step_size
    keeper.describe = lambda: {
        "link": server.saved(),
        "evaluation": evaluation.saved(),
        "step_size": None if step_size is None else step_size.value,
    }
    keeper.facts = lambda: {
        "algorithm": prepared.run.algorithm,
        "workers": prepared.plan.workers,
        "rows": len(evaluation.rows),
        "digests": prepared.digests(),
    }
    keeper.sync = record.sync


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
    keeper: Keeper | None = None

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
        if self.keeper is not None:
            self.keeper.finish()  # the server may count on it once all have left
        link.leave()
        return reason


def prepare_work(
    prepared: PreparedRun,
    transport: Transport,
    part: Problem,
    replay_log: ReplayLog | None = None,
    keeper: Keeper | None = None,
) -> Work:
    """Return a worker's role with its link and its state before round 0."""
    number = transport.node - 1
    speeds, slow = speeds_of(prepared.run.run_options)
    speed = compute_speed.ComputeSpeed(
        number, prepared.plan.seed, speeds, slow.get(number, 1.0)
    )
    saving = None if keeper is None else Saving(cadence_of(prepared), keeper.save)
    link = WorkerEnd(transport, prepared.wire, prepared.plan, speed, replay_log, saving)
    metered = MeteredProblem(part, link.meter, link.clock.slow_down, link.bad_gradients)
    link.replicas = prepared.algorithm.replicas
    state = prepared.algorithm.worker_state(link, metered, prepared.plan)
    if prepared.saved is not None:
        role_state.restore(state, prepared.saved)
    step_size = prepared.plan.step_size
    if prepared.resumed is not None:
        saved = prepared.resumed.read_part(transport.node)
        role_state.restore(state, saved["state"])
        link.resume(saved["link"], prepared.resumed.round)
        part.resume(saved["problem"])
        if step_size is not None:
            step_size.value = saved["step_size"]
    if keeper is not None:
        keeper.describe = lambda: {
            "link": link.saved(),
            "problem": part.saved(),
            "step_size": None if step_size is None else step_size.value,
        }
    return Work(prepared, link, metered, state, keeper)


def work(
    prepared: PreparedRun,
    transport: Transport,
    part: Problem,
    replay_log: ReplayLog | None = None,
    keeper: Keeper | None = None,
) -> WorkerEnd:
    """Run a worker's role until the server ends the run."""
    role = prepare_work(prepared, transport, part, replay_log, keeper)
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
