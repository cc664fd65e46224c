"""A disk without room: one line names the file, and the record can be read."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from psmpi.runs import record
from psmpi.runs.recorded import read_run
from tests.helpers.small_system import needs_mounts, psmpi

GD = ("run", "gd", "--rounds", "200", "--no-optimum", "--out", "disk/out")
ASYLPG = ("run", "asylpg", "--rounds", "200", "--no-optimum", "--out", "disk/out")
LOCAL, MPI = ("--local",), ("--workers", "2")


def on_small_disk(folder, size, *words):
    """Run psmpi with a disk of ``size`` below ``disk``; copy that to ``kept``."""
    for name in ("disk", "kept"):
        (folder / name).mkdir()
    keep = folder / "keep.sh"
    disk, kept = (shlex.quote(str(folder / name)) for name in ("disk", "kept"))
    keep.write_text(f'"$@"; s=$?; cp -r {disk}/. {kept}; exit $s')
    mounts = f'mount -t tmpfs -o {size} none {disk}; set -- sh keep.sh "$@"'
    return psmpi(folder, *words, mounts=mounts)


@pytest.mark.mpi
@needs_mounts
@pytest.mark.parametrize(
    ("words", "kilobytes"),
    [((*GD, *LOCAL), size) for size in range(4, 36, 4)]
    + [((*GD, *MPI), size) for size in (4, 8, 16)]
    + [((*ASYLPG, *MPI, "--evaluate-every", "20"), size) for size in (12, 16)],
)
def test_a_full_disk_is_one_line_and_the_rows_can_be_read(tmp_path, words, kilobytes):
    ended = on_small_disk(tmp_path, f"size={kilobytes}k", *words)
    kept = tmp_path / "kept" / "out"
    if ended.returncode == 0:  # enough room
        assert read_run(kept).summary is not None
        return
    assert ended.returncode == 3
    assert "Traceback" not in ended.stderr
    # Rows that were recorded before may be shown after it.
    (line,) = (line for line in ended.stderr.splitlines() if "written" in line)
    assert "can't be written (No space left on device); the run ends" in line
    assert any(f"/out/{name}" in line for name in NAMES), line
    assert line.endswith("free some space there, or record the run elsewhere")
    run = read_run(kept)
    assert run.summary is None
    rounds = [row["round"] for row in run.rows]
    assert rounds == sorted(rounds)
    assert not list(kept.glob("*.tmp"))
    for command in ("show", "report"):
        shown = psmpi(tmp_path, command, "kept/out")
        assert shown.returncode == 0, shown.stderr
        assert "the run did not end" in shown.stdout


NAMES = (record.ROWS, record.MODEL, record.SUMMARY, record.DECISIONS)


@needs_mounts
def test_a_run_without_room_for_its_manifest_leaves_nothing(tmp_path):
    ended = on_small_disk(tmp_path, "size=4k,nr_inodes=2", *GD, *LOCAL)
    assert ended.returncode in (2, 3)
    assert "Traceback" not in ended.stderr
    assert not list((tmp_path / "kept").iterdir())


@pytest.mark.mpi
@needs_mounts
def test_a_read_only_directory_is_refused_before_ranks_start(tmp_path):
    ended = on_small_disk(tmp_path, "ro", *GD, *MPI)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("psmpi: disk/out: can't be created (")
    assert line.endswith("can't be written to); give another directory with --out")


@needs_mounts
def test_kernels_that_can_not_be_kept_end_no_run(tmp_path):
    (tmp_path / "cache").mkdir()
    folder = shlex.quote(str(tmp_path / "cache"))
    mounts = f"mount -t tmpfs -o size=40k none {folder}"
    words = ("run", "gd", "--local", "--rounds", "3", "--no-optimum", "--out", "out")
    ended = psmpi(tmp_path, *words, mounts=mounts, NUMBA_CACHE_DIR=str(folder))
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("kernels: can't be kept on disk (No space") == 1
    assert "set NUMBA_CACHE_DIR to a folder with space" in ended.stderr


@pytest.mark.mpi
@needs_mounts
def test_a_read_only_package_without_a_home_warns_once(tmp_path):
    import psmpi as package

    where = shlex.quote(package.__path__[0])
    mounts = f"mount --bind {where} {where}; mount -o remount,bind,ro {where}"
    mounts += "; " + "; ".join(
        # What is compiled already would be found.
        f"[ ! -d {where}/{room}/__pycache__ ] || "
        f"mount -t tmpfs -o ro none {where}/{room}/__pycache__"
        for room in ("kernels",)
    )
    words = ("run", "gd", *MPI, "--rounds", "3", "--no-optimum", "--out", "out")
    ended = psmpi(
        *(tmp_path, *words),
        mounts=mounts,
        HOME="/dev/null/home",
        XDG_CACHE_HOME=None,
        PSMPI_CACHE=None,
        NUMBA_CACHE_DIR=None,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("kernels: can't be kept on disk (numba finds no") == 1


LIMITED = """
import os, resource, signal, sys
import psmpi
folder, step = sys.argv[1], int(sys.argv[2])
options = dict(local=True, workers=2, rounds=30, evaluate_every=1, optimum=False)
psmpi.run("gd", **options)  # loads all that a run needs
for size in range(0, 12000, step):
    pid = os.fork()
    if pid:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(size, status, flush=True)
        continue
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        psmpi.run("gd", out=f"{folder}/{size}", **options)
    except psmpi.PsmpiError as error:
        os._exit(3 if "can't be written (File too large)" in str(error) else 1)
    except BaseException:
        os._exit(1)
    os._exit(0)
"""


def test_files_that_end_anywhere_leave_a_record_that_can_be_read(tmp_path):
    line = [sys.executable, "-c", LIMITED, str(tmp_path), "173"]
    ended = subprocess.run(
        line, capture_output=True, text=True, timeout=240, check=False
    )
    assert ended.returncode == 0, ended.stderr
    outcomes = {int(size): int(status) for size, status in map(str.split, lines(ended))}
    assert len(outcomes) == 70
    assert set(outcomes.values()) == {0, 3}
    assert outcomes[max(outcomes)] == 0
    rows = []
    for size, status in outcomes.items():
        kept = tmp_path / str(size)
        if not kept.exists():  # not even a manifest
            assert status == 3
            continue
        run = read_run(kept)
        assert (run.summary is not None) == (status == 0)
        rows.append(len(run.rows))
        assert [row["round"] for row in run.rows] == list(range(len(run.rows)))
        assert not list(kept.glob("*.tmp"))
    assert rows == sorted(rows)
    assert len(set(rows)) > 5


def lines(ended):
    return ended.stdout.splitlines()
