"""Ranks that are killed, and signals: the run goes on to the same bits over MPI."""

import os
import signal
import subprocess
import sys
import time

import pytest

import psmpi
from psmpi.runs.mpi import RankFailed
from tests.helpers.jobs import SECONDS, rank_processes
from tests.runs.test_resume import untimed

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(120)]
BASE = {
    "workers": 2,
    "data": "synthetic:softmax,samples=600,features=50",
    "rounds": 600,
    "evaluate_every": 20,
    "checkpoint_every": 50,
    "speeds": "constant:300000",  # a millisecond a gradient, so that there is time
}
KINDS = ["laq", "dist-ef-sgdm", "dsgd", "qsparse-local-sgd"]
#: What these compute depends on time, which their record has.
TIMED = ["asylpg", "async-dsgd", "quantimed-dsgd"]


def options_of(id):
    if "dsgd" in id:
        return BASE | {"topology": "complete", "batch": 100}
    if id == "asylpg":
        return BASE | {"batch": 100, "epoch": 20, "speeds": "constant:100000"}
    return BASE


def kills(place, at=170):
    """Return a callback for rows that kills a rank once; 0 is the server."""
    killed = []

    def on_row(row):
        if row["round"] >= at and not killed:
            killed.append(rank_processes()[place])
            os.kill(killed[0], signal.SIGKILL)

    return on_row


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the result of an algorithm's run that nothing has happened to."""
    results = {}

    def run(id):
        if id not in results:
            folder = tmp_path_factory.mktemp("whole") / id
            options = {**options_of(id), "speeds": ""}
            results[id] = psmpi.run(id, local=True, out=folder, **options)
        return results[id]

    return run


def assert_same(whole, result):
    assert result.x.tobytes() == whole.x.tobytes()
    assert untimed(result.rows, "") == untimed(whole.rows, "")
    for key in ("wire_bytes_up", "wire_bytes_down", "uploads", "paper_bits_up"):
        assert result.summary[key] == whole.summary[key]


@pytest.mark.parametrize("id", KINDS)
@pytest.mark.parametrize("place", [0, 2], ids=["server", "worker"])
def test_a_killed_rank_costs_a_restart(tmp_path, whole, id, place):
    lines = []
    result = psmpi.run(
        id,
        out=tmp_path / "run",
        restarts=1,
        on_row=kills(place),
        on_status=lines.append,
        **options_of(id),
    )
    assert lines.count("a rank has failed: restart 1 of 1") == 1
    assert_same(whole(id), result)


@pytest.mark.parametrize("id", TIMED)
def test_what_depends_on_time_goes_on_and_can_be_replayed(tmp_path, id):
    lines = []
    result = psmpi.run(
        id,
        out=tmp_path / "run",
        restarts=1,
        on_row=kills(2),
        on_status=lines.append,
        **options_of(id),
    )
    assert lines.count("a rank has failed: restart 1 of 1") == 1
    assert result.summary["rounds"] == BASE["rounds"]
    again = psmpi.replay(tmp_path / "run")
    assert again.x.tobytes() == result.x.tobytes()


def test_without_restarts_it_is_resumed_by_hand(tmp_path, whole):
    with pytest.raises(RankFailed):
        psmpi.run("laq", out=tmp_path / "run", on_row=kills(1), **BASE)
    rows = []
    result = psmpi.resume(tmp_path / "run", on_row=rows.append)
    assert_same(whole("laq"), result)
    assert rows[0]["round"] > 100  # what was recorded is not passed on again


def test_a_run_over_mpi_goes_on_in_process(tmp_path, whole):
    with pytest.raises(RankFailed):
        psmpi.run("laq", out=tmp_path / "run", on_row=kills(2), **BASE)
    assert_same(whole("laq"), psmpi.resume(tmp_path / "run", local=True))


def test_an_error_that_comes_again_uses_up_the_restarts(tmp_path):
    lines = []
    with pytest.raises(RankFailed):
        psmpi.run(
            "sgd",
            out=tmp_path / "run",
            restarts=2,
            on_status=lines.append,
            **{**BASE, "lr": 1e30},
        )
    assert lines.count("starting 3 ranks") == 3


def command(*words):
    return [sys.executable, "-m", "psmpi", *map(str, words)]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_saves_the_run_and_ends_it(tmp_path, whole, signum):
    out = tmp_path / "run"
    given = {**BASE, "checkpoint_every": "100s", "rounds": 1500}
    options = [
        word
        for name, value in given.items()
        for word in (f"--{name.replace('_', '-')}", value)
    ]
    process = subprocess.Popen(
        command("run", "laq", "--out", out, *options),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PSMPI_OVERSUBSCRIBE": "1"},
    )
    rows = out / "rows.jsonl"
    while not (rows.exists() and rows.read_text().count("\n") > 3):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signum)
    began = time.time()
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 75, said
    assert time.time() - began < 2 * SECONDS
    assert f"{out}: the run was asked to end early, and it is saved as of round" in said
    assert not (out / "summary.json").exists()
    assert len(list((out / "checkpoints").iterdir())) == 1
    done = subprocess.run(
        command("run", "--resume", out), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "goes on from round" in done.stdout
    expected = psmpi.run(
        "laq", local=True, **{**given, "checkpoint_every": 0, "speeds": ""}
    )
    result = psmpi.runs.mpi.read_result(out)
    assert result.x.tobytes() == expected.x.tobytes()
    assert untimed(result.rows, "") == untimed(expected.rows, "")
