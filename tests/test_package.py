"""What a user installs, and what the documents say about it."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import psmpi
from psmpi import algorithms
from psmpi.codecs import CODECS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An sdist, and the wheel that is made from it, outside the tree."""
    folder = tmp_path_factory.mktemp("build")
    ignored = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__")

    def left_out(path, names):
        at_top = {"runs", "build", "dist"} if Path(path) == ROOT else set()
        return ignored(path, names) | (at_top & set(names))

    shutil.copytree(ROOT, folder / "tree", ignore=left_out)
    line = [sys.executable, "-m", "build", "--outdir", str(folder), "tree"]
    subprocess.run(line, check=True, cwd=folder, capture_output=True)
    return folder


@pytest.mark.timeout(240)
def test_the_wheel_runs_outside_the_tree(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    site = tmp_path / "site"
    subprocess.run([*install, "--target", site, wheel], check=True)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import psmpi\n"
        f"assert psmpi.__file__.startswith({str(site)!r}), psmpi.__file__\n"
        "from psmpi.cli import app\n"
        "sys.exit(app.main(['run', 'gd', '--local', '--rounds', '3', '--out', 'x']))"
    )
    line = [sys.executable, "-I", "-c", code]
    subprocess.run(line, check=True, cwd=tmp_path, timeout=200)
    assert (tmp_path / "x/summary.json").exists()


def test_the_sdist_is_complete(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = (
        "README.md LICENSE CHANGES.md CONTRIBUTING.md psmpi/runs/comparisons/laq.toml"
    )
    wanted += " docs/index.md docs/pictures/laq.svg examples/plugin/pyproject.toml"
    assert {*wanted.split(), "tests/conftest.py", "launch/run.sh"} <= names
    assert not any("_build" in name or "__pycache__" in name for name in names)


def test_readme_is_short_and_begins_with_its_picture():
    lines = README.splitlines()
    assert len(lines) <= 150
    assert lines[2].startswith("![")


def test_readme_counts_what_there_is():
    assert f"- {len(algorithms.ALGORITHMS)} algorithms, " in README
    assert f"; {len(CODECS)}\n  [codecs](docs/codecs.md)" in README


def test_version_is_in_the_changes():
    assert f"## {psmpi.__version__}" in (ROOT / "CHANGES.md").read_text()
