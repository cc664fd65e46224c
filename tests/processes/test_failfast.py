"""A rank that fails in any way ends the job within seconds, and is named."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.helpers.jobs import SECONDS, assert_gone

pytestmark = pytest.mark.mpi

RANKS = 3
NAMES = {0: "server of 2 (rank 0 on ", 2: "worker 1 of 2 (rank 2 on "}
MISDEEDS = {
    "raise": (3, "RuntimeError: misdeed"),
    "link-error": (3, "misdeed"),
    "config-error": (2, "misdeed"),
    "thread": (3, "ZeroDivisionError"),
    "sys.exit(0)": (3, "left in the middle of the run"),
    "sys.exit(3)": (3, "left in the middle of the run"),
    "os._exit(0)": (3, "went away without the shutdown handshake"),
    "os._exit(3)": (3, "went away without the shutdown handshake"),
    "segfault": (3, "went away without the shutdown handshake"),
    "kill": (3, "went away without the shutdown handshake"),
    "term": (143, "ended by SIGTERM"),
}


CASES = [(what, rank) for what in MISDEEDS for rank in NAMES]
CASES.remove(("link-error", 2))  # has a test of its own
CASES.remove(("config-error", 0))  # the same code


@pytest.mark.parametrize(("misdeed", "rank"), CASES)
def test_a_misdeed_ends_the_job(mpiexec, misdeed, rank):
    ended = mpiexec("misdeeds.py", misdeed, rank, ranks=RANKS)
    status, report = MISDEEDS[misdeed]
    assert ended.status == status, ended.output
    assert ended.since_misdeed() <= SECONDS
    lines = [line for line in ended.output.splitlines() if report in line]
    assert any(line.startswith(NAMES[rank]) for line in lines), ended.output
    assert "survived" not in ended.output
    assert_gone(ended, seconds=1)


def test_only_the_failing_rank_reports(mpiexec):
    output = mpiexec("misdeeds.py", "link-error", 2, ranks=RANKS).output
    lines = [x for x in output.splitlines() if not x.startswith(("pid", "misdeed at"))]
    assert [line.partition(" on ")[0] for line in lines] == ["worker 1 of 2 (rank 2"]
    assert lines[0].endswith("): misdeed")


def test_a_job_ends_if_all_ranks_raise(mpiexec):
    ended = mpiexec("misdeeds.py", "raise", "all", ranks=RANKS)
    assert ended.status == 3, ended.output
    assert ended.since_misdeed() <= SECONDS
    assert_gone(ended, seconds=1)


@pytest.mark.parametrize("misdeed", ["raise", "sys.exit(0)"])
def test_a_failing_rank_is_named_without_our_launcher(start, misdeed):
    ended = start("misdeeds.py", misdeed, 1, ranks=RANKS, bare=True).finish(30)
    assert ended.status != 0, ended.output
    assert ended.since_misdeed() <= SECONDS
    assert "worker 0 of 2 (rank 1 on " in ended.output
    assert_gone(ended, seconds=1)


@pytest.mark.parametrize("status", [0, 4])
def test_the_job_has_the_status_of_an_orderly_end(mpiexec, status):
    ended = mpiexec("misdeeds.py", "leave", status, ranks=RANKS)
    assert ended.status == status, ended.output
    assert "handshake" not in ended.output


@pytest.mark.parametrize("bare", [False, True], ids=["launcher", "mpiexec"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_job(start, signum, bare):
    job = start("misdeeds.py", "sleep", "all", ranks=RANKS, bare=bare)
    job.wait_for("misdeed at", RANKS)
    sent = time.time()
    os.killpg(job.process.pid, signum)
    ended = job.finish(20)
    assert ended.time - sent <= SECONDS
    assert ended.status != 0
    assert_gone(ended, seconds=1)
    if not bare:
        assert ended.status == 128 + signum
        assert "Traceback" not in ended.output


@pytest.mark.parametrize("bare", [False, True], ids=["launcher", "mpiexec"])
def test_ranks_end_with_a_killed_launcher(start, bare):
    job = start("misdeeds.py", "sleep", "all", ranks=RANKS, bare=bare)
    job.wait_for("misdeed at", RANKS)
    job.process.kill()
    assert_gone(job.finish(20))


@pytest.mark.parametrize("bare", [False, True], ids=["launcher", "mpiexec"])
@pytest.mark.parametrize("what", ["run", "own-mpi", "rejected"])
def test_a_script_with_several_runs_ends_in_order(start, what, bare):
    ended = start("scripted_runs.py", what, ranks=RANKS, bare=bare).finish(30)
    assert ended.status == 0, ended.output
    assert ended.output.count("ends in order") == RANKS
    rejected = RANKS if what == "rejected" else 0
    assert ended.output.count("rejected on all ranks") == rejected
    assert len(ended.output.splitlines()) == 2 * RANKS + rejected, ended.output


@pytest.mark.parametrize("bare", [False, True], ids=["launcher", "mpiexec"])
@pytest.mark.parametrize(
    ("what", "report"),
    [
        ("raise", "RuntimeError: misdeed"),
        ("raise-inside", "RuntimeError: misdeed"),
        ("exit-inside", "left in the middle of the run"),
        ("leave", "left, while other ranks began the next run"),
        ("exit", "left, while other ranks began the next run"),
    ],
)
def test_a_rank_that_fails_in_a_script_ends_the_job(start, what, report, bare):
    ended = start("scripted_runs.py", what, ranks=RANKS, bare=bare).finish(30)
    assert ended.status == 3 if not bare else ended.status != 0, ended.output
    assert ended.since_misdeed() <= SECONDS
    lines = [line for line in ended.output.splitlines() if report in line]
    assert any(line.startswith("worker 0 of 2 (rank 1 on ") for line in lines)
    assert "ends in order" not in ended.output
    assert_gone(ended, seconds=1)


@pytest.mark.parametrize("bare", [False, True], ids=["launcher", "mpiexec"])
def test_a_script_s_exit_status_is_the_job_s_if_all_ranks_exit(start, bare):
    ended = start("scripted_runs.py", "exit-all", ranks=RANKS, bare=bare).finish(30)
    assert ended.status == 3, ended.output
    assert "left" not in ended.output
