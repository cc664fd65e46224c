"""Codecs of other packages: found by name, and refused with the package's name."""

import subprocess
import sys

import numpy as np
import pytest

from psmpi import codecs
from psmpi.base import ConfigError
from tests.helpers import plugins as helper

CODE = """
from dataclasses import dataclass
from typing import ClassVar

from psmpi.codecs import Dense, Sign

@dataclass(frozen=True)
class Halves(Dense):
    power: int = 1
    id: ClassVar[str] = "halves"
    wire_id: ClassVar[int] = 128

@dataclass(frozen=True)
class Zeros(Dense):
    id: ClassVar[str] = "zeros"
    wire_id: ClassVar[int] = 255

@dataclass(frozen=True)
class Twin(Dense):
    id: ClassVar[str] = "twin"
    wire_id: ClassVar[int] = 128

@dataclass(frozen=True)
class Taken(Dense):
    id: ClassVar[str] = "taken"

@dataclass(frozen=True)
class Beyond(Dense):
    id: ClassVar[str] = "beyond"
    wire_id: ClassVar[int] = 256

@dataclass(frozen=True)
class Unassigned(Dense):
    id: ClassVar[str] = "unassigned"
    wire_id: ClassVar[int] = 77

@dataclass(frozen=True)
class Renamed(Dense):
    id: ClassVar[str] = "other"
    wire_id: ClassVar[int] = 129

@dataclass
class Thawed:
    pass

@dataclass(frozen=True)
class Shadow(Sign):
    id: ClassVar[str] = "sign"
    wire_id: ClassVar[int] = 130
"""
PACKAGE = r"package acme-codecs 1\.2"


@pytest.fixture
def install(tmp_path, monkeypatch):
    def install(package="acme-codecs", **entries):
        groups = {"psmpi.codecs": {k: f"acme_codecs:{v}" for k, v in entries.items()}}
        helper.install(tmp_path, monkeypatch, package, groups, "acme_codecs", CODE)

    return install


def test_a_codec_of_another_package_is_used_by_its_name(install):
    install(halves="Halves", zeros="Zeros")
    assert codecs.find("halves").wire_id == 128
    codec = codecs.build("halves:power=3", {}, defaults={"bounds": (0, 5)})
    assert (codec.id, codec.power) == ("halves", 3)
    assert codecs.describe(codec) == "halves:bits=32,power=3"
    x = np.array([1.0, -2.0])
    np.testing.assert_array_equal(codec.decode(codec.encode(x), 2), x)
    assert codecs.make("halves", scaled=True) == codecs.Scaled(codecs.make("halves"))
    names = list(codecs.registered())
    assert names == [*codecs.CODECS, "halves", "zeros"]
    assert "halves" not in codecs.CODECS
    with pytest.raises(ConfigError, match="did you mean halves"):
        codecs.find("halfs")


def test_no_plugin_is_loaded_until_it_is_asked_for(install):
    install(halves="Halves")
    codecs.build("sign+dense", {}, tensors=(0, 3, 4))
    with pytest.raises(ConfigError, match="did you mean sign"):
        codecs.find("sing")
    assert "acme_codecs" not in sys.modules
    codecs.find("halves")
    assert "acme_codecs" in sys.modules


def test_without_plugins_registered_is_the_table():
    line = "from psmpi import codecs; assert codecs.registered() == codecs.CODECS"
    subprocess.run([sys.executable, "-c", line], check=True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("taken", "Taken", "its wire_id is 1, which is that of dense; .* 128..255"),
        ("beyond", "Beyond", r"its wire_id is 256; give it one of 128\.\.255"),
        ("unassigned", "Unassigned", "its wire_id is 77; give it one of 128"),
        ("renamed", "Renamed", "its id is 'other'"),
        ("thawed", "Thawed", "must be a subclass of psmpi.base.Codec"),
        ("missing", "Missing", "can't be imported .AttributeError"),
    ],
)
def test_a_broken_plugin_is_refused_with_its_package(install, name, value, message):
    install(**{name: value})
    for action in (lambda: codecs.find(name), codecs.registered):
        with pytest.raises(ConfigError, match=message) as caught:
            action()
        assert caught.match(f"codec '{name}'.*{PACKAGE}")


def test_two_plugins_with_one_wire_id_are_refused(install):
    install(halves="Halves")
    install("other-codecs", twin="Twin")
    message = "its wire_id is that of 'halves' of package acme-codecs 1.2; change one"
    with pytest.raises(ConfigError, match=f"'twin' of package other-.*{message}"):
        codecs.find("twin")
    with pytest.raises(ConfigError, match="its wire_id is that of 'twin'"):
        codecs.find("halves")
    with pytest.raises(ConfigError, match=message):
        codecs.registered()


def test_a_broken_plugin_does_not_stop_the_use_of_another(install):
    install(halves="Halves", missing="Missing")
    assert codecs.make("halves").id == "halves"


def test_a_plugin_can_not_replace_a_codec_of_psmpi(install):
    install(sign="Shadow")
    assert codecs.find("sign") is codecs.Sign
    with pytest.raises(ConfigError, match=f"(?s)'sign': {PACKAGE} offers it, but"):
        codecs.registered()
