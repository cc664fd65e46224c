"""What the words of ``psmpi run`` mean."""

from __future__ import annotations

from typing import Any

from cyclopts import App, CycloptsError
from cyclopts.exceptions import UnknownOptionError

from psmpi import algorithms
from psmpi.cli import help, run_command, usage
from psmpi.errors import ConfigError
from psmpi.runs import option_names


def run(words: list[str]) -> int:
    """Run ``psmpi run``: the algorithm's options are known once its name is."""
    if any(word.partition("=")[0] == "--resume" for word in words):
        from psmpi.cli import resume_words

        return resume_words.resume(words)
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
    try:
        return int(command(words, exit_on_error=False, print_error=False))
    except UnknownOptionError as error:
        name = usage.option(error).lstrip("-").removeprefix("no-")
        raise option_names.unknown(algorithm, name, option_names.LAUNCH) from None
    except CycloptsError as error:
        raise usage.usage(error, f"run {algorithm}") from None


def _algorithms() -> App:
    """Return ``psmpi run`` for its help: a command per algorithm, without options."""
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
