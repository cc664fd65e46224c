"""What a run came to: the summary, each rank's report, the result in Python."""

from __future__ import annotations

import itertools
import resource
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from psmpi.base import Vector
from psmpi.links.server import ServerEnd
from psmpi.links.transport.base import Transport
from psmpi.links.worker import WorkerEnd
from psmpi.runs.evaluation import Row
from psmpi.runs.record import MODEL, RunWriter
from psmpi.runs.roles import Served
from psmpi.runs.setup import PreparedRun

Summary = dict[str, Any]
_NOISE = 0.1  # of the first loss: a rise that is not called divergence


@dataclass(frozen=True)
class Result:
    """How a run went.

    ``summary`` is what ``summary.json`` holds, ``rows`` what ``rows.jsonl`` does; ``x``
    is the final model, shape (dim,); ``path`` the run's directory, if it has one;
    ``unmet`` holds the targets that were not reached.
    """

    summary: Summary
    rows: list[Row]
    x: Vector
    path: Path | None = None
    unmet: tuple[str, ...] = ()


def finish(
    prepared: PreparedRun,
    writer: RunWriter,
    served: Served,
    summary: Summary,
    decisions: Sequence[Sequence[int]],
) -> None:
    """Write all that a run's directory has in the end; ``decisions`` of each rank."""
    writer.save(MODEL, served.state.x)
    for name, array in prepared.algorithm.arrays(prepared.plan).items():
        writer.save(name, array)
    writer.save_decisions(decisions)
    writer.finish(summary)


def rank_report(
    rank: int, transport: Transport, end: ServerEnd | WorkerEnd
) -> dict[str, Any]:
    """Return one rank's entry of the summary; bytes are as handed to the transport."""
    meter = end.meter
    rounds = end.round if isinstance(end, ServerEnd) else end.rounds_done
    entry = {
        "rank": rank,
        "host": socket.gethostname(),
        "rounds": rounds,
        "frames_sent": transport.sent_messages,
        "bytes_sent": transport.sent_bytes,
        "bytes_received": transport.received_bytes,
        "seconds": meter.seconds,
        "cpu_seconds": meter.cpu_seconds,
        "max_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    if isinstance(end, WorkerEnd):
        entry["samples"] = meter.samples
        entry["overshoot"] = meter.overshoot
        entry["behind"] = end.compute_speed.behind
        entry["superseded"] = transport.superseded
    return entry


def summarise(
    prepared: PreparedRun,
    served: Served,
    ranks: Sequence[dict[str, Any]],
    *,
    clock: str = "real",
) -> Summary:
    """Return the contract's summary. Seconds by phase are means over the workers."""
    evaluation, meter = served.evaluation, served.link.meter
    last = evaluation.rows[-1]
    phases = {
        name: float(np.mean([rank["seconds"][name] for rank in ranks[1:]]))
        for name in meter.seconds
    }
    phases["evaluate"] = meter.seconds["evaluate"]
    return {
        "algorithm": prepared.run.algorithm,
        "name": prepared.run.name,
        "workers": prepared.plan.workers,
        "rounds": last["round"],
        "uploads": last["uploads"],
        "paper_bits_up": last["paper_bits_up"],
        "paper_bits_down": last["paper_bits_down"],
        "wire_bytes_up": meter.wire_bytes_up,
        "wire_bytes_down": meter.wire_bytes_down,
        "seconds": {"total": last["seconds"], **phases},
        "loss": last["loss"],
        "residual": last["residual"],
        "accuracy": last["accuracy"],
        "gradient_norm": last["gradient_norm"],
        "reached": evaluation.reached,
        "unmet": [str(target) for target in evaluation.unmet()],
        "ranks": list(ranks),
        "dim": prepared.plan.dim,
        "data": prepared.config()["data"],
        "options": dict(prepared.run.as_dict()["options"]),
        "dtype": prepared.run.run_options.dtype,
        "seed": prepared.run.run_options.seed,
        "clock": clock,
        "dense_frames": prepared.algorithm.frames(prepared.plan, last["round"]),
        "wire_bytes_observed": meter.wire_bytes_observed,
        "warnings": [
            *prepared.algorithm.cautions(prepared.plan),
            *divergence(prepared, evaluation.rows),
        ],
        **_arrivals(served.link),
        **prepared.algorithm.record(served.state),
    }


def divergence(prepared: PreparedRun, rows: Sequence[Row]) -> list[str]:
    """Return a warning if the loss has risen by more than noise, but is finite."""
    first, last = rows[0], rows[-1]
    if not last["loss"] - first["loss"] > _NOISE * abs(first["loss"]):
        return []
    advice = "lower --lr"
    workers = prepared.plan.workers
    if getattr(prepared.algorithm, "reduce", None) == "sum" and workers > 1:
        advice += (
            f": the step is along the sum over {workers} workers, which --reduce mean "
            "divides by their number"
        )
    return [
        f"{prepared.run.name}: the loss rose from {first['loss']:.4g} to "
        f"{last['loss']:.4g} in {last['round']} rounds; {advice}"
    ]


def _arrivals(link: ServerEnd) -> dict[str, Any]:
    """Return how an asynchronous server was served: ages of frames, counts, bursts."""
    if not link.arrivals:
        return {}
    counts = np.bincount(link.arrivals, minlength=link.workers)
    bursts = [0] * link.workers
    for worker, run in itertools.groupby(link.arrivals):
        bursts[worker] = max(bursts[worker], sum(1 for _ in run))
    return {
        "staleness": {str(age): n for age, n in sorted(link.staleness.items())},
        "arrivals": counts.tolist(),
        "bursts": bursts,
        "late": link.late,
    }
