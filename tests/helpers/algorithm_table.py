"""One row an algorithm: options with which it converges, for all tests of runs."""

from psmpi.runs import config
from psmpi.runs.local import run_local

QUADRATIC = "synthetic:quadratic,dim=30,condition=20,heterogeneity=1"
SVRG = {"lr": 0.3, "batch": 20, "epoch": 20}
RING = {"lr": 0.1, "batch": 20, "topology": "ring"}
SGD = {"inner": "sgd", "weight_decay": 0.0}
SPEEDS = {"speeds": "uniform:500,4500"}
# id, options that make it converge on QUADRATIC, and the residual it gets to
ROWS = [
    ("gd", {"lr": 0.3}, 1e-9),
    ("qgd", {"lr": 0.3, "bits": 4}, 1e-9),
    ("lag-wk", {"lr": 0.3}, 1e-7),
    ("lag-ps", {"lr": 0.3}, 1e-7),
    ("laq", {"lr": 0.3, "bits": 4}, 1e-7),
    ("slaq", {"lr": 0.3, "bits": 4, "batch": 20}, 1e-3),
    ("sgd", {"lr": 0.3, "batch": 20}, 1e-3),
    ("qsgd", {"lr": 0.1, "batch": 20, "bits": 4}, 1e-1),
    ("ssgd", {"lr": 0.05, "batch": 20, "k": 0.5}, 1.0),
    ("compressed-gd", {"lr": 0.1, "bits": 6}, 1e-1),
    ("random-selection", {"lr": 0.1, "bits": 4, "probability": 0.5}, 1e-6),
    ("dynamic-averaging", {"lr": 0.1, "delta": 0.01, "batch": 20}, 1e-1),
    ("local-sgd", {"lr": 0.3, "local_steps": 4}, 1e-1),
    ("topk-sgd", {"lr": 0.3, "k": 6}, 1e-2),
    ("mem-sgd", {"lr": 0.3, "k": 6}, 1e-2),
    ("ef-signsgd", {"lr": 0.3}, 1e-2),
    ("qtopk", {"lr": 0.3, "k": 6}, 1e-2),
    ("signtopk", {"lr": 0.3, "k": 6}, 1e-2),
    ("qsparse-local-sgd", {"lr": 0.1, "k": 10, "local_steps": 4}, 1e-1),
    ("local-updates", SGD | {"lr": 0.03, "k": 10, "local_steps": 4}, 1e-2),
    ("diloco", {"lr": 0.003, "local_steps": 4}, 1.0),
    ("sparseloco", SGD | {"lr": 0.03, "k": 0.3, "local_steps": 4}, 1e-1),
    ("dist-ef-sgd", {"lr": 0.3, "batch": 20}, 1e-2),
    ("dist-ef-sgdm", {"lr": 0.03, "batch": 20}, 1e-2),
    ("doublesqueeze", {"lr": 0.3, "batch": 20}, 1e-2),
    ("signsgd", {"lr": 0.01, "batch": 20}, 1.0),
    ("signum", {"lr": 0.01, "batch": 20}, 1.0),
    ("ecq-sgd", {"lr": 0.1, "bits": 4, "batch": 20}, 1e-1),
    ("terngrad", {"lr": 0.05, "batch": 20}, 1.0),
    ("adacomp", {"lr": 0.1, "bin": 5, "batch": 20}, 1e-1),
    ("asylpg", SVRG, 1e-4),
    ("sparse-asylpg", SVRG | {"lr": 0.1}, 1e-2),
    ("acc-asylpg", SVRG, 1e-4),
    ("asysvrg", SVRG, 1e-4),
    ("qsvrg", SVRG, 1e-4),
    ("low-precision-model", SVRG, 1e-4),
    ("sparse-asysvrg", SVRG | {"lr": 0.1}, 1e-2),
    ("dsgd", RING, 1e-2),
    ("d-psgd", RING, 1e-2),
    ("q-dsgd", RING | {"lr": 0.3, "rule": "constant", "mixing": 0.5}, 1e-2),
    ("async-dsgd", RING | SPEEDS, 1e-1),
    ("quantimed-dsgd", RING | SPEEDS | {"lr": 0.3}, 1e-2),
]
IDS = [row[0] for row in ROWS]
# What time decides in these a replay_log has; all others come out the same in any case.
TIMED = [
    *("asylpg", "sparse-asylpg", "acc-asylpg", "asysvrg", "qsvrg"),
    *("low-precision-model", "sparse-asysvrg", "async-dsgd", "quantimed-dsgd"),
]
SYNCHRONOUS = [row for row in ROWS if row[0] not in TIMED]
ASYNCHRONOUS = [row for row in ROWS if row[0] in TIMED]


def go(algorithm, *, turns=None, problem=None, **given):
    how = {"data": QUADRATIC, "workers": 3, "rounds": 60, "seed": 3} | given
    return run_local(
        config.configure(algorithm, **how), schedule=turns, problem=problem
    )


def same(a, b):
    return a.x.tobytes() == b.x.tobytes()
