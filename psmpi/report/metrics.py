"""The numbers of a report: totals, ratios, the split of time, and the runs' names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from psmpi.report.units import accuracy, bits, four, seconds, share, size, times
from psmpi.runs.record import dense_bits
from psmpi.runs.recorded import RecordedRun
from psmpi.runs.schema import ROW_KEYS, ROW_NULLABLE, Json

#: The measured phases of a worker's time; the remainder is the loop and Python itself.
PARTS = ("compute", "encode", "send", "wait", "decode")
#: Algorithms that send every number in full; other runs are compared with these.
UNCOMPRESSED = frozenset({"gd", "sgd", "asysvrg", "dsgd", "d-psgd", "async-dsgd"})
WAYS = ("up", "down")
NONE = "-"


def totals(run: RecordedRun) -> Json:
    """Return the run's summary, or one made of its last row if the run did not end."""
    if run.summary is not None:
        return run.summary
    config = run.manifest.get("config", {})
    # Without a row, options of the same names, as a perceptron's loss, are no metrics.
    last: Json = run.rows[-1] if run.rows else dict.fromkeys((*ROW_KEYS, *ROW_NULLABLE))
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


def clock(run: RecordedRun) -> str:
    """Return what the run's seconds measure: ``real``, ``simulated`` or ``in turns``.

    ``in turns``: the clock was real, but all ranks took turns in one process
    (``--local``), so the seconds are not those of ranks that work in parallel. The
    manifest of such a run has no version of an MPI library.
    """
    if totals(run).get("clock") == "simulated":
        return "simulated"
    versions = run.manifest.get("versions") or {}
    return "in turns" if versions.get("mpi", "unknown") is None else "real"


def ratio(total: Json) -> float | None:
    """Return the uplink bits of GD or SGD for as many steps, over those of the run."""
    dense, sent = total.get("dense_bits_up"), total.get("paper_bits_up")
    return dense / sent if dense and sent else None


def uncompressed(total: Json) -> bool:
    """Return whether a run sent everything in full: by its id, or by what it sent."""
    if total["algorithm"] in UNCOMPRESSED:
        return True
    ways = [(total.get(f"paper_bits_{w}"), total.get(f"dense_bits_{w}")) for w in WAYS]
    return all(dense is not None and (sent or 0) >= dense for sent, dense in ways)


def split(total: Json) -> dict[str, float] | None:
    """Return the share of each phase in the workers' training time; None if unknown.

    The time of a rank is its total (the run's total, if it has none of its own) minus
    its own evaluations. The shares are of the sum over all worker ranks. What the
    phases leave of 1 is "other". A worker's wait includes all that the server does
    meanwhile, evaluations too. Rank 0 is the server and is left out, unless there are
    only as many ranks as workers (no server).
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
    """Return a distinct name for each run.

    It is the run's own name or its algorithm's id. Where several runs share that, the
    options in which they differ are added, or else the name of the directory.
    """
    every = [totals(run) for run in runs]
    plain = [str(total.get("name") or total["algorithm"]) for total in every]
    result = []
    for run, total, name in zip(runs, every, plain, strict=True):
        alike = [t for t, other in zip(every, plain, strict=True) if other == name]
        if len(alike) > 1:
            mark = _difference(total, alike)
            mark = run.path.name if mark is None else mark
            result.append(f"{name} {mark}".strip())
        else:
            result.append(name)
    # Two runs may have equal options, or lie in directories of the same name.
    return [
        name if result.count(name) == 1 else f"{name} #{result[: i + 1].count(name)}"
        for i, name in enumerate(result)
    ]


def _difference(total: Json, alike: Sequence[Json]) -> str | None:
    """Return the settings in which ``total`` differs from the runs that share its name.

    None where these settings are too long for a name, or do not tell the runs apart.
    """

    def settings(t: Json) -> Json:
        return {**(t.get("options") or {}), **{k: t.get(k) for k in ("data", "seed")}}

    every = [settings(t) for t in alike]
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
    """A column of the comparison: its title and group, its value and its format."""

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


def own_columns(runs: Sequence[RecordedRun]) -> list[Column]:
    """Return a column for each metric of the users' own problems and loops."""
    found = (name for run in runs for name in totals(run).get("metrics") or {})

    def column(name: str) -> Column:
        return Column(
            name, "result", lambda total: (total.get("metrics") or {}).get(name), four
        )

    return [column(name) for name in dict.fromkeys(found)]


#: The columns of the comparison, in order; a narrow terminal splits them by group.
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
