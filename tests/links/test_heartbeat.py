"""--timeout: who falls silent ends the run within it, and is named, and nobody else."""

import json
import re

import pytest

from tests.helpers.jobs import assert_gone

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(180)]

TIMEOUT = 3.0
RUNS = {
    "gd": ("gd", {}),
    "asylpg": ("asylpg", {"batch": 4, "lr": 0.01}),
    "dsgd": ("dsgd", {"topology": "ring", "batch": 5}),
    "quantimed": (
        "quantimed-dsgd",
        {"topology": "ring", "deadline": 0.002, "mixing": 1.0, "rule": "constant"},
    ),
}
RANKS = 4


def run(mpiexec, how, name, **options):
    algorithm, given = RUNS[name]
    words = (how, algorithm, json.dumps({"timeout": TIMEOUT} | given | options))
    return mpiexec("stops.py", *words, ranks=RANKS, limit=60)


def assert_named(ended, who):
    assert ended.status == 3, ended.output
    named = re.findall(r"and (worker \d|the server) gives no sign", ended.output)
    assert set(named) == {who}, ended.output
    assert_gone(ended, ranks=RANKS)


@pytest.mark.parametrize("name", RUNS)
def test_a_worker_that_is_stopped_is_named(mpiexec, name):
    ended = run(mpiexec, "stop", name)
    assert_named(ended, "worker 1")
    assert TIMEOUT / 2 < ended.since_misdeed() < 30


def test_a_worker_that_sleeps_is_named(mpiexec):
    assert_named(run(mpiexec, "sleep", "dsgd"), "worker 1")


@pytest.mark.parametrize("name", ["gd", "asylpg"])
def test_a_server_that_sleeps_is_named(mpiexec, name):
    assert_named(run(mpiexec, "server", name), "the server")


def test_who_is_slow_but_within_the_time_is_left_alone(mpiexec):
    """Rounds last longer than half of the time, so that everybody asks."""
    options = {"rounds": 2, "slow": "1:2x", "speeds": "constant:10", "timeout": 7.0}
    ended = run(mpiexec, "run", "dsgd", **options, batch=20)
    assert ended.status == 0, ended.output
