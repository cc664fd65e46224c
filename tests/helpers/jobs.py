"""Checking that the processes of a job have ended."""

import time

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
