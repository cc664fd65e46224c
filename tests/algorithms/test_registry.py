"""Finding algorithms: psmpi's own without importing others, and those of plugins."""

import subprocess
import sys

import pytest

import psmpi
from psmpi import algorithms
from psmpi.base import Algorithm, ConfigError
from tests.helpers import plugins

GOOD = """
from dataclasses import dataclass
from typing import ClassVar

from psmpi.algorithms.sgd import Sgd


@dataclass(frozen=True, kw_only=True)
class Mine(Sgd):
    '''SGD with another default.'''

    id: ClassVar[str] = "mine"
    lr: float = 0.5
"""
OPTIONS = {"workers": 2, "rounds": 4, "local": True}
OPTIONS |= {"data": "synthetic:softmax,samples=60,features=4", "batch": 5}


@pytest.fixture
def install(tmp_path, monkeypatch):
    def install(entries, code=GOOD, package="acme-algorithms"):
        groups = {"psmpi.algorithms": entries}
        plugins.install(tmp_path, monkeypatch, package, groups, "acme_mine", code)

    return install


def test_every_id_is_that_of_its_class():
    for id, cls in algorithms.ALGORITHMS.items():
        assert cls.id == id
        assert issubclass(cls, Algorithm)
        assert getattr(algorithms, cls.__name__) is cls


def test_every_algorithm_of_the_package_is_registered():
    def below(cls):
        return {cls, *(leaf for sub in cls.__subclasses__() for leaf in below(sub))}

    classes = set(algorithms.ALGORITHMS.values())
    named = {
        cls
        for cls in below(Algorithm)
        if cls.__module__.startswith("psmpi.") and "id" in vars(cls)
    }
    assert named == classes


def test_finding_one_imports_no_other():
    code = (
        "import sys; from psmpi import algorithms; algorithms.find('laq'); "
        "list(algorithms.ALGORITHMS); print(*sys.modules)"
    )
    line = [sys.executable, "-c", code]
    loaded = subprocess.run(line, check=True, capture_output=True, text=True).stdout
    assert "psmpi.algorithms.laq" in loaded.split()
    assert "psmpi.algorithms.gossip" not in loaded.split()


def test_a_name_that_is_none_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        algorithms.Nothing  # noqa: B018


def test_a_plugin_runs_like_an_algorithm_of_psmpi(install):
    install({"mine": "acme_mine:Mine"})
    assert algorithms.find("mine").__name__ == "Mine"
    assert list(algorithms.registered())[-1] == "mine"
    assert "mine" not in algorithms.ALGORITHMS
    own = psmpi.run("mine", **OPTIONS)
    assert own.x.tobytes() == psmpi.run("sgd", lr=0.5, **OPTIONS).x.tobytes()
    with pytest.raises(ConfigError, match="did you mean mine"):
        algorithms.find("mime")


@pytest.mark.parametrize(
    ("entries", "code", "name", "text"),
    [
        ({"mine": "acme_mine:None_"}, GOOD, "mine", "acme-algorithms 1.2: can't be im"),
        ({"yours": "acme_mine:Mine"}, GOOD, "yours", "its id is 'mine'; id and the en"),
        (
            {"mine": "acme_mine:Mine"},
            GOOD.replace("frozen=True, ", "") + "\nMine.__dataclass_params__ = None",
            "mine",
            "acme_mine",
        ),
    ],
)
def test_a_broken_plugin_is_named(install, entries, code, name, text):
    install(entries, code)
    with pytest.raises(ConfigError, match=text):
        algorithms.find(name)
    with pytest.raises(ConfigError, match=text):
        algorithms.registered()


def test_a_plugin_cannot_replace_an_algorithm(install):
    install({"laq": "acme_mine:Mine"})
    assert algorithms.find("laq") is algorithms.ALGORITHMS["laq"]
    with pytest.raises(ConfigError, match=r"acme-algorithms 1\.2 offers it, but psmpi"):
        algorithms.registered()
