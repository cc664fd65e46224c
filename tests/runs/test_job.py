"""The runs of an MPI job reach its ranks as they were configured."""

import re
from pathlib import Path

import pytest

from psmpi.base import ConfigError
from psmpi.runs import config, job


def test_ranks_get_the_runs_of_the_job():
    runs = [
        config.configure("laq", "three bits", bits=3, until=["loss=0.1", "bits=1e9"]),
        config.configure("dsgd", topology="ring", l2=0.1, hidden="8,4"),
    ]
    entries = job.decode(job.encode(runs, [Path("a"), Path("b/c")], [False, True]))
    assert [entry.configure().as_dict() for entry in entries] == [
        run.as_dict() for run in runs
    ]
    assert [entry.configure().given for entry in entries] == [r.given for r in runs]
    assert [entry.out for entry in entries] == [
        str(Path("a").absolute()),
        str(Path("b/c").absolute()),
    ]


def test_a_job_is_a_plain_word_of_the_command_line():
    word = job.encode(
        [config.configure("laq", "'a b'; $x", lr=0.1)], [Path("a")], [False]
    )
    assert re.fullmatch("[A-Za-z0-9_=-]+", word)


def test_more_runs_than_a_command_line_takes_are_refused(monkeypatch):
    monkeypatch.setattr(job, "_LONGEST", 300)
    run = config.configure("laq")
    with pytest.raises(ConfigError, match="1 runs are too many for one MPI job"):
        job.encode([run], [Path("a")], [False])
