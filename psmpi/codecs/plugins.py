"""Codecs of other installed packages: entry points of the group ``psmpi.codecs``.

See ``psmpi.base.plugins`` for what a package writes. A codec of another package takes
a ``wire_id`` of 128..255; 0 is unused and 1..127 belong to psmpi.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from psmpi.base import Codec, ConfigError, plugins

GROUP = "psmpi.codecs"
WIRE_IDS = range(128, 256)  # the envelope has one byte for the number


def names() -> list[str]:
    """Return the names of all codecs of other packages; nothing is imported."""
    return plugins.names(GROUP)


def load(name: str, builtin: Mapping[str, type[Codec]]) -> type[Codec] | None:
    """Return another package's codec of this name, or None if there is none.

    Raises ``ConfigError`` that names the package if the codec can't be loaded or its
    ``wire_id`` is not its own. Other plugins that can't be loaded are ignored.
    """
    cls = _load(name, builtin)
    if cls is not None:
        others = {other: _load_or_none(other, builtin) for other in names()}
        _check_unique({**others, name: cls}, name)
    return cls


def load_all(builtin: Mapping[str, type[Codec]]) -> dict[str, type[Codec]]:
    """Return all codecs of other packages by name; raise as ``load`` for any of them.

    A name that psmpi itself has is refused as well.
    """
    found: dict[str, type[Codec]] = {}
    for name in names():
        if name in builtin:
            raise ConfigError(
                f"codec {name!r}: package {plugins.source(GROUP, name)} offers it, but "
                "psmpi has a codec of this name; rename that codec or uninstall it"
            )
        cls = _load(name, builtin)
        if cls is not None:
            found[name] = cls
            _check_unique(found, name)
    return found


def _load(name: str, builtin: Mapping[str, type[Codec]]) -> type[Codec] | None:
    cls = plugins.load(GROUP, name, Codec)
    if cls is None:
        return None
    parameters = getattr(cls, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        raise ConfigError(
            f"codec {name!r} of package {plugins.source(GROUP, name)}: must be a "
            "frozen dataclass, whose fields are its options; decorate the class with "
            "@dataclass(frozen=True)"
        )
    number = getattr(cls, "wire_id", None)
    if type(number) is not int or number not in WIRE_IDS:
        owners = {builtin[id].wire_id: id for id in builtin}
        taken = f", which is that of {owners[number]}" if number in owners else ""
        raise ConfigError(
            f"codec {name!r} of package {plugins.source(GROUP, name)}: its wire_id is "
            f"{number!r}{taken}; give it one of {WIRE_IDS[0]}..{WIRE_IDS[-1]}"
        )
    return cls


def _load_or_none(name: str, builtin: Mapping[str, type[Codec]]) -> type[Codec] | None:
    try:
        return _load(name, builtin)
    except ConfigError:
        return None


def _check_unique(classes: Mapping[str, type[Codec] | None], name: str) -> None:
    """Raise ``ConfigError`` if another class has the ``wire_id`` of class ``name``."""
    for other in _with_wire_id(classes, name):
        raise ConfigError(
            f"codec {name!r} of package {plugins.source(GROUP, name)}: its wire_id is "
            f"that of {other!r} of package {plugins.source(GROUP, other)}; change one "
            f"to another of {WIRE_IDS[0]}..{WIRE_IDS[-1]}, or uninstall a package"
        )


def _with_wire_id(
    classes: Mapping[str, type[Codec] | None], name: str
) -> Iterator[str]:
    number = getattr(classes[name], "wire_id", None)
    for other, cls in classes.items():
        if other != name and cls is not None and cls.wire_id == number:
            yield other
