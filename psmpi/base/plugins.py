"""Classes that other installed packages add to psmpi, found through entry points.

A package adds a codec, for example, with these lines of its ``pyproject.toml``; the
name is the ``id`` of the class::

    [project.entry-points."psmpi.codecs"]
    natural = "natural_compression:Natural"

``names`` imports nothing, and ``load`` imports the one module that it is asked for, so
that an installed plugin costs a run nothing until the run uses it.
"""

from __future__ import annotations

import inspect
from importlib import metadata
from typing import Any, NamedTuple, TypeVar

from psmpi.errors import ConfigError

T = TypeVar("T")


def names(group: str) -> list[str]:
    """Return the sorted names of all entry points of ``group``."""
    return sorted({entry.name for entry in metadata.entry_points(group=group)})


def source(group: str, name: str) -> str:
    """Return the name and version of the package that has this entry point."""
    return " and ".join(map(_package, metadata.entry_points(group=group, name=name)))


class Resolved(NamedTuple):
    """What an entry point names, and the two parts of an error message about it."""

    value: Any
    origin: str  # what it should be, its entry point and its package
    remedy: str


def resolve(group: str, name: str, thing: str) -> Resolved | None:
    """Import what an entry point names; return None if there is no such entry point.

    ``thing`` says in messages what it should be, as ``"codec 'natural'"``. Raises
    ``ConfigError`` that names the package if the import fails or if two packages offer
    this name.
    """
    entries = list(metadata.entry_points(group=group, name=name))
    if not entries:
        return None
    if len(entries) > 1:
        raise ConfigError(
            f"{thing}: {len(entries)} packages offer it ({source(group, name)}); "
            "uninstall all but one"
        )
    (entry,) = entries
    origin = f"{thing}, entry point {entry.value} of package {_package(entry)}"
    remedy = f"repair or uninstall {_package(entry, version=False)}"
    try:
        return Resolved(entry.load(), origin, remedy)
    except Exception as error:  # a plugin's module may raise anything
        raise ConfigError(
            f"{origin}: can't be imported ({type(error).__name__}: {error}); {remedy}"
        ) from error


def load(group: str, name: str, kind: type[T]) -> type[T] | None:
    """Return the class behind an entry point, or None if there is no such entry point.

    Raises ``ConfigError`` that names the package if the class can't be imported, is no
    concrete subclass of ``kind``, has an ``id`` other than ``name``, or is offered by
    two packages.
    """
    resolved = resolve(group, name, f"{kind.__name__.lower()} {name!r}")
    if resolved is None:
        return None
    cls, origin, remedy = resolved
    if not (isinstance(cls, type) and issubclass(cls, kind)):
        raise ConfigError(
            f"{origin}: must be a subclass of psmpi.base.{kind.__name__}, got {cls!r}; "
            f"{remedy}"
        )
    missing = [
        member
        for member in dir(cls)
        if getattr(getattr(cls, member, None), "__isabstractmethod__", False)
    ]
    if missing:
        raise ConfigError(f"{origin}: lacks {', '.join(missing)}; {remedy}")
    has_id = any("id" in inspect.get_annotations(base) for base in kind.__mro__)
    id = getattr(cls, "id", None)
    if has_id and id != name:
        raise ConfigError(
            f"{origin}: its id is {id!r}; id and the entry point's name must be equal; "
            f"{remedy}"
        )
    loaded: type[T] = cls
    return loaded


def _package(entry: metadata.EntryPoint, version: bool = True) -> str:
    if entry.dist is None:
        return "an unknown package"
    name = entry.dist.name
    return f"{name} {entry.dist.version}" if version else name
