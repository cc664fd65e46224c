"""The documentation knows every name, and its pictures come from their scripts."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from psmpi import algorithms, base
from psmpi.codecs import CODECS
from psmpi.data.registry import DATASETS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ALIASES = {
    "Frame",
    "Indices",
    "Vector",
}  # of array types: the docstring of base has them


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_every_algorithm_is_in_a_table_of_its_family(name):
    pages = (DOCS / "algorithms").glob("*.md")
    families = [page.read_text() for page in pages if page.name != "index.md"]
    assert any(f"`{name}`" in page for page in families)
    assert f"`{name}`" in (DOCS / "algorithms" / "index.md").read_text()


@pytest.mark.parametrize("name", CODECS)
def test_every_codec_has_a_section(name):
    text = (DOCS / "codecs.md").read_text()
    assert f"\n## {name}\n" in text
    assert f".. autoclass:: psmpi.codecs.{CODECS[name].__name__}\n" in text


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_is_named(name):
    assert f"`{name}`" in (DOCS / "data.md").read_text()


@pytest.mark.parametrize("name", sorted(set(base.__all__) - ALIASES))
def test_the_reference_has_every_public_name_of_base(name):
    text = (DOCS / "api.md").read_text()
    assert re.search(
        rf"psmpi\.base\.{name}$|:members: .*\b{name}\b", text, re.MULTILINE
    )


def test_the_record_is_documented_whole(tmp_path):
    line = "run asylpg --local --rounds 8 --slow 1:2x --evaluate-every 4 --out run"
    command = [sys.executable, "-m", "psmpi", *line.split()]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    row = json.loads((tmp_path / "run/rows.jsonl").read_text().splitlines()[-1])
    text = (DOCS / "run-directory.md").read_text()
    text = text.replace("`paper_bits_*`", "`paper_bits_up` `paper_bits_down`")
    text = text.replace("`wire_bytes_*`", "`wire_bytes_up` `wire_bytes_down`")
    keys = [*manifest, *summary, *summary["seconds"], *summary["ranks"][1], *row]
    assert [key for key in keys if f"`{key}`" not in text] == []


def test_the_picture_of_laq_is_drawn_from_its_rows():
    picture = module(DOCS / "pictures" / "laq.py")
    curves = json.loads((DOCS / "pictures" / "laq.json").read_text())
    assert picture.draw(curves) == (DOCS / "pictures" / "laq.svg").read_text()
    ends = {name: points[-1] for name, points in curves.items()}
    assert all(residual <= 1e-6 for _, residual in ends.values())


def test_papers_letters_are_escaped_in_prose_alone():
    escape = module(DOCS / "_ext" / "docstrings.py").escape
    lines = [
        "|x| of ``|y|``:",
        "",
        "::",
        "",
        "    |z|",
        "",
        "x*",
        "",
        ">>> a | b",
        "c|",
    ]
    expected = [*lines]
    expected[0], expected[6] = r"\|x\| of ``|y|``:", r"x\*"
    assert escape(lines) == expected
    table = escape(["=== ===", "|a| b*", "=== ==="])
    assert [len(line) for line in table] == [7, 6, 7]
    assert "|" not in table[1]


@pytest.mark.timeout(300)
@pytest.mark.skipif(
    importlib.util.find_spec("sphinx") is None,
    reason="launch/docs.sh builds the docs where Sphinx is not installed",
)
def test_the_docs_build_without_warnings(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    command += ["-d", tmp_path / "doctrees", DOCS, tmp_path / "html"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    pages = {path.name for path in (tmp_path / "html").rglob("*.html")}
    assert {path.stem + ".html" for path in DOCS.rglob("*.md")} <= pages
    shutil.rmtree(tmp_path)
