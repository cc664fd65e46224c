"""The server's end of a link, over any transport; it determines the rounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from psmpi.base import Codec, Frame, LinkError, Plan, ServerLink, Wire
from psmpi.links import envelope
from psmpi.links.checkpoints import Saving, ServerCheckpoints
from psmpi.links.checksums import (
    Differing,
    Replicas,
    answers,
    checksum_is_due,
    compare_checksums,
    own_model,
)
from psmpi.links.context import link_context
from psmpi.links.deadlines import AgreementServer
from psmpi.links.envelope import ABSENT, BYE, STOP
from psmpi.links.events import Events
from psmpi.links.messages import FrameBuffer, require_frame_or_skip
from psmpi.links.notes import NOTE_NBYTES
from psmpi.links.observer import PeerObserver
from psmpi.links.replay_log import ReplayLog
from psmpi.links.transport.base import Transport
from psmpi.links.uploads import UploadReceiver


class ServerEnd(ServerLink):
    """The server's end over ``transport``: the star, with ``peers`` and ``clock``."""

    peers: PeerObserver
    clock: AgreementServer

    def __init__(
        self,
        transport: Transport,
        wire: Wire,
        plan: Plan,
        replay_log: ReplayLog | None = None,
        saving: Saving | None = None,
    ) -> None:
        self._context = link_context(transport, wire, plan, replay_log)
        self.workers = plan.workers
        self.meter = self._context.meter
        self.replay_log = self._context.replay_log
        self.arrivals: list[int] = []  # workers in the order in which recv served them
        self.staleness: Counter[int] = Counter()  # rounds -> frames of that staleness
        self.late = 0  # frames that were discarded
        self.present: tuple[int, ...] = ()
        self.healed = Events()  # models that were replaced by the server's
        self.replicas = own_model  # groups of equal vectors that workers have, too
        self._buffer = FrameBuffer(wire.down, plan.dim)
        self.up = wire.up.metered(self.meter.phase)
        self.down = self.outgoing(wire.down)
        self._uploads = UploadReceiver(self._context)
        self.notes = self._uploads.notes
        self._checkpoints = ServerCheckpoints(self._context, saving)
        self.peers = PeerObserver(self._context, self._uploads, self._checkpoints)
        self.clock = AgreementServer(self._context, self._uploads)

    @property
    def round(self) -> int:
        """The round that the server is in."""
        return self._context.round

    def outgoing(self, codec: Codec) -> Codec:
        return codec.metered(self.meter.phase, self._buffer.space)

    def rounds(self, state: Any) -> Iterator[int]:
        while state.round < self._context.plan.rounds:
            self._begin_round(state)
            yield state.round
            state.round += 1
        self._begin_round(state)

    def bcast(self, frame: Frame | None) -> None:
        self._send(range(self.workers), frame, tree=True)

    def send(self, worker: int, frame: Frame | None) -> None:
        if self._context.wire.tree:
            raise LinkError("send: this algorithm's wire goes along the tree")
        self._send((worker,), frame, tree=False)

    def gather(self, workers: Sequence[int] | None = None) -> Iterator[Frame | None]:
        self._context.transport.release()
        self.present = ()
        for worker in range(self.workers) if workers is None else workers:
            message = self._uploads.receive(worker)
            require_frame_or_skip(message, f"worker {worker}")
            if message.round != self.round:
                raise LinkError(
                    f"worker {worker}: its message is of round {message.round}, "
                    f"the server is in round {self.round}"
                )
            if message.kind == ABSENT:
                self._context.transport.release()
                continue
            self.present += (worker,)
            yield message.frame
        if workers is None:
            self.notes.agree(self.round, self.present)

    def recv(self, workers: Sequence[int] | None = None) -> tuple[int, Frame | None]:
        self._context.transport.release()
        candidates = range(self.workers) if workers is None else workers
        worker, message = self._uploads.receive_any(candidates)
        require_frame_or_skip(message, f"worker {worker}")
        self.arrivals.append(worker)
        self.staleness[self.round - message.round] += 1
        return worker, message.frame

    def discard(self, worker: int) -> None:
        self._context.transport.release()
        require_frame_or_skip(self._uploads.receive(worker), f"worker {worker}")
        self.late += 1

    def stop(self, reason: str = "") -> None:
        """End the run: send every worker STOP and wait until each has said BYE.

        ``reason`` goes to the workers, whose callers want to know.
        """
        workers = range(self.workers)
        self.notes.closing = True
        self._send_stop(reason)
        # In order of arrival, since a worker may wait for a peer before its BYE. The
        # order has no effect, so that it is not recorded.
        remaining = set(workers)
        while remaining:
            self._context.transport.release()
            candidates = sorted(remaining)
            worker, message = self._uploads.receive_any(candidates, recorded=False)
            if message.kind == BYE:
                remaining.remove(worker)
                self.peers.farewell(worker, message.frame)
        self.peers.count()
        self.replay_log.close()

    def saved(self) -> dict[str, Any]:
        """Return what this end knows besides the role's state, to go on from."""
        return {
            "round": self._context.round,
            "arrivals": np.array(self.arrivals, np.int64),
            "staleness": dict(self.staleness),
            "late": self.late,
            **{name: part.saved() for name, part in self._parts().items()},
        }

    def resume(self, saved: dict[str, Any], round_: int) -> None:
        """Go on from what ``saved`` gave for the checkpoint of a round."""
        self._context.round = saved["round"]
        self.arrivals = saved["arrivals"].tolist()
        self.staleness = Counter(saved["staleness"])
        self.late = saved["late"]
        for name, part in self._parts().items():
            part.resume(saved[name])
        self._checkpoints.resume(round_)

    def _parts(self) -> dict[str, Any]:
        """Return the parts that have something to save; the clock goes first."""
        return {
            "transport": self._context.transport,
            "meter": self.meter,
            "decisions": self.replay_log,
            "healed": self.healed,
            "uploads": self._uploads,
            "peers": self.peers,
        }

    def _send_stop(self, reason: str) -> None:
        text = np.frombuffer(reason.encode()[:NOTE_NBYTES], np.uint8)
        message = envelope.new_buffer(text.size)
        message[envelope.NBYTES :] = text
        self._deliver(
            range(self.workers),
            envelope.seal(message, text.size, self.round, STOP, 0),
            tree=self._context.wire.tree,
            free=True,  # the end of a run is not part of its algorithm
        )

    def _begin_round(self, state: Any) -> None:
        self._checkpoints.decide(state.round, self.peers.workers_wait)
        self.peers.release_workers()
        self._checkpoints.at_round(state)
        self._context.round = state.round
        if self._context.wire.peers:
            self.peers.begin_round(state)
        elif checksum_is_due(self._context, state.round):
            differing = compare_checksums(self._context, self._uploads, state.x)
            if self._context.plan.heal:
                self._heal(differing, self.replicas(state))

    def _heal(self, differing: Differing, replicas: Replicas) -> None:
        """Send all workers who differs; if anybody does, the model, which they take."""
        round_, everybody = self.round, range(self.workers)
        for message in answers(round_, differing, replicas):
            self._deliver(everybody, message, tree=self._context.wire.tree)
        for worker, crc in differing.items():
            self.healed.add(
                {"round": round_, "worker": worker},
                f"round {round_}: the model of worker {worker} was not the server's "
                f"(CRC-32 {crc:08x}); it has taken the server's",
            )

    def _send(self, workers: Sequence[int], frame: Frame | None, *, tree: bool) -> None:
        self._context.transport.release()
        self._checkpoints.announce(workers, tree)
        bits = self._buffer.paper_bits(frame)
        message = self._buffer.message(self.round, frame)
        self._deliver(workers, message, tree=tree)
        self.meter.paper_bits_down += bits * len(workers)

    def _deliver(
        self,
        workers: Sequence[int],
        message: Frame,
        *,
        tree: bool,
        free: bool = False,
    ) -> None:
        transport = self._context.transport
        transport.release()
        nbytes = message.size
        with self.meter.phase("send"):
            if tree:
                transport.bcast(message)
                nbytes += transport.bcast_overhead
            else:
                for worker in workers:
                    transport.send(worker + 1, message, free=free)
        self.meter.wire_bytes_down += nbytes * len(workers)
