"""Checking that the processes of a job have ended."""

import os
import time

from psmpi.processes.supervisor import descendants

SECONDS = 5.0


def assert_gone(ended, seconds=SECONDS, ranks=3):
    """Assert that all ranks have ended, within ``seconds`` from now."""
    pids = ended.pids()
    assert len(pids) == ranks, ended.output
    deadline = time.time() + seconds
    while alive := [pid for pid in pids if is_running(pid)]:
        assert time.time() < deadline, f"still running: {alive}"
        time.sleep(0.02)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def rank_processes():
    """Return the ranks of a job that this process has started, rank 0 first."""
    found = []
    for pid in descendants(os.getpid()):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if words[1:3] == [b"-m", b"psmpi.runs.rank"]:
            found.append(pid)
    return sorted(found)
