"""Runs every command and snippet of README and docs, page by page, as they stand there.

A fenced block is run if it is tagged ``bash`` or ``python``; ``toml`` is written to the
file that it names. Blocks of one page share a temporary directory and Python names, in
the order of the page. A comment directly above a block changes that:

==================================  ================================================
comment                             meaning
==================================  ================================================
``<!-- not run: REASON -->``        the block is only parsed
``<!-- exit status: N -->``         its last command ends with N instead of 0
``<!-- tested with --local -->``    psmpi gets --local besides, so that no MPI starts
``<!-- file: NAME -->``             the block is written to this file, and not run
==================================  ================================================
"""

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = sorted(p for p in (ROOT / "docs").rglob("*.md") if "_build" not in p.parts)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
#: Blocks that are not run, by page. Whoever adds one has to raise a number here.
NOT_RUN = {
    "CONTRIBUTING.md": 2,
    "README.md": 3,
    "docs/checkpoints.md": 3,
    "docs/clusters.md": 3,
    "docs/extending.md": 1,
    "docs/first-steps.md": 2,
    "docs/own-models.md": 1,
    "docs/index.md": 1,
}
_BLOCK = re.compile(
    r"((?:^<!--.*?-->\n)*)^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
_NOTE = re.compile(
    r"<!-- (not run|exit status|tested with --local|file)(?:: (.*?))? -->"
)
_TAGS = {"bash", "python", "toml", "text"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, with the comments directly above it."""

    language: str
    code: str
    notes: dict[str, str]


def blocks(page):
    found = []
    for comments, language, code in _BLOCK.findall(page.read_text()):
        notes = dict(_NOTE.findall(comments))
        assert len(notes) == comments.count("<!--"), f"{page}: {comments}"
        found.append(Block(language, code, notes))
    return found


def name(page):
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """A folder for PATH in which ``psmpi`` is this tree's, perhaps with --local."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "psmpi"
    script.write_text(
        f'#!/bin/sh\nexec {sys.executable} -m psmpi "$@" $PSMPI_DOCS_LOCAL\n'
    )
    script.chmod(0o755)
    python = folder / "python"  # a link to it would not find its environment
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return folder


def run_bash(block, folder, commands):
    environment = {
        **os.environ,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PSMPI_DOCS_LOCAL": "--local" if "tested with --local" in block.notes else "",
    }
    ended = subprocess.run(
        ["bash", "-e", "-c", block.code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    wanted = int(block.notes.get("exit status", 0))
    assert ended.returncode == wanted, f"{block.code}\n{ended.stdout}{ended.stderr}"


def run_python(block, names):
    exec(compile(block.code, "<page>", "exec"), names)


def run_block(block, folder, names, commands):
    if block.language == "bash":
        run_bash(block, folder, commands)
    elif "file" in block.notes:
        (folder / block.notes["file"]).write_text(block.code)
    elif block.language == "python":
        run_python(block, names)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_a_page_says_runs(page, tmp_path, monkeypatch, commands):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for block in blocks(page):
        if "not run" not in block.notes:
            run_block(block, tmp_path, names, commands)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_is_not_run_is_counted_and_parses(page):
    skipped = [block for block in blocks(page) if "not run" in block.notes]
    assert len(skipped) == NOT_RUN.get(name(page), 0)
    for block in skipped:
        assert block.notes["not run"], "say why a block is not run"
        if block.language == "bash":
            subprocess.run(["bash", "-n", "-c", block.code], check=True)
        elif block.language == "python":
            compile(block.code, name(page), "exec")
        else:
            tomllib.loads(block.code)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_has_a_known_tag(page):
    text = page.read_text()
    fences = re.findall(r"^```(.*)$", text, re.MULTILINE)
    tags = {tag for tag in fences if tag and not tag.startswith("{")}
    assert tags <= _TAGS
    plain = [tag for tag in fences[::2] if not tag]
    assert not plain, "a fence without a tag"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_that_exist(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path = target.partition("#")[0]
        if path and "://" not in target:
            assert (page.parent / path).exists(), target
    for path in re.findall(
        r"`((?:psmpi|tests|bench|docs|launch)/[\w./-]+)`", page.read_text()
    ):
        assert (ROOT / path).exists(), f"{name(page)} names {path}, which is not there"
