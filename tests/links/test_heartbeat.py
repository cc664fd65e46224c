"""--timeout: a rank that stops responding ends the run, and only it is named."""

import json
import re
from typing import NamedTuple

import pytest

from tests.helpers.jobs import assert_gone

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(180)]

TIMEOUT = 3.0
RANKS = 4
QUANTIMED = {"topology": "ring", "deadline": 0.002, "mixing": 1.0, "rule": "constant"}
ALGORITHMS = {
    "gd": {},
    "asylpg": {"batch": 4, "lr": 0.01},
    "dsgd": {"topology": "ring", "batch": 5},
    "quantimed-dsgd": QUANTIMED,
}


class Case(NamedTuple):
    """What happens in which algorithm (see ``mpi_programs/stops.py``)."""

    how: str
    algorithm: str

    def start(self, start, **options):
        options = {"timeout": TIMEOUT} | ALGORITHMS[self.algorithm] | options
        words = (self.how, self.algorithm, json.dumps(options))
        return start("stops.py", *words, ranks=RANKS)


CASES = [
    *(Case("stop", algorithm) for algorithm in ALGORITHMS),
    Case("sleep", "dsgd"),
    Case("server", "gd"),
    Case("server", "asylpg"),
]


@pytest.fixture(scope="module")
def jobs(start_for_module):
    """Start all cases, each while the ones before wait for their timeouts."""
    jobs = {}
    for case in CASES:
        jobs[case] = case.start(start_for_module)
        jobs[case].wait_for("misdeed at")
    return jobs


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_rank_that_stops_responding_is_named(jobs, case):
    ended = jobs[case].finish(60)
    assert ended.status == 3, ended.output
    named = re.findall(r"and (worker \d|the server) gives no sign", ended.output)
    expected = "the server" if case.how == "server" else "worker 1"
    assert set(named) == {expected}, ended.output
    assert TIMEOUT / 2 < ended.since_misdeed() < 30
    assert_gone(ended, ranks=RANKS)


def test_a_slow_worker_that_responds_in_time_is_left_alone(start):
    """Rounds take longer than half of the timeout, so that all ranks send requests."""
    options = {"rounds": 2, "slow": "1:2x", "speeds": "constant:20", "timeout": 3.6}
    ended = Case("run", "dsgd").start(start, **options, batch=20).finish(60)
    assert ended.status == 0, ended.output
