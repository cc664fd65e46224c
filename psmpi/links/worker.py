"""A worker's end of a link, over any transport."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from psmpi.base import Codec, Frame, LinkError, Plan, Wire, WorkerLink
from psmpi.links import envelope
from psmpi.links.bad_gradients import BadGradients
from psmpi.links.checkpoints import Saving, WorkerCheckpoints
from psmpi.links.checksums import checksum_is_due, own_model, send_checksum, take_answer
from psmpi.links.compute_speed import ComputeSpeed
from psmpi.links.context import link_context
from psmpi.links.deadlines import DeadlineClock
from psmpi.links.envelope import ABSENT, BYE, SKIP, STOP
from psmpi.links.messages import FrameBuffer, require_frame_or_skip, stopped
from psmpi.links.notes import NoteSender
from psmpi.links.peers import PeerExchange
from psmpi.links.replay_log import ReplayLog
from psmpi.links.reports import ReportSender
from psmpi.links.transport.base import Transport


class WorkerEnd(WorkerLink):
    """A worker's end over ``transport``: the star, with ``peers`` and ``clock``.

    ``meter`` counts time for all workers, and messages to peers; what a worker pushes
    is counted by the server.
    """

    peers: PeerExchange
    clock: DeadlineClock

    def __init__(
        self,
        transport: Transport,
        wire: Wire,
        plan: Plan,
        compute_speed: ComputeSpeed | None = None,
        replay_log: ReplayLog | None = None,
        saving: Saving | None = None,
    ) -> None:
        self._context = link_context(transport, wire, plan, replay_log)
        self.worker = transport.node - 1
        self.workers = plan.workers
        self.meter = self._context.meter
        self.replay_log = self._context.replay_log
        self.compute_speed = compute_speed or ComputeSpeed(self.worker)
        self.bad_gradients = BadGradients(plan.on_nan, self.worker)
        self.replicas = own_model  # groups of vectors that the server's have to equal
        self.rounds_done = 0
        self._last_pulled = 0  # round of the last message pulled
        self._buffer = FrameBuffer(wire.up, plan.dim)
        self.up = self.outgoing(wire.up)
        self.down = wire.down.metered(self.meter.phase)
        self._checkpoints = WorkerCheckpoints(self._context, saving)
        self.notes = NoteSender(self._context)
        self._reports = ReportSender(self._context, self._checkpoints, self.notes.flush)
        self.peers = PeerExchange(self._context, self.worker, self._buffer)
        self.clock = DeadlineClock(self._context, self.compute_speed, self._reports)

    @property
    def round(self) -> int:
        """The round that outgoing messages belong to."""
        return self._context.round

    def outgoing(self, codec: Codec) -> Codec:
        return codec.metered(self.meter.phase, self._buffer.space)

    def rounds(self, state: Any, *, until_stopped: bool = False) -> Iterator[int]:
        while until_stopped or state.round < self._context.plan.rounds:
            self._begin_round(state)
            yield state.round
            state.round += 1
        self._begin_round(state)
        if not self.peers.numbers:
            self.pull()
        raise LinkError(
            f"worker {self.worker}: the server goes on after the last round; do all "
            "ranks have the same number of rounds?"
        )

    def pull(self) -> Frame | None:
        return self._pull(tree=self._context.wire.tree)

    def pull_shared(self) -> Frame | None:
        return self._pull(tree=True)

    def push(self, frame: Frame | None) -> None:
        self._push(frame, SKIP)

    def absent(self) -> None:
        self._push(None, ABSENT)

    def leave_early(self) -> None:
        """Tell the server that this worker's loop has ended, and wait for its STOP.

        Only where all messages of the server go along the tree, or to peers: a worker
        that has to pull both addressed and shared messages must go on with its role.
        """
        transport, wire = self._context.transport, self._context.wire
        transport.release()
        self.notes.send_leave()
        self.peers.leave()
        codec = wire.up if wire.relay else wire.down
        while True:
            transport.release()
            received = transport.bcast(None) if wire.tree else transport.recv(0)
            if envelope.unseal(received, codec.wire_id, "the server").kind == STOP:
                return

    def leave(self) -> None:
        """Answer the server's STOP with BYE, after saying BYE to all peers."""
        self._context.transport.release()
        self.peers.leave()
        if self.peers.numbers:
            message = self._reports.farewell(self.rounds_done)
        else:
            message = self._buffer.message(self.round, None, BYE)
        self._context.transport.send(0, message, free=True)
        self.replay_log.close()

    def saved(self) -> dict[str, Any]:
        """Return what this end knows besides the role's state, to go on from."""
        return {
            "round": self._context.round,
            "rounds_done": self.rounds_done,
            "last_pulled": self._last_pulled,
            **{name: part.saved() for name, part in self._parts().items()},
        }

    def resume(self, saved: dict[str, Any], round_: int) -> None:
        """Go on from what ``saved`` gave for the checkpoint of a round."""
        self._context.round = saved["round"]
        self.rounds_done = saved["rounds_done"]
        self._last_pulled = saved["last_pulled"]
        for name, part in self._parts().items():
            part.resume(saved[name])
        self._checkpoints.resume(round_)

    def _parts(self) -> dict[str, Any]:
        """Return the parts that have something to save; the clock goes first."""
        return {
            "transport": self._context.transport,
            "meter": self.meter,
            "bad_gradients": self.bad_gradients.events,
            "decisions": self.replay_log,
            "speed": self.compute_speed,
            "reports": self._reports,
            "losses": self.notes,
            "peers": self.peers,
            "deadlines": self.clock,
        }

    def _begin_round(self, state: Any) -> None:
        if self._context.wire.free and self._checkpoints.is_due(state.round):
            self.peers.synchronise()
        self._checkpoints.at_round(state)
        # A worker that the server does not ask in every round may have pulled a message
        # of a later round than its own count.
        self._context.round = max(self._context.round, state.round)
        self.rounds_done = state.round
        self.bad_gradients.round = state.round
        self.compute_speed.begin(state.round)
        if self.peers.numbers:
            self._reports.begin_round(state)
        elif checksum_is_due(self._context, state.round):
            send_checksum(self._context, state.x)
            if self._context.plan.heal:
                replicas = self.replicas(state)
                take_answer(self._next_from_tree, self.worker, replicas)

    def _push(self, frame: Frame | None, without: int) -> None:
        """Send a frame, or a message of the kind ``without`` that has none."""
        self._context.transport.release()
        message = self._buffer.message(self.round, frame, without)
        with self.meter.phase("send"):
            self._context.transport.send(0, message)

    def _next_from_tree(self) -> envelope.Unsealed:
        return self._next(self._context.wire.tree)

    def _pull(self, tree: bool) -> Frame | None:
        message = self._next(tree)
        if message.round < self._last_pulled:
            raise LinkError(
                f"worker {self.worker}: got a message of round {message.round} "
                f"after one of round {self._last_pulled}"
            )
        require_frame_or_skip(message, "the server")
        self._context.round = self._last_pulled = message.round
        return message.frame

    def _next(self, tree: bool) -> envelope.Unsealed:
        """Return the server's next message to a role; raise ``Stopped`` at STOP."""
        message = self._receive(tree)
        while self._checkpoints.take(message):
            message = self._receive(tree)
        if message.kind == STOP:
            raise stopped(message)
        return message

    def _receive(self, tree: bool) -> envelope.Unsealed:
        transport = self._context.transport
        transport.release()
        with self.meter.phase("wait"):
            received = transport.bcast(None) if tree else transport.recv(0)
        codec = self._context.wire.down
        return envelope.unseal(received, codec.wire_id, "the server")
