"""What runs record: effective settings, warnings, models of interrupted runs."""

import json
import re
import resource
from typing import NotRequired, get_origin, get_type_hints

import numpy as np
import pytest

import psmpi
from psmpi.base import PsmpiError
from psmpi.runs import record, schema
from psmpi.runs.recorded import read_run

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


@pytest.mark.parametrize(
    ("algorithm", "options", "warning"),
    [
        ("gd", {"lr": 0.01}, None),
        ("gd", {"lr": 0.4, "reduce": "mean"}, None),
        (
            *("gd", {"lr": 50.0}),
            r"gd: the loss rose from [\d.]+ in round 0 to [\de.+]+ in round 20; lower "
            r"--lr \(the step is along the sum over 3 workers: try --lr 16.7 or "
            r"--reduce mean\)",
        ),
        (
            *("gd", {"lr": 150.0, "reduce": "mean"}),
            r"gd: the loss rose from [\d.]+ in round 0 to [\de.+]+ in round 20; lower "
            r"--lr",
        ),
        (
            *(
                "dynamic-averaging",
                {"lr": 50.0, "batch": 9},
            ),
            r"dynamic-averaging: the loss rose from .* in round 20; lower --lr",
        ),
    ],
)
def test_a_loss_that_has_risen_is_warned_about(algorithm, options, warning, capsys):
    result = psmpi.run(algorithm, **OPTIONS | options)
    printed = capsys.readouterr().err
    if warning is None:
        assert result.summary["warnings"] == []
        assert printed == ""
        return
    assert re.fullmatch(f"psmpi: warning: {warning}\n", printed)
    assert re.fullmatch(warning, result.summary["warnings"][-1])


def test_callbacks_get_every_row_and_the_phases():
    rows, lines = [], []
    result = psmpi.run("gd", on_row=rows.append, on_status=lines.append, **OPTIONS)
    assert rows == result.rows
    assert lines[-1] == "training"


def test_the_result_has_the_recorded_summary_and_rows(tmp_path):
    result = psmpi.run("asylpg", out=tmp_path / "x", **OPTIONS)
    recorded = read_run(tmp_path / "x")
    assert record.plain(result.summary) == recorded.summary
    assert record.plain(result.rows) == recorded.rows


@pytest.mark.parametrize("algorithm", ["sgd", "asylpg", "async-dsgd"])
def test_recorded_keys_are_those_of_the_types(algorithm):
    def keys_fit(record, type_):
        types = get_type_hints(type_, include_extras=True)
        required = {k for k, kind in types.items() if get_origin(kind) != NotRequired}
        assert required <= set(record) <= set(types)

    result = psmpi.run(algorithm, **OPTIONS, batch=9)
    keys_fit(result.rows[0], schema.Row)
    keys_fit(result.summary, schema.Summary)
    for report in result.summary["ranks"]:
        keys_fit(report, schema.RankReport)


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


@pytest.mark.parametrize(
    ("limit", "file"),
    [(200, "manifest.json"), (2500, "rows.jsonl"), (3000, "summary.json")],
)
def test_a_file_that_cannot_be_written_is_named(limit, file, tmp_path):
    """Files have at most ``limit`` bytes, as if the disk were full from then on."""
    rounds = 20 if file == "rows.jsonl" else 1
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        with pytest.raises(PsmpiError) as raised:
            psmpi.run(
                "gd",
                out=tmp_path / "x",
                evaluate_every=1,
                **OPTIONS | {"rounds": rounds},
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    expected = f"{tmp_path}/x/{file}: can't be written (File too large); the run ends"
    assert str(raised.value).startswith(expected)
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "x").glob("*.tmp"))
    assert not (tmp_path / "x" / "summary.json").exists()


def test_a_model_is_written_at_once(tmp_path, monkeypatch):
    """A reader never finds half of it, and slow writing does not take over a run."""
    models, times = [], []
    write = np.save

    def save(file, x):
        times.append(x[0])
        write(file, x[: x.size // 2])
        if (tmp_path / "x" / "model.npy").exists():
            models.append(np.load(tmp_path / "x" / "model.npy").size)
        file.seek(0)
        write(file, x)

    monkeypatch.setattr(record.np, "save", save)
    psmpi.run("gd", out=tmp_path / "x", evaluate_every=1, **OPTIONS)
    assert set(models) == {30}
    assert 2 <= len(times) <= 22
