"""Sessions with gradients that are not finite: faulty_loops.py ACTION ID ..."""

import sys

import psmpi
from psmpi.processes.environment import world_rank, world_size
from tests.helpers.faulty import Faulty
from tests.helpers.own_loops import options, steps

action, *ids = sys.argv[1:]
worker = max(world_rank() - 1, 0)  # the server opens a session, too, and serves it
for id in ids:
    whole = Faulty(0.1)
    part = whole.shard(worker, world_size() - 1)
    with psmpi.session(
        id,
        whole.start(0),
        samples=part.samples,
        evaluate_every=2,
        check_every=1,
        on_nan=action,
        **options(id),
    ) as session:
        for _ in range(steps(id)):
            loss = part.grad(session.x, session.gradient, session.batch)
            session.step(loss=loss)
    summary = session.result.summary
    print("model", id, session.x.tobytes().hex(), summary["nan_steps"], flush=True)
