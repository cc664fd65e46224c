"""Whole runs over real MPI: equal bits to the ones in process, all bytes counted."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from psmpi.base import ConfigError
from psmpi.problems import Quadratic
from psmpi.processes import mpiexec
from psmpi.runs import api, config, mpi
from psmpi.runs.local import run_local
from psmpi.runs.recorded import read_decisions, read_run
from tests.helpers.algorithm_table import IDS, ROWS, TIMED

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(180)]

HOW = {
    "data": "synthetic:softmax,samples=120,features=7,classes=3",
    "workers": 3,
    "rounds": 25,
    "evaluate_every": 10,
    "seed": 5,
}
WAYS = ["tree", "linear", "mpi"]


def made(algorithm, options, **how):
    fits = dict(options)
    if "k" in fits:
        fits["k"] = 0.5
    return config.configure(algorithm, **HOW | fits | how)


@pytest.fixture(scope="module")
def over_mpi(tmp_path_factory):
    """Every algorithm, and one by every broadcast, in one job of 4 ranks."""
    folder = tmp_path_factory.mktemp("runs")
    runs = {row[0]: made(row[0], row[1]) for row in ROWS}
    runs |= {way: made("laq", {"bits": 3}, broadcast=way) for way in WAYS}
    local = {"local_steps": 3, "k": 0.3, "batch": 20}
    runs["async"] = made("qsparse-local-sgd", local | {"schedule": "async"})
    lossy = {"down_codec": "uniform", "downlink": "model", "weight_decay": 0.01}
    runs["lossy"] = made("dist-ef-sgdm", lossy | {"batch": 20})
    runs["float64"] = made("laq", {"bits": 3}, dtype="float64")
    relayed = {"topology": "complete", "relay": True}
    runs["relay"] = made("q-dsgd", relayed | {"batch": 20})
    free = {"topology": "ring", "batch": 8, "dtype": "float64"}
    runs["measured"] = made("quantimed-dsgd", free)
    runs["slow"] = made("async-dsgd", free, slow="0:30x", evaluate_every=3)
    hurry = {"staleness": 1, "epoch": 7, "batch": 8, "recentre": True}
    runs["hurry"] = made("acc-asylpg", hurry, slow="1:30x", partition="all")
    results = mpi.run_mpi(list(runs.values()), [folder / name for name in runs])
    return dict(zip(runs, results, strict=True)), runs


UNTIMED = [name for name in IDS if name not in TIMED]
REPLAYED = [*TIMED, "measured", "slow", "hurry"]


@pytest.mark.parametrize(
    "name", [*UNTIMED, *WAYS, "float64", "async", "lossy", "relay"]
)
def test_bits_are_those_of_the_run_in_process(over_mpi, name):
    results, runs = over_mpi
    there, here = results[name], run_local(runs[name])
    assert there.x.tobytes() == here.x.tobytes()
    exact = ("rounds", "uploads", "paper_bits_up", "paper_bits_down", "loss")
    assert [there.summary[k] for k in exact] == [here.summary[k] for k in exact]
    assert there.summary["wire_bytes_up"] == here.summary["wire_bytes_up"]
    sizes = 8 * 3 * 26 if name == "mpi" else 0  # MPI_Bcast has to be told them
    assert there.summary["wire_bytes_down"] == here.summary["wire_bytes_down"] + sizes


@pytest.mark.parametrize("name", REPLAYED)
def test_bits_are_those_of_the_replay_in_process(over_mpi, name):
    results, runs = over_mpi
    there = results[name]
    decided = read_decisions(read_run(there.path))
    assert any(decided.decisions)
    here = run_local(runs[name], replay=decided, schedule=3)
    assert there.x.tobytes() == here.x.tobytes()
    own = ("round", "loss", "model_bits", "model_error", "consensus", "drift")
    for mine, theirs in zip(here.rows, there.rows, strict=True):
        assert [mine.get(k) for k in own] == [theirs.get(k) for k in own]
    if "staleness" in there.summary:
        same = ("staleness", "arrivals", "bursts", "late", "model_bits", "uploads")
        assert [here.summary[k] for k in same] == [there.summary[k] for k in same]


@pytest.mark.parametrize("name", [*IDS, *WAYS, "relay", *REPLAYED[-3:]])
def test_what_was_handed_to_mpi_is_what_is_reported(over_mpi, name):
    summary = over_mpi[0][name].summary
    sent = sum(rank["bytes_sent"] for rank in summary["ranks"])
    ways = ("wire_bytes_up", "wire_bytes_down", "wire_bytes_observed")
    assert sent == sum(summary[way] for way in ways)
    assert sent == sum(rank["bytes_received"] for rank in summary["ranks"])


def test_the_summary_keeps_the_contract(over_mpi):
    summary = over_mpi[0]["laq"].summary
    assert summary["algorithm"] == "laq"
    phases = {"total", "compute", "encode", "send", "wait", "decode", "evaluate"}
    assert set(summary["seconds"]) == phases
    assert len(summary["ranks"]) == 4
    assert [rank["rank"] for rank in summary["ranks"]] == [0, 1, 2, 3]
    assert all(rank["max_rss"] > 1e6 for rank in summary["ranks"])


def test_an_mpi_job_can_be_started_from_python():
    result = api.run("gd", **HOW)
    assert result.path is None
    assert result.x.tobytes() == run_local(config.configure("gd", **HOW)).x.tobytes()


def psmpi(*words, ranks=None, cwd=None, **variables):
    """Run the command line, under mpiexec if ``ranks``; return the ended process."""
    line = [sys.executable, "-m", "psmpi", *words]
    environment = {**os.environ, **variables}
    if ranks is not None:
        line = mpiexec.command(mpiexec.find_mpiexec(), line, ranks)
        environment |= mpiexec.environment(1)
    return subprocess.run(
        line, capture_output=True, text=True, timeout=120, cwd=cwd, env=environment
    )


def words(**options):
    shown = HOW | options
    return [w for k, v in shown.items() for w in (f"--{k.replace('_', '-')}", str(v))]


def test_run_starts_mpiexec_itself(tmp_path):
    done = psmpi("run", "laq", *words(), "--out", "a/b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "laq" in done.stdout
    found = json.loads((tmp_path / "a/b/summary.json").read_text())
    assert found["rounds"] == 25
    manifest = json.loads((tmp_path / "a/b/manifest.json").read_text())
    assert "mpi" in manifest["versions"]["mpi"].lower()
    assert np.load(tmp_path / "a/b/model.npy").shape == (24,)


def test_run_joins_under_mpiexec(tmp_path):
    options = words()
    del options[2:4]  # workers: one less than the ranks that there are
    done = psmpi("run", "gd", *options, "--out", "here", ranks=3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "here/summary.json").read_text())["workers"] == 2
    assert done.stdout.count("gd") >= 1


def test_joining_with_other_ranks_than_asked_for(tmp_path):
    done = psmpi("run", "gd", *words(), "--out", "x", ranks=2, cwd=tmp_path)
    assert done.returncode == 2
    assert "3 workers and a server are 4 ranks, but MPI started 2" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_target_not_reached_is_status_4(tmp_path):
    done = psmpi(
        "run", "gd", *words(), "--until", "loss=0.001", "--out", "x", cwd=tmp_path
    )
    assert done.returncode == 4
    assert "gd: loss=0.001 was not reached in 25 rounds" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "mnist"}, "train-images-idx3-ubyte"),
        ({"data": "synthetic:softmax,samples=2,classes=2"}, "workers"),
        ({"data": "npz:none.npz"}, "none.npz"),
    ],
)
def test_what_only_ranks_can_find_is_told_once(tmp_path, options, message):
    empty = tmp_path / "empty"
    empty.mkdir()
    done = psmpi(
        "run",
        "gd",
        *words(**options),
        cwd=tmp_path,
        PSMPI_DATA=str(empty),
        HTTPS_PROXY="http://127.0.0.1:9",  # no download, wherever this runs
        PSMPI_CACHE=str(tmp_path / "cache"),
    )
    assert done.returncode == 2, done.stderr
    said = [line for line in done.stderr.splitlines() if "psmpi: gd: " not in line]
    assert len(said) == 1  # besides the lines that show the progress
    assert message in said[0]


def other_folder_on_rank_2(tmp_path, *words):
    """Run the command line with rank 2 one directory up; return the ended process."""
    program = (
        "import os, sys; from psmpi.__main__ import main\n"
        "from psmpi.processes.mpiexec import world_rank\n"
        "os.chdir('..' if world_rank() == 2 else '.')\n"
        f"sys.argv = ['psmpi', 'run', *{words!r}]\n"
        "main()"
    )
    line = mpiexec.command(mpiexec.find_mpiexec(), [sys.executable, "-c", program], 3)
    return subprocess.run(
        line,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path / "here",
        env=os.environ | mpiexec.environment(1),
    )


def test_a_rank_without_the_data_is_named(tmp_path):
    (tmp_path / "here").mkdir()
    features = np.arange(20.0).reshape(10, 2)
    np.savez(tmp_path / "here/d.npz", X=features, y=np.arange(10) % 2)
    options = ("gd", "--data", "npz:d.npz", "--out", "x")
    done = other_folder_on_rank_2(tmp_path, *options)
    assert done.returncode == 2, done.stderr
    assert "rank 2 on " in done.stderr
    assert "d.npz" in done.stderr


def test_a_peer_of_another_dimension_is_named(tmp_path):
    (tmp_path / "here").mkdir()
    for folder, wide in ((tmp_path / "here", 2), (tmp_path, 3)):
        features = np.arange(10.0 * wide).reshape(10, wide)
        np.savez(folder / "d.npz", X=features, y=np.arange(10) % 2)
    options = ("dsgd", "--data", "npz:d.npz", "--topology", "complete", "--batch", "2")
    done = other_folder_on_rank_2(tmp_path, *options, "--out", "x")
    assert done.returncode == 2, done.stderr
    (told,) = [line for line in done.stderr.splitlines() if "disagree" in line]
    assert "ranks disagree: dim is 4 on rank 2 (" in told


def test_divergence_ends_all_ranks(tmp_path):
    done = psmpi("run", "gd", *words(), "--lr", "1e30", "--out", "x", cwd=tmp_path)
    assert done.returncode == 3
    assert "lower --lr" in done.stderr
    assert not (tmp_path / "x/summary.json").exists()


def test_a_simulated_network_is_refused_under_mpiexec(tmp_path):
    options = ("--link-rate", "1e6", "--out", "x")
    done = psmpi("run", "gd", *words()[:2], *options, ranks=2, cwd=tmp_path)
    assert done.returncode == 2
    assert "link-rate: 1000000.0 is of a simulated network" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_deadline_before_the_first_measured_sample_ends_the_job(tmp_path):
    options = ("--topology", "ring", "--deadline", "1e-9", "--out", "x")
    done = psmpi("run", "quantimed-dsgd", *words(), *options, cwd=tmp_path)
    assert done.returncode == 3
    assert "deadline: 1e-09 s is shorter than one sample takes" in done.stderr
    assert done.stderr.count("deadline") == 1


def test_an_object_cannot_go_to_other_processes():
    with pytest.raises(ConfigError, match="use local=True"):
        api.run("gd", problem=Quadratic())


def test_what_is_no_problem_is_refused():
    with pytest.raises(ConfigError, match=r"problem: must be a psmpi.base.Problem, g"):
        api.run("gd", problem=object(), local=True)
    with pytest.raises(ConfigError, match="data: 'digits', but problem is given too"):
        api.run("gd", problem=Quadratic(), data="digits", local=True)
