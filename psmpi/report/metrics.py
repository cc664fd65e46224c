"""Totals, ratios, the split of time and the names of runs: a report's numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psmpi.report.units import accuracy, bits, four, seconds, share, size, times
from psmpi.runs.record import Json, dense_bits
from psmpi.runs.recorded import RecordedRun

#: The parts of a worker's time; the rest of it is the interpreter's and the loop's.
PARTS = ("compute", "encode", "send", "wait", "decode")
#: Algorithms that send every number in full, which others are measured against.
UNCOMPRESSED = frozenset({"gd", "sgd", "asysvrg", "dsgd", "d-psgd", "async-dsgd"})
WAYS = ("up", "down")
NONE = "-"


def totals(run: RecordedRun) -> Json:
    """Return what a run came to: its summary, or its last row if it did not end."""
    if run.summary is not None:
        return run.summary
    config = run.manifest.get("config", {})
    last: Json = run.rows[-1] if run.rows else {}
    total = {
        "algorithm": run.path.name,
        "options": {},
        **config,
        **last,
        "rounds": last.get("round"),
        "seconds": {"total": last.get("seconds")},
        "reached": {},
        "ranks": [],
    }
    if all(total.get(key) is not None for key in ("dim", "workers", "rounds")):
        total["dense_bits_up"] = dense_bits(total)[0]
    return total


def ratio(total: Json) -> float | None:
    """Return how many times more bits GD or SGD sends up in as many steps."""
    dense, sent = total.get("dense_bits_up"), total.get("paper_bits_up")
    return dense / sent if dense and sent else None


def uncompressed(total: Json) -> bool:
    """Return whether a run sent everything in full: by its id, or by what it sent."""
    if total["algorithm"] in UNCOMPRESSED:
        return True
    ways = [(total.get(f"paper_bits_{w}"), total.get(f"dense_bits_{w}")) for w in WAYS]
    return all(dense is not None and (sent or 0) >= dense for sent, dense in ways)


def split(total: Json) -> dict[str, float] | None:
    """Return the parts' shares of the workers' time in training.

    The time is a rank's total (the run's, where it has none) less its own evaluation;
    shares are of the sum over worker ranks, that is, of their mean. What is missing to
    1 is "other". A worker waits for whatever the server does, evaluation included.
    Rank 0 is the server, so it does not count, unless there are only as many ranks as
    workers.
    """
    ranks = total.get("ranks") or []
    if len(ranks) > (total.get("workers") or 0):
        ranks = [rank for rank in ranks if rank["rank"] != 0]
    spent = [rank["seconds"] for rank in ranks] or [total["seconds"]]
    lasted = total["seconds"].get("total") or 0.0
    sums = {part: sum(s.get(part) or 0.0 for s in spent) for part in PARTS}
    whole = sum((s.get("total") or lasted) - (s.get("evaluate") or 0.0) for s in spent)
    whole = max(whole, sum(sums.values()))
    if not sum(sums.values()):
        return None
    shares = {part: value / whole for part, value in sums.items()}
    return {**shares, "other": 1 - sum(shares.values())}


def names(runs: Sequence[RecordedRun]) -> list[str]:
    """Return a name for each run: given or the algorithm's, and what sets it apart."""
    found = [totals(run) for run in runs]
    given = [str(total.get("name") or total["algorithm"]) for total in found]
    result = []
    for run, total, name in zip(runs, found, given, strict=True):
        likes = [t for t, other in zip(found, given, strict=True) if other == name]
        if len(likes) > 1:
            mark = _difference(total, likes)
            mark = run.path.name if mark is None else mark
            result.append(f"{name} {mark}".strip())
        else:
            result.append(name)
    # Two runs can be alike in everything, or lie in directories of the same name.
    return [
        name if result.count(name) == 1 else f"{name} #{result[: i + 1].count(name)}"
        for i, name in enumerate(result)
    ]


def _difference(total: Json, likes: Sequence[Json]) -> str | None:
    def settings(t: Json) -> Json:
        return {**(t.get("options") or {}), **{k: t.get(k) for k in ("data", "seed")}}

    every = [settings(t) for t in likes]
    keys = [
        key
        for key in dict.fromkeys(key for e in every for key in e)
        if any(e.get(key) != every[0].get(key) for e in every)
    ]

    def text(e: Json) -> str:
        known = (key for key in keys if e.get(key) is not None)
        return " ".join(f"{key}={e[key]}" for key in known)

    texts = [text(e) for e in every]
    distinct = len(set(texts)) == len(texts) and max(map(len, texts)) <= 24
    return text(settings(total)) if distinct else None


@dataclass(frozen=True)
class Column:
    """A column of a comparison: its title and group, its value and how it is shown."""

    title: str
    group: str
    value: Callable[[Json], Any]
    form: Callable[[Any], str]

    def cell(self, total: Json) -> str:
        """Return the text for one run."""
        value = self.value(total)
        return NONE if value is None else self.form(value)


def _at(key: str) -> Callable[[Json], Any]:
    return lambda total: total.get(key)


def _part(part: str) -> Callable[[Json], Any]:
    return lambda total: (split(total) or {}).get(part)


#: The comparison, in the order of its columns; narrow terminals split it by group.
COLUMNS = (
    Column("rounds", "result", _at("rounds"), str),
    Column("loss", "result", _at("loss"), four),
    Column("residual", "result", _at("residual"), "{:.2e}".format),
    Column("accuracy", "result", _at("accuracy"), accuracy),
    Column("uploads", "sent", _at("uploads"), str),
    Column("paper up", "sent", _at("paper_bits_up"), bits),
    Column("wire up", "sent", _at("wire_bytes_up"), size),
    Column("paper down", "sent", _at("paper_bits_down"), bits),
    Column("wire down", "sent", _at("wire_bytes_down"), size),
    Column("ratio", "sent", ratio, times),
    Column("time", "time", lambda total: total["seconds"].get("total"), seconds),
    *(Column(part, "time", _part(part), share) for part in PARTS),
)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a nested configuration as dotted names and texts."""
    result: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            result[prefix + key] = ", ".join(map(str, value))
        else:
            result[prefix + key] = NONE if value is None else str(value)
    return result
