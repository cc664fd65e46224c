"""The command line: what its words mean.

``main`` finds the command, prints help, and turns every error about words into a
``ConfigError`` of one line, with a hint about what may have been meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.argument import Argument
from cyclopts.exceptions import (
    MissingArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from psmpi import __version__
from psmpi.cli import help
from psmpi.errors import ConfigError, did_you_mean

app = App(
    name="psmpi",
    version=__version__,
    help="Communication-efficient distributed optimisation over MPI.",
    help_format="plaintext",
    result_action="return_value",
)
_ENDS = {"run": help.RUN, "compare": help.COMPARE}


def main(argv: Sequence[str]) -> int:
    """Run a command line; return the exit status. Raises ``PsmpiError``."""
    words = list(argv)
    command = words[0] if words else "--help"
    if command == "run":
        return _run(words[1:])
    if command in help.HELP:
        help.show(app, [], help.ROOT)
        return 0
    if command not in app:
        what = "option" if command.startswith("-") else "command"
        hint = did_you_mean(command, app, "see psmpi --help")
        raise ConfigError(f"{what}: there is no {command!r}; {hint}")
    if set(words) & set(help.HELP):
        help.show(app, [command], _ENDS.get(command, ""))
        return 0
    try:
        status = app(words, exit_on_error=False, print_error=False)
    except UnknownOptionError as error:
        word = _option(error)
        known = [name for about in error.argument_collection for name in about.names]
        hint = did_you_mean(word, known, f"see psmpi {command} --help")
        if command == "compare":
            hint += "; options of runs stand in a TOML file"
        raise ConfigError(f"{command}: there is no option {word}; {hint}") from None
    except CycloptsError as error:
        raise _usage(error, command) from None
    return status if isinstance(status, int) else 0


def _option(error: UnknownOptionError) -> str:
    """Return the option that is unknown, as it was written, without its value."""
    return (error.token.keyword or error.token.value).partition("=")[0]


def _usage(error: CycloptsError, command: str) -> ConfigError:
    """Return the error for words that don't fit a command, in one line."""
    error.verbose = False
    match error:
        case MissingArgumentError(argument=Argument() as argument):
            name = argument.name
            text = f"{name if name.startswith('-') else name.upper()} is missing"
            if error.tokens_so_far or name.startswith("--"):
                text = f"{name} needs a value"
        case UnusedCliTokensError():
            text = f"can't use {' '.join(error.unused_tokens or [])!r}"
        case _:
            text = " ".join(str(error).split()).rstrip(".")
    return ConfigError(f"{command}: {text}; see psmpi {command} --help")


def _run(words: list[str]) -> int:
    """Run ``psmpi run``: the algorithm's options are known once its name is."""
    from psmpi import algorithms
    from psmpi.cli import run_command

    path, words = run_command.take_file(words)
    table: dict[str, Any] = {}
    if path is not None:
        algorithm, table = run_command.read_file(path, words)
    elif words and not words[0].startswith("-"):
        algorithm, *words = words
        algorithms.find(algorithm)
    elif set(words) & set(help.HELP):
        help.show(_algorithms(), [], help.RUN)
        return 0
    else:
        later = [word for word in words if word in algorithms.ALGORITHMS]
        if later:
            raise ConfigError(
                f"run: the algorithm comes first: psmpi run {later[0]} [OPTIONS]"
            )
        raise ConfigError(
            "run: which algorithm? psmpi run ALGORITHM [OPTIONS], with one of "
            + ", ".join(algorithms.ALGORITHMS)
        )

    def start(options: dict[str, Any]) -> int:
        from psmpi.cli import commands

        return commands.run(algorithm, options, table, source=path)

    command = run_command.build(algorithm, start)
    if set(words) & set(help.HELP):
        help.show(command, [], help.of_run(algorithm))
        return 0
    return _call_run(command, words, algorithm)


def _call_run(command: App, words: list[str], algorithm: str) -> int:
    """Run ``psmpi run ALGORITHM``; hints also look at other algorithms' options."""
    from psmpi.runs import option_names

    try:
        return int(command(words, exit_on_error=False, print_error=False))
    except UnknownOptionError as error:
        name = _option(error).lstrip("-").removeprefix("no-")
        raise option_names.unknown(algorithm, name, option_names.LAUNCH) from None
    except CycloptsError as error:
        raise _usage(error, f"run {algorithm}") from None


def _algorithms() -> App:
    """Return ``psmpi run`` for its help: a command per algorithm, without options."""
    from psmpi import algorithms

    run = App(
        name="run",
        usage="Usage: psmpi run ALGORITHM [OPTIONS]",
        help="Run one algorithm and record the run.",
        help_format="plaintext",
        version_flags=(),
    )
    for name, cls in algorithms.ALGORITHMS.items():
        first = (cls.__doc__ or "").partition("\n")[0]
        run.command(App(name=name, help=first, help_format="plaintext"))
    return run


@app.command(name="run")
def _run_for_help() -> int:
    """Run one algorithm and record the run."""
    return _run([])


@app.command
def compare(
    what: str = "laq",
    /,
    *,
    out: Path | None = None,
    local: Annotated[bool, Parameter(negative=())] = False,
    hosts: str | None = None,
    html: Path | None = None,
) -> int:
    """Run several algorithms on the same problem; print a table and draw the curves.

    Parameters
    ----------
    what
        A built-in comparison on the digits data (laq, qsparse, dist-ef, asylpg,
        quantimed), or a TOML file.
    out
        Directory to record the runs in; must not exist. Default: a new one in runs/.
    local
        Run all ranks in this process, without MPI.
    hosts
        Hosts for mpiexec, separated by commas: NAME,NAME or NAME:RANKS,NAME:RANKS.
    html
        File for the page with the curves; default: report.html in the directory.
    """
    from psmpi.cli import commands

    return commands.compare(what, out=out, local=local, hosts=hosts, html=html)


@app.command
def report(
    *runs: Path,
    html: Path | None = None,
    csv: Path | None = None,
    images: Path | None = None,
    image_format: Literal["png", "pdf", "svg"] = "png",
    force: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Print the table of recorded runs, and draw their curves.

    Parameters
    ----------
    runs
        Run directories, or directories that hold some.
    html
        Write one self-contained page with curves and table to this file.
    csv
        Write all recorded rows of all runs to this file.
    images
        Write every picture to this directory.
    image_format
        Format of these pictures: png, pdf or svg.
    force
        Overwrite files that exist.
    """
    from psmpi.cli import commands

    return commands.report(
        runs, html=html, csv=csv, images=images, form=image_format, force=force
    )


@app.command
def replay(run: Path, /, *, out: Path | None = None) -> int:
    """Repeat a recorded run in this process, and check that every bit is the same.

    What depended on time (which worker's message came first, how many samples were done
    by a deadline) is taken from the record.

    Parameters
    ----------
    run
        A run directory.
    out
        Directory to record the run in; must not exist.
    """
    from psmpi.cli import commands

    return commands.replay(run, out=out)


@app.command
def show(run: Path, /) -> int:
    """Print what is recorded of one run.

    Parameters
    ----------
    run
        A run directory.
    """
    from psmpi.cli import commands

    return commands.show(run)


@app.command(name="list")
def list_() -> int:
    """Print the algorithms, codecs with their options, and data sets."""
    from psmpi.cli import listing

    return listing.show()


@app.command
def warmup() -> int:
    """Compile all kernels into the cache, so that no run has to wait for that."""
    from psmpi.cli import commands

    return commands.warmup()
