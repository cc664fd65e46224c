"""Imports run one way, every room is held to it, and only one file knows MPI."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "psmpi"
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 300  # lines of a file
# What a room may import from psmpi, besides itself, base, errors and random.
ALLOWED = {
    "errors": set(),
    "random": set(),
    "base": set(),
    "kernels": set(),
    "codecs": {"kernels"},
    "parts": {"kernels", "codecs"},
    "algorithms": {"kernels", "codecs", "parts"},
    "data": set(),
    "problems": {"kernels", "data"},
    "processes": set(),
    "storage": set(),
    "links": {"processes"},
    "runs": {
        *("kernels", "codecs", "parts", "algorithms", "data", "problems"),
        *("links", "processes", "storage"),
    },
    "sessions": {"algorithms", "links", "processes", "runs", "storage"},
    "torch": {"sessions", "runs", "problems"},
    "jax": {"sessions"},
    "report": {"runs"},
    "cli": {
        *("algorithms", "codecs", "data", "problems", "processes", "runs", "report"),
        "kernels",
    },
    "__main__": {"cli", "runs", "processes"},
    "__init__": {
        *("algorithms", "codecs", "data", "parts", "problems", "runs", "sessions"),
        *("torch", "jax"),
    },
}
COMMON = {"base", "errors", "random", "__init__"}
# These may not use all that is common: they are below it.
ONLY = {"errors": set(), "random": {"errors"}, "base": {"errors"}}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_used(path):
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "psmpi" and len(parts) > 1:
            yield parts[1]


def test_every_room_is_known():
    assert {room(path) for path in FILES} == set(ALLOWED)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_from_rooms_below_it(path):
    real = {p.name.removesuffix(".py") for p in PACKAGE.iterdir()}
    used = {name for name in rooms_used(path) if name in real} - {room(path)}
    assert used <= ALLOWED[room(path)] | ONLY.get(room(path), COMMON)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_one_file_imports_mpi4py(path):
    if path != PACKAGE / "links" / "transport" / "mpi_library.py":
        assert not any(name.split(".")[0] == "mpi4py" for name in imports(path))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_file_is_long(path):
    assert len(path.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize(
    "folder", sorted({p.parent for p in FILES}), ids=lambda p: str(p.name)
)
def test_every_folder_says_what_lives_there(folder):
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    assert said
    assert folder == PACKAGE or "ay import" in " ".join(said.split())


HEAVY = {"numba", "llvmlite", "mpi4py", "sklearn", "matplotlib", "scipy", "pooch"}
HEAVY |= {"torch", "jax", "jaxlib"}


@pytest.mark.parametrize(
    "module",
    ["psmpi", "psmpi.codecs", "psmpi.parts", "psmpi.algorithms.laq", "psmpi.cli.app"],
)
def test_importing_is_light(module):
    """What is slow to import is imported where it is first used."""
    code = f"import {module}, sys; print(*({HEAVY!r} & set(sys.modules)))"
    line = [sys.executable, "-c", code]
    found = subprocess.run(line, check=True, capture_output=True, text=True).stdout
    assert found.split() == []
