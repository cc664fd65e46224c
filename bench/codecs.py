"""Time encode and decode_add of every codec against one read and one copy.

python bench/codecs.py [--dim N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from psmpi.codecs import Bernoulli, Dense, Sign, Stochastic, TopK, Uniform, Wangni

RESULTS = Path(__file__).parent / "results" / "codecs.json"
CODECS = (
    Dense(),
    Uniform(4),
    Uniform(12),
    Stochastic(4),
    Stochastic(7, "max"),
    Sign(),
    Sign(block=4096),
    TopK(0.001),
    TopK(0.01),
    Bernoulli(0.5),
    Wangni(0.01),
)


def times(action, repeats):
    """Return ns per call: a first call compiles and is not counted."""
    action()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        action()
        taken.append(time.perf_counter_ns() - start)
    return taken


def machine():
    """Return processor, system and interpreter in one line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [s for s in info.read_text().splitlines() if "model name" in s]
        cpu = names[0].split(":")[1].strip() if names else cpu
    return f"{cpu}, {platform.system()}, Python {platform.python_version()}"


def measure(dim, repeats):
    """Return one row of ns per element for every action."""
    x = np.random.default_rng(0).standard_normal(dim).astype(np.float32)
    out = np.zeros_like(x)
    actions = {
        "read (max)": lambda: np.max(x),
        "copy": lambda: np.copyto(out, x),
    }
    sizes = {}
    for codec in CODECS:
        buffer = np.zeros(codec.max_nbytes(dim), np.uint8)
        frame = codec.encode(x, key=1).copy()
        sizes[f"{codec} encode"] = frame.size
        # Bound now, not when called: the names change with the loop.
        actions[f"{codec} encode"] = lambda c=codec, b=buffer: c.encode(x, b, 1)
        actions[f"{codec} decode_add"] = lambda c=codec, f=frame: c.decode_add(f, out)
    rows = []
    for name, action in actions.items():
        taken = [ns / dim for ns in times(action, repeats)]
        rows.append(
            {
                "name": name,
                "min": min(taken),
                "median": statistics.median(taken),
                "max": max(taken),
                "frame_bytes": sizes.get(name),
            }
        )
    return rows


def main():
    """Measure, print, and write the results as JSON and text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dim", type=int, default=10**7)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = measure(options.dim, options.repeats)
    command = " ".join(["python", "bench/codecs.py", *sys.argv[1:]])
    lines = [
        f"{machine()}; one thread; float32, dim {options.dim}; {options.repeats} times",
        f"load average at the end {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
        command,
        f"{'ns per element':46}{'min':>8}{'median':>8}{'max':>8}",
    ]
    for row in rows:
        figures = "".join(f"{row[key]:8.3f}" for key in ("min", "median", "max"))
        lines.append(f"{row['name']:46}{figures}")
    text = "\n".join(lines)
    print(text)
    record = {"machine": machine(), "command": command, "dim": options.dim}
    record["load"] = os.getloadavg()[0]
    options.json.write_text(json.dumps({**record, "rows": rows}, indent=1) + "\n")
    options.json.with_suffix(".txt").write_text(text + "\n")


if __name__ == "__main__":
    main()
