"""The rules that both ends of a link follow, the same over every transport.

The links handle what is not in the papers and what every algorithm would have to copy:
envelopes, the loan of received frames, counting, the order of rounds, and the end of a
run. The server ends a run: it sends STOP on the path that frames take, each worker
answers BYE after the messages that it had already sent, and only then do ranks leave.

Where an algorithm keeps identical models on all ranks, workers periodically send a
checksum of theirs (``checksums``). Where workers have models of their own (a wire with
peers), they periodically report these models to the server instead (``reports``).
"""

from __future__ import annotations

import numpy as np

from psmpi.base import Codec, Plan, Wire
from psmpi.links.checksums import CHECKSUM
from psmpi.links.envelope import NBYTES
from psmpi.links.notes import NOTE_NBYTES
from psmpi.links.reports import ANSWER_NBYTES, WorkerReport


def filled(wire: Wire, plan: Plan, worker: int | None = None) -> int:
    """Return the bytes of a rank's receive buffers over MPI that messages fill.

    They are the server's, or a ``worker``'s. A transport has room for the longest
    message from every rank that it hears; memory is taken by what has arrived.
    """
    if worker is None:
        copies = plan.workers if wire.relay else 0  # of frames that wait for the others
        return plan.workers * longest(wire, plan)[0] + copies * _frame(wire.up, plan)
    if not wire.peers:
        return _frame(wire.down, plan) * (1 if wire.tree else 2)  # besides the tree's
    if wire.relay:
        return _frame(wire.up, plan)
    # A free worker also has two messages to every peer: under way, and waiting.
    return len(wire.peers[worker]) * _frame(wire.up, plan) * (3 if wire.free else 1)


def _frame(codec: Codec, plan: Plan) -> int:
    """Return the bytes of the longest message with a frame."""
    return NBYTES + codec.max_nbytes(plan.dim)


def longest(wire: Wire, plan: Plan) -> tuple[int, int]:
    """Return the bytes of the longest message up, and down, envelope included."""
    up, down = (codec.max_nbytes(plan.dim) for codec in (wire.up, wire.down))
    up, down = max(up, CHECKSUM.size), max(down, ANSWER_NBYTES)
    if wire.peers:
        up = max(up, WorkerReport.nbytes() + plan.dim * np.dtype(plan.dtype).itemsize)
    if plan.heal:
        model = plan.dim * np.dtype(plan.dtype).itemsize
        down = max(down, model, plan.workers * np.dtype(np.uint32).itemsize)
    if plan.step_size is not None:  # a caller's own loop, which sends notes
        up, down = max(up, NOTE_NBYTES), max(down, NOTE_NBYTES)
    if wire.relay:
        down = max(up, down)
    return NBYTES + up, NBYTES + down
