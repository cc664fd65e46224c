"""Kernels are compiled once per machine and loaded before a run's clock starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from psmpi.runs import config, setup, warmup

RUN_ALL = """
import sys
from psmpi import algorithms
from psmpi.kernels.jit import KERNELS
from psmpi.runs import config, local, warmup

def loaded():
    return {
        (kernel.__name__, str(signature))
        for kernel in KERNELS
        if "dispatcher" in vars(kernel)
        for signature in kernel.dispatcher.signatures
    }

load = warmup.load

def load_and_note(prepared):
    global before
    load(prepared)
    before = loaded()

warmup.load = load_and_note
for id in algorithms.ALGORITHMS:
    options = {"hidden": "5"} if id == "dist-ef-sgdm" else {}
    data = "synthetic:softmax,samples=240,features=4"
    run = config.configure(id, data=data, rounds=12, **options)
    result = local.run_local(run)
    late = loaded() - before
    if late:
        print(id, sorted(late))
"""


@pytest.mark.timeout(300)
def test_no_kernel_is_loaded_while_the_clock_runs():
    found = subprocess.run(
        [sys.executable, "-c", RUN_ALL], check=True, capture_output=True, text=True
    )
    assert found.stdout == ""


def test_a_run_loads_few_kernels():
    run = config.configure("laq", data="synthetic:softmax,samples=240,features=4")
    names = {f.__name__ for f in warmup.kernels_of(setup.prepare(run))}
    assert {"nearest_encode", "nearest_add", "sum_squares", "add_scaled"} <= names
    assert not {"sign_encode", "top_k_blocks", "ternary_encode"} & names


CACHE = """
import logging
from psmpi.runs import warmup
logging.basicConfig(level=logging.INFO, format="%(message)s")
warmup.examples = lambda dtype: []
warmup.compile_all()
"""


def test_compiling_is_announced_once(tmp_path):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    line = [sys.executable, "-c", CACHE]
    runs = [
        subprocess.run(line, check=True, capture_output=True, text=True, env=env)
        for _ in range(2)
    ]
    assert [("compiling the kernels" in run.stderr) for run in runs] == [True, False]
    assert [path.name[:9] for path in Path(tmp_path).iterdir()] == ["complete-"]
