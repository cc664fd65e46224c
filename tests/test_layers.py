"""Imports run one way, and only one file knows MPI."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "psmpi"
FILES = sorted(PACKAGE.rglob("*.py"))
# What a layer may import from psmpi, besides itself and base.
ALLOWED = {
    "kernels": set(),
    "codecs": {"kernels"},
    "memory": {"kernels", "codecs"},
    "momentum": {"kernels"},
    "steps": set(),
    "topology": set(),
    "graphs": {"steps"},
    "problems": {"kernels"},
    "algorithms": {
        *("kernels", "codecs", "memory", "momentum", "steps", "topology", "graphs")
    },
    "links": {"topology", "steps"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def layer(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def layers_used(path):
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "psmpi" and len(parts) > 1:
            yield parts[1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_from_layers_below_it(path):
    allowed = ALLOWED.get(layer(path))
    if allowed is None:
        return
    real = {p.removesuffix(".py") for p in (f.name for f in PACKAGE.iterdir())}
    used = {name for name in layers_used(path) if name in real}
    assert used <= allowed | {"base", layer(path)}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_one_file_imports_mpi4py(path):
    if path != PACKAGE / "links" / "mpi.py":
        assert not any(name.split(".")[0] == "mpi4py" for name in imports(path))


@pytest.mark.parametrize("module", ["numba", "mpi4py", "sklearn", "matplotlib"])
def test_importing_psmpi_is_light(module):
    code = f"import psmpi, sys; sys.exit({module!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
