"""Writes run directories with numbers that are easy to check, without any run."""

import math

from psmpi.runs.record import RunWriter
from psmpi.runs.recorded import read_run

PARTS = {"compute": 0.5, "encode": 0.1, "send": 0.05, "wait": 0.2, "decode": 0.05}
COUNTS = ("uploads", "paper_bits_up", "paper_bits_down", "wire_bytes_up")
DIM, WORKERS = 100, 4


def row_of(number, width, residual, accuracy):
    """Return the row of a round; every worker sends ``width`` bits an entry."""
    value = math.exp(-0.2 * number)
    sent = number * WORKERS * width * DIM
    return {
        "round": number,
        "loss": 0.2 + value,
        "residual": value if residual else None,
        "accuracy": 1 - value if accuracy else None,
        "gradient_norm": None,
        "uploads": number * WORKERS,
        "paper_bits_up": sent,
        "paper_bits_down": number * WORKERS * 32 * DIM,
        "wire_bytes_up": sent // 8 + 16 * number,
        "wire_bytes_down": number * WORKERS * (4 * DIM + 16),
        "seconds": 0.01 * number,
    }


def ranks_of(count, total):
    """Return the entries of ``count`` ranks that took ``total`` seconds each."""
    spent = {part: total * part_of for part, part_of in PARTS.items()}
    spent |= {"evaluate": 0.0, "total": total}
    fixed = {"host": "node-a", "rounds": 3, "frames_sent": 3, "bytes_sent": 1234}
    fixed |= {"bytes_received": 5678, "seconds": spent, "max_rss": 50_000_000}
    return [{"rank": rank, **fixed} for rank in range(count)]


def record_run(path, algorithm="gd", width=32, rounds=60, *, ended=True, **more):
    """Write and return a run of ``algorithm`` that sends ``width`` bits an entry.

    ``mpi`` is the version of the MPI library, None for a run in one process; ``clock``
    goes into the summary. What else is in ``more`` is put into every row.
    """
    residual, accuracy = more.pop("residual", True), more.pop("accuracy", True)
    mpi, clock = more.pop("mpi", "Open MPI v5.0.8"), more.pop("clock", "real")
    config = {"algorithm": algorithm, "workers": WORKERS, "data": "digits", "dim": DIM}
    options = more.pop("options", {})
    config |= {"options": options, "seed": 0}
    out = RunWriter(path, config, hosts=["node-a"], digests={"data": "abc"}, mpi=mpi)
    rows = [row_of(i, width, residual, accuracy) for i in range(rounds + 1)]
    for row in rows:
        out.append({**row, **more})
    last = {**rows[-1], **more}
    spent = {"round", "loss", "accuracy", "seconds", *COUNTS, "wire_bytes_down"}
    arrived = [{k: r[k] for k in spent} for r in rows if (r["residual"] or 9) <= 1e-4]
    if ended:
        values = {k: v for k, v in last.items() if k not in ("round", "gradient_norm")}
        values |= {"algorithm": algorithm, "workers": WORKERS, "rounds": rounds}
        values |= {"seconds": {"total": last["seconds"]}, "dim": DIM, "data": "digits"}
        values |= {"reached": {"residual=0.0001": arrived[0]} if arrived else {}}
        values |= {"ranks": ranks_of(WORKERS + 1, 2.0), "options": options}
        out.finish({**values, "dtype": "float32", "seed": 0, "clock": clock})
    out.close()
    return read_run(path)


#: Runs that a report must survive: arguments of ``record_run``.
ODD = {
    "zero-bit": {"width": 0, "wire_bytes_up": 0, "wire_bytes_down": 0},
    "one-row": {"rounds": 0},
    "two-rows": {"rounds": 1},
    "without-target": {"rounds": 5},
    "without-residual": {"residual": False},
    "without-accuracy": {"accuracy": False},
    "did-not-end": {"ended": False},
    "diverged": {"loss": None, "residual": False},
    "no-time": {"seconds": 0.0},
    "below-the-optimum": {"loss": -1.0},
    "markup": {"options": {"x": "<b>&\"'"}},
    "one-process": {"mpi": None},
    "simulated-clock": {"mpi": None, "clock": "simulated"},
}
