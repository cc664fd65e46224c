"""``psmpi.run`` in a script that mpiexec has started on all ranks."""

import re

import numpy as np
import pytest

import psmpi
from psmpi.problems import Quadratic

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(120)]
DATA = "synthetic:softmax,samples=120,features=5"


@pytest.fixture(scope="module")
def script(start_for_module, tmp_path_factory):
    """The script ``script_runs.py`` after its end on 3 ranks, and its directory."""
    folder = tmp_path_factory.mktemp("script")
    (folder / "other").mkdir()
    for name, wide in (("missing.npz", 2), ("wider.npz", 2), ("other/wider.npz", 3)):
        features = np.arange(10.0 * wide).reshape(10, wide)
        np.savez(folder / name, X=features, y=np.arange(10) % 2)
    job = start_for_module("script_runs.py", folder, ranks=3, bare=True)
    return job.finish(60), folder


def test_all_ranks_take_part_and_get_the_result(script):
    ended, folder = script
    assert ended.status == 0, ended.output
    results = re.findall(r"result (\w+) (\w+) (\d+) (\d+) (\d+)", ended.output)
    laq = psmpi.run("laq", rounds=8, data=DATA, workers=2, local=True)
    gd = psmpi.run(
        "gd", rounds=8, problem=Quadratic(dim=12), lr=0.1, workers=2, local=True
    )
    models = laq.x.tobytes().hex(), gd.x.tobytes().hex()
    count = str(len(laq.rows))
    assert [values[:3] for values in results] == [(*models, count)] * 3
    assert (folder / "laq" / "summary.json").exists()


def test_the_server_alone_reports_rows_and_phases(script):
    found = re.findall(r"result \w+ \w+ (\d+) (\d+) (\d+)", script[0].output)
    rows = [int(rows) for _, rows, _ in found]
    assert sorted(rows) == [0, 0, int(found[0][0])]
    assert sorted(bool(int(lines)) for *_, lines in found) == [False, False, True]


@pytest.mark.parametrize(
    "message",
    [
        r"workers: 7 workers and a server are 8 ranks, but MPI started 3\n",
        r"lr: must be a positive number",
        r"hosts: a,b, but mpiexec has started this script",
        r"link-rate: 1000000\.0 is of a simulated network",
        r"rank 2 on \S+: .*missing\.npz",
        r"ranks disagree: dim is 4 on rank 2 \(",
    ],
)
def test_a_refusal_is_raised_on_all_ranks_and_the_script_goes_on(script, message):
    assert len(re.findall(f"refused {message}", script[0].output)) == 3
