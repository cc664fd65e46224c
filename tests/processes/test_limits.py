"""Limits of the system are named before ranks start, with what to do about them."""

from __future__ import annotations

import os
import resource

import pytest

from psmpi.base import ConfigError
from psmpi.processes import hosts, limits
from psmpi.processes.mpiexec import find_mpiexec, vendor
from tests.helpers.small_system import needs_mounts, psmpi

RUN = ("run", "gd", "--workers", "4", "--rounds", "5", "--no-optimum", "--out", "out")


def test_more_open_files_are_allowed_for_a_while_or_asked_for(monkeypatch):
    now = resource.getrlimit(resource.RLIMIT_NOFILE)
    with limits.open_files(1):
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == now
    asked = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (50, 100))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, pair: asked.append(pair))
    with limits.open_files(9):
        assert asked == [(86, 100)]
    assert asked == [(86, 100), (50, 100)]
    with (
        pytest.raises(ConfigError, match=r"needs about 152 for 20 ranks.*here is 100"),
        limits.open_files(20),
    ):
        pass


def test_shared_memory_is_checked_for_mpich_alone(tmp_path):
    here = str(tmp_path)
    limits.check_shared_memory("openmpi", 10**9, here)
    limits.check_shared_memory("mpich", 1, here)
    limits.check_shared_memory("mpich", 1, str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match=f"about 4000000000 MB in {here}"):
        limits.check_shared_memory("mpich", 10**9, here)


def test_threads_are_cautioned_of_where_cores_are_too_few():
    assert not hosts.threads_caution(9, 1, cores=2)
    assert not hosts.threads_caution(4, 2, cores=8)
    (line,) = hosts.threads_caution(5, 4, cores=8)
    assert "5 ranks with 4 threads each are 20 threads on this host's 8 cores" in line
    assert line.endswith("give --threads 1")
    (line,) = hosts.threads_caution(3, 4, cores=8)
    assert line.endswith("give --threads 2")
    assert not hosts.threads_caution(9, 4, "localhost:2,other:7", cores=8)


@pytest.mark.mpi
def test_too_few_open_files_are_one_line(tmp_path):
    ended = psmpi(tmp_path, *RUN, files=(24, 30))
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()[-1:]
    assert line.startswith("psmpi: open files: mpiexec needs about 62 for 5 ranks")
    assert not list(tmp_path.iterdir())


@pytest.mark.mpi
def test_a_limit_that_may_be_raised_is_no_obstacle(tmp_path):
    ended = psmpi(tmp_path, *RUN, files=(24, 400))
    assert ended.returncode == 0, ended.stderr


@pytest.mark.mpi
@needs_mounts
@pytest.mark.parametrize("option", ["size=64k", "ro"])
def test_missing_shared_memory_ends_no_rank_by_a_bus_error(tmp_path, option):
    mounts = f"mount -t tmpfs -o {option} none /dev/shm"
    ended = psmpi(tmp_path, *RUN, mounts=mounts)
    if vendor(find_mpiexec()) == "mpich":
        assert ended.returncode == 2
        (line,) = ended.stderr.splitlines()[-1:]
        assert line.startswith("psmpi: shared memory: MPICH needs about 20 MB in /dev/")
        assert "--shm-size" in line
        assert "psmpi[openmpi]" in line
    else:  # it takes its temporary folder instead
        assert ended.returncode == 0, ended.stderr


@pytest.mark.mpi
@pytest.mark.parametrize("home", [None, "/dev/null/home"])
def test_a_missing_home_is_no_obstacle(tmp_path, home):
    ended = psmpi(tmp_path, *RUN, HOME=home, PSMPI_CACHE=None, XDG_CACHE_HOME=None)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.mpi
def test_a_missing_folder_for_temporary_files_is_no_obstacle(tmp_path):
    ended = psmpi(tmp_path, *RUN, TMPDIR=str(tmp_path / "missing"))
    assert ended.returncode == 0, ended.stderr


@pytest.mark.mpi
@needs_mounts
def test_no_folder_for_temporary_files_is_one_line(tmp_path):
    # Wherever Python looks for one.
    places = ("/tmp", "/var/tmp", str(tmp_path))
    mounts = "; ".join(
        f"mount --bind {place} {place}; mount -o remount,bind,ro {place}"
        for place in places
    )
    out = f"/dev/shm/psmpi-test-{os.getpid()}"
    ended = psmpi(tmp_path, *RUN[:-1], out, mounts=mounts, TMPDIR=None)
    assert ended.returncode == 2, ended.stderr
    assert "psmpi: TMPDIR: no temporary folder can be made (" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not os.path.exists(out)
