"""Whole runs over MPI: the same bits as in process, all bytes counted, clear errors."""

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

OPTIONS = {
    "data": "synthetic:softmax,samples=120,features=7,classes=3",
    "workers": 3,
    "rounds": 25,
    "evaluate_every": 10,
    "seed": 5,
}
BROADCASTS = ["tree", "linear", "mpi"]


def configured(algorithm, options, **more):
    fits = dict(options)
    if "k" in fits:
        fits["k"] = 0.5
    return config.configure(algorithm, **OPTIONS | fits | more)


@pytest.fixture(scope="module")
def over_mpi(tmp_path_factory):
    """Every algorithm, and one by every broadcast, in one job of 4 ranks."""
    folder = tmp_path_factory.mktemp("runs")
    runs = {row[0]: configured(row[0], row[1]) for row in ROWS}
    for broadcast in BROADCASTS:
        runs[broadcast] = configured("laq", {"bits": 3}, broadcast=broadcast)
    local = {"local_steps": 3, "k": 0.3, "batch": 20}
    runs["async"] = configured("qsparse-local-sgd", local | {"schedule": "async"})
    lossy = {"down_codec": "uniform", "downlink": "model", "weight_decay": 0.01}
    runs["lossy"] = configured("dist-ef-sgdm", lossy | {"batch": 20})
    runs["float64"] = configured("laq", {"bits": 3}, dtype="float64")
    relayed = {"topology": "complete", "relay": True}
    runs["relay"] = configured("q-dsgd", relayed | {"batch": 20})
    ring = {"topology": "ring", "batch": 8, "dtype": "float64"}
    runs["measured"] = configured("quantimed-dsgd", ring)
    runs["slow"] = configured("async-dsgd", ring, slow="0:30x", evaluate_every=3)
    stale = {"staleness": 1, "epoch": 7, "batch": 8, "recentre": True}
    runs["stale"] = configured("acc-asylpg", stale, slow="1:30x", partition="all")
    results = mpi.run_mpi(list(runs.values()), [folder / name for name in runs])
    return dict(zip(runs, results, strict=True)), runs


UNTIMED = [name for name in IDS if name not in TIMED]
REPLAYED = [*TIMED, "measured", "slow", "stale"]


@pytest.mark.parametrize(
    "name", [*UNTIMED, *BROADCASTS, "float64", "async", "lossy", "relay"]
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


@pytest.mark.parametrize("name", [*IDS, *BROADCASTS, "relay", *REPLAYED[-3:]])
def test_the_bytes_that_ranks_count_are_those_of_the_summary(over_mpi, name):
    summary = over_mpi[0][name].summary
    sent = sum(rank["bytes_sent"] for rank in summary["ranks"])
    keys = ("wire_bytes_up", "wire_bytes_down", "wire_bytes_observed")
    assert sent == sum(summary[key] for key in keys)
    assert sent == sum(rank["bytes_received"] for rank in summary["ranks"])


def test_a_summary_has_all_phases_and_ranks(over_mpi):
    summary = over_mpi[0]["laq"].summary
    assert summary["algorithm"] == "laq"
    phases = {"total", "compute", "encode", "send", "wait", "decode", "evaluate"}
    assert set(summary["seconds"]) == phases
    assert len(summary["ranks"]) == 4
    assert [rank["rank"] for rank in summary["ranks"]] == [0, 1, 2, 3]
    assert all(rank["max_rss"] > 1e6 for rank in summary["ranks"])


def test_python_starts_an_mpi_job_and_gets_its_rows_and_phases():
    rows, lines = [], []
    result = api.run("gd", on_row=rows.append, on_status=lines.append, **OPTIONS)
    assert result.path is None
    there = run_local(config.configure("gd", **OPTIONS))
    assert result.x.tobytes() == there.x.tobytes()
    assert rows == result.rows
    assert [row["loss"] for row in rows] == [row["loss"] for row in there.rows]
    assert (lines[0], lines[-1]) == ("starting 4 ranks", "training")
    assert set(result.summary) == set(there.summary)


def psmpi(*words, ranks=None, cwd=None, **variables):
    """Run the command line, under mpiexec if ``ranks``; return the ended process."""
    line = [sys.executable, "-m", "psmpi", *words]
    environment = {**os.environ, **variables}
    if ranks is not None:
        line = mpiexec.command(mpiexec.find_mpiexec(), line, ranks)
        # What a killed mpiexec has left in /tmp must not keep this one from starting.
        environment |= {**mpiexec.environment(1), "TMPDIR": str(cwd)}
    return subprocess.run(
        line, capture_output=True, text=True, timeout=120, cwd=cwd, env=environment
    )


def words(**options):
    """Return OPTIONS and others as words of a command line."""
    shown = OPTIONS | options
    return [w for k, v in shown.items() for w in (f"--{k.replace('_', '-')}", str(v))]


def test_run_starts_mpiexec_and_ends_with_status_4_if_a_target_is_missed(tmp_path):
    target = ("--until", "loss=0.001")
    done = psmpi("run", "laq", *words(), *target, "--out", "a/b", cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert "laq: loss=0.001 was not reached in 25 rounds" in done.stderr
    assert "laq" in done.stdout
    summary = json.loads((tmp_path / "a/b/summary.json").read_text())
    assert summary["rounds"] == 25
    manifest = json.loads((tmp_path / "a/b/manifest.json").read_text())
    assert "mpi" in manifest["versions"]["mpi"].lower()
    assert "\0" not in manifest["versions"]["mpi"]
    assert np.load(tmp_path / "a/b/model.npy").shape == (24,)


def test_run_joins_under_mpiexec(tmp_path):
    options = words()
    del options[2:4]  # workers: one less than the ranks that there are
    done = psmpi("run", "gd", *options, "--out", "here", ranks=3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "here/summary.json").read_text())["workers"] == 2
    assert done.stdout.count("gd") >= 1


def test_joining_with_another_number_of_ranks_is_refused(tmp_path):
    done = psmpi("run", "gd", *words(), "--out", "x", ranks=2, cwd=tmp_path)
    assert done.returncode == 2
    assert "3 workers and a server are 4 ranks, but MPI started 2" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "mnist"}, "train-images-idx3-ubyte"),
        ({"data": "synthetic:softmax,samples=2,classes=2"}, "workers"),
        ({"data": "npz:none.npz"}, "none.npz"),
    ],
)
def test_an_error_that_all_ranks_find_is_printed_once(tmp_path, options, message):
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


def test_divergence_ends_all_ranks(tmp_path):
    done = psmpi("run", "gd", *words(), "--lr", "1e30", "--out", "x", cwd=tmp_path)
    assert done.returncode == 3
    assert "lower --lr" in done.stderr
    assert not (tmp_path / "x/summary.json").exists()


def test_a_deadline_before_the_first_measured_sample_ends_the_job(tmp_path):
    options = ("--topology", "ring", "--deadline", "1e-9", "--out", "x")
    done = psmpi("run", "quantimed-dsgd", *words(), *options, cwd=tmp_path)
    assert done.returncode == 3
    assert "deadline: 1e-09 s is shorter than one sample takes" in done.stderr
    assert done.stderr.count("deadline") == 1


def test_an_object_cannot_go_to_other_processes():
    with pytest.raises(ConfigError, match="every rank calls to make its own"):
        api.run("gd", problem=Quadratic())


def test_an_object_of_another_class_is_refused():
    with pytest.raises(ConfigError, match=r"problem: must be a psmpi.base.Problem, g"):
        api.run("gd", problem=object(), local=True)
    with pytest.raises(ConfigError, match="data: 'digits', but problem is given too"):
        api.run("gd", problem=Quadratic(), data="digits", local=True)
