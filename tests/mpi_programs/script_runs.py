"""A script on all ranks that calls psmpi.run several times: script_runs.py FOLDER.

Rank 2 works in the directory FOLDER/other, where the data files differ.
"""

import os
import sys
from pathlib import Path

import psmpi
from psmpi.problems import Quadratic
from psmpi.processes.mpiexec import world_rank

FOLDER = Path(sys.argv[1])
DATA = "synthetic:softmax,samples=120,features=5"
REFUSED = [
    ("gd", {"data": DATA, "workers": 7}),
    ("gd", {"data": DATA, "lr": -1.0}),
    ("gd", {"data": DATA, "hosts": "a,b"}),
    ("gd", {"data": DATA, "link_rate": 1e6}),
    ("gd", {"data": "npz:missing.npz"}),
    ("dsgd", {"data": "npz:wider.npz", "topology": "complete", "batch": 2}),
]

os.chdir(FOLDER / "other" if world_rank() == 2 else FOLDER)
rows, lines = [], []
first = psmpi.run(
    "laq",
    rounds=8,
    data=DATA,
    out=FOLDER / "laq",
    on_row=rows.append,
    on_status=lines.append,
)
second = psmpi.run("gd", rounds=8, problem=Quadratic(dim=12), lr=0.1)
for algorithm, options in REFUSED:
    try:
        psmpi.run(algorithm, **options)
    except psmpi.ConfigError as error:
        print("refused", error)
print("pid", os.getpid())
models = first.x.tobytes().hex(), second.x.tobytes().hex()
print("result", *models, len(first.rows), len(rows), len(lines))
