"""Temporary folders: removed at the end, and by the next start after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from psmpi.base import ConfigError
from psmpi.processes import scratch

HOLD = """
import os, sys, time
from psmpi.processes import scratch
with scratch.folder(sys.argv[1]) as folder:
    if len(sys.argv) > 2:  # a process below, which holds the lock for longer
        import subprocess
        below = ["sleep", sys.argv[2]]
        subprocess.Popen(below, pass_fds=(folder.lock,), start_new_session=True)
    print(folder.path, flush=True)
    time.sleep(60)
"""


def hold(parent, *words):
    """Start a process that uses a folder; return it and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(parent), *words],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process.stdout:
        return process, Path(process.stdout.readline().strip())


def end(process):
    process.kill()
    process.wait()


def test_a_folder_ends_with_its_block(tmp_path):
    with scratch.folder(str(tmp_path)) as folder:
        (folder.path / "deep").mkdir()
        (folder.path / "deep" / "file").write_text("x")
        assert folder.path.parent == tmp_path
    assert not list(tmp_path.iterdir())


def test_a_killed_launcher_s_folder_is_removed_by_the_next(tmp_path):
    process, folder = hold(tmp_path)
    scratch.sweep(tmp_path)
    assert folder.exists()  # it is in use
    end(process)
    assert folder.exists()
    with scratch.folder(str(tmp_path)):
        assert not folder.exists()


def test_a_folder_is_in_use_until_all_below_the_launcher_have_ended(tmp_path):
    process, folder = hold(tmp_path, "2")
    end(process)
    scratch.sweep(tmp_path)
    assert folder.exists()
    time.sleep(2.5)
    scratch.sweep(tmp_path)
    assert not folder.exists()


def test_what_is_not_a_dead_launcher_s_stays(tmp_path, monkeypatch):
    (tmp_path / "psmpi-without-lock").mkdir()
    (tmp_path / "psmpi-file").write_text("")
    other = tmp_path / "other"
    other.mkdir()
    (other / "in-use").write_text("")
    (tmp_path / "psmpi-link").symlink_to(other)
    foreign = tmp_path / "psmpi-foreign"
    foreign.mkdir()
    (foreign / "in-use").write_text("")
    before = sorted(tmp_path.rglob("*"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: 123456)
        scratch.sweep(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    scratch.sweep(tmp_path)
    assert not foreign.exists()
    assert (other / "in-use").exists()
    scratch.sweep(tmp_path / "missing")


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no shared memory")
def test_noted_shared_memory_is_removed_with_it(tmp_path):
    named = f"/dev/shm/mpich_shm_test_{os.getpid()}"
    innocent = tmp_path / "innocent"
    for path in (named, innocent):
        Path(path).write_text("x")
    left = tmp_path / "psmpi-left"
    left.mkdir()
    (left / "in-use").write_text("")
    scratch.Scratch(left, -1).note_shared({named, str(innocent), "/dev/shm/../tmp"})
    scratch.sweep(tmp_path)
    assert not left.exists()
    assert not Path(named).exists()
    assert innocent.exists()


def test_a_path_too_long_for_a_socket_is_refused(tmp_path):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    with (
        scratch.folder(str(deep)) as folder,
        pytest.raises(ConfigError, match="TMPDIR: a socket's path has at most 107"),
    ):
        folder.socket("launcher")


def test_no_temporary_folder_is_an_error_of_one_line(tmp_path):
    with (
        pytest.raises(ConfigError, match="TMPDIR: no temporary folder can be made"),
        scratch.folder(str(tmp_path / "missing")),
    ):
        pass


def folders_of(pid):
    """Return the temporary folders whose lock a process holds."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        path = Path(os.readlink(link))
        if path.name in ("in-use", "in-use.new"):
            found.add(path.parent)
    return found


@pytest.mark.mpi
def test_nothing_stays_of_a_run_whose_launcher_was_killed(tmp_path):
    def start(rounds, out):
        words = ["run", "gd", "--workers", "2", "--no-optimum", "--rounds", rounds]
        return subprocess.Popen(
            [sys.executable, "-m", "psmpi", *words, "--out", out],
            cwd=tmp_path,
            env={**os.environ, "PSMPI_OVERSUBSCRIBE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    killed = start("100000000", "killed")
    rows = tmp_path / "killed" / "rows.jsonl"
    deadline = time.monotonic() + 60
    while not (rows.exists() and rows.stat().st_size):
        assert time.monotonic() < deadline
        assert killed.poll() is None
        time.sleep(0.05)
    folders = folders_of(killed.pid)
    assert len(folders) == 2  # the launcher's, and one for the status of the run
    shared = set()
    for folder in folders:
        if (folder / "shared-memory").exists():
            shared |= set((folder / "shared-memory").read_text().split())
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    while any(_locked(folder) for folder in folders):
        assert time.monotonic() < deadline, "a process still holds the lock"
        time.sleep(0.05)
    assert start("2", "next").wait(60) == 0
    assert not any(folder.exists() for folder in folders)
    assert not any(Path(name).exists() for name in shared)
    assert rows.read_text().count("\n") >= 1


def _locked(folder):
    import fcntl

    try:
        with (folder / "in-use").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
