"""What the benchmark scripts share: the machine in a line, and where results go."""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from psmpi.base import Problem
from psmpi.runs import config, mpi
from psmpi.runs.evaluation import Diverged
from psmpi.runs.local import run_local
from psmpi.runs.record import versions
from psmpi.runs.summary import Result

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """Return processor, cores, memory and system in one line, without a host's name."""
    cpu = platform.processor() or platform.machine()
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"{platform.system()} {platform.release()}"
    )


def header(library: str | None = None) -> str:
    """Return the lines that stand above every result."""
    found = ", ".join(f"{k} {v}" for k, v in versions(library).items() if v)
    script = Path(sys.argv[0]).resolve().relative_to(Path(__file__).parents[1])
    facts = {
        "machine": machine(),
        "versions": found,
        "command": shlex.join(["python", str(script), *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "load": f"{os.getloadavg()[0]:.1f} at the end, this script's own included",
    }
    return "".join(f"{name}: {fact}\n" for name, fact in facts.items())


def save(name: str, text: str, data: Any) -> None:
    """Print ``text``, and write it and ``data`` to bench/results/NAME.{txt,json}."""
    text = header() + "\n" + text.rstrip() + "\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.txt").write_text(text)
    (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")


def spread(values: Sequence[float], form: str = "{:.0f}") -> str:
    """Return "mean (min-max)"."""
    low, mean, high = min(values), float(np.mean(values)), max(values)
    return f"{form} ({form}-{form})".format(mean, low, high)


def finished(
    planned: Mapping[str, config.RunConfig],
    folder: Path,
    *,
    report: bool = False,
    local: bool = False,
    problem: Problem | None = None,
) -> dict[str, Result]:
    """Do the runs that ``folder`` doesn't hold yet, over mpiexec; return all it holds.

    They go in the order given, one job for each number of ranks in a row; a run that
    was cut short is done again. ``local``: in process, which gives the same bits; so
    are runs of a ``problem`` of the script's own. ``report``: do none.
    """
    missing = {name: run for name, run in planned.items() if not _done(folder / name)}
    for _, group in itertools.groupby(
        () if report else missing.items(), key=lambda item: item[1].run_options.workers
    ):
        some = dict(group)
        for name in some:
            shutil.rmtree(folder / name, ignore_errors=True)
        if local or problem is not None:
            for name, run in some.items():
                run_local(run, problem=problem, out=folder / name)
        else:
            mpi.run_mpi(list(some.values()), [folder / name for name in some])
    return {
        name: mpi.read_result(folder / name) for name in planned if _done(folder / name)
    }


def tune(
    make: Callable[[float], config.RunConfig],
    grid: Sequence[float],
    folder: Path,
    *,
    score: Callable[[Result], float],
    extend: bool = False,
    report: bool = False,
    problem: Problem | None = None,
) -> dict[float, float]:
    """Return the score of every step size of a grid, in process; -inf if it diverged.

    ``extend``: while the best is at an end, the grid, in steps of 1-2-5, grows there.
    ``report``: only of those that ``folder`` holds. ``problem``: of the script's own.
    """
    scores: dict[float, float] = {}
    todo = list(grid)
    while todo:
        for lr in todo:
            run = make(lr)
            try:
                done = finished(
                    {run.name: run}, folder, report=report, local=True, problem=problem
                )
            except Diverged:
                scores[lr] = -math.inf
                continue
            if done:
                scores[lr] = score(done[run.name])
        ends = {min(scores): -1, max(scores): 1} if extend and scores else {}
        lr = best(scores) if scores else None
        todo = [step(lr, ends[lr])] if lr in ends else []
        todo = [lr for lr in todo if not report or _done(folder / make(lr).name)]
    return scores


def best(scores: Mapping[float, float]) -> float:
    """Return the step size with the highest score; of equals the smallest."""
    return max(sorted(scores), key=scores.__getitem__)


def step(lr: float, by: int) -> float:
    """Return the number ``by`` places after ``lr`` in ..., 0.1, 0.2, 0.5, 1, 2, ..."""
    digit, _, exponent = f"{lr:.0e}".partition("e")
    place = 3 * int(exponent) + (1, 2, 5).index(int(digit)) + by
    return float(f"{(1, 2, 5)[place % 3]}e{place // 3}")


def card(name: str, what: str, met: bool) -> str:
    """Return the line that says what becomes of an acceptance card."""
    return f"{name:6}{'met' if met else 'NOT MET':8}{what}"


def _done(out: Path) -> bool:
    return (out / "summary.json").exists()


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
