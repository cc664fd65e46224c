"""How algorithms are found by their ids: psmpi's own lazily, others as plugins.

An algorithm of another package is an entry point of the group ``psmpi.algorithms``; see
``psmpi.base.plugins`` for what a package writes.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Container, Iterator, Mapping

from psmpi.base import Algorithm, ConfigError, plugins


class LazyClasses(Mapping[str, type[Algorithm]]):
    """Classes by id, of which each is imported when it is asked for.

    ``places`` gives MODULE:CLASS for each id, the module below ``psmpi.algorithms``.
    Going over the ids imports nothing.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places

    def __getitem__(self, id: str) -> type[Algorithm]:
        module, _, name = self._places[id].partition(":")
        cls: type[Algorithm] = getattr(
            importlib.import_module(f"psmpi.algorithms.{module}"), name
        )
        return cls

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, id: object) -> bool:
        return id in self._places

    def __repr__(self) -> str:
        return f"LazyClasses({self._places!r})"

    def by_class_name(self, name: str) -> type[Algorithm] | None:
        """Return the class of this name, or None if there is none."""
        for id, place in self._places.items():
            if place.partition(":")[2] == name:
                return self[id]
        return None


def load_plugin(group: str, name: str) -> type[Algorithm] | None:
    """Return another package's algorithm of this id, or None if there is none.

    Raises ``ConfigError`` that names the package if it can't be used.
    """
    cls = plugins.load(group, name, Algorithm)
    if cls is None:
        return None
    parameters = getattr(cls, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        raise ConfigError(
            f"algorithm {name!r} of package {plugins.source(group, name)}: must be a "
            "frozen dataclass, whose fields are its options; decorate the class with "
            "@dataclass(frozen=True, kw_only=True)"
        )
    if any(not field.kw_only for field in dataclasses.fields(cls)):  # type: ignore[arg-type]
        raise ConfigError(
            f"algorithm {name!r} of package {plugins.source(group, name)}: its options "
            "must be keyword-only; decorate the class with "
            "@dataclass(frozen=True, kw_only=True)"
        )
    return cls


def load_plugins(group: str, builtin: Container[str]) -> dict[str, type[Algorithm]]:
    """Return all algorithms of other packages; raise ``ConfigError`` for a bad one.

    An id that psmpi itself has is refused as well.
    """
    classes: dict[str, type[Algorithm]] = {}
    for name in plugins.names(group):
        if name in builtin:
            raise ConfigError(
                f"algorithm {name!r}: package {plugins.source(group, name)} offers it, "
                "but psmpi has an algorithm of this id; rename that algorithm or "
                "uninstall it"
            )
        cls = load_plugin(group, name)
        if cls is not None:
            classes[name] = cls
    return classes
