"""Checkpoints: whole or not there, whatever happens while they are written."""

import os
import resource
import signal
import sys
import threading

import numpy as np
import pytest

from psmpi.base import ConfigError, PsmpiError
from psmpi.storage import checkpoints
from psmpi.storage.checkpoints import Store

RANKS = 2
EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}
now = threading.Event()
now.set()


def part(round_, rank):
    return {"x": np.full(40, 10.0 * round_ + rank), "round": round_}


def save(store, round_, keep=2):
    for rank in range(RANKS):
        store.write_part(round_, rank, part(round_, rank))
    store.commit(round_, RANKS, {"rows": round_}, now)
    store.keep(keep)


def assert_sound(store, *allowed):
    """Assert that the newest checkpoint is of one of these rounds, and whole."""
    found, _ = store.newest()
    assert found is not None
    assert found.round in allowed
    for rank in range(RANKS):
        back = found.read_part(rank)
        assert back["round"] == found.round
        assert back["x"].tobytes() == part(found.round, rank)["x"].tobytes()
    return found


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "checkpoints")
    save(store, 10)
    return store


def test_the_newest_is_found_and_older_ones_are_removed(store):
    assert_sound(store, 10)
    for round_ in (20, 30, 40):
        save(store, round_)
        assert assert_sound(store, round_).facts == {"rows": round_}
    names = sorted(path.name for path in store.folder.iterdir())
    assert names == ["round-00000030", "round-00000040"]


def test_without_a_folder_there_is_none(tmp_path):
    assert Store(tmp_path / "nowhere").newest() == (None, [])


def test_a_checkpoint_without_all_parts_is_none(store):
    store.write_part(20, 0, part(20, 0))
    with pytest.raises(PsmpiError, match="the part of rank 1 has not come"):
        store.commit(20, RANKS, {}, now)
    assert_sound(store, 10)
    store.keep(1)  # what is not whole and newer may still become so
    assert (store.folder / "round-00000020").exists()
    store.remove_after(10)
    assert not (store.folder / "round-00000020").exists()


def test_the_commit_waits_for_parts_that_come_late(store):
    store.write_part(20, 0, part(20, 0))
    late = threading.Timer(0.2, store.write_part, [20, 1, part(20, 1)])
    late.start()
    store.commit(20, RANKS, {}, threading.Event())
    assert_sound(store, 20)


@pytest.mark.parametrize("name", ["rank-0.npz", "rank-1.npz"])
def test_every_damaged_bit_and_every_cut_is_found(store, name):
    save(store, 20)
    path = store.folder / "round-00000020" / name
    good = path.read_bytes()
    for place in range(0, len(good), 7):
        path.write_bytes(
            good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :]
        )
        assert_sound(store, 10)
        path.write_bytes(good[:place])
        found, troubles = store.newest()
        assert found.round == 10
        assert len(troubles) == 1
        assert f"{path}: damaged" in troubles[0]
    path.unlink()
    assert_sound(store, 10)


HOSTILE = {
    "empty": b"",
    "no json": b"{",
    "a list": b"[]",
    "nothing in it": b"{}",
    "wrong types": b'{"format":1,"round":[],"ranks":2,"parts":[],"facts":{}}',
    "few parts": b'{"format":1,"round":20,"ranks":2,"parts":[],"facts":{}}',
    "a later format": b'{"format":9,"round":20,"ranks":0,"parts":[],"facts":{}}',
    "deep": b"[" * 10**5,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_manifest_is_passed_over(store, text):
    save(store, 20)
    (store.folder / "round-00000020" / "manifest.json").write_bytes(text)
    with pytest.raises(ConfigError, match=r"manifest\.json: "):
        checkpoints.read(store.folder / "round-00000020")
    assert_sound(store, 10)


def in_child(act):
    """Run ``act`` in a child process; return how that ended."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    try:
        act()
    except BaseException:
        os._exit(3)
    os._exit(0)


def killed_at(store, call):
    """Write a checkpoint in a child that is killed before its ``call``-th file call."""
    counted = [0]

    def count(event, arguments):
        if event in EVENTS:
            counted[0] += 1
            if counted[0] == call:
                os.kill(os.getpid(), signal.SIGKILL)

    def act():
        fsync = os.fsync

        def counting(number):
            count("open", ())
            fsync(number)

        os.fsync = counting
        sys.addaudithook(count)
        save(store, 20, keep=1)

    return in_child(act)


def test_killed_at_any_file_call_it_leaves_a_whole_checkpoint(tmp_path):
    saved = []
    for call in range(1, 200):
        store = Store(tmp_path / str(call))
        save(store, 10)
        status = killed_at(store, call)
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        found = assert_sound(store, 10, 20)
        saved.append(found.round)
        store.remove_after(found.round)  # as a run does that goes on
        save(store, 20)
        assert_sound(store, 20)
    else:
        pytest.fail("the checkpoint was never finished")
    assert len(saved) > 20
    assert saved == sorted(saved)  # once it is committed, it stays
    assert set(saved) == {10, 20}


@pytest.mark.parametrize("dies", [False, True], ids=["error", "killed"])
def test_a_disk_that_is_full_after_any_byte_leaves_a_whole_checkpoint(tmp_path, dies):
    store = Store(tmp_path / "checkpoints")
    save(store, 10)
    sizes = [path.stat().st_size for path in store.folder.rglob("*") if path.is_file()]
    finished = []
    for limit in range(0, max(sizes) + 40, 11):

        def act(limit=limit):
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL if dies else signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            save(store, 20)

        finished.append(in_child(act) == 0)
        found = assert_sound(store, 10, 20)
        assert finished[-1] == (found.round == 20)
        left = [path for path in store.folder.rglob("*.tmp") if not dies]
        assert not left
        store.remove_after(10)
    assert finished == sorted(finished)
    assert finished[-1]
    assert finished.count(False) > 50
