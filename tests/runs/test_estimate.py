"""The dry run: what a run would do, and the memory of ranks against what they take."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

import psmpi
from psmpi import algorithms
from psmpi.base import ConfigError
from psmpi.data import memory
from psmpi.runs import estimate, footprint

PROBLEM = Path(__file__).parents[1] / "helpers" / "plain_problem.py"
CLOSE = 0.12  # of the measured memory of a rank, above or below
MB = 1e6


def test_arrays_are_counted_once_wherever_they_are():
    whole = np.zeros(1000)
    nested = {"a": [whole[:10], (whole[5:],)], "b": csr_array(np.eye(5))}

    class Slotted:
        __slots__ = ("inside",)

    slotted = Slotted()
    slotted.inside = np.ones(7, np.uint8)
    nested["self"] = nested
    sparse = 5 * 8 + nested["b"].indices.nbytes + nested["b"].indptr.nbytes
    assert footprint.nbytes(nested, slotted, "text", 3) == 8000 + 7 + sparse
    assert footprint.nbytes(lambda: whole[3:]) == 8000
    assert footprint.nbytes(whole[:1], whole[1:]) == 8000


def test_the_most_that_a_call_allocates_is_measured():
    kept = []
    size = footprint.peak(
        lambda: np.ones(100_000).sum() + np.ones(300_000).sum(),
        lambda: kept.append(np.ones(50_000)),
    )
    assert size == pytest.approx(2_400_000, rel=0.01)


@pytest.mark.parametrize("algorithm", algorithms.ALGORITHMS)
def test_every_algorithm_has_an_estimate(algorithm, tmp_path, monkeypatch):
    monkeypatch.setattr(footprint, "of_process", lambda modules: 170_000_000)
    monkeypatch.chdir(tmp_path)
    found = psmpi.estimate(algorithm, data="digits", optimum=False)
    x = found.dense
    assert found.dim == 650
    assert x == 2600
    # At least a model, and the gradient or its sum.
    assert found.worker.state >= 2 * x
    assert found.server.state >= x
    assert found.needed == found.server.total + 4 * found.worker.total
    assert 0 < found.message_up <= 2 * x + 100
    assert not list(tmp_path.iterdir())


def test_the_server_grows_by_the_buffer_of_a_worker(monkeypatch):
    monkeypatch.setattr(footprint, "of_process", lambda modules: 170_000_000)
    four, five = (psmpi.estimate("sgd", workers=n, optimum=False) for n in (4, 5))
    assert four.per_worker == five.server.link - four.server.link == four.message_up
    # Dynamic averaging also keeps every worker's model.
    asked = psmpi.estimate("dynamic-averaging", workers=4, optimum=False)
    assert asked.per_worker == asked.message_up + asked.dense


def test_the_optimum_counts_until_it_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(footprint, "of_process", lambda modules: 170_000_000)
    monkeypatch.setenv("PSMPI_CACHE", str(tmp_path))
    before = psmpi.estimate("gd", local=True)
    assert before.server.optimum > 60 * 8 * before.dim
    assert before.needed >= before.server.base + before.server.optimum
    assert not list(tmp_path.iterdir())
    psmpi.run("gd", local=True, rounds=1)
    assert psmpi.estimate("gd", local=True).server.optimum == 0
    assert psmpi.estimate("gd", local=True, optimum=False).server.optimum == 0


def test_too_little_memory_is_warned_of(monkeypatch, capsys):
    from psmpi.cli import app

    monkeypatch.setattr(footprint, "of_process", lambda modules: 170_000_000)
    monkeypatch.setattr(memory, "free", lambda: 300_000_000)
    assert app.main(["run", "gd", "--dry-run"]) == 0
    error = capsys.readouterr().err
    assert "memory: 5 ranks on this host need 93" in error
    assert "300 MB are available; give fewer --workers" in error
    # Of two hosts, this one gets the server and one worker, which fit no better.
    assert not psmpi.estimate("gd", hosts="localhost:2,other:3").fits
    assert psmpi.estimate("gd", hosts="other:4,localhost:1").fits


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--batch", "400"], "batch: 400 is more than the 360 samples of worker 0"),
        (["--until", "residual=1", "--no-optimum"], "needs the optimum"),
        (["--workers", "3000"], "ranks"),
        (["--bits", "99"], "99"),
    ],
)
def test_a_dry_run_refuses_what_a_run_does(words, reason, monkeypatch):
    from psmpi.cli import app

    monkeypatch.setattr(footprint, "of_process", lambda modules: 170_000_000)
    monkeypatch.delenv("PSMPI_OVERSUBSCRIBE", raising=False)
    with pytest.raises(ConfigError, match=reason):
        app.main(["run", "slaq", "--dry-run", *words])


def test_a_dry_run_starts_and_writes_nothing(tmp_path):
    ended = psmpi_run(tmp_path, "laq", "--dry-run", "--out", "here")
    assert ended.returncode == 0, ended.stderr
    assert "5 ranks, a server and 4 workers, over MPI" in ended.stdout
    assert "codec uniform:bits=4" in ended.stdout
    assert "error_weight 3.0" in ended.stdout
    assert not ended.stderr
    assert not list(tmp_path.iterdir())


CASES = [
    ("laq", 4_000_000, []),
    ("topk-sgd", 4_000_000, ["--k", "0.01"]),
    ("asylpg", 4_000_000, []),
    ("q-dsgd", 4_000_000, []),
    ("laq", 2000, []),
    ("gd", 4_000_000, ["--checkpoint-every", "2"]),
]


@pytest.mark.mpi
@pytest.mark.parametrize(("algorithm", "dim", "words"), CASES)
def test_ranks_have_the_memory_that_is_estimated(
    algorithm, dim, words, tmp_path, monkeypatch
):
    # Tests before this one may have loaded PyTorch and JAX here; ranks don't.
    monkeypatch.setattr(estimate, "_HEAVY", ("scipy.sparse",))
    problem = ["--problem", f"{PROBLEM}:Plain", "--problem-option", f"dim={dim}"]
    words = [*words, *problem, "--workers", "2", "--rounds", "6", "--lr", "0.01"]
    words += ["--evaluate-every", "2", "--check-every", "3"]
    # Compiling takes memory too: a first run may have to.
    for name in ("first", "second"):
        ended = psmpi_run(tmp_path, algorithm, *words, "--out", name)
        assert ended.returncode == 0, ended.stderr
    ranks = psmpi_summary(tmp_path / "second")["ranks"]
    measured = [rank["max_rss"] for rank in ranks]
    options = dict(zip(words[::2], words[1::2], strict=True))
    found = psmpi.estimate(
        algorithm,
        **{name.lstrip("-").replace("-", "_"): v for name, v in typed(options)},
    )
    assert found.server.total == pytest.approx(measured[0], rel=CLOSE)
    assert found.worker.total == pytest.approx(max(measured[1:]), rel=CLOSE)


@pytest.mark.mpi
def test_a_worker_gives_up_the_whole_problem(tmp_path):
    ended = psmpi_run(
        *(tmp_path, "gd", "--problem", f"{PROBLEM}:Alone", "--rounds", "2"),
        *("--workers", "2", "--lr", "0.1"),
    )
    assert ended.returncode == 0, ended.stderr


def typed(options):
    for name, value in options.items():
        for kind in (int, float) if name != "--checkpoint-every" else ():
            try:
                value = kind(value)
                break
            except ValueError:
                pass
        yield name, value


def psmpi_run(folder, *words):
    return subprocess.run(
        [sys.executable, "-m", "psmpi", "run", *words],
        cwd=folder,
        env={**os.environ, "PSMPI_OVERSUBSCRIBE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def psmpi_summary(path):
    from psmpi.runs.recorded import read_run

    return read_run(path).summary
