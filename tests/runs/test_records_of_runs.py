"""What runs leave behind: effective settings, warnings, models of interrupted runs."""

import json

import numpy as np
import pytest

import psmpi
from psmpi.base import PsmpiError
from psmpi.runs import record

DATA = "synthetic:softmax,samples=120,features=5"
OPTIONS = {"workers": 3, "rounds": 20, "data": DATA, "local": True}


def manifest(path):
    return json.loads((path / "manifest.json").read_text())


def test_a_manifest_says_what_was_given_and_what_was_used(tmp_path):
    psmpi.run("laq", bits=3, out=tmp_path / "x", **OPTIONS)
    found = manifest(tmp_path / "x")
    assert set(found["given"]) == {"bits", "workers", "rounds", "data"}
    assert found["effective"]["codec"] == "uniform:bits=3"
    assert found["effective"]["down_codec"] == "dense:bits=32"
    assert found["effective"]["error_weight"] == 3.0


@pytest.mark.parametrize("lr", [0.01, 50.0])
def test_a_loss_that_has_risen_is_warned_about(lr, capsys):
    result = psmpi.run("gd", lr=lr, **OPTIONS)
    warned = result.summary["warnings"]
    assert bool(warned) == (lr > 1) == ("the loss rose from" in capsys.readouterr().err)
    if warned:
        assert "sum over 3 workers" in warned[0]


def test_a_callback_gets_every_row():
    rows, lines = [], []
    result = psmpi.run("gd", on_row=rows.append, on_status=lines.append, **OPTIONS)
    assert rows == result.rows
    assert lines[-1] == "training"


def test_an_interrupted_run_leaves_its_last_model(tmp_path):
    def interrupt(row):
        if row["round"] == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        psmpi.run("gd", on_row=interrupt, out=tmp_path / "x", **OPTIONS)
    assert not (tmp_path / "x/summary.json").exists()
    rows = (tmp_path / "x/rows.jsonl").read_text().splitlines()
    assert [json.loads(row)["round"] for row in rows] == [0, 10]
    assert np.load(tmp_path / "x/model.npy").shape == (30,)


def test_a_disk_that_is_full_is_told_in_a_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record.np, "save", full)
    with pytest.raises(PsmpiError, match=r"model.npy.tmp: can't be written \(No spa"):
        psmpi.run("gd", out=tmp_path / "x", **OPTIONS)
