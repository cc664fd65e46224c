"""Worker 1 does something wrong in its own loop: loop_misdeeds.py WHAT."""

import os
import sys
import time

import numpy as np

import psmpi
from psmpi.processes.environment import world_rank

WHAT = sys.argv[1]
guilty = world_rank() == 2
x = np.zeros(6, np.float32)
algorithm, options, steps = "sgd", {"lr": 0.1}, 20
if guilty and WHAT == "start":
    x[4] = 1
if guilty and WHAT == "algorithm":
    algorithm = "qsgd"
if guilty and WHAT == "option":
    options["lr"] = 0.2
if guilty and WHAT == "fewer":
    steps = 7
print("pid", os.getpid(), flush=True)
if guilty and WHAT == "no-session":
    print("misdeed at", time.time(), flush=True)
    sys.exit(0)
try:
    session = psmpi.session(
        algorithm, x, bounds=(0, 2, 6), names=("bias", "weights"), **options
    )
except psmpi.ConfigError as error:
    print("refused", error, flush=True)
    sys.exit(0)
with session as s:
    for step in range(steps):
        if guilty and step == 5:
            print("misdeed at", time.time(), flush=True)
            if WHAT == "raise":
                raise RuntimeError("misdeed")
            if WHAT == "nan":
                s.gradient[3] = np.nan
            if WHAT == "lr":
                s.lr = 0.05
            if WHAT == "exit":
                sys.exit(0)
            if WHAT == "moves-x":
                s.x[1] = 7
            if WHAT == "kill":
                os.kill(os.getpid(), 9)
        s.step(s.x + s.worker if WHAT != "nan" else s.gradient)
print("after", s.worker, s.round, s.stopped, s.x.tobytes().hex(), flush=True)
