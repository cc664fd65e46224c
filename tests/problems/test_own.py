"""Problems named by text: files, modules, options, and what is wrong with them."""

import sys

import numpy as np
import pytest

from psmpi.base import ConfigError
from psmpi.problems import check_own, file_digest, make_own

CODE = """
import numpy as np
from helper_beside import WIDTH
from psmpi.problems import Quadratic

def make(*, dim: int = WIDTH, condition: float = 4, heavy: bool = False, label="x"):
    problem = Quadratic(dim=dim, condition=condition)
    problem.told = (dim, condition, heavy, label)
    return problem

def typed(dtype, seed):
    problem = Quadratic(dim=3, dtype=dtype)
    problem.told = (dtype, seed)
    return problem

def needs(width):
    return make(dim=width)

def anything(**options):
    return make() if options.pop("label", None) is None else None

class Small(Quadratic):
    def __init__(self):
        super().__init__(dim=2)

number = 3
half = lambda: Quadratic(dim=3, dtype=np.float64)

def failing():
    raise OSError("no disk")
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    (tmp_path / "model.py").write_text(CODE)
    (tmp_path / "helper_beside.py").write_text("WIDTH = 5\n")
    (tmp_path / "broken.py").write_text("def make(:\n")
    (tmp_path / "crashing.py").write_text("1 / 0\ndef make(): pass\n")
    (tmp_path / "hidden.py").write_text("from os.path import *\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("helper_beside", None)


def test_a_function_of_a_file_gets_its_options_as_annotated():
    options = {"dim": "7", "condition": "2.5", "heavy": "yes", "label": "3"}
    assert make_own("model.py:make", options).told == (7, 2.5, True, "3")
    assert make_own("model.py:make").told == (5, 4, False, "x")


def test_dtype_and_seed_come_from_the_run():
    assert make_own("model.py:typed", {}, np.float64, 9).told == (np.float64, 9)


def test_classes_and_modules_are_fine():
    assert make_own("model.py:Small").dim == 2
    assert make_own("psmpi.problems:Quadratic", {"dim": "4"}).dim == 4


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("model.py:mke", {}, "model.py has no 'mke'; did you mean make"),
        ("other.py:make", {}, "there is no file other.py"),
        ("model.py:make", {"dmi": "3"}, "has no option 'dmi'; did you mean dim"),
        (
            "model.py:make",
            {"dim": "2.5"},
            "option dim: must be a whole number",
        ),
        ("model.py:make", {"heavy": "so"}, "option heavy: must be true or false"),
        ("model.py:needs", {}, "needs width; give --problem-option width=VALUE"),
        ("model.py:number", {}, "must be callable, got 3"),
        ("model.py:failing", {}, r"can't be made \(OSError: no disk\)"),
        (
            "model.py:anything",
            {"label": "a"},
            "must return a psmpi.base.Prob",
        ),
        ("model.py:half", {}, "float32, got .* of float64 .or give --dtype float64"),
        ("crashing.py:make", {}, "crashing.py can't be imported .ZeroDivisionError"),
        ("nowhere", {}, "no installed package offers 'nowhere'"),
    ],
)
def test_what_is_wrong_is_named(name, options, message):
    with pytest.raises(ConfigError, match=message):
        make_own(name, options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.py:mke", "did you mean make"),
        ("model.py:", "has no ''"),
        ("other.py:make", "there is no file"),
        ("broken.py:make", "broken.py, line 1: invalid syntax"),
        ("no_such_package.model:make", "there is no module no_such_package"),
        ("nowhere", "no installed package"),
    ],
)
def test_a_check_before_the_start_runs_no_code(name, message):
    with pytest.raises(ConfigError, match=message):
        check_own(name)
    assert "helper_beside" not in sys.modules


@pytest.mark.parametrize(
    "name", ["model.py:half", "hidden.py:join", "crashing.py:make"]
)
def test_a_check_passes_what_may_be_there(name):
    check_own(name)


def test_the_digest_is_of_the_file(tmp_path):
    before = file_digest("model.py:make")
    (tmp_path / "model.py").write_text(CODE + "\n")
    assert before != file_digest("model.py:make")
    assert file_digest("psmpi.problems:Quadratic") is None
