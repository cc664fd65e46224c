"""A script on all ranks that calls psmpi.run several times: script_runs.py FOLDER."""

import os
import sys
from pathlib import Path

import psmpi
from psmpi.problems import Quadratic

FOLDER = Path(sys.argv[1])
DATA = "synthetic:softmax,samples=120,features=5"
rows = []
first = psmpi.run("laq", rounds=8, data=DATA, out=FOLDER / "laq", on_row=rows.append)
second = psmpi.run("gd", rounds=8, problem=Quadratic(dim=12), lr=0.1)
for wrong in ({"workers": 7}, {"lr": -1.0}, {"hosts": "a,b"}):
    try:
        psmpi.run("gd", data=DATA, **wrong)
    except psmpi.ConfigError as error:
        print("refused", error)
print("pid", os.getpid())
print("result", first.x.tobytes().hex(), second.x.tobytes().hex(), len(rows))
