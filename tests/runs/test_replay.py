"""Replays of recorded runs: the same bits, or an error that says what has changed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import psmpi
from psmpi.__main__ import main
from psmpi.algorithms.asylpg import AsyLpg
from psmpi.base import ConfigError, LinkError, PsmpiError
from psmpi.codecs import Stochastic
from psmpi.problems import Quadratic
from psmpi.runs import config, replay_versions, setup
from psmpi.runs.local import run_local

OPTIONS = {"workers": 3, "rounds": 30, "evaluate_every": 5, "seed": 2}
TIMED = [
    ("asylpg", {"staleness": 3, "epoch": 12}),
    ("async-dsgd", {"topology": "ring"}),
    ("quantimed-dsgd", {"topology": "ring", "deadline": 0.4}),
]


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "data.npz"
    np.savez(path, X=rng.normal(size=(90, 4)), y=rng.integers(0, 2, 90))
    return path


@pytest.fixture
def record(tmp_path, data):
    """Record a run whose order depends on simulated speeds; return it, and where."""

    def record(algorithm="asylpg", **options):
        timed = {"data": f"npz:{data}", "speeds": "uniform:10,90", "batch": 4}
        run = config.configure(algorithm, **OPTIONS | timed | options)
        out = tmp_path / algorithm
        return run_local(run, out=out), out

    return record


@pytest.mark.parametrize(("algorithm", "options"), TIMED)
def test_a_replay_has_the_same_bits(record, algorithm, options):
    there, out = record(algorithm, **options)
    assert (out / "decisions.npz").exists()
    again = psmpi.replay(out)
    assert again.x.tobytes() == there.x.tobytes()
    assert [row["loss"] for row in again.rows] == [row["loss"] for row in there.rows]


def test_the_order_of_a_timed_run_changes_its_result(record):
    # Otherwise the test above would pass without the recorded order.
    there, out = record(**dict(TIMED)["asylpg"])
    values = json.loads((out / "manifest.json").read_text())["config"]
    options = values.pop("options") | values | {"speeds": ""}
    del options["algorithm"], options["name"]
    plain = run_local(config.configure("asylpg", **options))
    assert plain.x.tobytes() != there.x.tobytes()


def test_a_replay_stops_where_the_run_was_stopped_by_time(record):
    there, out = record(rounds=300, until=["seconds=5"])
    assert 0 < there.summary["rounds"] < 300
    assert psmpi.replay(out).x.tobytes() == there.x.tobytes()


def test_a_synchronous_run_is_replayed_without_decisions(record, tmp_path):
    there, out = record("sgd")
    assert not (out / "decisions.npz").exists()
    again = psmpi.replay(out, out=tmp_path / "again")
    assert again.x.tobytes() == there.x.tobytes()
    assert (tmp_path / "again" / "summary.json").exists()


def test_changed_data_is_named(record, data):
    _, out = record()
    with np.load(data) as old:
        X, y = old["X"], old["y"]
    X[7, 2] += 1e-3
    np.savez(data, X=X, y=y)
    with pytest.raises(ConfigError, match=r"the data of .* has changed: its dig"):
        psmpi.replay(out)


@pytest.mark.parametrize(
    ("cls", "name", "text"),
    [
        (
            *(replay_versions, "REPLAY_FORMAT"),
            "version 1 of the replay format, and this psmpi has version 2",
        ),
        (
            *(AsyLpg, "version"),
            "version 1 of the algorithm asylpg, and this psmpi has version 2",
        ),
        (
            *(Stochastic, "wire_id"),
            "version 3 of the codec stochastic, and this psmpi has version 2",
        ),
    ],
)
def test_a_run_of_another_version_is_refused_with_both_versions(
    record, monkeypatch, cls, name, text
):
    _, out = record()
    monkeypatch.setattr(cls, name, 2)
    with pytest.raises(ConfigError, match=text):
        psmpi.replay(out)


def renamed(text):
    text = text.replace("algorithms.laq", "algorithms.lazy_quantised")
    return text.replace('"laq:', '"lazy_quantised:')


LAST_OPTION = "    optimum: bool = True\n"
REPLAY = """
import sys
import psmpi
from psmpi.runs import warmup
warmup.compile_all = lambda: None  # a copy of the package has no compiled kernels
print(psmpi.__file__)
psmpi.replay(sys.argv[1])
"""


def test_a_run_is_replayed_after_modules_were_renamed_and_changed(tmp_path):
    """The declared versions decide on a replay: not files, comments or new options."""
    run = config.configure("laq", workers=2, rounds=6, data="synthetic:softmax")
    run_local(run, out=tmp_path / "run")
    package = tmp_path / "other" / "psmpi"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(psmpi.__file__).parent, package, ignore=ignored)
    for path in package.rglob("*.py"):
        path.write_text("# A new comment.\n" + renamed(path.read_text()))
    (package / "algorithms/laq.py").rename(package / "algorithms/lazy_quantised.py")
    options = package / "runs/options.py"
    assert options.read_text().count(LAST_OPTION) == 1
    new_option = LAST_OPTION + "    new_option: int = 0\n"
    options.write_text(options.read_text().replace(LAST_OPTION, new_option))
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, str(tmp_path / "run")],
        env={**os.environ, "PYTHONPATH": str(package.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(package))
    assert "warning" not in done.stderr


def test_a_record_without_versions_is_compared_by_its_bits(record, capsys):
    there, out = record()
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["replay"], manifest["given"], manifest["effective"]
    manifest["digests"] |= {"code": "feed", "configuration": "feed"}
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert psmpi.replay(out).x.tobytes() == there.x.tobytes()
    printed = capsys.readouterr().err
    assert "its digest of psmpi's source can't be compared" in printed
    assert printed.count("\n") == 1


def test_a_replay_prepares_its_problem_once(record, monkeypatch):
    _, out = record()
    prepared, prepare = [], setup.prepare

    def note(*arguments):
        prepared.append(arguments)
        return prepare(*arguments)

    monkeypatch.setattr(setup, "prepare", note)
    psmpi.replay(out)
    assert len(prepared) == 1


def test_a_run_of_an_object_is_replayed_with_the_object(tmp_path):
    problem = Quadratic(dim=9, condition=4.0)
    options = {"workers": 2, "rounds": 5, "local": True}
    result = psmpi.run("gd", problem=problem, out=tmp_path / "x", **options)
    manifest = json.loads((tmp_path / "x/manifest.json").read_text())
    assert manifest["config"]["data"] is result.summary["data"] is None
    described = {"class": "psmpi.problems.quadratic.Quadratic", "dim": 9}
    assert manifest["config"]["problem"].items() >= described.items()
    with pytest.raises(ConfigError, match=r"was made from an object of psmpi\.problem"):
        psmpi.replay(tmp_path / "x")
    again = psmpi.replay(tmp_path / "x", problem=problem)
    assert again.x.tobytes() == result.x.tobytes()
    with pytest.raises(ConfigError, match=r"the data of .* has changed"):
        psmpi.replay(tmp_path / "x", problem=Quadratic(dim=9, condition=5.0))


def test_an_object_for_a_run_of_named_data_is_refused(record):
    _, out = record("sgd")
    with pytest.raises(ConfigError, match="replay it without an object"):
        psmpi.replay(out, problem=Quadratic())


def test_a_changed_configuration_is_named(record):
    _, out = record()
    path = out / "manifest.json"
    path.write_text(path.read_text().replace('"lr": 0.1', '"lr": 0.2'))
    with pytest.raises(ConfigError, match="the configuration of"):
        psmpi.replay(out)


def test_a_run_that_did_not_end_is_refused(record):
    _, out = record()
    (out / "summary.json").unlink()
    with pytest.raises(ConfigError, match="has not ended"):
        psmpi.replay(out)


def test_lost_or_broken_decisions_are_named(record):
    _, out = record()
    with np.load(out / "decisions.npz") as found:
        shortened = {rank: found[rank][:-3] for rank in found}
    np.savez_compressed(out / "decisions.npz", **shortened)
    with pytest.raises(LinkError, match="decisions of this rank are used up"):
        psmpi.replay(out)
    (out / "decisions.npz").write_bytes(b"PK")
    with pytest.raises(ConfigError, match=r"decisions\.npz: broken"):
        psmpi.replay(out)


def test_a_different_loss_is_named_with_its_round(record):
    _, out = record()
    rows = (out / "rows.jsonl").read_text().splitlines()
    row = json.loads(rows[3])
    rows[3] = json.dumps(row | {"loss": row["loss"] * (1 + 1e-9)})
    (out / "rows.jsonl").write_text("\n".join(rows) + "\n")
    with pytest.raises(PsmpiError, match=r"differs from .* since round 15: the l"):
        psmpi.replay(out)


def test_a_different_model_is_named(record):
    there, out = record()
    x = there.x.copy()
    x[0] = np.nextafter(x[0], np.float32(np.inf))
    np.save(out / "model.npy", x)
    with pytest.raises(PsmpiError, match="the final model differs"):
        psmpi.replay(out)


def test_the_command_reports_what_is_equal(record, capsys, monkeypatch):
    _, out = record()
    monkeypatch.setattr("sys.argv", ["psmpi", "replay", str(out)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    assert "the same bits again: the model after 30 rounds" in capsys.readouterr().out


def test_missing_rows_and_a_missing_model_are_named(record):
    _, out = record()
    rows = (out / "rows.jsonl").read_text().splitlines(keepends=True)
    (out / "rows.jsonl").write_text("".join(rows[:-1]))
    with pytest.raises(PsmpiError, match=f"has {len(rows) - 1} rows"):
        psmpi.replay(out)
    (out / "model.npy").unlink()
    with pytest.raises(ConfigError, match=r"model\.npy: can.t be read"):
        psmpi.replay(out)
