"""``psmpi run``: options of one algorithm, from the command line and from a file.

Only the command that is asked for is built: its options are the fields of the
algorithm's dataclass and of ``RunOptions``, with the help that their docstrings have.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import docstring_parser
from cyclopts import App, Parameter

from psmpi import algorithms
from psmpi.base import Algorithm
from psmpi.cli import help
from psmpi.errors import ConfigError
from psmpi.runs import option_names, option_types, toml_file
from psmpi.runs.options import RunOptions

_LAUNCH: dict[str, tuple[Any, Any, str]] = {
    "out": (
        Path | None,
        None,
        "Directory to record the run in; must not exist. Default: a new one in runs/.",
    ),
    "local": (bool, False, "Run all ranks in this process, without MPI."),
    "hosts": (
        str | None,
        None,
        "Hosts for mpiexec, separated by commas: NAME,NAME or NAME:RANKS,NAME:RANKS.",
    ),
    "restarts": (
        int,
        0,
        "Where a rank fails: start again from the last checkpoint, at most so often.",
    ),
    "dry_run": (
        bool,
        False,
        "Start nothing: check everything, and print the settings, the size of messages "
        "and the memory that each rank needs.",
    ),
}


def take_file(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Return the file of ``--config FILE``, if given, and the other words."""
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name != "--config":
            continue
        if not equals and place + 1 == len(words):
            raise ConfigError("config: give a file: psmpi run --config FILE.toml")
        path = Path(value if equals else words[place + 1])
        return path, [*words[:place], *words[place + (1 if equals else 2) :]]
    return None, list(words)


def read_file(path: Path, words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the algorithm and the options in a file; ``words``: those besides it."""
    table = toml_file.run_table(path)
    algorithm = table.pop("algorithm")
    if not isinstance(algorithm, str):
        raise ConfigError(f"{path}: algorithm: must be text, got {algorithm!r}")
    if words and not words[0].startswith("-"):
        raise ConfigError(
            f"{words[0]}: the algorithm is in {path} already; "
            "leave it out, or change it there"
        )
    try:
        known = option_names.own(algorithm) | option_names.general() | set(_LAUNCH)
        for key, value in table.items():
            if key not in known:
                raise option_names.unknown(algorithm, key, _LAUNCH)
            if key in _LAUNCH:
                table[key] = _launch_value(key, value)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return algorithm, table


def _launch_value(key: str, value: Any) -> Any:
    kind = _LAUNCH[key][0] if _LAUNCH[key][0] in (bool, int) else str
    try:
        fitting = option_types.fit(value, kind)
    except option_types.Unfit as unfit:
        raise ConfigError(f"{key}: must be {unfit}, got {value!r}") from None
    return Path(fitting) if key == "out" else fitting


def build(id: str, start: Callable[[dict[str, Any]], int]) -> App:
    """Return the command ``psmpi run ID``, which calls ``start`` with its options.

    ``start`` gets only the options that stand on the command line.
    """
    cls = algorithms.find(id)

    def command(**options: Any) -> int:
        for name, value in options.items():
            if value == ():  # a list may have any length, but not none
                raise ConfigError(
                    f"run {id}: {option_names.flag(name)} needs a value; see psmpi run "
                    f"{id} --help"
                )
        return start(options)

    groups = help.groups()
    parameters = [
        *_fields(cls, [field.name for field in algorithms.options(cls)], groups),
        *_fields(RunOptions, [f.name for f in dataclasses.fields(RunOptions)], groups),
        *(
            _parameter(name, kind, default, text, groups)
            for name, (kind, default, text) in _LAUNCH.items()
        ),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    doc = docstring_parser.parse(cls.__doc__ or "")
    command.__doc__ = "\n\n".join(
        _flowing(part) for part in (doc.short_description, doc.long_description) if part
    )
    app = App(
        name=f"psmpi run {id}",
        usage=f"Usage: psmpi run {id} [OPTIONS]",
        help_format="plaintext",
        result_action="return_value",
        version_flags=(),
    )
    app.default(command)
    return app


def _fields(
    cls: type, names: Sequence[str], groups: Mapping[str, Any]
) -> list[inspect.Parameter]:
    """Return the fields of a dataclass as parameters of a command."""
    hints, texts = option_types.hints(cls), _documented(cls)
    parameters = []
    for field in dataclasses.fields(cls):
        if field.name not in names:
            continue
        default, text = field.default, texts.get(field.name, "")
        # What an algorithm takes where None is given: its default_codec, for one.
        usual = getattr(cls, f"default_{field.name}", None)
        if default is None and usual is not None:
            text += f" [default: {usual}]"
        parameters.append(
            _parameter(field.name, hints[field.name], default, text, groups)
        )
    return parameters


def _parameter(
    name: str, kind: Any, default: Any, text: str, groups: Mapping[str, Any]
) -> inspect.Parameter:
    flag = kind in (bool, bool | None)
    several = typing.get_origin(kind) is tuple
    if several:
        kind = tuple[str, ...]  # configure reads 200,100 and 200 100 alike
    about = Parameter(
        help=text,
        group=groups[help.title_of(name)],
        negative=None if flag and name not in _LAUNCH else (),
        consume_multiple=True if several else None,
        # Flags and lists are read by cyclopts, numbers and text by ``read``: cyclopts
        # rounds 2.7 to 3 where a whole number is wanted.
        converter=None if flag or several or name == "out" else _reader(kind),
        show_default=default not in (None, (), "", False),
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, about],
    )


def _reader(hint: Any) -> Callable[[Any, Sequence[Any]], Any]:
    """Return cyclopts' converter for an annotation; ``configure`` checks the value."""

    def convert(type_: Any, tokens: Sequence[Any]) -> Any:
        return option_types.read(tokens[0].value, hint)

    return convert


def _documented(cls: type[Algorithm] | type) -> dict[str, str]:
    """Return what the docstrings of a class and its bases say of its fields."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for param in docstring_parser.parse(base.__doc__ or "").params:
            texts[param.arg_name] = " ".join((param.description or "").split())
    return texts


def _flowing(text: str) -> str:
    """Return a docstring's text with each paragraph on one line, for any width."""
    paragraphs = text.replace("``", "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
