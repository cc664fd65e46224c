"""What ``load`` keeps between runs, what it announces, and the lists of names."""

from __future__ import annotations

import gc
import logging
import os
import weakref

import numpy as np
import pytest

from psmpi import data as public
from psmpi.base import ConfigError
from psmpi.data import cache, memory, registry
from psmpi.problems import Softmax, make_problem, optimum, schemes

LINES = "+1 1:0.5 3:-2\n-1 2:1\n+1 1:1\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PSMPI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PSMPI_DATA", str(tmp_path))
    registry.forget()


@pytest.fixture
def name(tmp_path):
    (tmp_path / "a").write_text(LINES)
    return f"libsvm:{tmp_path / 'a'}"


# -- the data set that is kept ------------------------------------------------------


@pytest.mark.parametrize("data", ["digits", "synthetic:softmax"])
def test_runs_of_one_process_share_their_data(data):
    assert public.load(data) is public.load(data)
    assert make_problem(data).data is make_problem(data, l2=0.5).data


def test_an_unchanged_file_is_not_read_again(name, monkeypatch):
    data = public.load(name)
    monkeypatch.setattr(registry, "read_libsvm", None)
    assert public.load(name) is data


@pytest.mark.parametrize("change", ["content", "time"])
def test_a_changed_file_is_read_again(tmp_path, name, change):
    data = public.load(name)
    if change == "content":
        (tmp_path / "a").write_text(LINES + "-1 1:1\n")
    else:
        os.utime(tmp_path / "a", ns=(0, 0))
    again = public.load(name)
    assert again is not data
    assert again.samples == (4 if change == "content" else 3)


def test_a_deleted_file_is_missing(tmp_path, name):
    public.load(name)
    (tmp_path / "a").unlink()
    with pytest.raises(ConfigError, match="no such file"):
        public.load(name)


def test_another_dtype_and_another_folder_are_other_data(tmp_path, name, monkeypatch):
    data = public.load(name)
    assert public.load(name, np.float64).dtype == np.float64
    assert public.load(name) is not data
    data = public.load("digits")
    monkeypatch.setenv("PSMPI_DATA", str(tmp_path / "other"))
    assert public.load("digits") is not data


def test_a_relative_name_follows_the_folder(tmp_path, monkeypatch):
    for folder, more in (("one", ""), ("two", "-1 1:1\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_text(LINES + more)
    monkeypatch.chdir(tmp_path / "one")
    assert public.load("libsvm:a").samples == 3
    monkeypatch.chdir(tmp_path / "two")
    assert public.load("libsvm:a").samples == 4


def test_only_one_data_set_is_kept(monkeypatch):
    first = weakref.ref(public.load("synthetic:softmax"))
    alive = []

    def fail(dtype):
        gc.collect()
        alive.append(first())
        raise ConfigError("digits: not today")

    assert first() is not None
    monkeypatch.setitem(registry.DATASETS, "digits", fail)
    with pytest.raises(ConfigError, match="not today"):
        public.load("digits")
    assert alive == [None]  # dropped before the next one is loaded


def test_forget_frees_the_data():
    data = weakref.ref(public.load("synthetic:softmax"))
    public.forget()
    gc.collect()
    assert data() is None


# -- names --------------------------------------------------------------------------


def test_all_schemes_are_listed_with_their_defaults():
    listed = schemes()
    kinds = [*public.SYNTHETIC, "quadratic"]
    assert [key.partition(",")[0] for key in listed if key.startswith("syn")] == [
        f"synthetic:{kind}" for kind in kinds
    ]
    assert {"libsvm:TRAIN[,TEST]", "npz:FILE"} <= set(listed)
    assert listed.items() >= public.schemes().items()
    for array in ("X", "y", "X_test", "y_test"):
        assert f" {array}" in listed["npz:FILE"]
    assert all(listed.values())


@pytest.mark.parametrize("name", [n for n in schemes() if n.startswith("synthetic:")])
def test_listed_synthetic_names_are_the_defaults(name):
    assert make_problem(name).digest() == make_problem(name.split(",")[0]).digest()


# -- announcements ------------------------------------------------------------------


def test_a_slow_optimum_is_announced_once(caplog):
    caplog.set_level(logging.INFO, "psmpi")
    data = public.load("synthetic:softmax,samples=3000,features=20")
    for _ in range(2):
        Softmax(data, l2=0.1).optimum()
    expected = "computing the optimum of synthetic:softmax (cached afterwards) ..."
    assert caplog.messages == [expected]


def test_a_quick_optimum_is_not_announced(caplog):
    caplog.set_level(logging.INFO, "psmpi")
    make_problem("synthetic:softmax,samples=50").optimum()
    assert caplog.messages == []
    assert optimum._SLOW > 50 * 105


def test_parsing_of_large_files_is_announced_once(name, caplog, monkeypatch):
    monkeypatch.setattr(cache, "_WORTH_CACHING", 1)
    caplog.set_level(logging.INFO, "psmpi")
    for _ in range(2):
        public.load(name)
        public.forget()
    assert caplog.messages == ["parsing a (cached afterwards) ..."]


def test_downloads_are_announced(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("pooch.retrieve", lambda *args, **options: tmp_path / "a")
    (tmp_path / "a").write_text(LINES)
    caplog.set_level(logging.INFO, "psmpi")
    with pytest.raises(ConfigError, match="expected"):
        public.load("ijcnn1")
    folder = tmp_path / "cache" / "ijcnn1"
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith("downloading https://")
    assert caplog.messages[0].endswith(f"ijcnn1.bz2 to {folder} ...")


def test_a_cached_download_is_not_announced(tmp_path, caplog, monkeypatch):
    folder = tmp_path / "cache" / "ijcnn1"
    folder.mkdir(parents=True)
    (folder / "ijcnn1.bz2").write_text(LINES)
    monkeypatch.setattr("pooch.retrieve", lambda *args, **options: tmp_path / "a")
    (tmp_path / "a").write_text(LINES)
    caplog.set_level(logging.INFO, "psmpi")
    with pytest.raises(ConfigError, match="expected"):
        public.load("ijcnn1")
    (message,) = caplog.messages
    assert "ijcnn1.t.bz2" in message


def test_large_tables_are_announced(tmp_path, caplog, monkeypatch):
    (tmp_path / "susy").mkdir()
    table = np.arange(20)[:, None] % 2 + np.zeros(19)
    np.savetxt(tmp_path / "susy" / "SUSY.csv", table, delimiter=",")
    monkeypatch.setattr("psmpi.data.formats._LARGE", 1)
    caplog.set_level(logging.INFO, "psmpi")
    public.load("susy")
    assert caplog.messages == ["parsing SUSY.csv ..."]


# -- memory and cache folders -------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ("synthetic:quadratic,dim=100000000000", {}, "dim=100000000000 needs at least"),
        ("synthetic:softmax,samples=1000000000000", {}, "samples=1000000000000, feat"),
        ("synthetic:linear,features=1000000000000", {}, "features=1000000000000 needs"),
        ("synthetic:text,features=10000000000000", {}, "features=10000000000000 need"),
        ("digits", {"hidden": (10**12,)}, r"hidden: training layers of 1000000000000 "),
        ("digits", {"hidden": (10**7, 10**7)}, "layers of 10000000, 10000000 units"),
    ],
)
def test_sizes_beyond_all_memory_are_refused(data, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make_problem(data, **options)
    assert "B of memory, but this machine has" in str(caught.value)
    assert "; use " in str(caught.value)


def test_sizes_that_fit_are_not_refused(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 1000)
    memory.require("made: this", 1000, "use less")
    with pytest.raises(ConfigError, match="made: this needs at least 1 kB of memory, "):
        memory.require("made: this", 1001, "use less")
    monkeypatch.setattr(memory, "available", lambda: None)
    memory.require("made: this", 10**30, "use less")


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    machine = memory.available()
    monkeypatch.setattr(memory, "_LIMIT", tmp_path / "limit")
    for text, expected in (("5000", 5000), ("max\n", None), (str(2**70), None)):
        (tmp_path / "limit").write_text(text)
        assert memory.available() == expected or (
            expected is None and machine <= memory.available() < 2**70
        )


@pytest.mark.parametrize("model", [{}, {"hidden": (4,)}])
def test_a_failed_allocation_is_one_line(monkeypatch, model):
    def fail(dtype):
        raise MemoryError("Unable to allocate 7 GiB")

    monkeypatch.setitem(registry.DATASETS, "digits", fail)
    with pytest.raises(
        ConfigError, match=r"data: digits: doesn't fit .*Unable to allocate 7 GiB\)"
    ):
        make_problem("digits", **model)


def test_a_home_that_can_not_be_written_to_does_no_harm(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.write_text("a file: no folder can be made in it")
    for variable in ("PSMPI_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(cache, "_WORTH_CACHING", 1)
    (tmp_path / "a").write_text(LINES)
    assert str(home) in str(cache.folder())
    assert make_problem(f"libsvm:{tmp_path / 'a'}", l2=0.1).optimum() is not None


def test_no_home_means_no_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("PSMPI_CACHE")
    monkeypatch.setattr("pooch.os_cache", lambda name: cache.Path("~/.cache") / name)
    monkeypatch.chdir(tmp_path)
    assert make_problem("synthetic:softmax,samples=50").optimum() is not None
    cache.write(cache.folder() / "a", lambda file: file.write(b"x"))
    assert list(tmp_path.iterdir()) == []
