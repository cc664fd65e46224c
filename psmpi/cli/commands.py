"""What the commands do: start runs, show their progress, print what they came to."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import resources
from pathlib import Path
from typing import Any

from psmpi import report as reports
from psmpi.cli import folders, launch
from psmpi.errors import EXIT_UNMET, ConfigError
from psmpi.processes import mpiexec
from psmpi.runs import comparison, config, launch_checks, resumption, setup
from psmpi.runs.config import RunConfig
from psmpi.runs.mpi import read_result
from psmpi.runs.recorded import read_run
from psmpi.runs.replay import replay as replay_run
from psmpi.runs.summary import Result


def run(
    algorithm: str,
    options: Mapping[str, Any],
    table: Mapping[str, Any],
    *,
    source: Path | None = None,
) -> int:
    """Run one algorithm; see ``psmpi run``.

    ``options`` are those of the command line; they override the ``table`` that was read
    from the file ``source``. Launch options (out, local, hosts) are among both.
    """
    given = {**table, **options}
    out, hosts = given.pop("out", None), given.pop("hosts", None)
    local, restarts = given.pop("local", False), given.pop("restarts", 0)
    dry_run = given.pop("dry_run", False)
    size = None if local else mpiexec.world_size()
    if size is not None:
        given = {"workers": _workers(size), **given}
    with _names_file(source, options):
        made = config.configure(algorithm, **given)
        launch_checks.check_launch(
            made, local=local, hosts=hosts, joins=size is not None
        )
        launch_checks.check_restarts(restarts, local=local or size is not None)
        if out is not None and not mpiexec.world_rank():
            launch_checks.check_out(out)
    if dry_run:
        return _dry_run(made, local, hosts)
    solved = made.run_options.problem or made.run_options.data
    name = f"{algorithm}-{folders.short(solved)}"
    with _folder(out, name) as folder:
        if size is not None:
            launch.join(made, folder)
        return _finish(launch.launch([made], [folder], local, hosts, restarts=restarts))


def resume(path: Path, *, local: bool | None, hosts: str | None, restarts: int) -> int:
    """Go on with a run; see ``psmpi run --resume``."""
    joins = mpiexec.inside_mpi() and not local
    found = (
        resumption.find(path) if not mpiexec.world_rank() else resumption.at(path, 0)
    )
    made = found.configuration()
    if local is None:
        local = not joins and found.recorded.manifest["versions"]["mpi"] is None
    launch_checks.check_launch(made, local=local, hosts=hosts, joins=joins)
    launch_checks.check_restarts(restarts, local=local or joins)
    if joins:
        launch.join(made, path, goes_on=True)
    reports.console().print(f"{path}: goes on from round {found.round}")
    return _finish(
        launch.launch(
            [made], [path], local, hosts, restarts=restarts, begun={path: found}
        )
    )


def compare(
    what: str,
    *,
    out: Path | None,
    local: bool,
    hosts: str | None,
    html: Path | None,
    resume: Path | None,
    restarts: int,
) -> int:
    """Run a comparison; see ``psmpi compare``."""
    if mpiexec.inside_mpi() and not local:
        raise ConfigError(
            "compare: it starts its MPI jobs itself, and was started by mpiexec; run "
            f"it once, without mpiexec: psmpi compare {what}, with --hosts NAME,NAME "
            "for several machines, or with --local"
        )
    name, runs = _comparison(what)
    for made in runs:
        try:
            launch_checks.check_launch(made, local=local, hosts=hosts)
        except ConfigError as error:
            raise ConfigError(f"{what}, run {made.name}: {error}") from None
    launch_checks.check_restarts(restarts, local=local)
    if resume is not None and out is not None:
        raise ConfigError(
            f"out: {out}, but the comparison goes on in {resume}; give one of both"
        )
    if resume is not None and not resume.is_dir():
        raise ConfigError(f"resume: {resume} is no directory of a comparison")
    if out is not None:
        launch_checks.check_out(out)
    if html is not None and html.exists():
        raise ConfigError(f"{html}: already exists; give another file with --html")
    with _folder(out or resume, name) as folder:
        paths = [folder / made.name for made in runs]
        begun = {
            path: resumption.begun(path, made)
            for made, path in zip(runs, paths, strict=True)
            if resumption.exists(path)
        }
        todo = [
            (made, path)
            for made, path in zip(runs, paths, strict=True)
            if path not in begun or begun[path].recorded.summary is None
        ]
        launch.launch(
            [made for made, _ in todo],
            [path for _, path in todo],
            local,
            hosts,
            restarts=restarts,
            begun=begun,
        )
        results = [read_result(path) for path in paths]
        page = html or folder / "report.html"
        return _finish(results, page, force=resume is not None and html is None)


def replay(path: Path, *, out: Path | None) -> int:
    """Repeat a recorded run; see ``psmpi replay``."""
    if out is not None:
        launch_checks.check_out(out)
    result = replay_run(path, out)
    rounds, rows = result.summary["rounds"], len(result.rows)
    reports.console().print(
        f"{path}: the same bits again: the model after {rounds} rounds, and the loss "
        f"in all {rows} rows"
    )
    return 0


def report(
    paths: Sequence[Path],
    *,
    html: Path | None,
    csv: Path | None,
    images: Path | None,
    form: str,
    force: bool,
) -> int:
    """Print the table of recorded runs; see ``psmpi report``."""
    runs = [read_run(run) for path in paths for run in folders.run_folders(path)]
    if not runs:
        raise ConfigError("report: give one or more run directories")
    reports.console().print(reports.table(runs))
    if html is not None:
        reports.html(runs, html, force=force)
        reports.console().print(f"curves: {html}")
    if csv is not None:
        reports.csv(runs, csv, force=force)
        reports.console().print(f"rows: {csv}")
    if images is not None:
        written = reports.images(runs, images, form=form, force=force)
        reports.console().print(f"pictures: {len(written)} in {images}")
    return 0


def show(path: Path) -> int:
    """Print what is recorded of one run; see ``psmpi show``."""
    paths = folders.run_folders(path)
    console = reports.console()
    if paths == [path]:
        console.print(reports.details(read_run(path)))
        return 0
    console.print(f"{path} holds {len(paths)} runs:\n")
    console.print(reports.overview([read_run(run) for run in paths]))
    return 0


def warmup() -> int:
    """Compile all kernels into the cache."""
    from psmpi.runs import warmup

    print("psmpi: compiling all kernels (about a minute, once)", file=sys.stderr)  # noqa: T201
    warmup.compile_all()
    return 0


def _workers(size: int) -> int:
    """Return the number of workers in an MPI job of ``size`` ranks."""
    if size < 2:
        raise ConfigError(
            f"workers: MPI started {size} rank; a server and at least one worker are 2"
        )
    return size - 1


def _dry_run(made: RunConfig, local: bool, hosts: str | None) -> int:
    """Print what a run would do; of a job's ranks only the first one speaks."""
    if mpiexec.world_rank():
        return 0
    from psmpi.runs import estimate

    found = estimate.of_run(made, local=local, hosts=hosts)
    setup.warn([*found.warnings, *reports.shortage(found)])
    reports.console().print(reports.prospect(found))
    return 0


@contextlib.contextmanager
def _names_file(source: Path | None, options: Mapping[str, Any]) -> Iterator[None]:
    """Put the file before an error, unless it is about one of ``options``."""
    try:
        yield
    except ConfigError as error:
        words = re.split(r"[:\s]+", str(error), maxsplit=2)[:2]
        named = {word.replace("-", "_") for word in words}
        if source is None or named & set(options):
            raise
        raise ConfigError(f"{source}: {error}") from None


def _folder(out: Path | None, name: str) -> AbstractContextManager[Path]:
    """Return the directory to record in; of a job's ranks only the first needs one."""
    if out is not None:
        return contextlib.nullcontext(out)
    if mpiexec.world_rank():
        return contextlib.nullcontext(Path("runs") / name)
    return folders.reserve(name)


def _comparison(what: str) -> tuple[str, list[RunConfig]]:
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


def _finish(
    results: Sequence[Result], page: Path | None = None, *, force: bool = False
) -> int:
    """Print the table of finished runs, draw the page, return the exit status."""
    runs = [read_run(result.path) for result in results if result.path is not None]
    console = reports.console()
    console.print(reports.table(runs))
    if page is not None:
        reports.html(runs, page, force=force)
        console.print(f"curves: {page}")
    console.print("recorded: " + " ".join(str(run.path) for run in runs))
    missed = [
        f"{result.summary['name']}: {target} was not reached in "
        f"{result.summary['rounds']} rounds"
        for result in results
        for target in result.unmet
    ]
    for line in missed:
        print(f"psmpi: {line}", file=sys.stderr)  # noqa: T201
    return EXIT_UNMET if missed else 0
