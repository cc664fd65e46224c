"""Runs side by side: the cost of reaching each target, a headline, and notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from psmpi.report.metrics import NONE, clock, names, totals, uncompressed
from psmpi.report.units import bits, seconds, share, size
from psmpi.runs.recorded import RecordedRun
from psmpi.runs.schema import Json


@dataclass(frozen=True)
class Arrival:
    """One run reached one target: ``at`` holds what it had spent by then.

    ``baseline`` is the name of the uncompressed run that reached the target with the
    fewest uplink bits, None if there is none. The shares are this run's costs over
    those of the baseline: paper bits up, paper bits up and down together, and seconds.
    ``share_of_time`` is None also where the two times can't be compared: where the
    ranks of either run took turns in one process, or one of the clocks was simulated.
    """

    target: str
    name: str
    at: Json
    uncompressed: bool
    clock: str
    baseline: str | None = None
    share_up: float | None = None
    share_both_ways: float | None = None
    share_of_time: float | None = None


def arrivals(runs: Sequence[RecordedRun]) -> list[Arrival]:
    """Return every arrival of a run at a target, target by target."""
    every = list(zip(names(runs), runs, map(totals, runs), strict=True))
    targets = dict.fromkeys(t for *_, total in every for t in total["reached"])
    result = []
    for target in targets:
        arrived = [
            Arrival(
                target, name, total["reached"][target], uncompressed(total), clock(run)
            )
            for name, run, total in every
            if total["reached"].get(target)
        ]
        baseline = min(
            (a for a in arrived if a.uncompressed),
            key=lambda a: int(a.at["paper_bits_up"]),
            default=None,
        )
        result += [_with_shares(a, baseline) for a in arrived]
    return result


def _with_shares(arrival: Arrival, baseline: Arrival | None) -> Arrival:
    if baseline is None:
        return arrival

    def over(cost: Callable[[Json], Any]) -> float | None:
        own, other = cost(arrival.at), cost(baseline.at)
        return own / other if other and own is not None else None

    comparable = arrival.clock == baseline.clock != "in turns"
    return replace(
        arrival,
        baseline=baseline.name,
        share_up=over(lambda at: at.get("paper_bits_up")),
        share_both_ways=over(_bits_both_ways),
        share_of_time=over(lambda at: at.get("seconds")) if comparable else None,
    )


def _bits_both_ways(at: Json) -> int | None:
    up, down = at.get("paper_bits_up"), at.get("paper_bits_down")
    return None if up is None or down is None else int(up) + int(down)


#: What a run had spent at a target: title -> key of the record, and format.
SPENT: dict[str, tuple[str, Callable[[Any], str]]] = {
    "round": ("round", str),
    "uploads": ("uploads", str),
    "paper up": ("paper_bits_up", bits),
    "wire up": ("wire_bytes_up", size),
    "paper down": ("paper_bits_down", bits),
    "wire down": ("wire_bytes_down", size),
    "time": ("seconds", seconds),
}


@dataclass(frozen=True)
class ArrivalTable:
    """The arrivals at one target: titles of the columns, and (name, cells) of each run.

    The columns from ``len(SPENT)`` on compare with the uncompressed run.
    """

    target: str
    titles: list[str]
    rows: list[tuple[str, list[str]]]


def arrival_tables(runs: Sequence[RecordedRun]) -> Iterator[ArrivalTable]:
    """Yield a table for each target that a run reached.

    The columns that compare with the uncompressed run are left out if none reached the
    target; that of the time also where no two times can be compared.
    """
    every = arrivals(runs)
    for target in dict.fromkeys(a.target for a in every):
        arrived = [a for a in every if a.target == target]
        shares = {
            "bits up": [a.share_up for a in arrived],
            "bits both ways": [a.share_both_ways for a in arrived],
            "time": [a.share_of_time for a in arrived],
        }
        compared = {
            f"of {arrived[0].baseline}'s {title}": column
            for title, column in shares.items()
            if len(arrived) > 1 and any(value is not None for value in column)
        }
        rows = []
        for i, arrival in enumerate(arrived):
            cells = [_cell(arrival.at.get(key), form) for key, form in SPENT.values()]
            cells += [_cell(column[i], share) for column in compared.values()]
            rows.append((arrival.name, cells))
        yield ArrivalTable(target, [*SPENT, *compared], rows)


def _cell(value: Any, form: Callable[[Any], str]) -> str:
    return NONE if value is None else form(value)


def headline(runs: Sequence[RecordedRun]) -> str | None:
    """Return the comparison in one sentence; None if no target allows a comparison.

    It is about the target that most runs reached (of several, the last listed), and
    about the run that reached this target with the smallest share of uplink bits.
    """
    others = [
        a
        for a in arrivals(runs)
        if a.target.split("=")[0] not in ("bits", "seconds")
        and a.share_up is not None
        and not a.uncompressed
    ]
    if not others:
        return None
    counts = {a.target: sum(o.target == a.target for o in others) for a in others}
    target = max(reversed(counts), key=lambda t: counts[t])
    best = min(
        (a for a in others if a.target == target), key=lambda a: a.share_up or 0.0
    )
    metric, _, value = target.partition("=")
    text = f"{best.name} reached {metric} {value} with "
    text += f"{share(best.share_up or 0.0)} of {best.baseline}'s uplink bits"
    if best.share_both_ways is not None:
        text += f", {share(best.share_both_ways)} of its bits both ways"
    if best.share_of_time is not None:
        where = " (simulated)" if best.clock == "simulated" else ""
        text += f", in {share(best.share_of_time)} of its time{where}"
    return text


def notes(runs: Sequence[RecordedRun]) -> list[str]:
    """Return what a reader must know to read the numbers right, a sentence each."""
    called = names(runs)
    result = []
    for run, name in zip(runs, called, strict=True):
        result += [f"{name}: {note}" for note in _notes_of(run)]
    for kind, note in CLOCK_NOTES.items():
        which = [
            name
            for run, name in zip(runs, called, strict=True)
            if clock(run) == kind and totals(run)["seconds"].get("total") is not None
        ]
        if which:
            result.append(f"{', '.join(which)}: {note}")
    every = [totals(run) for run in runs]
    for key in ("data", "problem", "dim", "workers"):
        values = _distinct(t.get(key) for t in every)
        if len(values) > 1:
            result.append(f"the runs differ in {key}: {', '.join(values)}")
    return result


CLOCK_NOTES = {
    "simulated": "the time is that of a simulated clock",
    "in turns": "the ranks took turns in one process (--local), so the time is not "
    "that of a parallel run",
}


def _notes_of(run: RecordedRun) -> Iterator[str]:
    """Yield what is unusual about one run."""
    if run.summary is None:
        last = run.rows[-1]["round"] if run.rows else None
        where = "no row was recorded"
        if last is not None:
            where = f"the numbers are those of its last row, round {last}"
        yield f"the run did not end; {where}"
    elif run.summary["loss"] is None and not _by_caller(run):
        yield "the last loss is not a finite number"
    for target in totals(run).get("unmet") or ():
        yield f"{target} was not reached"
    if run.torn is not None:
        yield f"line {run.torn} of rows.jsonl was incomplete and is left out"


def _by_caller(run: RecordedRun) -> bool:
    """Return whether a loop of the caller's own may have recorded no loss."""
    return isinstance(run.manifest.get("config", {}).get("problem"), dict)


def _distinct(values: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values))
