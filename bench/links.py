"""How long a push, a gather and a broadcast take: tree, linear, MPI's own.

Run it outside mpiexec: ``python bench/links.py [WORKERS ...]``. Each figure is the time
of the slowest rank, from a common start; results go to bench/results/links.*.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import save

from psmpi.processes import mpiexec

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
WORKERS = (1, 3, 7)
PATTERNS = ("push", "gather", "tree", "linear", "mpi")


def repeats(nbytes):
    """Return how often to measure: about 200 MB in all, within limits."""
    return int(np.clip(2e8 / nbytes, 10, 200))


def measure(mpi_job, transport, pattern, message, count):
    """Return this rank's seconds of each of ``count`` repetitions."""
    seconds = []
    for _ in range(count):
        mpi_job.barrier()
        start = transport.now()
        if pattern == "push":  # worker 0 sends, the server receives
            if mpi_job.rank == 1:
                transport.send(0, message)
            elif mpi_job.rank == 0:
                transport.recv(1)
        elif pattern == "gather":
            if mpi_job.rank:
                transport.send(0, message)
            else:
                for worker in range(1, mpi_job.size):
                    transport.recv(worker)
        else:
            transport.bcast(None if mpi_job.rank else message)
        seconds.append(transport.now() - start)
        transport.release()
    return seconds


def take_part(path):
    """Measure everything, as one rank; rank 0 writes the figures to ``path``."""
    from psmpi.links.envelope import DATA, NBYTES, new_buffer, seal
    from psmpi.links.mpi_job import MpiJob

    mpi_job = MpiJob()
    rows = []
    for nbytes in SIZES:
        message = seal(new_buffer(nbytes), nbytes, 0, DATA, 1)
        for pattern in PATTERNS:
            broadcast = pattern if pattern in ("linear", "mpi") else "tree"
            limit = nbytes + NBYTES
            transport = mpi_job.transport(limit, limit, broadcast=broadcast)
            measure(mpi_job, transport, pattern, message, 3)
            mine = measure(mpi_job, transport, pattern, message, repeats(nbytes))
            slowest = np.max(mpi_job.allgather(mine), axis=0) * 1e6
            rows.append(
                {
                    "workers": mpi_job.size - 1,
                    "nbytes": nbytes,
                    "pattern": pattern,
                    "repeats": len(mine),
                    "min_us": float(slowest.min()),
                    "median_us": float(np.median(slowest)),
                    "max_us": float(slowest.max()),
                }
            )
            transport.close()
    if mpi_job.rank == 0:
        Path(path).write_text(json.dumps({"library": mpi_job.library, "rows": rows}))
    mpi_job.leave()


def table(rows):
    """Return the rows as lines of text."""
    head = "workers     bytes  pattern     min us  median us     max us  repeats"
    line = (
        "{workers:7d} {nbytes:9d}  {pattern:7s} {min_us:10.1f} {median_us:10.1f} "
        "{max_us:10.1f} {repeats:8d}"
    )
    return "\n".join([head, *(line.format(**row) for row in rows)])


def main():
    """Start one job for each number of workers and collect their figures."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for workers in map(int, sys.argv[1:] or WORKERS):
            path = Path(folder) / f"{workers}.json"
            argv = [sys.executable, __file__, "rank", str(path)]
            status = mpiexec.launch(argv, workers + 1)
            if status:
                sys.exit(status)
            results.append(json.loads(path.read_text()))
    rows = [row for result in results for row in result["rows"]]
    library = results[0]["library"]
    text = f"MPI: {library}\nTime of the slowest rank from a common start.\n\n"
    save("links", text + table(rows), {"library": library, "rows": rows})


if __name__ == "__main__":
    if sys.argv[1:2] == ["rank"]:
        take_part(sys.argv[2])
    else:
        main()
