"""Short runs of AsyLPG on a softmax."""

from psmpi.runs import config
from psmpi.runs.local import run_local

SOFTMAX = "synthetic:softmax,samples=60,features=5,classes=3"


def go(algorithm, *, turns=None, problem=None, **given):
    how = {"data": SOFTMAX, "workers": 3, "rounds": 40, "batch": 7, "lr": 0.3}
    how |= {"dtype": "float64", "evaluate_every": 1, "seed": 3} | given
    run = config.configure(algorithm, **how)
    return run_local(run, schedule=turns, problem=problem)
