"""Sessions over real MPI: the same bits as a run, and no rank that hangs."""

import re

import numpy as np
import pytest

import psmpi
from psmpi import algorithms
from psmpi.runs.recorded import read_run
from tests.helpers import own_loops
from tests.helpers.jobs import SECONDS, assert_gone

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(120)]
WORKERS = 3


def kind(id):
    cls = algorithms.find(id)
    peers = "topology" in cls.__dataclass_fields__
    return cls.driven_by, peers


#: Synchronous algorithms whose workers all have the server's model after a round.
SHARED = [
    id
    for id in own_loops.DRIVEN
    if kind(id) == ("gradient", False) and id != "dynamic-averaging"
]
GOSSIP = ["dsgd", "q-dsgd"]
OTHERS = ["asylpg", "acc-asylpg", "async-dsgd", "dynamic-averaging"]


@pytest.fixture(scope="module")
def script(start_for_module, tmp_path_factory):
    """The script ``own_loops.py`` after its end, and the folder of its runs."""
    folder = tmp_path_factory.mktemp("loops")
    ids = [*SHARED, *GOSSIP, *OTHERS]
    job = start_for_module("own_loops.py", folder, *ids, ranks=WORKERS + 1, bare=True)
    return job.finish(100), folder


def run(id):
    return psmpi.run(
        id,
        workers=WORKERS,
        local=True,
        data=own_loops.DATA,
        **own_loops.PROBLEM,
        rounds=own_loops.ROUNDS,
        evaluate_every=2,
        **own_loops.options(id),
    )


@pytest.mark.parametrize("id", SHARED)
def test_the_loop_computes_the_bits_of_a_run(script, id):
    ended, folder = script
    assert ended.status == 0, ended.output
    models = re.findall(rf"model {id} \d (\w+)", ended.output)
    result, recorded = run(id), read_run(folder / id)
    assert models == [result.x.tobytes().hex()] * WORKERS
    for name in ("uploads", "paper_bits_up"):
        assert recorded.summary[name] == result.summary[name]


@pytest.mark.parametrize("id", GOSSIP)
def test_gossip_keeps_the_consensus_of_a_run(script, id):
    _, folder = script
    result, recorded = run(id), read_run(folder / id)
    here = {row["round"]: row.get("consensus") for row in recorded.rows}
    there = {row["round"]: row["consensus"] for row in result.rows}
    assert here[2] == there[2]
    assert here[4] == there[4]


@pytest.mark.parametrize("id", OTHERS)
def test_asynchronous_loops_end_and_leave_a_record(script, id):
    ended, folder = script
    assert len(re.findall(rf"model {id} \d", ended.output)) == WORKERS
    recorded = read_run(folder / id)
    assert recorded.summary["loss"] is not None
    assert sum(rank["frames_sent"] for rank in recorded.summary["ranks"]) > 0


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            "start",
            r"session: 'weights' starts with other values on worker 1 \(rank 2\)",
        ),
        (
            "algorithm",
            r"session: algorithm is 'qsgd' on worker 1 \(rank 2\) and 'sgd' on",
        ),
        ("option", r"session: options is \{'lr': 0.2\} on worker 1 \(rank 2\)"),
    ],
)
def test_workers_that_differ_are_named_on_all_of_them(start, what, message):
    ended = start("loop_misdeeds.py", what, ranks=WORKERS + 1, bare=True).finish(60)
    assert ended.status == 0, ended.output
    assert len(re.findall(f"refused {message}", ended.output)) == WORKERS, ended.output


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("raise", "worker 1 of 3 .*RuntimeError: misdeed"),
        ("nan", "worker 1, round 5: the gradient's entry 3 is nan"),
        ("lr", "lr: in round 5 it is 0.05 on worker 1 and not set on worker 0"),
        ("exit", "worker 1 of 3 .*left in the middle of the run"),
        ("kill", "worker 1 of 3 .*went away"),
        ("no-session", "worker 1 of 3 .*left, while other ranks began"),
    ],
)
def test_a_misdeed_in_the_loop_ends_the_job_and_is_named(
    start, tmp_path, what, message
):
    out = tmp_path / "run"
    job = start("launched.py", out, "loop_misdeeds.py", what, ranks=WORKERS + 1)
    ended = job.finish(60)
    assert ended.status == 3, ended.output
    assert re.search(message, ended.output), ended.output
    assert "after" not in ended.output
    assert ended.since_misdeed() <= SECONDS
    assert_gone(ended, seconds=1, ranks=WORKERS)


def test_a_worker_that_runs_out_of_data_ends_the_run_for_all(start):
    ended = start("loop_misdeeds.py", "fewer", ranks=WORKERS + 1, bare=True).finish(60)
    assert ended.status == 0, ended.output
    after = re.findall(r"after (\d) (\d+) (.*) (\w+)", ended.output)
    assert sorted(worker for worker, *_ in after) == ["0", "1", "2"]
    assert {rounds for _, rounds, *_ in after} == {"7"}
    assert {why for worker, _, why, _ in after if worker != "1"} == {
        "worker 1 left after 7 rounds"
    }
    assert len({model for *_, model in after}) == 1
    assert np.frombuffer(bytes.fromhex(after[0][3]), np.float32).any()


def test_a_resumed_loop_goes_on_to_the_bit_with_the_residuals_of_both_ends(start):
    ended = start("resumed_loop.py", ranks=WORKERS + 1, bare=True).finish(60)
    assert ended.status == 0, ended.output
    assert ended.output.count("same True True") == WORKERS
    assert ended.output.count("server's residual True") == 1  # with worker 0's
