"""Whether runs whose ranks are killed at random come to the same bits.

Every trial takes the next algorithm, kills a random rank (the server, or a worker) at a
random moment with SIGKILL, and lets psmpi start again from the last checkpoint
(``restarts=1``). The result is compared with the run in process that nothing happened
to: model, rows and byte counts, but for times. Algorithms whose result depends on time
are compared with the replay of their own record instead. Start it once under each MPI
library; ``--name`` tells their results apart.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from common import save

import psmpi
from psmpi.links.mpi_job import library_version
from psmpi.runs.summary import Result

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.helpers.algorithm_table import IDS, ROWS, TIMED
from tests.helpers.jobs import rank_processes

BASE = {
    "workers": 2,
    "data": "synthetic:softmax,samples=600,features=50",
    "rounds": 600,
    "evaluate_every": 20,
    "checkpoint_every": 50,
    "speeds": "constant:300000",  # a millisecond a gradient
}


def options_of(id: str) -> dict[str, Any]:
    """Return options for a run of about a second."""
    own = next(options for name, options, _ in ROWS if name == id)
    given = {k: v for k, v in own.items() if k in ("topology", "epoch", "local_steps")}
    if own.get("batch"):
        given["batch"] = 100
    if "batch" in given:
        given["speeds"] = "constant:100000"
    if id == "lag-ps":
        given["rounds"] = 3000
    return {**BASE, **given}


class Killer:
    """Kills a random rank some time after the first row."""

    def __init__(self, place: int, delay: float) -> None:
        self.place, self.delay = place, delay
        self.time = 0.0  # of the kill
        self.resumed = 0.0  # seconds from the kill to the next row
        self._timer: threading.Timer | None = None

    def on_row(self, row: Any) -> None:
        """Start the clock with the first row; note the first one after the kill."""
        if self._timer is None:
            self._timer = threading.Timer(self.delay, self._kill)
            self._timer.start()
        elif self.time and not self.resumed:
            self.resumed = time.perf_counter() - self.time

    def stop(self) -> None:
        """Don't kill any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _kill(self) -> None:
        pids = rank_processes()
        if len(pids) == BASE["workers"] + 1:
            self.time = time.perf_counter()
            os.kill(pids[self.place], signal.SIGKILL)


def same(one: Result, other: Result) -> bool:
    """Return whether two results are the same but for times."""

    def rows(result: Result) -> list[Any]:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in result.rows]

    summaries: list[dict[str, Any]] = [dict(one.summary), dict(other.summary)]
    counts = ("uploads", "wire_bytes_up", "wire_bytes_down", "wire_bytes_observed")
    return (
        one.x.tobytes() == other.x.tobytes()
        and rows(one) == rows(other)
        and all(summaries[0][k] == summaries[1][k] for k in counts)
    )


def trial(id: str, draw: random.Random, folder: Path, whole: dict[str, Any]) -> Any:
    """Do one run with a kill; return what came of it, or None if it ended too soon."""
    options = options_of(id)
    place, delay = draw.randrange(BASE["workers"] + 1), draw.uniform(0.0, 0.5)
    killer = Killer(place, delay)
    result = psmpi.run(
        id, out=folder / "run", restarts=1, on_row=killer.on_row, **options
    )
    killer.stop()
    resumes = (folder / "run" / "resumes.jsonl").exists()
    if not killer.time or not resumes:
        return None
    if id in TIMED:
        equal = psmpi.replay(folder / "run").x.tobytes() == result.x.tobytes()
    else:
        if id not in whole:
            quick = {**options, "speeds": ""}
            whole[id] = psmpi.run(id, local=True, out=folder / "whole", **quick)
        equal = same(whole[id], result)
    return {"id": id, "rank": place, "delay": delay, "equal": equal} | {
        "seconds": killer.resumed
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="resume")
    given = parser.parse_args()
    draw, whole, trials = random.Random(given.seed), {}, []
    ids = list(IDS)
    while len(trials) < given.runs:
        id = ids[len(trials) % len(ids)]
        with tempfile.TemporaryDirectory() as folder:
            done = trial(id, draw, Path(folder), whole)
        if done is not None:
            trials.append(done)
            print(done, flush=True)
    lines = [f"MPI: {library_version()}", ""]
    for what, chosen in (
        ("synchronous: equal to the run without a kill", False),
        ("depends on time: its replay is equal to it", True),
    ):
        part = [t for t in trials if (t["id"] in TIMED) == chosen]
        equal = sum(t["equal"] for t in part)
        lines.append(f"{what}: {equal} of {len(part)}")
    for what, server in (("the server", True), ("a worker", False)):
        seconds = sorted(
            t["seconds"] for t in trials if (t["rank"] == 0) == server and t["seconds"]
        )
        lines.append(
            f"killed: {what}, {len(seconds)} times; seconds until the next new row: "
            f"median {seconds[len(seconds) // 2]:.2f}, most {seconds[-1]:.2f}"
        )
    lines.append(f"algorithms: {len({t['id'] for t in trials})}")
    save(given.name, "\n".join(lines), trials)


if __name__ == "__main__":
    main()
