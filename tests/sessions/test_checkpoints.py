"""Own loops that are cut off go on to the same bits, with what the caller gave."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import psmpi
from psmpi.base import ConfigError
from psmpi.runs.recorded import read_run
from tests.runs.test_resume import untimed

ROOT = Path(__file__).parents[2]  # where ``tests`` is found
STEPS, EVERY = 40, 8
SCRIPT = """
import os, signal, sys
import numpy as np
import psmpi
from tests.sessions.test_checkpoints import Killed, loop

out, id, kill = sys.argv[1], sys.argv[2], int(sys.argv[3])

def misdeed(session, step):
    if step == kill and session.worker == session.workers - 1:
        if session.extra is None:
            os.kill(os.getpid(), signal.SIGKILL)

session = loop(out, id, misdeed)
print("worker", session.worker, "ended", session.stopped)
"""


class Killed(Exception):
    pass


def loop(out, id, misdeed=lambda session, step: None, resume=True, **more):
    """Train a small regression with noise of the caller's own; return the session."""
    rng = np.random.default_rng(0)
    A, y = rng.normal(size=(60, 8)), rng.normal(size=60)
    with psmpi.session(
        id,
        np.zeros(8, np.float32),
        out=out,
        resume=resume,
        checkpoint_every=EVERY,
        evaluate_every=4,
        **{"lr": 0.01, **more},
    ) as session:
        noise, first = np.random.default_rng(session.worker), 0
        if session.extra is not None:
            first = session.extra["next"]
            noise.bit_generator.state = session.extra["noise"]
        mine = slice(session.worker, None, session.workers)
        for step in range(first, STEPS):
            error = A[mine] @ session.x - y[mine]
            gradient = A[mine].T @ error / 30 + 0.01 * noise.normal(size=8)
            misdeed(session, step)
            session.step(gradient.astype(np.float32), loss=float(error @ error))
            due = session.checkpoint(
                lambda step=step: {
                    "next": step + 1,
                    "noise": noise.bit_generator.state,
                }
            )
            assert due == ((step + 1) % EVERY == 0)
    return session


@pytest.mark.parametrize("id", ["sgd", "laq", "dist-ef-sgdm", "mem-sgd"])
def test_a_loop_goes_on_to_the_same_bits(tmp_path, id):
    whole = loop(tmp_path / "whole", id)

    def misdeed(session, step):
        if step == 21:
            raise Killed

    with pytest.raises(Killed):
        loop(tmp_path / "cut", id, misdeed)
    again = loop(tmp_path / "cut", id)
    assert again.x.tobytes() == whole.x.tobytes()
    assert untimed(again.result.rows, "") == untimed(whole.result.rows, "")
    for key in ("wire_bytes_up", "wire_bytes_down", "wire_bytes_observed", "uploads"):
        assert again.result.summary[key] == whole.result.summary[key]


def test_a_checkpoint_without_the_callers_part_is_written_by_the_next_step(tmp_path):
    with psmpi.session(
        "sgd", np.zeros(3, np.float32), out=tmp_path / "run", checkpoint_every=2
    ) as session:
        for _ in range(3):
            session.step(np.ones(3, np.float32))
    assert (tmp_path / "run/checkpoints/round-00000002/manifest.json").exists()


def test_what_can_not_be_stored_is_refused_at_once(tmp_path):
    options = {"out": tmp_path / "run", "checkpoint_every": 1}
    with psmpi.session("sgd", np.zeros(3, np.float32), **options) as session:
        session.step(np.ones(3, np.float32))
        with pytest.raises(ConfigError, match=r"the value at \['loader'\] is of built"):
            session.checkpoint({"loader": object()})


def test_what_the_caller_gives_is_what_it_was_then(tmp_path):
    """The loop goes on changing its arrays while they are being written."""
    x = np.zeros(3, np.float32)
    options = {"out": tmp_path / "run", "checkpoint_every": 2, "resume": True}

    def cut_off():
        counts = np.zeros(1000)
        with psmpi.session("sgd", x, **options) as session:
            for _ in range(3):
                counts += 1
                session.step(np.ones(3, np.float32))
                session.checkpoint({"counts": counts})
            raise Killed

    with pytest.raises(Killed):
        cut_off()
    with psmpi.session("sgd", np.zeros(3, np.float32), **options) as session:
        assert session.round == 2
        assert np.all(session.extra["counts"] == 2)


def test_a_session_without_a_record_begins_and_one_that_has_ended_is_refused(tmp_path):
    session = loop(tmp_path / "run", "sgd")
    assert session.extra is None
    with pytest.raises(ConfigError, match="has ended after 40 rounds"):
        loop(tmp_path / "run", "sgd")


def test_resume_and_state_are_one_too_many(tmp_path):
    with pytest.raises(ConfigError, match="state is given too; give one of both"):
        psmpi.session("sgd", np.zeros(3), resume=True, state={}, out=tmp_path / "run")


def test_other_options_are_refused(tmp_path):
    def misdeed(session, step):
        if step == 21:
            raise Killed

    with pytest.raises(Killed):
        loop(tmp_path / "cut", "sgd", misdeed)
    with pytest.raises(ConfigError, match=r"resume: lr is 0\.02, and the run in"):
        loop(tmp_path / "cut", "sgd", lr=0.02)


@pytest.mark.mpi
@pytest.mark.timeout(120)
@pytest.mark.parametrize("id", ["laq", "dist-ef-sgdm", "dsgd"])
def test_psmpi_launch_starts_again_by_itself(tmp_path, id):
    (tmp_path / "train.py").write_text(SCRIPT)

    def launch(name, kill):
        out = tmp_path / name
        line = [sys.executable, "-m", "psmpi", "launch", "--workers", "2"]
        line += ["--restarts", "1", "--out", out, tmp_path / "train.py", out, id, kill]
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        done = subprocess.run(
            [str(word) for word in line],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done, read_run(out), np.load(out / "model.npy")

    _, whole, model = launch("whole", 999)
    done, again, same = launch("cut", 21)
    assert "psmpi: a rank has failed: restart 1 of 1" in done.stderr
    assert done.stdout.count("ended it was closed") == 2
    assert same.tobytes() == model.tobytes()
    assert untimed(again.rows, "") == untimed(whole.rows, "")
