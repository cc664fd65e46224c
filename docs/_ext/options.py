"""Directives that print tables of options from the docstrings of dataclasses.

``{psmpi-options} laq`` is the table of an algorithm's options, ``{psmpi-options} run``
that of the options which every run has. The command line prints the same texts.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import docstring_parser
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from psmpi import algorithms
from psmpi.runs import config


def documented(cls: type) -> dict[str, str]:
    """Return what the docstrings of a class and of its bases say of its fields."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for parameter in docstring_parser.parse(base.__doc__ or "").params:
            texts[parameter.arg_name] = parameter.description or ""
    return texts


def table(name: str, only: frozenset[str] = frozenset()) -> list[str]:
    """Return the Markdown table of one algorithm's options, or of those of ``run``.

    ``only`` names the fields that are wanted; without it, all are.
    """
    if name == "run":
        cls: Any = config.RunOptions
        fields = list(dataclasses.fields(cls))
    else:
        cls = algorithms.find(name)
        fields = list(algorithms.options(cls))
    texts = documented(cls)
    lines = ["| option | default | meaning |", "|---|---|---|"]
    for field in fields:
        if only and field.name not in only:
            continue
        default = field.default
        usual = getattr(cls, f"default_{field.name}", None)
        if default is None and usual is not None:
            default = usual
        text = " ".join(texts.get(field.name, "").split()).replace("|", r"\|")
        # A * alone would begin emphasis, and <...> would be HTML.
        text = text.replace("*", r"\*").replace("<", "&lt;")
        lines.append(
            f"| `--{field.name.replace('_', '-')}` | {_said(default)} | {text} |"
        )
    return lines


def _said(default: Any) -> str:
    match default:
        case None | "" | ():
            return "none"
        case bool():
            return "yes" if default else "no"
        case tuple():
            return f"`{','.join(map(str, default))}`"
        case _:
            return f"`{default}`"


class Options(SphinxDirective):
    """The table of one algorithm's options; ``:only:`` names those that are wanted."""

    required_arguments = 1
    option_spec = {"only": str.split}  # noqa: RUF012 - as docutils has it

    def run(self) -> list[nodes.Node]:
        lines = table(self.arguments[0], frozenset(self.options.get("only", ())))
        holder = nodes.container()
        self.state.nested_parse(StringList(lines, "options"), 0, holder)
        return holder.children


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_directive("psmpi-options", Options)
    return {"parallel_read_safe": True}
