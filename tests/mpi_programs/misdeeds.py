"""One rank, or all, fail or leave while the others wait: misdeeds.py WHAT WHO."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

from psmpi.base import ConfigError, LinkError
from psmpi.links.mpi_job import MpiJob

WHAT, WHO = sys.argv[1:]


def misbehave():
    if WHAT == "raise":
        raise RuntimeError("misdeed")
    if WHAT == "link-error":
        raise LinkError("misdeed")
    if WHAT == "config-error":
        raise ConfigError("misdeed")
    if WHAT == "thread":
        threading.Thread(target=lambda: 1 / 0, daemon=True).start()
    if WHAT == "sys.exit(0)":
        sys.exit(0)
    if WHAT == "sys.exit(3)":
        sys.exit(3)
    if WHAT == "os._exit(0)":
        os._exit(0)
    if WHAT == "os._exit(3)":
        os._exit(3)
    if WHAT == "segfault":
        ctypes.string_at(8)
    if WHAT == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if WHAT == "term":
        subprocess.run(["kill", "-TERM", str(os.getpid())], check=True)


mpi_job = MpiJob()
print("pid", os.getpid())
mpi_job.barrier()
time.sleep(0.3)
if WHAT == "leave":
    mpi_job.leave(int(WHO))
if WHO in ("all", str(mpi_job.rank)):
    print("misdeed at", time.time())
    misbehave()
    time.sleep(60)
mpi_job.barrier()
print("survived")
mpi_job.leave()
