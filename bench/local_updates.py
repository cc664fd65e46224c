"""SparseLoCo's frames, the bytes of both directions, and what they cost in accuracy.

python bench/local_updates.py [--seeds N]      (needs MNIST: see docs/data.md)
"""

from __future__ import annotations

import argparse
import math
import statistics
import time

import common
import numpy as np

from psmpi.codecs import ChunkTopK
from psmpi.runs import config
from psmpi.runs.local import run_local

CHUNK, KEPT = 4096, 64
PUBLISHED = 12 + 2  # bits a kept entry that the paper counts
STORED = 12 + 8  # and that the code of its large run stores (one_covenant/templar)
MODEL = {"data": "mnist", "hidden": "128", "optimum": False, "l2": 0.0}
METHODS = {
    "diloco": ("diloco", {"local_steps": 15}),
    "sparseloco, senders": ("sparseloco", {}),
    "sparseloco, mean": ("sparseloco", {"reduce": "mean"}),
    "sparseloco, senders, clip": ("sparseloco", {"clip": "median"}),
    "sparseloco, senders, feedback": ("sparseloco", {"downlink": "feedback"}),
    "sparseloco, mean, feedback": (
        "sparseloco",
        {"reduce": "mean", "downlink": "feedback"},
    ),
    "local-updates, signtopk 1/64": ("local-updates", {"k": 1 / 64}),
}


def entropy() -> float:
    """Return log2 C(4096, 64) / 64 + 2, the least bits of a kept entry."""
    ways = math.lgamma(CHUNK + 1) - math.lgamma(KEPT + 1)
    return (ways - math.lgamma(CHUNK - KEPT + 1)) / math.log(2) / KEPT + 2


def frames(repeats: int) -> list[dict[str, float]]:
    """Measure real frames of normal vectors, and the time of both ends."""
    rows = []
    for dim in (10**5, 10**6, 10**7):
        x = np.random.default_rng(0).standard_normal(dim).astype(np.float32)
        codec, out, taken = ChunkTopK(CHUNK, KEPT), np.zeros_like(x), []
        buffer = np.empty(codec.max_nbytes(dim), np.uint8)
        for _ in range(repeats + 1):
            start = time.perf_counter()
            frame = codec.encode(x, buffer)
            middle = time.perf_counter()
            codec.decode_add(frame, out)
            taken.append((middle - start, time.perf_counter() - middle))
        encode, decode = zip(*taken[1:], strict=True)  # the first compiles
        rows.append(
            {
                "dim": dim,
                "bits": 8 * frame.size / codec.most(dim),
                "ratio": 4 * dim / frame.size,
                "encode": 1e9 * statistics.median(encode) / dim,
                "decode": 1e9 * statistics.median(decode) / dim,
            }
        )
    return rows


def bytes_a_round(workers: int, downlink: str) -> dict[str, float]:
    """Return bytes up and down, a worker and round, of a run in process."""
    rounds = 6
    given = {"local_steps": 5, "downlink": downlink, "rounds": rounds}
    run = config.configure("sparseloco", workers=workers, **MODEL, **given)
    s = run_local(run).summary
    share = workers * rounds
    return {"up": s["wire_bytes_up"] / share, "down": s["wire_bytes_down"] / share}


def directions() -> list[dict[str, float]]:
    """Compare with an all-gather, in which every worker receives all frames."""
    kept = ChunkTopK(bounds=bounds()).most(bounds()[-1])
    rows = []
    for workers in (4, 16, 64):
        union, feedback = (bytes_a_round(workers, d) for d in ("update", "feedback"))
        rows.append(
            {
                "workers": workers,
                "up": union["up"],
                "down_union": union["down"],
                "down_feedback": feedback["down"],
                "gather_stored": workers * kept * STORED / 8,
                "gather_published": workers * kept * PUBLISHED / 8,
                "floats": 4 * bounds()[-1],
            }
        )
    return rows


def bounds() -> tuple[int, ...]:
    """Return the tensors of the perceptron 784-128-10."""
    sizes = np.cumsum([0, 784 * 128, 128, 128 * 10, 10])
    return tuple(int(size) for size in sizes)


def accuracies(seeds: int) -> list[dict[str, object]]:
    """Train by every method, with labels mixed and split."""
    rows = []
    for name, (algorithm, options) in METHODS.items():
        row: dict[str, object] = {"method": name}
        for partition in ("shuffled", "by-label"):
            found = []
            for seed in range(seeds):
                how = {"partition": partition, "seed": seed, "evaluate_every": 80}
                run = config.configure(
                    algorithm, workers=8, rounds=80, **MODEL, **how, **options
                )
                s = run_local(run).summary
                found.append(100 * s["accuracy"])
            row[partition] = found
        floats = 4 * bounds()[-1] * 8 * 80
        row["ratio_up"] = floats / s["wire_bytes_up"]
        row["ratio_down"] = floats / s["wire_bytes_down"]
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args()
    data = {
        "entropy": entropy(),
        "frames": frames(given.repeats),
        "directions": directions(),
        "accuracies": accuracies(given.seeds),
    }
    common.save("local_updates", "\n".join(report(data)), data)


def report(data: dict) -> list[str]:
    """Return the lines of the three tables."""
    frames, directions = data["frames"], data["directions"]
    return [
        f"Frames of chunktopk, {KEPT} of {CHUNK}, normal float32, one block. The limit",
        f"is {data['entropy']:.2f} bits a kept entry. One thread; medians, in ns.",
        "",
        "      dim  bits/kept  of floats  encode  decode_add",
        *(
            f"{r['dim']:9}  {r['bits']:9.2f}  {r['ratio']:8.1f}x  {r['encode']:6.2f}"
            f"  {r['decode']:10.2f}"
            for r in frames
        ),
        "",
        "Bytes a worker and round of sparseloco, MNIST 784-128-10, in process, with",
        "envelopes (measured). Union: --downlink update, the exact sum. Feedback:",
        "--downlink feedback, chunktopk both ways. All-gather: what a worker receives",
        f"where it gets all frames, by the formula workers x kept x {STORED} bits, as",
        f"the code of the large run stores them, and x {PUBLISHED}, as published.",
        "",
        "workers     up  down, union  down, feedback  gather x 20  gather x 14  floats",
        *(
            f"{r['workers']:7}  {r['up']:5.0f}  {r['down_union']:11.0f}"
            f"  {r['down_feedback']:14.0f}  {r['gather_stored']:11.0f}"
            f"  {r['gather_published']:11.0f}  {r['floats']:6}"
            for r in directions
        ),
        "",
        "Test accuracy in %, MNIST 784-128-10, 8 workers, 80 rounds of 15 AdamW steps",
        "with batch 8, step sizes not tuned: mean (least-most) over the seeds. And how",
        "many times fewer bytes than floats of every round each direction has.",
        "",
        f"{'method':30}  {'labels mixed':>18}  {'by label':>18}     up   down",
        *(
            f"{r['method']:30}  {common.spread(r['shuffled'], '{:.1f}'):>18}"
            f"  {common.spread(r['by-label'], '{:.1f}'):>18}"
            f"  {r['ratio_up']:5.1f}  {r['ratio_down']:5.1f}"
            for r in data["accuracies"]
        ),
    ]


if __name__ == "__main__":
    main()
