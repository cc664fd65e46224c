"""What the words of ``psmpi run --resume DIR`` mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from cyclopts.exceptions import UnknownOptionError

from psmpi.cli import help, usage
from psmpi.errors import ConfigError


def resume(words: list[str]) -> int:
    """Run ``psmpi run --resume DIR``, which takes only options of launching."""
    command = App(
        name="psmpi run",
        usage="Usage: psmpi run --resume DIR [OPTIONS]",
        help_format="plaintext",
        result_action="return_value",
        version_flags=(),
    )
    command.default(_resume)
    if set(words) & set(help.HELP):
        help.show(command, [], "")
        return 0
    if not words[0].startswith("-"):
        raise ConfigError(
            f"{words[0]}: the directory of a run has its algorithm and its options; "
            "give it alone: psmpi run --resume DIR"
        )
    try:
        return int(command(words, exit_on_error=False, print_error=False))
    except UnknownOptionError as error:
        raise ConfigError(
            f"resume: {usage.option(error)} can't be given, since the run goes on with "
            "the options that it was begun with; besides the directory there are "
            "--local, --hosts and --restarts"
        ) from None
    except CycloptsError as error:
        raise usage.usage(error, "run --resume") from None


def _resume(
    *,
    resume: Path,
    local: Annotated[bool | None, Parameter(negative="--no-local")] = None,
    hosts: str | None = None,
    restarts: int = 0,
) -> int:
    """Go on with a run that has not ended, from its last checkpoint.

    Parameters
    ----------
    resume
        The directory of the run, in which it goes on.
    local
        Run all ranks in this process, without MPI. Default: as the run was begun.
    hosts
        Hosts for mpiexec, separated by commas: NAME,NAME or NAME:RANKS,NAME:RANKS.
    restarts
        Where a rank fails: start again from the last checkpoint, at most so often.
    """
    from psmpi.cli import commands

    return commands.resume(resume, local=local, hosts=hosts, restarts=restarts)
