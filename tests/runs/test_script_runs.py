"""``psmpi.run`` in a script that mpiexec has started on all ranks."""

import re

import pytest

import psmpi
from psmpi.problems import Quadratic

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(120)]
DATA = "synthetic:softmax,samples=120,features=5"


def test_all_ranks_take_part_and_get_the_result(start, tmp_path):
    ended = start("script_runs.py", tmp_path, ranks=3, bare=True).finish(60)
    assert ended.status == 0, ended.output
    found = re.findall(r"result (\w+) (\w+) (\d+)", ended.output)
    laq = psmpi.run("laq", rounds=8, data=DATA, workers=2, local=True)
    gd = psmpi.run(
        "gd", rounds=8, problem=Quadratic(dim=12), lr=0.1, workers=2, local=True
    )
    expected = laq.x.tobytes().hex(), gd.x.tobytes().hex()
    assert [values[:2] for values in found] == [expected] * 3
    assert sorted(int(count) for *_, count in found) == [0, 0, len(laq.rows)]
    assert (tmp_path / "laq" / "summary.json").exists()
    for text in (
        "refused workers: 7 workers and a server are 8 ranks",
        "refused lr: must be a positive number",
        "refused hosts: a,b, but mpiexec has started this script",
    ):
        assert ended.output.count(text) == 3
