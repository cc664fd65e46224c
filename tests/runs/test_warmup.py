"""Kernels are compiled once per machine and loaded before a run's clock starts."""

import subprocess
import sys
import time

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


def test_what_takes_long_is_announced(monkeypatch, caplog):
    run = config.configure("gd", data="synthetic:softmax,samples=240,features=4")
    prepared = setup.prepare(run)
    monkeypatch.setattr(warmup, "_SILENCE", 0.01)
    caplog.set_level("INFO", "psmpi")
    warmup.load(prepared)  # all of it is loaded afterwards
    caplog.clear()
    monkeypatch.setattr(warmup, "kernels_of", lambda _: time.sleep(0.2) or set())
    warmup.load(prepared)
    assert "compiling the kernels of this run" in caplog.text
    caplog.clear()
    monkeypatch.setattr(warmup, "_SILENCE", 5.0)
    warmup.load(prepared)
    assert caplog.text == ""
