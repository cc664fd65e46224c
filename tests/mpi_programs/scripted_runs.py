"""A script that does runs on all ranks, one after the other: scripted_runs.py WHAT.

WHAT is what rank 1, or all ranks, do after the first run.
"""

import os
import sys
import time

if sys.argv[1] == "own-mpi":
    from mpi4py import MPI  # noqa: F401 (the script starts MPI itself)

from psmpi.base import ConfigError
from psmpi.links.envelope import NBYTES, new_buffer, seal
from psmpi.links.mpi_job import MpiJob

WHAT = sys.argv[1]


def one_run():
    """Exchange a message with every worker on a transport of this run's own."""
    mpi_job = MpiJob.current()
    with mpi_job.run():
        transport = mpi_job.transport(100, 100)
        if mpi_job.rank == 0:
            for worker in range(1, mpi_job.size):
                assert transport.recv(worker).size == NBYTES + worker
        else:
            nbytes = mpi_job.rank
            transport.send(0, seal(new_buffer(nbytes), nbytes, 0, 1, 2))
        mpi_job.barrier()
        transport.close()


def rejected_run():
    """Raise one error on all ranks, as a run with a wrong configuration does."""
    mpi_job = MpiJob.current()
    with mpi_job.run():
        mpi_job.barrier()
        raise mpi_job.agreed(ConfigError("rejected on all ranks"))


mpi_job = MpiJob.current()
print("pid", os.getpid())
one_run()
assert mpi_job is MpiJob.current()
if mpi_job.rank == 1 and WHAT not in ("run", "own-mpi", "rejected", "exit-all"):
    time.sleep(0.3)  # the others are waiting by then
    print("misdeed at", time.time())
    if WHAT == "raise":
        raise RuntimeError("misdeed")
    if WHAT == "leave":
        sys.exit(0)
    if WHAT == "exit":
        sys.exit(3)
    with mpi_job.run():
        if WHAT == "raise-inside":
            raise RuntimeError("misdeed")
        if WHAT == "exit-inside":
            sys.exit(0)
if WHAT == "exit-all":
    sys.exit(3 if mpi_job.rank == 1 else 0)
if WHAT == "rejected":
    try:
        rejected_run()
    except ConfigError as error:
        print(error)
one_run()
print("ends in order")
