"""What problems import: heavy packages only when a run needs them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("sklearn", "scipy", "pooch", "numba", "matplotlib")
GRADIENT = """
import numpy as np
from psmpi.problems import make_problem
shard = make_problem("digits").shard(0, 2)
x = shard.start(0)
shard.grad(x, np.empty_like(x), shard.batch(1, 10))
shard.accuracy(x)
"""


def heavy_imports(code):
    """Return which heavy packages a new process has imported after ``code``."""
    code += f"\nimport json, sys\nfound = [m for m in {HEAVY} if m in sys.modules]"
    code += "\nprint(json.dumps(found))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    "code",
    ["import psmpi.data", "import psmpi.problems", GRADIENT],
    ids=["data", "problems", "digits"],
)
def test_heavy_packages_are_not_imported(code):
    assert heavy_imports(code) == []


def test_the_check_sees_heavy_packages():
    assert heavy_imports("import scipy.sparse") == ["scipy"]
