"""The command line: run, compare, report, replay, show, list, warmup.

Options of an algorithm are its dataclass fields, with the help that its docstring has.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import docstring_parser
from cyclopts import App, Group, Parameter

from psmpi import __version__, algorithms
from psmpi.base import Algorithm, ConfigError
from psmpi.cli import commands
from psmpi.runs import config

app = App(
    name="psmpi",
    version=__version__,
    help="Communication-efficient distributed optimisation over MPI.",
    result_action="return_value",
)
_run = App(name="run", help="Run one algorithm.", result_action="return_value")
app.command(_run)

_HOW = Group("Run options", sort_key=2)
_LAUNCH = {
    "out": (Path | None, None, "Directory to record the run in; must not exist."),
    "local": (bool, False, "Run all ranks in this process, without MPI."),
    "hosts": (str | None, None, "Hosts for mpiexec, comma-separated."),
}


def main(argv: Sequence[str]) -> int:
    """Run a command line; return the exit status."""
    tokens = list(argv)
    if tokens[:1] == ["run"]:
        tokens = _expand_run(tokens)
    status = app(tokens)
    return status if isinstance(status, int) else 0


def _expand_run(tokens: list[str]) -> list[str]:
    """Put a configuration file's options before the others, which override them."""
    for i, token in enumerate(tokens):
        name, equals, value = token.partition("=")
        if name == "--config":
            if not equals and i + 1 == len(tokens):
                raise ConfigError("config: give a file: psmpi run --config FILE.toml")
            path = Path(value if equals else tokens[i + 1])
            rest = tokens[1:i] + tokens[i + (1 if equals else 2) :]
            return ["run", *_from_file(path, rest)]
    if len(tokens) > 1 and not tokens[1].startswith("-"):
        algorithms.find(tokens[1])
    return tokens


def _from_file(path: Path, rest: list[str]) -> list[str]:
    table = config.read_toml(path)
    if "algorithm" not in table:
        raise ConfigError(f"{path}: has no key algorithm; psmpi list shows their names")
    algorithm = table.pop("algorithm")
    algorithms.find(algorithm)
    if rest and not rest[0].startswith("-"):
        raise ConfigError(
            f"{rest[0]}: the algorithm is in {path} already; "
            "leave it out, or change it there"
        )
    given = {token.partition("=")[0].removeprefix("--no-") for token in rest}
    tokens = [str(algorithm)]
    for key, value in table.items():
        flag = "--" + key.replace("_", "-")
        if flag in given or flag[2:] in given:
            continue
        if isinstance(value, bool):
            tokens.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, list):
            tokens += [flag, *map(str, value)]
        else:
            tokens += [flag, str(value)]
    return tokens + rest


def _documented(cls: type) -> dict[str, str]:
    """Return what the docstrings of a class and its bases say of its fields."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for param in docstring_parser.parse(base.__doc__ or "").params:
            found[param.arg_name] = param.description or ""
    return found


def _fields(cls: type, group: Group, names: Sequence[str]) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(cls)
    documented = _documented(cls)
    parameters = []
    for field in dataclasses.fields(cls):
        if field.name not in names:
            continue
        kind = hints[field.name]
        multiple = typing.get_origin(kind) is tuple
        if multiple:
            kind = tuple[str, ...]  # config.run reads 200,100 and 200 100 alike
        help_ = documented.get(field.name, "")
        # What an algorithm takes where None is given: its default_codec, for one.
        usual = getattr(cls, f"default_{field.name}", None)
        if field.default is None and usual is not None:
            help_ += f" [default: {usual}]"
        about = Parameter(
            help=help_,
            group=group,
            negative=None if kind in (bool, bool | None) else (),
            consume_multiple=True if multiple else None,
        )
        parameters.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=Annotated[kind, about],
            )
        )
    return parameters


def _launch_parameters() -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind, Parameter(help=text, group=_HOW, negative=())],
        )
        for name, (kind, default, text) in _LAUNCH.items()
    ]


def _command(cls: type[Algorithm]) -> Callable[..., int]:
    """Return the function behind ``psmpi run ID``, its signature made from fields."""

    def command(**given: Any) -> int:
        launch = {name: given.pop(name) for name in _LAUNCH if name in given}
        return commands.run(cls.id, given, **launch)

    own = Group(f"Options of {cls.id}", sort_key=1)
    general = [field.name for field in dataclasses.fields(config.RunOptions)]
    parameters = [
        *_fields(cls, own, [field.name for field in algorithms.options(cls)]),
        *_fields(config.RunOptions, _HOW, general),
        *_launch_parameters(),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    doc = docstring_parser.parse(cls.__doc__ or "")
    command.__doc__ = "\n\n".join(
        part for part in (doc.short_description, doc.long_description) if part
    )
    return command


for _cls in algorithms.ALGORITHMS.values():
    _run.command(_command(_cls), name=_cls.id)


@_run.default
def _no_algorithm() -> int:
    raise ConfigError(
        "run: which algorithm? psmpi run ALGORITHM, with one of "
        + ", ".join(algorithms.ALGORITHMS)
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
) -> int:
    """Run several algorithms on the same problem; print a table, draw the curves.

    Parameters
    ----------
    what
        A built-in comparison on the digits data (laq, qsparse, dist-ef, asylpg,
        quantimed), or a TOML file: general options, then a [[run]] table per algorithm.
    out
        Directory to record the runs in; must not exist.
    local
        Run all ranks in this process, without MPI.
    hosts
        Hosts for mpiexec, comma-separated.
    html
        Where the page with the curves goes; default: report.html in the directory.
    """
    return commands.compare(what, out=out, local=local, hosts=hosts, html=html)


@app.command
def report(
    *runs: Path,
    html: Path | None = None,
    force: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Print the table of recorded runs, and draw their curves.

    Parameters
    ----------
    runs
        Run directories, or directories that hold some.
    html
        Write one self-contained page with curves and table.
    force
        Overwrite that file.
    """
    return commands.report(runs, html=html, force=force)


@app.command
def replay(run: Path, /, *, out: Path | None = None) -> int:
    """Do a recorded run again in this process, and see that every bit is the same.

    What depended on time (who was heard first, how much was done by a deadline) is as
    in the record.

    Parameters
    ----------
    run
        A run directory.
    out
        Directory to record the run in; must not exist.
    """
    return commands.replay(run, out=out)


@app.command
def show(run: Path, /) -> int:
    """Print what is recorded of one run.

    Parameters
    ----------
    run
        A run directory.
    """
    return commands.show(run)


@app.command(name="list")
def list_() -> int:
    """Print the algorithms, codecs and data sets."""
    return commands.list_names()


@app.command
def warmup() -> int:
    """Compile all kernels into the cache, so that no rank has to."""
    return commands.warmup()
