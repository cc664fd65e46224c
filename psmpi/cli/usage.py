"""Errors about the words of a command line, in one line each."""

from __future__ import annotations

from cyclopts import CycloptsError
from cyclopts.argument import Argument
from cyclopts.exceptions import (
    MissingArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from psmpi.errors import ConfigError


def option(error: UnknownOptionError) -> str:
    """Return the option that is unknown, as it was written, without its value."""
    return (error.token.keyword or error.token.value).partition("=")[0]


def usage(error: CycloptsError, command: str) -> ConfigError:
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
