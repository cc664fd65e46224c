"""Replays: recorded decisions reproduce a run, in this process and from MPI."""

import pytest

from psmpi.base import ConfigError, LinkError
from psmpi.links.replay_log import ReplayLog
from psmpi.runs import config, mpi
from psmpi.runs.local import run_local
from psmpi.runs.recorded import Recorded, read_decisions, read_run

OPTIONS = {"data": "synthetic:softmax,samples=80,features=6", "workers": 3, "seed": 2}
OPTIONS |= {"rounds": 24, "evaluate_every": 6}
TIMED = {"lr": 0.02, "mixing": 2.0, "topology": "ring"}
# Models of 2 MB, which MPI does not send before the receiver waits for them.
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


def configured(case, **changes):
    name, options = CASES[case]
    return config.configure(name, **OPTIONS | options | changes)


def facts(result):
    names = ("round", "loss", "uploads", "paper_bits_up", "paper_bits_down")
    return [[row[name] for name in names] for row in result.rows]


def assert_same(again, first, exact=True):
    assert again.x.tobytes() == first.x.tobytes()
    if exact:
        assert facts(again) == facts(first)
    else:  # messages that were superseded in the run are received in the replay
        assert [row[:2] for row in facts(again)] == [row[:2] for row in facts(first)]


def recorded(path):
    return read_decisions(read_run(path))


@pytest.mark.parametrize("case", CASES)
def test_a_replay_equals_the_run(case, tmp_path):
    run = configured(case)
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
def test_a_run_that_met_its_target_is_replayed_up_to_it(case, tmp_path):
    loss = run_local(configured(case)).rows[2]["loss"]
    run = configured(case, until=f"loss={loss * 1.02}", evaluate_every=3)
    first = run_local(run, out=tmp_path / "first")
    assert first.summary["rounds"] < 24
    again = run_local(run, replay=recorded(tmp_path / "first"))
    assert_same(again, first, exact=case != "async-dsgd")


@pytest.mark.parametrize("case", ["asylpg", "async-ring", "quantimed"])
@pytest.mark.parametrize("change", ["less", "more"])
def test_a_log_with_another_number_of_decisions_is_rejected(case, change, tmp_path):
    run = configured(case)
    run_local(run, out=tmp_path / "first")
    decisions = recorded(tmp_path / "first")
    entries = [list(rank) for rank in decisions.decisions]
    rank = 0 if case == "asylpg" else 1
    entries[rank] = entries[rank][:-5] if change == "less" else entries[rank] * 2
    text = (
        "replay: |deadlock: "
        if case == "async-ring"
        else ("replay: .*used up" if change == "less" else "replay: .*left over")
    )
    with pytest.raises(LinkError, match=text):
        run_local(run, replay=Recorded(entries, decisions.rounds))


def test_decisions_of_another_number_of_ranks_are_rejected(tmp_path):
    run_local(configured("asylpg"), out=tmp_path / "first")
    with pytest.raises(ConfigError, match="recorded run has 3 workers, and this"):
        run_local(configured("asylpg", workers=4), replay=recorded(tmp_path / "first"))


def test_a_log_replays_its_decisions_and_records_them_again():
    replay_log = ReplayLog([4, 2])
    assert replay_log.replaying
    assert [
        replay_log.next_decision(),
        replay_log.exhausted,
        replay_log.next_decision(),
    ] == [4, False, 2]
    assert replay_log.exhausted
    assert replay_log.entries == [4, 2]
    with pytest.raises(LinkError, match="used up; the recorded run was another one"):
        replay_log.next_decision()
    with pytest.raises(LinkError, match="1 recorded decisions of this rank are left"):
        ReplayLog([7]).close()
    fresh = ReplayLog()
    assert not fresh.replaying
    assert fresh.record(3) == 3
    assert fresh.entries == [3]
    fresh.close()


@pytest.fixture(scope="module")
def over_mpi(tmp_path_factory):
    """Record all cases over MPI, in one job."""
    folder = tmp_path_factory.mktemp("recorded")
    runs = {case: configured(case) for case in CASES}
    results = mpi.run_mpi(list(runs.values()), [folder / case for case in runs])
    return dict(zip(runs, results, strict=True))


@pytest.mark.mpi
@pytest.mark.parametrize("case", CASES)
def test_a_run_over_mpi_is_replayed_bit_for_bit(over_mpi, case):
    first = over_mpi[case]
    again = run_local(configured(case), replay=recorded(first.path))
    assert_same(again, first, exact=CASES[case][0] != "async-dsgd")


@pytest.mark.mpi
@pytest.mark.parametrize("case", CASES)
def test_all_bytes_handed_to_mpi_are_in_the_summary(over_mpi, case):
    summary = over_mpi[case].summary
    sent = sum(rank["bytes_sent"] for rank in summary["ranks"])
    kinds = ("wire_bytes_up", "wire_bytes_down", "wire_bytes_observed")
    assert sent == sum(summary[kind] for kind in kinds)
    assert sent == sum(rank["bytes_received"] for rank in summary["ranks"])
