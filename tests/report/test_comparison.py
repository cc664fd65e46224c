"""The costs of reaching a target, the headline and the notes state what is true."""

import pytest

from psmpi.report.comparison import arrival_tables, arrivals, headline, notes
from tests.helpers.recorded_runs import record_run


def runs_of(tmp_path, **more):
    return [
        record_run(tmp_path / "a", **more),
        record_run(tmp_path / "b", "laq", 4, **more),
    ]


def test_the_headline_states_both_directions(pair):
    assert headline(pair) == (
        "laq reached residual 0.0001 with 12 % of gd's uplink bits, 56 % of its bits "
        "both ways, in 100 % of its time"
    )


def test_the_headline_of_runs_in_one_process_leaves_time_out(tmp_path):
    assert headline(runs_of(tmp_path, mpi=None)).endswith("of its bits both ways")


def test_the_headline_says_where_time_is_simulated(tmp_path):
    runs = runs_of(tmp_path, mpi=None, clock="simulated")
    assert headline(runs).endswith("in 100 % of its time (simulated)")


def test_times_of_different_clocks_are_not_compared(tmp_path):
    run = record_run(tmp_path / "a")
    other = record_run(tmp_path / "b", "laq", 4, mpi=None, clock="simulated")
    assert [a.share_of_time for a in arrivals([run, other])] == [1.0, None]


def test_a_manifest_without_versions_counts_as_parallel(pair):
    for run in pair:
        del run.manifest["versions"]
    assert "of its time" in headline(pair)


def test_no_headline_without_targets_or_baseline(pair, tmp_path):
    assert headline(pair[1:]) is None
    assert headline([record_run(tmp_path / "c", rounds=3), pair[1]]) is None


def test_arrivals_give_the_shares_of_bits(pair):
    by_name = {arrival.name: arrival for arrival in arrivals(pair)}
    assert by_name["gd"].share_up == 1
    assert by_name["gd"].share_both_ways == 1
    assert by_name["laq"].share_up == pytest.approx(4 / 32)
    assert by_name["laq"].share_both_ways == pytest.approx((4 + 32) / (32 + 32))


def test_the_table_of_arrivals_compares_both_ways_and_time(pair):
    (table,) = arrival_tables(pair)
    laq = dict(zip(table.titles, dict(table.rows)["laq"], strict=True))
    assert laq["uploads"] == "188"
    assert laq["of gd's bits up"] == "12 %"
    assert laq["of gd's bits both ways"] == "56 %"
    assert laq["of gd's time"] == "100 %"


def test_the_table_of_arrivals_has_no_empty_comparison(pair, tmp_path):
    (alone,) = arrival_tables(pair[:1])
    assert [title for title in alone.titles if "of gd's" in title] == []
    (tmp_path / "local").mkdir()
    (local,) = arrival_tables(runs_of(tmp_path / "local", mpi=None))
    assert "of gd's bits up" in local.titles
    assert "of gd's time" not in local.titles


def test_notes_name_differences_and_failures(pair, tmp_path):
    killed = record_run(tmp_path / "c", "qgd", 4, 7, ended=False)
    pair[1].summary["data"] = "mnist"
    assert notes([*pair, killed]) == [
        "qgd: the run did not end; the numbers are those of its last row, round 7",
        "the runs differ in data: digits, mnist",
    ]


def test_notes_name_the_runs_whose_time_is_not_parallel(pair, tmp_path):
    (tmp_path / "local").mkdir()
    local = runs_of(tmp_path / "local", mpi=None)
    simulated = record_run(tmp_path / "c", "qgd", mpi=None, clock="simulated")
    assert notes(pair) == []
    assert notes([*local, simulated]) == [
        "qgd: the time is that of a simulated clock",
        "gd, laq: the ranks took turns in one process (--local), so the time is not "
        "that of a parallel run",
    ]
