"""The MPI transport, under the MPI library of this environment."""

from __future__ import annotations

import os

import pytest

pytestmark = pytest.mark.mpi

CHECKS = {  # several share one start of mpiexec, which takes longer than they do
    "use": ("segments", "fairness", "loans", "sequence", "job_attributes"),
    "misuse": ("too_long", "wrong_lengths", "disagreement", "timeout"),
    "peers": ("large_exchanges", "superseding", "dropping"),
    "heartbeat": ("chain_of_waits",),
}


def test_broadcasts_on_1_to_13_ranks(mpiexec):
    ended = mpiexec("broadcasts.py", ranks=13, limit=100)
    assert ended.status == 0, ended.output
    lines = ended.output.splitlines()
    assert lines == [f"all broadcasts agree on {n} ranks" for n in range(1, 14)]


@pytest.mark.parametrize("checks", CHECKS.values(), ids=CHECKS.keys())
def test_point_to_point_messages(mpiexec, checks):
    ended = mpiexec("points.py", *checks, ranks=4)
    assert ended.status == 0, ended.output
    assert ended.output == "".join(f"{check} holds\n" for check in checks)


def test_the_virtual_sequences_move_by_the_plain_gradients(mpiexec):
    ended = mpiexec("invariants.py", ranks=4, limit=100)
    assert ended.status == 0, ended.output
    assert ended.output == "6 identities hold\n"


@pytest.mark.skipif(
    os.environ.get("PSMPI_TEST_HUGE") != "1",
    reason="needs 5 GB of memory; set PSMPI_TEST_HUGE=1",
)
def test_more_than_2_gib(mpiexec):
    ended = mpiexec("points.py", "huge", ranks=2, limit=100)
    assert ended.status == 0, ended.output
