"""Time encode and decode_add of every codec against one read and one copy.

python bench/codecs.py [--dim N] [--repeats N]
"""

from __future__ import annotations

import argparse
import statistics
import time

import common
import numpy as np

from psmpi.codecs import (
    AdaComp,
    Bernoulli,
    ChunkTopK,
    Decimal,
    Dense,
    Plane,
    QTopK,
    Sign,
    SignTopK,
    Sparse,
    SparseSign,
    Stochastic,
    Ternary,
    TopK,
    Uniform,
    Wangni,
)

CODECS = (
    Dense(),
    Uniform(4),
    Uniform(12),
    Stochastic(4),
    Stochastic(7, "max"),
    Plane(),
    Sign(),
    Sign(block=4096),
    Ternary(),
    Ternary(2.5),
    Ternary(block=4096),
    TopK(0.001),
    TopK(0.01),
    TopK(0.01, block=65536),
    SignTopK(0.01),
    SignTopK(0.01, block=512),
    ChunkTopK(),
    QTopK(0.01),
    AdaComp(),
    Sparse(),
    Sparse(64),
    Bernoulli(0.5),
    Wangni(0.01),
    Decimal(),
    SparseSign(0.05),
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


def measure(dim, repeats):
    """Return one row of ns per element for every action."""
    x = np.random.default_rng(0).standard_normal(dim).astype(np.float32)
    out = np.zeros_like(x)
    # What a server sums up: entries of a few workers, zero elsewhere.
    few = TopK(0.01).decode(TopK(0.01).encode(x), dim)
    actions = {
        "read (max)": lambda: np.max(x),
        "copy": lambda: np.copyto(out, x),
    }
    sizes = {}
    for codec in CODECS:
        buffer = np.zeros(codec.max_nbytes(dim), np.uint8)
        source = few if isinstance(codec, Sparse) else x
        frame = codec.encode(source, key=1).copy()
        sizes[f"{codec} encode"] = frame.size
        # Bound now, not when called: the names change with the loop.
        actions[f"{codec} encode"] = lambda c=codec, b=buffer, s=source: c.encode(
            s, b, 1
        )
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
    options = parser.parse_args()
    rows = measure(options.dim, options.repeats)
    lines = [
        f"one thread; float32, dim {options.dim}; {options.repeats} times",
        f"{'ns per element':56}{'min':>8}{'median':>8}{'max':>8}",
    ]
    for row in rows:
        figures = "".join(f"{row[key]:8.3f}" for key in ("min", "median", "max"))
        lines.append(f"{row['name']:56}{figures}")
    common.save("codecs", "\n".join(lines), {"dim": options.dim, "rows": rows})


if __name__ == "__main__":
    main()
