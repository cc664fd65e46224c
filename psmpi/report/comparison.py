"""Who reached what at which cost: runs side by side, and what a reader must know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psmpi.report.metrics import NONE, names, totals, uncompressed
from psmpi.report.units import bits, seconds, share, size
from psmpi.runs.record import Json
from psmpi.runs.recorded import RecordedRun


@dataclass(frozen=True)
class Reach:
    """One run's arrival at one target: ``at`` is what it had spent by then.

    ``share`` is its uplink bits over those of ``baseline``, the uncompressed run that
    got there with the fewest; None without one.
    """

    target: str
    name: str
    at: Json
    uncompressed: bool
    baseline: str | None = None
    share: float | None = None
    share_of_time: float | None = None


def reaches(runs: Sequence[RecordedRun]) -> list[Reach]:
    """Return every arrival of every run at a target, target by target."""
    found = list(zip(names(runs), [totals(run) for run in runs], strict=True))
    targets = dict.fromkeys(t for _, total in found for t in total["reached"])
    result = []
    for target in targets:
        there = [
            Reach(target, name, total["reached"][target], uncompressed(total))
            for name, total in found
            if total["reached"].get(target)
        ]
        base = min(
            (r for r in there if r.uncompressed),
            key=lambda r: int(r.at["paper_bits_up"]),
            default=None,
        )
        result += [_against(r, base) for r in there]
    return result


def _against(reach: Reach, base: Reach | None) -> Reach:
    if base is None:
        return reach

    def over(key: str) -> float | None:
        return reach.at[key] / base.at[key] if base.at.get(key) else None

    return Reach(
        reach.target,
        reach.name,
        reach.at,
        reach.uncompressed,
        base.name,
        over("paper_bits_up"),
        over("seconds"),
    )


SPENT: dict[str, tuple[str, Callable[[Any], str]]] = {
    "round": ("round", str),
    "paper up": ("paper_bits_up", bits),
    "wire up": ("wire_bytes_up", size),
    "paper down": ("paper_bits_down", bits),
    "wire down": ("wire_bytes_down", size),
    "time": ("seconds", seconds),
}


def arrivals(
    runs: Sequence[RecordedRun],
) -> Iterator[tuple[str, list[str], list[tuple[str, list[str]]]]]:
    """Yield a table for each target: the target, its titles, (name, cells) of each run.

    The last two columns, against the uncompressed run, are there if one arrived.
    """
    there = reaches(runs)
    for target in dict.fromkeys(r.target for r in there):
        mine = [r for r in there if r.target == target]
        base = mine[0].baseline
        against = [f"of {base}'s bits up", f"of {base}'s time"] if base else []
        rows = []
        for r in mine:
            values = [(r.at.get(key), form) for key, form in SPENT.values()]
            values += [(r.share, share), (r.share_of_time, share)] if base else []
            cells = [NONE if value is None else form(value) for value, form in values]
            rows.append((r.name, cells))
        yield target, [*SPENT, *against], rows


def headline(runs: Sequence[RecordedRun]) -> str | None:
    """Return the comparison in one sentence; None where no target tells anything.

    It is about the target that most runs reached; of several, the last one listed.
    """
    found = [
        r for r in reaches(runs) if r.target.split("=")[0] not in ("bits", "seconds")
    ]
    others = [r for r in found if r.share is not None and not r.uncompressed]
    if not others:
        return None
    counts = {r.target: sum(o.target == r.target for o in others) for r in others}
    target = max(reversed(counts), key=lambda t: counts[t])
    best = min((r for r in others if r.target == target), key=lambda r: r.share or 0.0)
    metric, _, value = target.partition("=")
    text = f"{best.name} reached {metric} {value} with {share(best.share or 0.0)} of "
    text += f"{best.baseline}'s uplink bits"
    if best.share_of_time is not None:
        text += f", in {share(best.share_of_time)} of its time"
    return text


def notes(runs: Sequence[RecordedRun]) -> list[str]:
    """Return what a reader must know to read the numbers right."""
    result = []
    for run, name in zip(runs, names(runs), strict=True):
        if run.summary is None:
            last = run.rows[-1]["round"] if run.rows else None
            where = NONE if last is None else f"round {last}"
            result.append(f"{name}: did not end; its numbers are of {where}")
        elif run.summary["loss"] is None:
            result.append(f"{name}: its last loss is not a finite number")
        if totals(run).get("clock") == "simulated":
            result.append(f"{name}: its time is that of a simulated clock")
        missed = totals(run).get("unmet") or ()
        result += [f"{name}: {target} was not reached" for target in missed]
        if run.torn is not None:
            result.append(f"{name}: line {run.torn} of its rows was cut, and left out")
    found = [totals(run) for run in runs]
    for key in ("data", "dim", "workers"):
        values = _distinct(t.get(key) for t in found)
        if len(values) > 1:
            result.append(f"the runs differ in {key}: {', '.join(values)}")
    return result


def _distinct(values: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values))
