"""Runs that the tests of the reports share."""

import pytest

from tests.helpers.recorded_runs import ODD, record_run


@pytest.fixture
def pair(tmp_path):
    """Return a run of gd, and one of laq that sends an eighth of its bits up."""
    laq = record_run(tmp_path / "b", "laq", 4, options={"bits": 4})
    return [record_run(tmp_path / "a"), laq]


@pytest.fixture(params=ODD, ids=str)
def odd(request, tmp_path):
    return record_run(tmp_path / "odd", "laq", **{"width": 4, **ODD[request.param]})
