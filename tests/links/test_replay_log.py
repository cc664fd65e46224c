"""Replays: what time decided once is decided so again, in process and from MPI."""

import pytest

from psmpi.base import ConfigError, LinkError
from psmpi.links.replay_log import ReplayLog
from psmpi.runs import config, mpi
from psmpi.runs.local import run_local
from psmpi.runs.recorded import Recorded, read_decisions, read_run

HOW = {"data": "synthetic:softmax,samples=80,features=6", "workers": 3, "seed": 2}
HOW |= {"rounds": 24, "evaluate_every": 6}
TIMED = {"lr": 0.02, "mixing": 2.0, "topology": "ring"}
# Models of 2 MB, beyond what MPI takes in without a receiver.
LARGE = {"data": "synthetic:softmax,samples=60,features=1000", "hidden": "500"}
CASES = {
    "asylpg": ("asylpg", {"batch": 4, "lr": 0.02}),
    "sparse-asylpg": ("sparse-asylpg", {"batch": 4, "lr": 0.02}),
    "acc-asylpg": ("acc-asylpg", {"batch": 4, "lr": 0.02, "mu": 0.1}),
    "asysvrg": ("asysvrg", {"batch": 4, "lr": 0.02, "staleness": 1}),
    "async-dsgd": ("async-dsgd", {"lr": 0.02, "topology": "complete"}),
    "large": ("async-dsgd", LARGE | {"topology": "complete", "lr": 1e-3}),
    "async-ring": ("async-dsgd", {"lr": 0.02, "topology": "ring", "slow": "1:9x"}),
    "quantimed": ("quantimed-dsgd", TIMED | {"deadline": 0.003}),
    "speeds": (
        "quantimed-dsgd",
        TIMED | {"batch": 9, "speeds": "uniform:2e3,3e4"},
    ),
}


def made(case, **given):
    name, options = CASES[case]
    return config.configure(name, **HOW | options | given)


def facts(result):
    names = ("round", "loss", "uploads", "paper_bits_up", "paper_bits_down")
    return [[row[name] for name in names] for row in result.rows]


def assert_same(again, first, exact=True):
    assert again.x.tobytes() == first.x.tobytes()
    if exact:
        assert facts(again) == facts(first)
    else:  # of what is posted, a replay can't miss what was superseded
        assert [row[:2] for row in facts(again)] == [row[:2] for row in facts(first)]


def recorded(path):
    return read_decisions(read_run(path))


@pytest.mark.parametrize("case", CASES)
def test_a_replay_is_the_run(case, tmp_path):
    run = made(case)
    first = run_local(run, out=tmp_path / "first")
    decisions = recorded(tmp_path / "first")
    assert any(decisions.decisions)
    again = run_local(run, out=tmp_path / "again", replay=decisions)
    assert_same(again, first, exact=CASES[case][0] != "async-dsgd")
    assert recorded(tmp_path / "again") == decisions
    for schedule in (1, 2):
        shuffled = run_local(run, replay=decisions, schedule=schedule)
        assert shuffled.x.tobytes() == first.x.tobytes()


@pytest.mark.parametrize("case", ["asylpg", "async-dsgd", "quantimed"])
def test_a_run_that_met_its_target_is_replayed_to_there(case, tmp_path):
    loss = run_local(made(case)).rows[2]["loss"]
    run = made(case, until=f"loss={loss * 1.02}", evaluate_every=3)
    first = run_local(run, out=tmp_path / "first")
    assert first.summary["rounds"] < 24
    again = run_local(run, replay=recorded(tmp_path / "first"))
    assert_same(again, first, exact=case != "async-dsgd")


@pytest.mark.parametrize("case", ["asylpg", "async-ring", "quantimed"])
@pytest.mark.parametrize("change", ["less", "more"])
def test_another_number_of_decisions_is_told(case, change, tmp_path):
    run = made(case)
    run_local(run, out=tmp_path / "first")
    found = recorded(tmp_path / "first")
    entries = [list(rank) for rank in found.decisions]
    rank = 0 if case == "asylpg" else 1
    entries[rank] = entries[rank][:-5] if change == "less" else entries[rank] * 2
    text = (
        "replay: |deadlock: "
        if case == "async-ring"
        else ("replay: .*used up" if change == "less" else "replay: .*left over")
    )
    with pytest.raises(LinkError, match=text):
        run_local(run, replay=Recorded(entries, found.rounds))


def test_decisions_of_another_number_of_ranks_are_refused(tmp_path):
    run_local(made("asylpg"), out=tmp_path / "first")
    with pytest.raises(ConfigError, match="replay: recorded of 3 workers, and this"):
        run_local(made("asylpg", workers=4), replay=recorded(tmp_path / "first"))


def test_a_journal():
    replay_log = ReplayLog([4, 2])
    assert replay_log.replaying
    assert [replay_log.take(), replay_log.used_up, replay_log.take()] == [4, False, 2]
    assert replay_log.used_up
    assert replay_log.entries == [4, 2]
    with pytest.raises(LinkError, match="used up; the recorded run was another one"):
        replay_log.take()
    with pytest.raises(LinkError, match="1 recorded decisions of this rank are left"):
        ReplayLog([7]).close()
    fresh = ReplayLog()
    assert not fresh.replaying
    assert fresh.note(3) == 3
    assert fresh.entries == [3]
    fresh.close()


@pytest.fixture(scope="module")
def over_mpi(tmp_path_factory):
    """All cases recorded over MPI, in one job."""
    folder = tmp_path_factory.mktemp("recorded")
    runs = {case: made(case) for case in CASES}
    results = mpi.run_mpi(list(runs.values()), [folder / case for case in runs])
    return dict(zip(runs, results, strict=True))


@pytest.mark.mpi
@pytest.mark.parametrize("case", CASES)
def test_what_mpi_recorded_is_replayed_bit_for_bit(over_mpi, case):
    there = over_mpi[case]
    again = run_local(made(case), replay=recorded(there.path))
    assert_same(again, there, exact=CASES[case][0] != "async-dsgd")


@pytest.mark.mpi
@pytest.mark.parametrize("case", CASES)
def test_all_bytes_handed_to_mpi_are_in_the_summary(over_mpi, case):
    summary = over_mpi[case].summary
    sent = sum(rank["bytes_sent"] for rank in summary["ranks"])
    kinds = ("wire_bytes_up", "wire_bytes_down", "wire_bytes_observed")
    assert sent == sum(summary[kind] for kind in kinds)
    assert sent == sum(rank["bytes_received"] for rank in summary["ranks"])
