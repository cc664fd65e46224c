"""A script whose loops are its own: own_loops.py FOLDER ID ...; one session each."""

import sys
from pathlib import Path

from psmpi.processes.environment import world_rank, world_size
from tests.helpers.own_loops import drive

FOLDER = Path(sys.argv[1])
worker = max(world_rank() - 1, 0)  # the server opens a session, too, and serves it
for id in sys.argv[2:]:
    session = drive(id, worker, world_size() - 1, out=FOLDER / id)
    print("model", id, worker, session.x.tobytes().hex(), flush=True)
