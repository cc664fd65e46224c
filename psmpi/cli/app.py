"""The command line: what its words mean.

``main`` finds the command, prints help, and turns every error about words into a
``ConfigError`` of one line, with a hint about what may have been meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.exceptions import (
    UnknownOptionError,
)

from psmpi import __version__
from psmpi.cli import help, usage
from psmpi.errors import ConfigError, did_you_mean

app = App(
    name="psmpi",
    version=__version__,
    help="Communication-efficient distributed optimisation over MPI.",
    help_format="plaintext",
    result_action="return_value",
)
_ENDS = {"run": help.RUN, "compare": help.COMPARE, "launch": help.LAUNCH}
#: Where the options of runs stand for commands that don't have them.
_ELSEWHERE = {"compare": "a TOML file", "launch": "the script"}


def main(argv: Sequence[str]) -> int:
    """Run a command line; return the exit status. Raises ``PsmpiError``."""
    words = list(argv)
    command = words[0] if words else "--help"
    if command == "run":
        from psmpi.cli import run_words

        return run_words.run(words[1:])
    if command in help.HELP:
        help.show(app, [], help.ROOT)
        return 0
    if command not in app:
        what = "option" if command.startswith("-") else "command"
        hint = did_you_mean(command, app, "see psmpi --help")
        raise ConfigError(f"{what}: there is no {command!r}; {hint}")
    script: list[str] = []
    if command == "launch":  # what stands behind the script's name is the script's
        words, script = _before_script(words)
    if set(words) & set(help.HELP):
        help.show(app, [command], _ENDS.get(command, ""))
        return 0
    try:
        status = app([*words, *script], exit_on_error=False, print_error=False)
    except UnknownOptionError as error:
        word = usage.option(error)
        known = [name for about in error.argument_collection for name in about.names]
        hint = did_you_mean(word, known, f"see psmpi {command} --help")
        if command in _ELSEWHERE:
            hint += f"; options of runs stand in {_ELSEWHERE[command]}"
        raise ConfigError(f"{command}: there is no option {word}; {hint}") from None
    except CycloptsError as error:
        raise usage.usage(error, command) from None
    return status if isinstance(status, int) else 0


def _before_script(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words up to the script's name, and the others behind ``--``.

    >>> _before_script(["launch", "--workers", "2", "train.py", "--lr", "0.1"])
    (['launch', '--workers', '2'], ['--', 'train.py', '--lr', '0.1'])
    """
    place = 1
    while place < len(words) and words[place].startswith("-"):
        place += 1 if "=" in words[place] or words[place] in help.HELP else 2
    script = list(words[place:])
    return list(words[:place]), ["--", *script] if script else []


def _whole(kind: Any, tokens: Sequence[Any]) -> int:
    """Read a whole number; cyclopts would round 2.7 to 3."""
    word = tokens[0].value
    if not word.lstrip("-").isdecimal():
        raise ValueError(f"must be a whole number, got {word!r}")
    return int(word)


@app.command(name="run")
def _run_for_help() -> int:
    """Run one algorithm and record the run."""
    from psmpi.cli import run_words

    return run_words.run([])


@app.command
def launch(
    script: Path,
    /,
    *arguments: str,
    workers: Annotated[int, Parameter(converter=_whole)] = 4,
    hosts: str | None = None,
    threads: Annotated[int, Parameter(converter=_whole)] = 1,
    out: Path | None = None,
    resume: Path | None = None,
    restarts: Annotated[int, Parameter(converter=_whole)] = 0,
) -> int:
    """Run a Python script of your own on all workers, with psmpi's server beside them.

    The script opens ``psmpi.session(...)``, or an optimizer of ``psmpi.torch``, and
    computes its own gradients. What it opens is recorded.

    Parameters
    ----------
    script
        The script. What stands behind it are its own arguments.
    arguments
        The script's arguments.
    workers
        Number of workers. The server is one more rank.
    hosts
        Hosts for mpiexec, separated by commas: NAME,NAME or NAME:RANKS,NAME:RANKS.
    threads
        Threads of BLAS, OpenMP and PyTorch per rank.
    out
        Directory to record the run in; must not exist. Default: a new one in runs/.
    resume
        Go on with the run in this directory, from its last checkpoint: the session has
        to be opened with checkpoint_every.
    restarts
        Where a rank fails: start again from the last checkpoint, at most so often.
    """
    from psmpi.cli import launch_command

    return launch_command.launch(
        script,
        arguments,
        workers=workers,
        hosts=hosts,
        threads=threads,
        out=out,
        resume=resume,
        restarts=restarts,
    )


@app.command
def compare(
    what: str = "laq",
    /,
    *,
    out: Path | None = None,
    local: Annotated[bool, Parameter(negative=())] = False,
    hosts: str | None = None,
    html: Path | None = None,
    resume: Path | None = None,
    restarts: Annotated[int, Parameter(converter=_whole)] = 0,
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
    resume
        Go on with the comparison in this directory: runs that have ended stay, others
        go on from their last checkpoint, or are begun.
    restarts
        Where a rank fails: start again from the last checkpoint, at most so often.
    """
    from psmpi.cli import commands

    return commands.compare(
        what,
        out=out,
        local=local,
        hosts=hosts,
        html=html,
        resume=resume,
        restarts=restarts,
    )


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
