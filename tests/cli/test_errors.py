"""Wrong command lines and files are answered in one line that says what to do."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from psmpi.cli import app
from psmpi.errors import ConfigError

FILES = {
    "number.toml": "algorithm = 5",
    "until.toml": 'algorithm = "laq"\nuntil = 3',
    "table.toml": 'algorithm = "laq"\n[laq]\nlr = 0.1',
    "twice.toml": 'algorithm = "laq"\nlr = 0.1\n[options]\nlr = 0.2',
    "rounds.toml": 'algorithm = "laq"\nrounds = 10.9',
    "bitz.toml": 'algorithm = "laq"\nbitz = 3',
    "out.toml": 'algorithm = "laq"\nout = 3',
    "local.toml": 'algorithm = "laq"\nlocal = "yes"',
    "data.toml": 'algorithm = "laq"\ndata = "digit"',
    "runs.toml": '[[run]]\nalgorithm = "laq"',
    "evil.toml": '[[run]]\nalgorithm = "laq"\nname = "../../evil"',
    "launch.toml": 'local = true\n[[run]]\nalgorithm = "laq"',
    "five.toml": "[[run]]\nalgorithm = 5",
    "single.toml": '[run]\nalgorithm = "laq"',
    "no-name.toml": '[[run]]\nalgorithm = "laq"\nname = 3',
    "timeout.toml": 'timeout = 5\n[[run]]\nalgorithm = "laq"',
}


@pytest.fixture(autouse=True)
def _in_a_directory_with_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run laq --workers 2.7", "workers: must be a whole number of at least 1, got"),
        ("run laq --rounds 10.9", "rounds: must be a whole number of at least 0, got"),
        ("run laq --bits 3.5", "laq: bits must be a whole number, got 3.5"),
        ("run laq --seed 1.5", "seed: must be a whole number of at least 0, got 1.5"),
        ("run local-sgd --local-steps 2.5", "local-steps must be a whole number, got"),
        ("run laq --lr x", "laq: lr must be a number, got 'x'"),
        ("run laq --blocks 2.5", "blocks: must be none, layers or a number"),
        ("run laq --momentum 0.9", "no option --momentum; it is an option of gd, sgd,"),
        ("run laq --momentun 0.9", "did you mean --momentum? It is an option of gd"),
        ("run gd --bits 4", "no option --bits; it is an option of qgd, laq,"),
        ("run laq --resume x", "laq: the directory of a run has its algorithm"),
        ("run --resume", "--resume needs a value"),
        ("run --resume nowhere", "nowhere: no such directory"),
        ("run --resume nowhere --lr 1", "--lr can't be given, since the run goes on"),
        ("run laq --checkpoint-every 5x", "checkpoint-every: must be a number of rou"),
        ("run laq --keep 0", "keep: must be a whole number of at least 1, got 0"),
        ("run laq --local --restarts 2", "restarts: 2 are for ranks that may fail"),
        ("compare laq --resume nowhere", "nowhere is no directory of a comparison"),
        ("run laq --epochs 4", "no option --epochs; did you mean --rounds?"),
        ("run laq --no-optimun", "no option --optimun; did you mean --optimum?"),
        ("run laq --ot x", "no option --ot; did you mean --out?"),
        ("run laq --zzz 3", "no option --zzz; see psmpi run laq --help"),
        ("run laq --lr", "--lr needs a value; see psmpi run laq --help"),
        ("run laq --until", "--until needs a value"),
        ("run laq more", "can't use 'more'"),
        ("run --rounds 5 laq", "the algorithm comes first: psmpi run laq"),
        ("run laq --local --timeout 5", "timeout: 5 s limits the silence of an MPI"),
        ("run laq --local --hosts a", "hosts: a are for MPI, and --local runs all"),
        ("run laq --link-rate 1e6", "link-rate: 1000000.0 is of a simulated network"),
        ("run laq --local --link-sharing node", "link-sharing: node shares lines of a"),
        ("run asylpg --max-bits 8 --bits-down 4", "max-bits: 8 limits the bits of"),
        ("run laq --until accuracy=95", "did you mean accuracy=0.95?"),
        ("run laq --until error=-1", "error is a share between 0 and 1, got -1"),
        (
            "run laq --workers 100000",
            "workers: 100001 ranks (workers and the server) on",
        ),
        ("run laq --data digit", "no data set is called 'digit'; did you mean digits"),
        ("run laq --data synthetic:sofmax", "no kind is called 'sofmax'; did you"),
        ("run laq --data npz:none.npz", "none.npz: no such file"),
        ("run laq --data libsvm:", "expected libsvm:TRAIN[,TEST]"),
        ("run laq --init glorott", "init: there is no 'glorott'; did you mean glorot?"),
        ("run laq --partition halves", "partition: there is no 'halves'; one of"),
        ("run laq --speeds fast", "speeds: can't read 'fast'"),
        ("run laq --out .", ".: already exists"),
        ("run laq --out number.toml/x", "number.toml is a file"),
        ("run --config number.toml", "number.toml: algorithm: must be text, got 5"),
        ("run --config until.toml", "until.toml: until: must be text or a list of t"),
        ("run --config table.toml", "table.toml: [laq] is a table"),
        ("run --config twice.toml", "twice.toml: lr is given twice"),
        ("run --config rounds.toml", "rounds.toml: rounds: must be a whole number"),
        ("run --config bitz.toml", "bitz.toml: laq: there is no option --bitz; did"),
        ("run --config out.toml", "out.toml: out: must be text, got 3"),
        ("run --config local.toml", "local.toml: local: must be true or false, got"),
        ("run --config data.toml", "data.toml: data: no data set is called 'digit'"),
        ("run --config runs.toml", "use psmpi compare runs.toml"),
        ("run laq --config data.toml", "laq: the algorithm is in data.toml already"),
        ("compare evil.toml", "name: '../../evil' must be a plain file name"),
        ("compare launch.toml", "local is an option of the command"),
        ("compare five.toml", "five.toml, run 5: algorithm: must be text, got 5"),
        ("compare single.toml", "[run] must be written [[run]]"),
        ("compare no-name.toml", "name: must be text, got 3"),
        ("compare timeout.toml --local", "timeout.toml, run laq: timeout: 5 s limits"),
        ("compare laq --workers 4", "there is no option --workers"),
        ("compare laq --outt x", "there is no option --outt; did you mean --out?"),
        ("compare laq --html", "--html needs a value"),
        ("show number.toml", "number.toml: is a file; give the directory of a run"),
        ("show", "RUN is missing; see psmpi show --help"),
        ("replay nowhere --out .", ".: already exists"),
        ("rum", "command: there is no 'rum'; did you mean run?"),
        ("--versoin", "option: there is no '--versoin'; did you mean --version?"),
        ("list more", "can't use 'more'"),
    ],
)
def test_a_wrong_command_is_answered_in_one_line(line, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        app.main(line.split())
    assert "\n" not in str(caught.value)


def test_a_wrong_option_beside_a_file_is_not_blamed_on_the_file():
    words = ["run", "--config", "rounds.toml", "--rounds", "3.3"]
    with pytest.raises(ConfigError, match=r"^rounds: must be .* got 3.3$"):
        app.main(words)


def test_a_file_that_is_not_utf_8_is_named():
    Path("latin.toml").write_bytes(b'algorithm = "laq" # \xe4\n')
    with pytest.raises(ConfigError, match=r"latin.toml: .* byte 20 is not UTF-8"):
        app.main(["run", "--config", "latin.toml"])


@pytest.mark.parametrize("line", ["compare laq", "run laq --hosts a"])
def test_under_mpiexec_what_starts_a_job_of_its_own_is_refused(line, monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "4")
    with pytest.raises(ConfigError, match="mpiexec"):
        app.main(line.split())


def test_a_misspelt_data_set_is_refused_before_mpi_starts(tmp_path):
    """An mpiexec that leaves a trace shows that it has not been started."""
    trace = tmp_path / "started"
    fake = tmp_path / "mpiexec"
    fake.write_text(f"#!/bin/sh\ntouch {trace}\n")
    fake.chmod(0o755)
    code = (
        "import sys; from psmpi.processes import mpiexec; "
        f"mpiexec.find_mpiexec = lambda: {str(fake)!r}; "
        "sys.argv[1:] = ['run', 'laq', '--data', 'digit']; "
        "from psmpi.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("psmpi: data: no data set is called 'digit'")
    assert done.stderr.count("\n") == 1
    assert not trace.exists()


def test_too_many_ranks_can_be_asked_for(monkeypatch):
    from psmpi.runs import config, launch_checks

    run = config.configure("laq", workers=100000)
    monkeypatch.setenv("PSMPI_OVERSUBSCRIBE", "1")
    launch_checks.check_launch(run, local=False)
