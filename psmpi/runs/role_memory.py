"""The memory of the ranks of a run, by what takes it, without starting any.

The memory of a rank is the most that it has at a time. The server computes the optimum
before the rounds; a worker gives up the whole problem once it has its shard::

    server = base + problem + max(optimum, state + link + work + saved)
    worker = base + shard + max(problem, state + link + work + saved)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from psmpi.base import Codec, ConfigError, Plan, Problem, Wire
from psmpi.links.model_monitor import ModelMonitor
from psmpi.links.protocol import filled
from psmpi.links.reports import WorkerReport
from psmpi.links.server import ServerEnd
from psmpi.links.transport import local
from psmpi.runs import footprint, role_state, roles, setup
from psmpi.runs.setup import PreparedRun


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The memory of one rank in bytes, by what takes it."""

    base: int  # interpreter, NumPy, numba, MPI
    problem: int  # the whole one, which every rank loads, besides the shard
    shard: int | None = None  # the worker's part; None for the server
    optimum: int = 0  # the server's search for the least loss, before the rounds
    state: int  # of the role, scratch included
    link: int  # buffers for messages
    work: int  # temporaries of a gradient, an evaluation or a message: the most
    saved: int = 0  # copies of the state for checkpoints

    @property
    def rounds(self) -> int:
        """The bytes that come and go with the rounds."""
        return self.state + self.link + self.work + self.saved

    @property
    def total(self) -> int:
        """The most bytes that the rank has at a time."""
        if self.shard is None:
            return self.base + self.problem + max(self.optimum, self.rounds)
        return self.base + self.shard + max(self.problem, self.rounds)


class Ranks:
    """The server and a worker, made as a run makes them, and counted.

    ``base`` are the bytes of a rank before it has any data. Raises ``ConfigError`` for
    a worker whose shard has fewer samples than a batch.
    """

    def __init__(self, prepared: PreparedRun, base: int) -> None:
        self._prepared = prepared
        self._whole = footprint.nbytes(prepared.problem)
        self.worker = self._worker(base)
        self.server = self._server(base)

    def in_one_process(self) -> int:
        """Return the most bytes of a process that runs all ranks."""
        server, worker = self.server, self.worker
        each = (worker.shard or 0) + worker.state + worker.link + worker.saved
        server_side = server.state + server.link + server.saved
        rounds = server_side + self._prepared.plan.workers * each
        most = max(server.optimum, rounds + max(server.work, worker.work))
        return server.base + server.problem + most

    def per_worker(self) -> int:
        """Return what one more worker adds to the server: its buffer, mostly."""
        plan = self._prepared.plan
        more = dataclasses.replace(plan, workers=plan.workers + 1)
        try:
            prepared = dataclasses.replace(
                self._prepared, plan=more, wire=self._prepared.algorithm.wire(more)
            )
        except ConfigError:  # a graph that can't have that many
            return filled(self._prepared.wire, plan) // plan.workers
        state, link = _server_objects(prepared)
        now = footprint.nbytes(state, link) + filled(prepared.wire, more)
        return now - self.server.state - self.server.link

    def _server(self, base: int) -> Memory:
        prepared = self._prepared
        state, link = _server_objects(prepared)
        states, links = _apart(prepared.problem, state, link)
        model = prepared.problem.start(prepared.plan.seed)
        evaluation = footprint.peak(
            lambda: prepared.problem.loss(model),
            lambda: prepared.problem.accuracy(model),
        )
        work = max(evaluation, _coding(link.down, link.up, model))
        if prepared.wire.peers:
            work = max(work, _observing(prepared.plan, prepared.wire, model))
        wanted = prepared.run.run_options.optimum
        return Memory(
            base=base,
            problem=self._whole,
            optimum=prepared.problem.optimum_nbytes() if wanted else 0,
            state=states,
            link=links + filled(prepared.wire, prepared.plan),
            work=work,
            saved=self._saved(state),
        )

    def _worker(self, base: int) -> Memory:
        prepared = self._prepared
        number, part = max(
            ((m, setup.shard(prepared, m)) for m in range(prepared.plan.workers)),
            key=lambda pair: pair[1].samples,
        )
        _, transports = local.connect(prepared.plan.workers + 1)
        shard = footprint.nbytes(part)
        role = roles.prepare_work(prepared, transports[number + 1], part)
        states, links = _apart(part, role.state, role.link)
        x = part.start(prepared.plan.seed)
        out = np.empty_like(x)
        size = getattr(prepared.algorithm, "batch", None)
        batch = None if size is None else part.batch(0, size)
        calls: list[Callable[[], object]] = [lambda: part.grad(x, out, batch)]
        if prepared.algorithm.differences:
            calls.append(lambda: part.difference(x, x.copy(), out, batch))
        gradient = footprint.peak(*calls)
        return Memory(
            base=base,
            problem=footprint.nbytes(prepared.problem, part) - shard,
            shard=shard,
            state=states,
            link=links + filled(prepared.wire, prepared.plan, number),
            work=max(gradient, _coding(role.link.up, role.link.down, out)),
            saved=self._saved(role.state),
        )

    def _saved(self, state: Any) -> int:
        """Return the bytes of a state's copies, if the run is to be saved.

        There are two: one is being written when the next one is made.
        """
        saves = any(self._prepared.run.run_options.checkpoint_cadence)
        return 2 * footprint.peak(lambda: role_state.collect(state)) if saves else 0


def _server_objects(prepared: PreparedRun) -> tuple[Any, ServerEnd]:
    """Return the server's state before round 0, and its link."""
    _, transports = local.connect(prepared.plan.workers + 1)
    link = ServerEnd(transports[0], prepared.wire, prepared.plan)
    state = prepared.algorithm.server_state(link, prepared.problem, prepared.plan)
    return state, link


def _apart(problem: Problem, state: Any, link: Any) -> tuple[int, int]:
    """Return the bytes of a state, and of its link; codecs of both share a buffer."""
    before = footprint.nbytes(problem, link)
    return footprint.nbytes(problem, link, state) - before, footprint.nbytes(link)


def _coding(outgoing: Codec, incoming: Codec, x: Any) -> int:
    """Return the bytes of temporaries of coding ``x``, and of decoding such a frame.

    A sum of sparse frames is sparse, and biased codecs have a memory of their error.
    """
    target = x.copy()
    frame = incoming.encode(x)
    sent = incoming.decode(frame, x.size, dtype=x.dtype) if incoming.is_sparse else x
    error = sent.copy()
    return footprint.peak(
        lambda: (
            outgoing.encode(sent)
            if outgoing.unbiased
            else outgoing.encode_feedback(error)
        ),
        lambda: incoming.decode_add(frame, target),
    )


def _observing(plan: Plan, wire: Wire, x: Any) -> int:
    """Return the bytes of taking the mean of workers' models, as rank 0 does."""
    monitor = ModelMonitor(plan, wire.free)
    report = np.zeros(WorkerReport.nbytes() + x.nbytes, np.uint8)

    def observe() -> None:
        monitor.take(0, report)
        monitor.mean(x)

    return footprint.peak(observe, observe)
