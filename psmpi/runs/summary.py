"""The result of a run: its summary, each rank's report, and the object in Python."""

from __future__ import annotations

import itertools
import resource
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from psmpi.base import Vector
from psmpi.links.events import KEPT
from psmpi.links.server import ServerEnd
from psmpi.links.transport.base import Transport
from psmpi.links.worker import WorkerEnd
from psmpi.runs import option_names, setup
from psmpi.runs.record import MODEL, RunWriter, dense_bits
from psmpi.runs.roles import Served
from psmpi.runs.schema import RankReport, Row, Summary
from psmpi.runs.setup import PreparedRun

_NOISE = 0.1  # of the first loss: a rise that is not called divergence


@dataclass(frozen=True)
class Result:
    """The result of a run.

    ``summary`` is what ``summary.json`` holds, ``rows`` what ``rows.jsonl`` does; ``x``
    is the final model, shape (dim,); ``path`` the run's directory, if it has one;
    ``unmet`` holds the targets that were not reached.
    """

    summary: Summary
    rows: list[Row]
    x: Vector
    path: Path | None = None
    unmet: tuple[str, ...] = ()


def conclude(
    prepared: PreparedRun,
    writer: RunWriter | None,
    served: Served,
    ranks: Sequence[tuple[RankReport, Sequence[int]]],
    *,
    clock: str = "real",
) -> Result:
    """Summarise a run that has ended, complete its directory, and return the result.

    ``ranks``: each rank's report, and what the rank decided by time.
    """
    totals = summarise(prepared, served, [report for report, _ in ranks], clock=clock)
    setup.warn(divergence(prepared, served.evaluation.rows))
    x = served.state.x
    if writer is not None:
        writer.save(MODEL, x)
        for name, array in prepared.algorithm.arrays(prepared.plan).items():
            writer.save(name, array)
        writer.save_decisions([decisions for _, decisions in ranks])
        writer.finish(totals)
    path = None if writer is None else writer.path
    return Result(totals, served.evaluation.rows, x, path, tuple(totals["unmet"]))


def rank_report(
    rank: int, transport: Transport, end: ServerEnd | WorkerEnd
) -> RankReport:
    """Return one rank's entry of the summary."""
    meter = end.meter
    report: RankReport = {
        "rank": rank,
        "host": socket.gethostname(),
        "rounds": end.round if isinstance(end, ServerEnd) else end.rounds_done,
        "frames_sent": transport.sent_messages,
        "bytes_sent": transport.sent_bytes,
        "bytes_received": transport.received_bytes,
        "seconds": meter.seconds,
        "cpu_seconds": meter.cpu_seconds,
        "max_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    if isinstance(end, WorkerEnd):
        report["samples"] = meter.samples
        report["overshoot"] = meter.overshoot
        report["behind"] = end.compute_speed.behind
        report["superseded"] = transport.superseded
        bad = end.bad_gradients.events
        if bad.count:
            report["nan_steps"] = bad.count
            report["nan_events"] = bad.first
    return report


def summarise(
    prepared: PreparedRun,
    served: Served,
    ranks: Sequence[RankReport],
    *,
    clock: str = "real",
) -> Summary:
    """Return the summary of a run. Seconds by phase are means over the workers."""
    evaluation, meter = served.evaluation, served.link.meter
    last, config = evaluation.rows[-1], prepared.config()
    totals: Summary = {
        "algorithm": prepared.run.algorithm,
        "name": prepared.run.name,
        "workers": prepared.plan.workers,
        "rounds": last["round"],
        "uploads": last["uploads"],
        "paper_bits_up": last["paper_bits_up"],
        "paper_bits_down": last["paper_bits_down"],
        "wire_bytes_up": meter.wire_bytes_up,
        "wire_bytes_down": meter.wire_bytes_down,
        "seconds": {"total": last["seconds"], **_phases(served.link, ranks)},
        "loss": _last_known(evaluation.rows, "loss"),
        "residual": last["residual"],
        "accuracy": _last_known(evaluation.rows, "accuracy"),
        "gradient_norm": last["gradient_norm"],
        "metrics": evaluation.metrics,
        "reached": evaluation.reached,
        "unmet": [str(target) for target in evaluation.unmet()],
        "ranks": list(ranks),
        "dim": prepared.plan.dim,
        "data": config["data"],
        "problem": config["problem"],
        "options": dict(config["options"]),
        "dtype": prepared.run.run_options.dtype,
        "seed": prepared.run.run_options.seed,
        "clock": clock,
        "dense_frames": prepared.algorithm.frames(prepared.plan, last["round"]),
        "wire_bytes_observed": meter.wire_bytes_observed,
        "warnings": [
            *prepared.algorithm.cautions(prepared.plan),
            *divergence(prepared, evaluation.rows),
        ],
    }
    totals["dense_bits_up"], totals["dense_bits_down"] = dense_bits(totals)
    more = {
        **_arrivals(served.link),
        **_put_up_with(served.link, ranks),
        **prepared.algorithm.record(served.state),
    }
    return cast(Summary, {**totals, **more})


def _put_up_with(link: ServerEnd, ranks: Sequence[RankReport]) -> dict[str, Any]:
    """Return what was wrong and has not ended the run: how often, and the first."""
    healed: dict[str, Any] = {}
    if link.healed.count:
        healed = {"heals": link.healed.count, "healed": link.healed.first}
    count = sum(rank.get("nan_steps", 0) for rank in ranks)
    if not count:
        return healed
    events = [event for rank in ranks for event in rank.get("nan_events", [])]
    events.sort(key=lambda event: (event["round"], event["worker"]))
    return {"nan_steps": count, "nan_events": events[:KEPT], **healed}


def _last_known(
    rows: Sequence[Row], metric: Literal["loss", "accuracy"]
) -> float | None:
    """Return the metric of the last row that has it: callers' loops may leave it out.

    Problems of psmpi measure it in every row or in none.
    """
    known = (row[metric] for row in reversed(rows) if row[metric] is not None)
    return next(known, None)


def _phases(link: ServerEnd, ranks: Sequence[RankReport]) -> dict[str, float]:
    """Return the seconds of each phase: of the server's evaluations, else workers'."""
    phases = {
        name: float(np.mean([rank["seconds"][name] for rank in ranks[1:]]))
        for name in link.meter.seconds
    }
    return {**phases, "evaluate": link.meter.seconds["evaluate"]}


def divergence(prepared: PreparedRun, rows: Sequence[Row]) -> list[str]:
    """Return a warning if the loss has risen by more than noise, but is finite."""
    before, after = rows[0]["loss"], rows[-1]["loss"]
    if before is None or after is None or not after - before > _NOISE * abs(before):
        return []
    advice, workers = "lower --lr", prepared.plan.workers
    step = {"reduce": "", "lr": 0.0, **prepared.run.as_dict()["options"]}
    can_average = "reduce" in option_names.own(prepared.run.algorithm)
    if can_average and step["reduce"] == "sum" and workers > 1:
        advice += (
            f" (the step is along the sum over {workers} workers: try --lr "
            f"{step['lr'] / workers:.3g} or --reduce mean)"
        )
    return [
        f"{prepared.run.name}: the loss rose from {before:.4g} in round "
        f"{rows[0]['round']} to {after:.4g} in round {rows[-1]['round']}; {advice}"
    ]


def _arrivals(link: ServerEnd) -> dict[str, Any]:
    """Return the order in which an asynchronous server took its workers' uploads."""
    if not link.arrivals:
        return {}
    counts = np.bincount(link.arrivals, minlength=link.workers)
    bursts = [0] * link.workers
    for worker, burst in itertools.groupby(link.arrivals):
        bursts[worker] = max(bursts[worker], sum(1 for _ in burst))
    return {
        "staleness": {str(age): n for age, n in sorted(link.staleness.items())},
        "arrivals": counts.tolist(),
        "bursts": bursts,
        "late": link.late,
    }
