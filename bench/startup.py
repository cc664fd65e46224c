"""How long psmpi takes until it does something, and how large its parts are.

Times whole commands from outside, in turn with the same commands of another checkout
(``--against DIR``), so that both see the same load: import, help, a short run in
process, and a short run of 5 ranks over MPI. ``first round`` is when the first row of
the record is there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import save

ROOT = Path(__file__).parents[1]
LAQ = ["-m", "psmpi", "run", "laq", "--rounds", "50"]
COMMANDS = {
    "import psmpi": ["-c", "import psmpi"],
    "psmpi --help": ["-m", "psmpi", "--help"],
    "psmpi run laq --help": ["-m", "psmpi", "run", "laq", "--help"],
    "psmpi run laq --data typo": ["-m", "psmpi", "run", "laq", "--data", "typo"],
    "psmpi run laq --local": [*LAQ, "--local"],
    "psmpi run laq, 4 workers": LAQ,
}


def timed(tree: Path, words: list[str]) -> dict[str, float]:
    """Return the seconds of one command of a checkout, and to its first row."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "PYTHONPATH": str(tree.resolve())}
        out = Path(folder) / "run"
        records = words[:4] == LAQ[:4] and "--rounds" in words
        line = [sys.executable, *words, *(["--out", str(out)] if records else [])]
        begin, first = time.perf_counter(), None
        with subprocess.Popen(
            line,
            env=env,
            cwd=folder,  # where python -m finds no other psmpi
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while process.poll() is None:
                rows = out / "rows.jsonl"
                if first is None and rows.exists() and rows.stat().st_size:
                    first = time.perf_counter() - begin
                time.sleep(0.01)
        seconds = {"end": time.perf_counter() - begin}
        return seconds if first is None else {**seconds, "first round": first}


def sizes(tree: Path) -> dict[str, Any]:
    """Return counts of a checkout's source."""
    files = list((tree / "psmpi").rglob("*.py"))
    lines = {path: len(path.read_text().splitlines()) for path in files}
    longest = max(files, key=lambda path: lines[path])
    return {
        "modules at the top": len(list((tree / "psmpi").glob("*.py"))),
        "folders": len({path.parent for path in files}),
        "files": len(files),
        "lines": sum(lines.values()),
        "longest file": f"{lines[longest]} ({longest.name})",
        "lines of README": len((tree / "README.md").read_text().splitlines()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="another checkout, built before")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    trees = {"now": ROOT}
    if options.against is not None:
        trees["before"] = options.against
    found: dict[str, dict[str, list[float]]] = {}
    for repeat in range(options.repeats + 1):
        for name, words in COMMANDS.items():
            for tree, path in trees.items():
                for what, seconds in timed(path, words).items():
                    key = name if what == "end" else f"{name}: {what}"
                    if repeat:  # the first one warms the file cache
                        found.setdefault(key, {}).setdefault(tree, []).append(seconds)
    text = f"{'seconds, median (min - max)':34}" + "".join(f"{t:>24}" for t in trees)
    for key, times in found.items():
        cells = [
            f"{statistics.median(s):.2f} ({min(s):.2f} - {max(s):.2f})"
            for s in (times[t] for t in trees)
        ]
        text += f"\n{key:34}" + "".join(f"{cell:>24}" for cell in cells)
    counts = {tree: sizes(path) for tree, path in trees.items()}
    for key in counts["now"]:
        cells = [str(counts[tree][key]) for tree in trees]
        text += f"\n{key:34}" + "".join(f"{cell:>24}" for cell in cells)
    save("startup", text, json.loads(json.dumps({"times": found, "sizes": counts})))


if __name__ == "__main__":
    main()
