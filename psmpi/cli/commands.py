"""What the commands do: start runs, show how they go on, print what they came to."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from psmpi import algorithms
from psmpi import report as pictures
from psmpi.base import ConfigError
from psmpi.errors import EXIT_UNMET as UNMET
from psmpi.processes import mpiexec
from psmpi.runs import comparison, config, mpi
from psmpi.runs import replay as replays
from psmpi.runs.evaluation import Row
from psmpi.runs.local import run_local
from psmpi.runs.record import MANIFEST
from psmpi.runs.recorded import RecordedRun, read_run
from psmpi.runs.summary import Result


class Watch(AbstractContextManager["Watch"]):
    """Progress bars, one a run, on a terminal's stderr; silent elsewhere."""

    def __init__(self, runs: Sequence[config.RunConfig]) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[state]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks = {
            made.name: self._progress.add_task(
                made.name, total=made.run_options.rounds, start=False, state=""
            )
            for made in runs
        }

    def __enter__(self) -> Watch:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def row(self, made: config.RunConfig, row: Row) -> None:
        """Show a new row of a run."""
        task = self._tasks[made.name]
        self._progress.start_task(task)
        residual = row["residual"]
        state = f"loss {row['loss']:.6g}"
        if residual is not None:
            state += f"  residual {residual:.2e}"
        self._progress.update(task, completed=row["round"], state=state)

    def done(self) -> None:
        """Stop the clocks of all runs."""
        for task in self._tasks.values():
            self._progress.stop_task(task)


def run(
    algorithm: str,
    given: Mapping[str, Any],
    *,
    out: Path | None = None,
    local: bool = False,
    hosts: str | None = None,
) -> int:
    """Run one algorithm; see ``psmpi run``."""
    size = mpiexec.world_size()
    if size is not None and not local:
        _join(algorithm, given, out, size)
    made = config.configure(algorithm, **given)
    folder = out or _new_folder(f"{algorithm}-{_short(made.run_options.data)}")
    return _finish(_results([made], [folder], local, hosts))


def compare(
    what: str,
    *,
    out: Path | None,
    local: bool,
    hosts: str | None,
    html: Path | None,
) -> int:
    """Run a comparison; see ``psmpi compare``."""
    name, runs = _comparison(what)
    folder = out or _new_folder(name)
    if folder.exists():
        raise ConfigError(
            f"{folder}: already exists, and nothing is overwritten; "
            "give another directory with --out"
        )
    page = html or folder / "report.html"
    if page.exists():
        raise ConfigError(f"{page}: already exists; give another file with --html")
    results = _results(runs, [folder / made.name for made in runs], local, hosts)
    return _finish(results, page)


def replay(path: Path, *, out: Path | None) -> int:
    """Do a recorded run again; see ``psmpi replay``."""
    result = replays.replay(path, out)
    rounds, rows = result.summary["rounds"], len(result.rows)
    pictures.console().print(
        f"{path}: the same bits again: the model after {rounds} rounds, and the loss "
        f"in all {rows} rows"
    )
    return 0


def report(runs: Sequence[Path], *, html: Path | None, force: bool) -> int:
    """Print the table of recorded runs; see ``psmpi report``."""
    found = [read_run(path) for given in runs for path in _run_folders(given)]
    if not found:
        raise ConfigError("report: give one or more run directories")
    pictures.console().print(pictures.table(found))
    if html is not None:
        pictures.html(found, html, force=force)
        pictures.console().print(f"curves: {html}")
    return 0


def show(path: Path) -> int:
    """Print what is recorded of one run; see ``psmpi show``."""
    pictures.console().print(pictures.details(read_run(path)))
    return 0


def list_names() -> int:
    """Print the algorithms, codecs and data sets by their names."""
    from psmpi import codecs, problems

    groups: Mapping[str, Mapping[str, Any]] = {
        "algorithms: psmpi run NAME --help": algorithms.ALGORITHMS,
        "codecs: --codec NAME": codecs.CODECS,
        "data: --data NAME": problems.DATASETS,
    }
    console = pictures.console()
    for title, found in groups.items():
        table = Table(title=title, title_justify="left", box=None, show_header=False)
        for name, thing in found.items():
            table.add_row(name, (thing.__doc__ or "").partition("\n")[0])
        console.print(table)
    return 0


def warmup() -> int:
    """Compile all kernels into the cache."""
    from psmpi.runs import warmup

    warmup.compile_all()
    return 0


def _join(
    algorithm: str, given: Mapping[str, Any], out: Path | None, size: int
) -> NoReturn:
    """Be one rank of an MPI job that somebody else has started."""
    if size < 2:
        raise ConfigError(
            f"workers: MPI started {size} rank; a server and at least one worker are 2"
        )
    from psmpi.runs import rank

    made = config.configure(algorithm, **{"workers": size - 1, **given})
    folder = out or _new_folder(f"{algorithm}-{_short(made.run_options.data)}")
    rank.join(
        made,
        folder,
        lambda path: pictures.console().print(pictures.table([read_run(path)])),
    )


def _comparison(what: str) -> tuple[str, list[config.RunConfig]]:
    """Return the name and the runs of a built-in comparison, or of a TOML file."""
    builtin = {
        Path(entry.name).stem: entry
        for entry in (resources.files("psmpi.runs") / "comparisons").iterdir()
        if entry.name.endswith(".toml")
    }
    if what in builtin:
        with resources.as_file(builtin[what]) as path:
            table = config.read_toml(path)
        source = f"the built-in comparison {what}"
        return f"compare-{what}", comparison.runs(table, source)
    if not Path(what).exists():
        raise ConfigError(
            f"{what}: is neither a file nor one of {', '.join(sorted(builtin))}"
        )
    return Path(what).stem, comparison.runs(config.read_toml(Path(what)), what)


def _results(
    runs: Sequence[config.RunConfig],
    folders: Sequence[Path],
    local: bool,
    hosts: str | None,
) -> list[Result]:
    """Do the runs: in process, or one MPI job for each number of ranks."""
    with Watch(runs) as watch:
        if local:
            return [
                run_local(made, out=folder, on_row=partial(watch.row, made))
                for made, folder in zip(runs, folders, strict=True)
            ]
        results: dict[str, Result] = {}
        shapes = dict.fromkeys(
            (m.run_options.workers, m.run_options.threads) for m in runs
        )
        for shape in shapes:
            some = [
                (m, f)
                for m, f in zip(runs, folders, strict=True)
                if (m.run_options.workers, m.run_options.threads) == shape
            ]
            done = mpi.run_mpi(
                [m for m, _ in some],
                [f for _, f in some],
                hosts=hosts,
                on_row=watch.row,
            )
            results.update(zip((m.name for m, _ in some), done, strict=True))
        return [results[made.name] for made in runs]


def _finish(results: Sequence[Result], page: Path | None = None) -> int:
    """Print the table of finished runs, draw the page, return the exit status."""
    found: list[RecordedRun] = [read_run(r.path) for r in results if r.path is not None]
    console = pictures.console()
    console.print(pictures.table(found))
    if page is not None:
        pictures.html(found, page)
        console.print(f"curves: {page}")
    console.print("recorded: " + " ".join(str(r.path) for r in results))
    missed = [
        f"{r.summary['name']}: {target} was not reached in {r.summary['rounds']} rounds"
        for r in results
        for target in r.unmet
    ]
    for line in missed:
        print(f"psmpi: {line}", file=sys.stderr)  # noqa: T201
    return UNMET if missed else 0


def _run_folders(given: Path) -> list[Path]:
    """Return ``given`` if it is a run, else the runs in it."""
    if given.is_dir() and not (given / MANIFEST).exists():
        inside = sorted(p.parent for p in given.glob(f"*/{MANIFEST}"))
        if inside:
            return inside
    return [given]


def _new_folder(name: str) -> Path:
    """Return a directory below runs/ that does not exist yet."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    first = Path("runs") / f"{name}-{stamp}"
    number, folder = 1, first
    while folder.exists():
        number += 1
        folder = first.with_name(f"{first.name}-{number}")
    return folder


def _short(data: str) -> str:
    """Return a data name that is fit for a file name."""
    kind, _, rest = data.partition(":")
    first = rest.partition(",")[0]
    return "-".join(p for p in (kind, Path(first).stem) if p)
