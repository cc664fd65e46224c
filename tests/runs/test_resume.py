"""Runs that are cut off go on to the bits of the run that was not, in process."""

import json
import os
import signal
import time

import numpy as np
import pytest

import psmpi
from psmpi.base import ConfigError
from psmpi.runs import config, resumption
from psmpi.runs.local import run_local
from tests.helpers.algorithm_table import QUADRATIC, ROWS

ROUNDS = 60
BASE = {
    "workers": 3,
    "data": QUADRATIC,
    "rounds": ROUNDS,
    "evaluate_every": 5,
    "checkpoint_every": 10,
}
#: Further ways through the algorithms, with what else they remember.
VARIANTS = [
    ("laq", {"codec": "topk", "k": 5}),
    ("laq", {"down_codec": "uniform"}),
    ("slaq", {"batch": 10, "partition": "shuffled"}),
    ("sgd", {"batch": 10, "momentum": 0.9, "weight_decay": 0.01}),
    ("qsgd", {"batch": 10, "downlink": "update", "down_codec": "stochastic"}),
    ("dist-ef-sgdm", {"batch": 10, "lr_schedule": "drop:0.1@30,45"}),
    ("dist-ef-sgdm", {"batch": 10, "dtype": "float64"}),
    ("qsparse-local-sgd", {"k": 5, "local_steps": 3, "schedule": "async"}),
    ("sparseloco", {"k": 0.3, "local_steps": 3, "clip": "median"}),
    ("dsgd", {"topology": "ring", "relay": True, "batch": 10}),
    (
        "async-dsgd",
        {"topology": "ring", "batch": 10, "link_rate": 1e5, "speeds": "constant:500"},
    ),
    ("sgd", {"batch": 10, "link_rate": 1e6, "speeds": "uniform:100,200"}),
]


class CutOff(Exception):
    pass


def cut_off(path, id, options, at=35):
    """Run until a row of round ``at`` or later, and stop without any goodbye."""

    def on_row(row):
        if row["round"] >= at:
            raise CutOff

    with pytest.raises(CutOff):
        run_local(config.configure(id, **options), out=path, on_row=on_row)


def resume(path, **more):
    found = resumption.find(path)
    return found, run_local(found.configuration(), out=path, resumption=found, **more)


def untimed(rows, clock):
    """Return rows without what a real clock has measured."""
    if clock == "simulated":
        return rows
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def assert_same(whole, result):
    assert result.x.tobytes() == whole.x.tobytes()
    clock = whole.summary["clock"]
    assert untimed(result.rows, clock) == untimed(whole.rows, clock)
    for target, then in whole.summary["reached"].items():
        assert untimed([result.summary["reached"][target]], "") == untimed([then], "")
    for key in whole.summary.keys() - {"seconds", "ranks", "reached"}:
        assert result.summary[key] == whole.summary[key], key
    measured = {"seconds", "cpu_seconds", "max_rss", "overshoot", "behind"}
    for then, now in zip(whole.summary["ranks"], result.summary["ranks"], strict=True):
        for key in then.keys() - measured:
            assert now[key] == then[key], (key, then["rank"])


@pytest.mark.parametrize(
    ("id", "options"),
    [(id, options) for id, options, _ in ROWS] + VARIANTS,
    ids=[id for id, _, _ in ROWS] + [f"{id}-{'-'.join(o)}" for id, o in VARIANTS],
)
def test_a_run_goes_on_to_the_same_bits(tmp_path, id, options):
    given = BASE | options
    whole = run_local(config.configure(id, **given), out=tmp_path / "whole")
    cut_off(tmp_path / "cut", id, given)
    found, result = resume(tmp_path / "cut")
    assert 10 <= found.round < 40
    assert_same(whole, result)
    on_disk = (tmp_path / "cut" / "rows.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in on_disk] == setup_rows(result.rows)
    assert np.load(tmp_path / "cut/model.npy").tobytes() == whole.x.tobytes()


def setup_rows(rows):
    """Return rows as they are on the disk."""
    return json.loads(json.dumps(rows))


def test_a_run_is_the_same_with_and_without_checkpoints(tmp_path):
    options = {**BASE, "bits": 4, "lr": 0.3}
    saved = run_local(config.configure("laq", **options), out=tmp_path / "saved")
    options["checkpoint_every"] = 0
    plain = run_local(config.configure("laq", **options), out=tmp_path / "plain")
    assert_same(plain, saved)
    assert not (tmp_path / "plain/checkpoints").exists()


def test_it_may_be_cut_off_again_and_again(tmp_path):
    options = {**BASE, "batch": 10}
    whole = run_local(config.configure("dist-ef-sgdm", **options), out=tmp_path / "w")
    cut_off(tmp_path / "cut", "dist-ef-sgdm", options, at=15)
    for at in (25, 45, 55):

        def on_row(row, at=at):
            if row["round"] >= at:
                raise CutOff

        with pytest.raises(CutOff):
            resume(tmp_path / "cut", on_row=on_row)
    _, result = resume(tmp_path / "cut")
    assert_same(whole, result)
    lines = (tmp_path / "cut/resumes.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in lines] == [10, 20, 40, 50]


def test_without_a_checkpoint_it_begins_again(tmp_path):
    options = {**BASE, "checkpoint_every": 0}
    whole = run_local(config.configure("gd", **options), out=tmp_path / "whole")
    cut_off(tmp_path / "cut", "gd", options)
    found, result = resume(tmp_path / "cut")
    assert found.round == 0
    assert_same(whole, result)


def test_a_damaged_checkpoint_is_passed_over(tmp_path, capsys):
    whole = run_local(config.configure("laq", **BASE), out=tmp_path / "whole")
    cut_off(tmp_path / "cut", "laq", BASE)
    newest = sorted((tmp_path / "cut/checkpoints").iterdir())[-1]
    with (newest / "rank-2.npz").open("r+b") as file:
        file.truncate(100)
    found, result = resume(tmp_path / "cut")
    assert found.round == 20
    assert "rank-2.npz: damaged" in capsys.readouterr().err
    assert_same(whole, result)


def test_targets_that_were_reached_stay_reached(tmp_path):
    options = {**BASE, "lr": 0.3, "until": ["loss=1", "residual=1e-12"]}
    whole = run_local(config.configure("gd", **options), out=tmp_path / "whole")
    assert whole.summary["reached"]["loss=1"]["round"] < 30
    cut_off(tmp_path / "cut", "gd", options)
    _, result = resume(tmp_path / "cut")
    assert_same(whole, result)


def test_a_run_that_has_ended_is_refused(tmp_path):
    run_local(config.configure("gd", **BASE), out=tmp_path / "run")
    with pytest.raises(ConfigError, match="has ended after 60 rounds, so there is no"):
        psmpi.resume(tmp_path / "run")


def test_other_data_are_refused(tmp_path):
    data = tmp_path / "data.npz"
    arrays = {"X": np.eye(30), "y": np.arange(30) % 3}
    np.savez(data, **arrays)
    options = {**BASE, "data": f"npz:{data}"}
    cut_off(tmp_path / "cut", "gd", options)
    np.savez(data, **{**arrays, "X": 2 * np.eye(30)})
    with pytest.raises(ConfigError, match=r"resume: the data of .* has changed"):
        psmpi.resume(tmp_path / "cut", local=True)


def test_rows_that_are_missing_are_refused(tmp_path):
    cut_off(tmp_path / "cut", "gd", BASE)
    rows = tmp_path / "cut/rows.jsonl"
    rows.write_text(rows.read_text().partition("\n")[0] + "\n")
    with pytest.raises(ConfigError, match="has 1 rows, and 6 when"):
        psmpi.resume(tmp_path / "cut")


@pytest.mark.parametrize("rows", [None, "6", -1, 1e9])
def test_a_strange_number_of_rows_is_refused(tmp_path, rows):
    cut_off(tmp_path / "cut", "gd", BASE)
    newest = sorted((tmp_path / "cut/checkpoints").iterdir())[-1] / "manifest.json"
    manifest = json.loads(newest.read_text())
    manifest["facts"]["rows"] = rows
    newest.write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match="restore it, or start anew"):
        psmpi.resume(tmp_path / "cut")


def test_a_row_that_was_cut_short_is_written_again(tmp_path):
    whole = run_local(config.configure("gd", **BASE), out=tmp_path / "whole")
    cut_off(tmp_path / "cut", "gd", BASE)
    with (tmp_path / "cut/rows.jsonl").open("a") as file:
        file.write('{"round": 4')
    _, result = resume(tmp_path / "cut")
    assert_same(whole, result)


def test_checkpoints_by_the_clock(tmp_path, monkeypatch):
    """A second passes each time that the clock is read."""
    seconds = iter(range(10**6))
    monkeypatch.setattr("psmpi.links.checkpoints.time.monotonic", lambda: next(seconds))
    options = {**BASE, "checkpoint_every": "7s", "keep": 100}
    whole = run_local(config.configure("laq", **options), out=tmp_path / "whole")
    found = sorted(path.name for path in (tmp_path / "whole/checkpoints").iterdir())
    assert len(found) > 3
    cut_off(tmp_path / "cut", "laq", options)
    found, result = resume(tmp_path / "cut")
    assert found.round > 10
    assert result.x.tobytes() == whole.x.tobytes()


@pytest.mark.parametrize("id", ["laq", "dist-ef-sgdm", "asylpg", "dsgd", "lag-ps"])
def test_asked_to_end_it_is_saved_and_ends(tmp_path, id):
    row = {id: options for id, options, _ in ROWS}[id]
    options = {**BASE, **row, "checkpoint_every": 1000}
    whole = run_local(config.configure(id, **options), out=tmp_path / "whole")

    def on_row(row):
        if row["round"] == 20:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)  # for the main thread to take it in

    with pytest.raises(psmpi.errors.RunPreempted, match="saved as of round") as ended:
        run_local(config.configure(id, **options), out=tmp_path / "cut", on_row=on_row)
    assert ended.value.exit_status == 75
    assert not (tmp_path / "cut/summary.json").exists()
    found, result = resume(tmp_path / "cut")
    assert found.round >= 20
    assert result.x.tobytes() == whole.x.tobytes()
    clock = whole.summary["clock"]
    assert untimed(result.rows, clock) == untimed(whole.rows, clock)


def test_checkpoints_need_a_directory():
    with pytest.raises(ConfigError, match="recorded nowhere; give a directory"):
        psmpi.run("gd", local=True, **BASE)


def test_free_workers_are_not_saved_by_the_clock(tmp_path):
    options = {"topology": "ring", "checkpoint_every": "60s", "speeds": "constant:100"}
    with pytest.raises(ConfigError, match="give a number of rounds"):
        psmpi.run("async-dsgd", local=True, out=tmp_path / "run", **options)


def test_a_full_disk_costs_a_checkpoint_and_not_the_run(tmp_path, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("psmpi.storage.checkpoints.tree.write", full)
    whole = run_local(config.configure("gd", **BASE), out=tmp_path / "run")
    assert whole.summary["rounds"] == ROUNDS
    warnings = capsys.readouterr().err
    assert "there is no checkpoint of round 10 (No space left on device)" in warnings
    assert not list((tmp_path / "run/checkpoints").glob("*/*"))
