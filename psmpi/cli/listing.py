"""``psmpi list``: the names that options take, with what each of them is."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable
from types import NoneType
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from psmpi import algorithms, codecs, problems, report
from psmpi.base import plugins
from psmpi.data import registry
from psmpi.problems import own
from psmpi.runs import option_types

#: Codecs that no name on the command line makes: they are made of others.
_COMPOSED = ("choice", "piecewise", "scaled")
_JOINED = (
    "NAME+NAME takes a codec for each tensor of the model in turn; NAME:scaled divides "
    "the output of an unbiased codec by 1 + omega. --bits, --k and --blocks set the "
    "options of the same name."
)


def show() -> int:
    """Print algorithms, codecs with their options, and data sets with their keys."""
    console = report.console()
    console.print(_names("algorithms: psmpi run NAME", _algorithms()))
    console.print(_names("codecs: --codec NAME or NAME:OPTION=VALUE,...", _codecs()))
    console.print(Text(_JOINED + "\n", style="dim"))
    console.print(_names("data: --data NAME", _data()))
    return 0


def _names(title: str, rows: Iterable[tuple[str, str]]) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(name), Text(text))
    return Group(Text(title, style="bold"), table, "")


def _algorithms() -> Iterable[tuple[str, str]]:
    for name, cls in algorithms.registered().items():
        yield name, _first_line(cls)


def _codecs() -> Iterable[tuple[str, str]]:
    for name, cls in codecs.registered().items():
        if name not in _COMPOSED:
            yield name, _first_line(cls)
            for option in _options(cls):
                yield "", option


def _options(cls: type) -> Iterable[str]:
    """Yield the options of a codec that a word can give, with their defaults."""
    hints = option_types.hints(cls)
    for field in dataclasses.fields(cls):
        kinds = [k for k in option_types.kinds_of(hints[field.name]) if k != NoneType]
        literal = typing.get_origin(hints[field.name]) is typing.Literal
        if not field.init or not (literal or set(kinds) <= {int, float, str, bool}):
            continue
        kind = option_types.spoken(hints[field.name])
        if field.default is dataclasses.MISSING:
            yield f"{field.name}: {kind}, needed"
        elif field.default is None:
            yield f"{field.name}: {kind}"
        else:
            yield f"{field.name}={field.default}: {kind}"


def _data() -> Iterable[tuple[str, str]]:
    for name, load in registry.DATASETS.items():
        yield name, _first_line(load)
    for name, text in problems.schemes().items():
        scheme, comma, keys = name.partition(",")
        if comma and scheme.startswith("synthetic:"):
            yield scheme, text
            yield "", f"keys: {keys}"
        else:
            yield name, text
    for name in problems.registered():
        source = plugins.source(own.GROUP, name)
        yield name, f"A problem of the package {source}."


def _first_line(thing: Any) -> str:
    return (thing.__doc__ or "").partition("\n")[0]
