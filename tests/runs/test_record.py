"""Run directories: strict JSON, whole files, never overwritten, always readable."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from psmpi.base import ConfigError
from psmpi.runs.record import RunWriter, plain
from psmpi.runs.recorded import follow, read_run
from psmpi.runs.schema import ROW_KEYS, SUMMARY_KEYS


def row(number, **more):
    return {**dict.fromkeys(ROW_KEYS, number), "loss": 1 / (number + 1), **more}


def summary(**more):
    values = dict.fromkeys(SUMMARY_KEYS, 0) | {"seconds": {"total": 1.0}, "ranks": []}
    return values | {"workers": 4, "dim": 10, "rounds": 5, "reached": {}} | more


def writer(path):
    return RunWriter(
        path, {"algorithm": "gd"}, hosts=["node-a"], digests={"data": "abc"}, mpi="M"
    )


@pytest.fixture
def ended(tmp_path):
    with writer(tmp_path / "run") as out:
        out.append(row(0))
        out.append(row(1, residual=0.5))
        out.finish(summary())
    return tmp_path / "run"


def test_a_run_is_read_as_it_was_written(ended):
    run = read_run(ended)
    assert run.manifest["config"] == {"algorithm": "gd"}
    assert run.manifest["hosts"] == ["node-a"]
    assert run.manifest["created"].endswith("+00:00")
    assert run.manifest["versions"]["mpi"] == "M"
    assert set(run.manifest["versions"]) > {"python", "psmpi", "numpy", "numba"}
    assert [r["round"] for r in run.rows] == [0, 1]
    assert [r["residual"] for r in run.rows] == [None, 0.5]
    assert run.summary["workers"] == 4
    assert run.torn is None


def test_dense_bits_are_those_of_gd(ended):
    run = read_run(ended)
    assert run.summary["dense_bits_up"] == 32 * 10 * 4 * 5
    assert run.summary["dense_bits_down"] == 32 * 10 * 4 * 5


def test_a_run_without_a_model_leaves_three_files(ended):
    names = {path.name for path in ended.iterdir()}
    assert names == {"manifest.json", "rows.jsonl", "summary.json"}


def test_an_existing_directory_is_refused(ended):
    before = (ended / "manifest.json").read_bytes()
    with pytest.raises(ConfigError, match=r"already exists.*give another"):
        writer(ended)
    assert (ended / "manifest.json").read_bytes() == before


def test_a_directory_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't be created"):
        writer(tmp_path / "file" / "run")


def test_a_failed_run_has_no_summary(tmp_path):
    def fail():
        with writer(tmp_path / "run") as out:
            out.append(row(0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    run = read_run(tmp_path / "run")
    assert run.summary is None
    assert len(run.rows) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (-np.inf, None),
        (np.float32(0.5), 0.5),
        (np.int64(2**40), 2**40),
        (np.bool_(True), True),
        (np.array([1.0, np.nan]), [1.0, None]),
        (np.float32, "float32"),
        (np.dtype("float64"), "float64"),
        (Path("a"), "a"),
        ({1e-6: (1, {"x": np.inf})}, {"1e-06": [1, {"x": None}]}),
    ],
    ids=str,
)
def test_plain_is_strict_json(value, expected):
    assert plain(value) == expected
    json.dumps(plain(value), allow_nan=False)


def test_files_hold_no_nan(tmp_path):
    with writer(tmp_path / "run") as out:
        out.append(row(0, loss=np.float32("nan"), seconds=np.float64("inf")))
        out.finish(summary(loss=float("nan")))
    texts = [path.read_text() for path in (tmp_path / "run").iterdir()]
    assert not any("NaN" in text or "Infinity" in text for text in texts)
    run = read_run(tmp_path / "run")
    assert run.rows[0]["loss"] is None
    assert run.summary["loss"] is None


@pytest.mark.parametrize("key", ROW_KEYS)
def test_a_row_that_lacks_a_key_is_refused(tmp_path, key):
    values = row(0)
    del values[key]
    with writer(tmp_path / "run") as out, pytest.raises(ConfigError, match=key):
        out.append(values)


@pytest.mark.parametrize("key", SUMMARY_KEYS)
def test_a_summary_that_lacks_a_key_is_not_written(tmp_path, key):
    values = summary()
    del values[key]
    with writer(tmp_path / "run") as out, pytest.raises(ConfigError, match=key):
        out.finish(values)
    assert not (tmp_path / "run" / "summary.json").exists()


def test_an_incomplete_last_line_is_left_out_and_reported(ended):
    with (ended / "rows.jsonl").open("a") as file:
        file.write('{"round": 2, "lo')
    run = read_run(ended)
    assert len(run.rows) == 2
    assert run.torn == 3


def test_a_file_of_one_incomplete_line_has_no_rows(ended):
    (ended / "rows.jsonl").write_text('{"rou')
    run = read_run(ended)
    assert (run.rows, run.torn) == ([], 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", r"rows\.jsonl, line 3: broken"),
        ('{"loss": NaN}', r"line 3: broken \(NaN is not JSON\)"),
        ("[1]", "line 3: an object was expected"),
        ('{"round": 1}', "line 3: lacks loss, uploads"),
        ("\udcff", "line 3: broken"),
        ("", "line 3: broken"),
    ],
)
def test_a_broken_line_is_named(ended, line, message):
    with (ended / "rows.jsonl").open("ab") as file:
        file.write(line.encode(errors="surrogateescape") + b"\n")
    with pytest.raises(ConfigError, match=message):
        read_run(ended)


@pytest.mark.parametrize("name", ["manifest.json", "rows.jsonl"])
def test_a_missing_file_is_named(ended, name):
    (ended / name).unlink()
    with pytest.raises(ConfigError, match=f"{name}: is missing"):
        read_run(ended)


@pytest.mark.parametrize("name", ["manifest.json", "summary.json"])
def test_a_broken_file_is_named(ended, name):
    (ended / name).write_text("{")
    with pytest.raises(ConfigError, match=f"{name}: broken"):
        read_run(ended)


def test_a_summary_that_lacks_keys_is_refused(ended):
    (ended / "summary.json").write_text('{"algorithm": "gd"}')
    with pytest.raises(ConfigError, match=r"summary\.json: lacks workers"):
        read_run(ended)


def test_another_format_is_refused(ended):
    (ended / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(ConfigError, match="format 99, this psmpi"):
        read_run(ended)


def test_a_missing_directory_and_a_file_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such directory"):
        read_run(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file: is a file; give the directory of a"):
        read_run(tmp_path / "file")


def test_follow_yields_each_complete_row_once(tmp_path):
    new_rows = follow(tmp_path / "run")
    assert next(new_rows) == []
    with writer(tmp_path / "run") as out:
        assert next(new_rows) == []
        out.append(row(0))
        assert [r["round"] for r in next(new_rows)] == [0]
        assert next(new_rows) == []
        out.append(row(1))
        out.append(row(2))
        assert [r["round"] for r in next(new_rows)] == [1, 2]
    rows = tmp_path / "run" / "rows.jsonl"
    whole = json.dumps(row(3, residual=None, accuracy=None, gradient_norm=None)) + "\n"
    with rows.open("a") as file:
        file.write(whole[:20])
        file.flush()
        assert next(new_rows) == []
        file.write(whole[20:])
    assert [r["round"] for r in next(new_rows)] == [3]


def test_follow_names_the_broken_line(ended):
    new_rows = follow(ended)
    next(new_rows)
    with (ended / "rows.jsonl").open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(ConfigError, match="line 3: broken"):
        next(new_rows)


def test_a_run_can_be_moved(ended, tmp_path):
    shutil.move(ended, tmp_path / "moved")
    assert read_run(tmp_path / "moved").summary is not None
