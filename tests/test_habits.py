"""The files around the code agree with it: workflow, templates, citation, scripts."""

import re
import shutil
import subprocess
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

import psmpi

ROOT = Path(__file__).parent.parent
FORGE = ROOT / ".github"
WORKFLOWS = sorted((FORGE / "workflows").glob("*.yml"))
TEMPLATES = sorted((FORGE / "ISSUE_TEMPLATE").glob("*.yml"))
SCRIPTS = sorted((ROOT / "launch").glob("*.sh"))
YAML = [*WORKFLOWS, *TEMPLATES, ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff"]


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture
def setup_cfg():
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture
def jobs():
    return load(FORGE / "workflows" / "ci.yml")["jobs"]


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_files_are_mappings(path):
    assert isinstance(load(path), dict)


def test_the_workflow_tests_every_mpi_library_that_is_an_extra(jobs, setup_cfg):
    matrix = jobs["test"]["strategy"]["matrix"]
    extras = setup_cfg["options.extras_require"]
    assert sorted(matrix["mpi"]) == ["mpich", "openmpi"]
    assert all(library in extras for library in matrix["mpi"])


def test_the_workflow_tests_the_oldest_and_a_newer_python(jobs, setup_cfg):
    pythons = jobs["test"]["strategy"]["matrix"]["python"]
    oldest = setup_cfg["options"]["python_requires"].removeprefix(">=")
    assert pythons == [oldest, "3.13"]
    assert setup_cfg["mypy"]["python_version"] == oldest
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
    assert ruff["target-version"] == f"py{oldest.replace('.', '')}"


def test_the_workflow_calls_scripts_that_exist(jobs):
    lines = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    scripts = re.findall(r"launch/\w+\.sh", "\n".join(lines))
    assert set(scripts) == {"launch/test.sh", "launch/docs.sh"}
    assert all((ROOT / script).exists() for script in scripts)


def test_the_workflow_hands_the_library_to_the_script(jobs):
    (step,) = (s for s in jobs["test"]["steps"] if "test.sh" in s.get("run", ""))
    (name,) = (key for key, value in step["env"].items() if "matrix.mpi" in value)
    assert name in (ROOT / "launch" / "test.sh").read_text()


def test_every_job_of_the_workflow_has_a_timeout(jobs):
    assert [name for name, job in jobs.items() if "timeout-minutes" not in job] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_issue_templates_have_what_a_forge_requires(path):
    template = load(path)
    assert template["name"]
    assert template["description"]
    ids = [field["id"] for field in template["body"] if field["type"] != "markdown"]
    assert len(ids) == len(set(ids))
    assert all(field["attributes"]["label"] for field in template["body"])


def test_the_citation_has_this_version_and_five_papers():
    citation = load(ROOT / "CITATION.cff")
    assert str(citation["version"]) == psmpi.__version__
    assert citation["license"] == "Apache-2.0"
    papers = citation["references"]
    assert len(papers) == 5
    assert {paper["year"] for paper in papers} == {2019}


def test_the_pull_request_template_is_a_checklist_of_seven():
    text = (FORGE / "PULL_REQUEST_TEMPLATE.md").read_text()
    assert len(re.findall(r"^- \[ \] ", text, re.MULTILINE)) == 7


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shell_scripts_parse(path):
    done = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def tree(tmp_path):
    """Return a copy of what the release script compares, as a git repository."""
    (tmp_path / "psmpi").mkdir()
    for name in ("psmpi/__init__.py", "CHANGES.md", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "launch", tmp_path / "launch")
    who = ["-c", "user.name=me", "-c", "user.email=me@localhost"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: _replace(tree / "CHANGES.md", "## ", "## 9."), "CHANGES.md"),
        (
            lambda tree: _replace(tree / "CITATION.cff", "version: ", "version: 9"),
            "version 90",
        ),
        (lambda tree: _git(tree, "tag", "v9.9.9"), "has the tag v9.9.9"),
    ],
    ids=["changes", "citation", "tag"],
)
def test_the_release_script_refuses_versions_that_differ(tree, change, message):
    change(tree)
    done = subprocess.run(
        ["bash", tree / "launch" / "release.sh"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tree / "dist").exists()


def _replace(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def _git(tree, *command):
    subprocess.run(["git", *command], cwd=tree, check=True)
