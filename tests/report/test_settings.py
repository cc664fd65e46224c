"""The settings of a report are those that the run used, with those given marked."""

import dataclasses

import pytest

from psmpi.report.settings import Setting, provenance, settings
from tests.helpers.recorded_runs import record_run


@pytest.fixture
def run(tmp_path):
    options = {"codec": None, "bits": None, "error_weight": None, "lr": 0.1}
    return record_run(tmp_path / "a", "laq", rounds=1, options=options)


def with_manifest(run, **more):
    return dataclasses.replace(run, manifest=run.manifest | more)


def test_effective_values_replace_those_left_out(run):
    effective = {"codec": "uniform:bits=4", "error_weight": 3.0}
    newer = with_manifest(run, effective=effective, given=["lr"])
    values = settings(newer)
    assert values["codec"] == Setting("uniform:bits=4", given=False)
    assert values["error_weight"] == Setting("3.0", given=False)
    assert values["lr"] == Setting("0.1", given=True)
    assert values["bits"] == Setting("-", given=False)


def test_an_effective_value_without_an_option_is_added(run):
    assert settings(with_manifest(run, effective={"tau": 7}))["tau"] == Setting("7")


@pytest.mark.parametrize(
    "name", ["error_weight", "error-weight", "options.error_weight"]
)
def test_given_names_may_be_written_as_on_the_command_line(run, name):
    values = settings(with_manifest(run, given=[name]))
    assert values["error_weight"].given
    assert not values["bits"].given


def test_the_algorithm_comes_first_and_is_always_given(run):
    values = settings(with_manifest(run, given=[]))
    assert next(iter(values)) == "algorithm"
    assert [name for name, setting in values.items() if setting.given] == ["algorithm"]


def test_an_older_manifest_marks_nothing(run):
    assert {setting.given for setting in settings(run).values()} == {None}
    assert settings(run)["codec"] == Setting("-")


def test_provenance_is_the_rest_of_the_manifest(run):
    newer = with_manifest(run, given=["lr"], effective={"codec": "sign"})
    facts = provenance(newer)
    assert facts["versions.mpi"] == "Open MPI v5.0.8"
    assert facts["hosts"] == "node-a"
    assert not {"given", "effective", "codec"} & facts.keys()
