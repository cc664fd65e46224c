"""A rank stops responding in the middle of a run: stops.py HOW ALGORITHM OPTIONS.

HOW is "stop" (worker 1 gets SIGSTOP), "sleep" (worker 1 sleeps), "server" (the server
sleeps) or "run" (no rank stops).
"""

import json
import os
import signal
import sys
import time

from psmpi.links.deadlines import DeadlineClock
from psmpi.links.mpi_job import MpiJob
from psmpi.links.server import ServerEnd
from psmpi.runs import config, rank

HOW, ALGORITHM, OPTIONS = sys.argv[1:]


def stop_responding():
    print("misdeed at", time.time(), flush=True)
    if HOW == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(100)


gradients = []


def slow_down(self, samples, seconds, original=DeadlineClock.slow_down):
    gradients.append(samples)
    if len(gradients) == 25:
        stop_responding()
    original(self, samples, seconds)


def begin_round(self, state, original=ServerEnd._begin_round):
    if state.round == 5:
        stop_responding()
    original(self, state)


mpi_job = MpiJob()
print("pid", os.getpid())
if HOW == "server":
    ServerEnd._begin_round = begin_round
elif mpi_job.rank == 2 and HOW != "run":
    DeadlineClock.slow_down = slow_down
options = {"workers": 3, "rounds": 100_000, "evaluate_every": 1000, "optimum": False}
options |= {"data": "synthetic:softmax,samples=80,features=6", "seed": 2}
run = config.configure(ALGORITHM, **options | json.loads(OPTIONS))
rank.take_part(mpi_job, rank.prepare_together(mpi_job, lambda: run), None)
mpi_job.leave()
