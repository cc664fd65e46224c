"""Totals, splits, names and units are computed as their docstrings say."""

import pytest

from psmpi.report.metrics import clock, names, split, totals
from psmpi.report.units import bits, seconds, share, size, three
from tests.helpers.recorded_runs import DIM, WORKERS, record_run


def test_a_killed_run_has_dense_bits(tmp_path):
    killed = record_run(tmp_path / "c", "qgd", 4, 7, ended=False)
    assert totals(killed)["dense_bits_up"] == 32 * DIM * WORKERS * 7


@pytest.mark.parametrize(
    ("mpi", "recorded", "expected"),
    [
        ("Open MPI v5.0.8", "real", "real"),
        (None, "real", "in turns"),
        (None, "simulated", "simulated"),
    ],
)
def test_the_clock_is_known_from_the_record(tmp_path, mpi, recorded, expected):
    run = record_run(tmp_path / "a", rounds=1, mpi=mpi, clock=recorded)
    assert clock(run) == expected


def test_names_contain_what_differs(tmp_path):
    runs = [
        record_run(tmp_path / f"{i}", "laq", 4, 2, options={"bits": i, "lr": 1})
        for i in (3, 4)
    ]
    assert names(runs) == ["laq bits=3", "laq bits=4"]
    assert names([runs[0], runs[0]]) == ["laq 3 #1", "laq 3 #2"]
    runs[1].summary["name"] = "mine"
    assert names(runs) == ["laq", "mine"]


def test_the_split_of_time_leaves_the_server_out(pair):
    total = dict(totals(pair[0]))
    total["ranks"][0]["seconds"] = {"wait": 1000.0, "total": 1000.0}
    shares = split(total)
    assert shares["compute"] == pytest.approx(0.5)
    assert shares["other"] == pytest.approx(0.1)
    assert sum(shares.values()) == pytest.approx(1)


def test_a_rank_without_a_total_has_the_total_of_the_run(pair):
    total = dict(totals(pair[0]))
    total["seconds"] = {"total": 4.0}
    for rank in total["ranks"]:
        del rank["seconds"]["total"]
    assert split(total)["compute"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        (bits, 1.94e7, "19.4 Mbit"),
        (bits, 0, "0 bit"),
        (bits, 832, "832 bit"),
        (bits, 999_600, "1.00 Mbit"),
        (bits, 3.1e13, "31.0 Tbit"),
        (size, 2_430_000, "2.43 MB"),
        (size, 2**60, "1150 PB"),
        (seconds, 0.01234, "12.3 ms"),
        (seconds, 0, "0 s"),
        (seconds, 75.25, "75.2 s"),
        (seconds, 7523.4, "7523 s"),
        (share, 0.0161, "1.6 %"),
        (share, 0.0996, "10 %"),
        (three, 100.0, "100"),
        (three, 1.5e-5, "1.50e-05"),
    ],
)
def test_units_have_three_digits(form, value, expected):
    assert form(value) == expected
