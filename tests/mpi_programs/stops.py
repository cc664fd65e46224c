"""Worker 1 falls silent in the middle of a run: stops.py HOW ALGORITHM OPTIONS."""

import json
import os
import signal
import sys
import time

from psmpi.links.mpi_job import MpiJob
from psmpi.links.server import Server
from psmpi.links.worker import Worker
from psmpi.runs import config, rank

HOW, ALGORITHM, OPTIONS = sys.argv[1:]


def fall_silent():
    print("misdeed at", time.time(), flush=True)
    if HOW == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(100)


def hold(self, samples, taken, hold=Worker.hold, gradients=[]):  # noqa: B006
    gradients.append(samples)
    if len(gradients) == 25:
        fall_silent()
    hold(self, samples, taken)


def round_(self, state, begin=Server._begin):
    if state.round == 5:
        fall_silent()
    begin(self, state)


mpi_job = MpiJob()
print("pid", os.getpid())
if HOW == "server":
    Server._begin = round_
elif mpi_job.rank == 2 and HOW != "run":
    Worker.hold = hold
how = {"workers": 3, "rounds": 100_000, "evaluate_every": 1000, "optimum": False}
how |= {"data": "synthetic:softmax,samples=80,features=6", "seed": 2}
rank.take_part(mpi_job, config.configure(ALGORITHM, **how | json.loads(OPTIONS)), None)
mpi_job.leave()
