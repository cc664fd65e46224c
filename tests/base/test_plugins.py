"""Entry points of other packages: what is loaded, and what is refused with a reason."""

import abc
import sys
from typing import ClassVar

import pytest

from psmpi.base import ConfigError, plugins
from tests.helpers import plugins as helper

GROUP = "psmpi.things"
CODE = """
from tests.base.test_plugins import Thing

class Good(Thing):
    id = "good"

    def work(self):
        return 1

class Unnamed(Good):
    id = "other"

class Unfinished(Thing):
    id = "unfinished"

class Stranger:
    id = "stranger"

value = 5
"""


class Thing(abc.ABC):
    """What the plugins of these tests implement."""

    id: ClassVar[str]

    @abc.abstractmethod
    def work(self):
        """Do something."""


@pytest.fixture
def install(tmp_path, monkeypatch):
    def install(package, groups, code):
        helper.install(tmp_path, monkeypatch, package, groups, "acme_plug", code)

    return install


def test_a_class_of_another_package_is_loaded_by_name(install):
    install("acme-things", {GROUP: {"good": "acme_plug:Good"}}, CODE)
    assert plugins.names(GROUP) == ["good"]
    assert "acme_plug" not in sys.modules  # listing names imports nothing
    cls = plugins.load(GROUP, "good", Thing)
    assert issubclass(cls, Thing)
    assert cls().work() == 1
    assert plugins.source(GROUP, "good") == "acme-things 1.2"


def test_a_name_without_an_entry_point_is_none(install):
    install("acme-things", {GROUP: {"good": "acme_plug:Good"}}, CODE)
    assert plugins.load(GROUP, "bad", Thing) is None
    assert plugins.load("psmpi.nothing", "good", Thing) is None
    assert plugins.names("psmpi.nothing") == []


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("gone", "acme_gone:Good", "can't be imported .ModuleNotFoundError"),
        ("lost", "acme_plug:Lost", "can't be imported .AttributeError"),
        ("good", "acme_plug:Unnamed", "its id is 'other'"),
        ("unfinished", "acme_plug:Unfinished", "lacks work"),
        ("stranger", "acme_plug:Stranger", "must be a subclass of psmpi.base.Thing"),
        ("value", "acme_plug:value", "must be a subclass of psmpi.base.Thing, got 5"),
    ],
)
def test_a_broken_plugin_is_refused_with_its_package(
    install,
    name,
    value,
    reason,
):
    install("acme-things", {GROUP: {name: value}}, CODE)
    with pytest.raises(ConfigError, match=reason) as caught:
        plugins.load(GROUP, name, Thing)
    text = str(caught.value)
    assert f"thing {name!r}, entry point {value} of package acme-things 1.2" in text
    assert text.endswith("repair or uninstall acme-things")


def test_a_plugin_that_fails_on_import_is_refused(install):
    code = "raise RuntimeError('no licence')"
    install("acme-things", {GROUP: {"good": "acme_plug:Good"}}, code)
    with pytest.raises(ConfigError, match="RuntimeError: no licence"):
        plugins.load(GROUP, "good", Thing)


def test_a_name_that_two_packages_offer_is_refused(install):
    for package in ("acme-things", "other-things"):
        install(package, {GROUP: {"good": "acme_plug:Good"}}, CODE)
    with pytest.raises(ConfigError, match="2 packages offer it") as caught:
        plugins.load(GROUP, "good", Thing)
    assert "acme-things 1.2" in str(caught.value)
    assert "other-things 1.2" in str(caught.value)
