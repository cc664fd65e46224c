"""Time a whole step of error feedback with signs, in passes over the vector.

A pass is ``max_abs``, the fastest read of a vector that we have; it is timed before
every other action, and an action's figure is its time over that of the read before it.

python bench/feedback.py [--repeats N]
"""

from __future__ import annotations

import argparse
import statistics
import time

import common
import numpy as np

from psmpi.base import Codec
from psmpi.codecs import Sign
from psmpi.kernels.reduce import max_abs

DIMS = (10**5, 10**6, 10**7)
SHARES = (0, 0.003, 0.01, 0.11, 0.114, 0.35, 0.36, 0.71, 0.95, 0.951, 1)  # ten tensors
NAMES = ("read again", "copy", "encode", "decode_add", "steps, x", "fused, x",
         "steps, no x", "fused, no x", "fused, x, ratio 0.9")  # fmt: skip


def actions(codec, e, x, out):
    """Return what is timed; the steps are those of ``Codec.encode_feedback``."""
    buffer = np.zeros(codec.max_nbytes(x.size), np.uint8)
    frame = codec.encode(x).copy()
    steps = Codec.encode_feedback
    calls = (
        lambda: max_abs(x),
        lambda: np.copyto(out, x),
        lambda: codec.encode(x, buffer),
        lambda: codec.decode_add(frame, out, -1.0),
        lambda: steps(codec, e, x, 1.0, buffer),
        lambda: codec.encode_feedback(e, x, 1.0, buffer),
        lambda: steps(codec, e, None, 1.0, buffer),
        lambda: codec.encode_feedback(e, None, 1.0, buffer),
        lambda: codec.encode_feedback(e, x, 0.9, buffer),
    )
    return dict(zip(NAMES, calls, strict=True))


def nanoseconds(action):
    start = time.perf_counter_ns()
    action()
    return time.perf_counter_ns() - start


def measure(dim, repeats):
    """Return one row per codec and action: multiples of the read, and ns per entry."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(dim).astype(np.float32)
    e, out = np.zeros_like(x), np.zeros_like(x)
    tensors = Sign(bounds=tuple(int(share * dim) for share in SHARES))
    rows = []
    for blocks, codec in (("one block", Sign()), ("ten blocks", tensors)):
        todo = actions(codec, e, x, out)
        taken = {name: [] for name in todo}
        reads = {name: [] for name in todo}
        for repeat in range(-1, repeats):  # the first compiles and isn't counted
            e[:] = 0
            for name, action in todo.items():
                read, spent = nanoseconds(lambda: max_abs(x)), nanoseconds(action)
                if repeat >= 0:
                    reads[name].append(read)
                    taken[name].append(spent)
        for name in todo:
            pairs = zip(taken[name], reads[name], strict=True)
            passes = [spent / read for spent, read in pairs]
            rows.append(
                {
                    "dim": dim,
                    "blocks": blocks,
                    "name": name,
                    "min": min(passes),
                    "median": statistics.median(passes),
                    "max": max(passes),
                    "ns": statistics.median(taken[name]) / dim,
                    "read_ns": statistics.median(reads[name]) / dim,
                }
            )
    return rows


def main():
    """Measure, print, and write the results as JSON and text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=25)
    options = parser.parse_args()
    rows = [row for dim in DIMS for row in measure(dim, options.repeats)]
    lines = [
        f"one thread; float32; {options.repeats} times; passes: over the read just "
        "before, itself measured\neach time; shared machine with noisy neighbours, so "
        "read the medians. 'steps' is the generic\npath (e *= ratio, e += x, encode, "
        "decode_add), 'fused' is Sign.encode_feedback.\n",
        f"{'passes':44}{'min':>8}{'median':>8}{'max':>8}{'ns/entry':>10}",
    ]
    for row in rows:
        label = f"dim {row['dim']}, {row['blocks']}: {row['name']}"
        figures = "".join(f"{row[key]:8.2f}" for key in ("min", "median", "max"))
        lines.append(f"{label:44}{figures}{row['ns']:10.3f}")
    common.save("feedback", "\n".join(lines), {"rows": rows})


if __name__ == "__main__":
    main()
