"""Times one gradient against the naive one and against its two matrix products.

    python bench/gradient.py

One BLAS thread. All variants of a case take turns in one process, and the best of
many turns counts, so that ratios survive a busy machine; milliseconds don't.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import contextmanager

import common
import numpy as np
import scipy
from threadpoolctl import threadpool_limits

from psmpi.data.dataset import assemble
from psmpi.problems import Softmax, linear_layer, row_blocks

TURNS = 40


def naive(x, y, classes, l2, point, out):
    """The textbook gradient: whole-matrix products and temporaries."""
    samples, features = x.shape
    weights = point[:-classes].reshape(features, classes)
    z = x @ weights + point[-classes:]
    z -= z.max(axis=1, keepdims=True)
    p = np.exp(z)
    norm = p.sum(axis=1, keepdims=True)
    loss = float(
        np.sum(np.log(norm[:, 0]) - z[np.arange(samples), y], dtype=np.float64)
    )
    p /= norm
    p[np.arange(samples), y] -= 1
    out[:-classes] = (x.T @ p).ravel()
    out[-classes:] = p.sum(axis=0)
    out /= samples
    out += l2 * point
    return loss / samples


def data(samples, features, classes, density):
    """Pixels like MNIST's (a fifth not zero), or CSR of that density."""
    draw = np.random.Generator(np.random.Philox(key=1))
    y = np.arange(samples) % classes
    if density:
        x = scipy.sparse.random_array(
            (samples, features), density=density, format="csr", rng=draw
        )
        return assemble("made", "bench", (x, y))
    x = draw.integers(0, 256, (samples, features)).astype(np.uint8)
    x[draw.random(x.shape) < 0.8] = 0
    return assemble("made", "bench", (x, y), divisor=255)


@contextmanager
def setting(module, name, value):
    """Set a module's constant for as long as a variant runs."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def variants(case) -> dict[str, Callable[[], object]]:
    """Name every way to compute this case's gradient; ``naive`` comes first."""
    whole = Softmax(data(*case))
    shard = whole.shard(0, 1)
    x, y, classes = shard.data.x, shard.data.y, shard.data.classes
    point = shard.start(0)
    out = np.empty_like(point)
    weights = point[:-classes].reshape(-1, classes)
    residual = np.ones((shard.samples, classes), np.float32)
    ways: dict[str, Callable[[], object]] = {
        "naive": lambda: naive(x, y, classes, 0.01, point, out),
        "two products alone": lambda: (x @ weights, x.T @ residual),
        "psmpi": lambda: shard.grad(point, out),
    }
    if not case[3]:
        ways["psmpi, from uint8"] = lambda: whole.grad(point, out)
        for kilobytes in (128, 256, 512, 1024, 4096, 32768):
            ways[f"psmpi, blocks of {kilobytes} KiB"] = with_setting(
                row_blocks, "BLOCK_BYTES", kilobytes * 2**10, case
            )
        ways["psmpi, columns not padded"] = with_setting(linear_layer, "PAD", 1, case)
    return ways


def with_setting(module, name, value, case) -> Callable[[], object]:
    """Return the gradient of a problem of its own under another constant."""
    shard = Softmax(data(*case)).shard(0, 1)
    point = shard.start(0)
    out = np.empty_like(point)

    def run():
        with setting(module, name, value):
            return shard.grad(point, out)

    return run


def measure(ways) -> dict[str, float]:
    """Best seconds of each way, taking turns."""
    best = dict.fromkeys(ways, np.inf)
    for _ in range(TURNS):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def main() -> None:
    """Print the table and write the results."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    cases = {
        "softmax 6000 x 784, 10 classes (an MNIST shard)": (6000, 784, 10, 0),
        "softmax 600 x 784, 10 classes": (600, 784, 10, 0),
        "softmax 20000 x 47236 CSR 0.16 %, 2 classes": (20000, 47236, 2, 0.0016),
    }
    lines = [f"1 BLAS thread, best of {TURNS} turns"]
    found = {}
    for title, case in cases.items():
        best = found[title] = measure(variants(case))
        lines += ["", title, f"{'':32}{'ms':>10}{'naive / it':>12}"]
        lines += [
            f"{name:32}{1e3 * seconds:10.3f}{best['naive'] / seconds:12.2f}"
            for name, seconds in best.items()
        ]
    common.save("gradient", "\n".join(lines), found)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
