"""Codecs in words, as ``--codec`` takes them: ``stochastic:bits=3,norm=max``."""

from __future__ import annotations

import dataclasses
from typing import Any

from psmpi.base import Codec, ConfigError
from psmpi.codecs.choice import Choice
from psmpi.codecs.piecewise import Piecewise
from psmpi.codecs.scaled import Scaled


def describe(codec: Codec | type[Codec]) -> str:
    """Return a codec with its options, or a class with its options' defaults, in words.

    Of a codec, options that are None are left out, and the words are what ``build``
    reads, except for a ``Choice`` or a composed codec inside another one. The bounds of
    a ``Piecewise`` are left out, as those of the model's tensors.

    >>> from psmpi.codecs import Sign, Stochastic
    >>> describe(Stochastic())
    'stochastic:bits=4,norm=l2'
    >>> describe(Scaled(Stochastic(bits=2)))
    'stochastic:bits=2,norm=l2,scaled'
    >>> describe(Piecewise((Sign(block=64), Stochastic()), (0, 30, 33)))
    'sign:block=64+stochastic:bits=4,norm=l2'
    >>> describe(Sign)
    'sign:block=none,bounds=none'
    """
    match codec:
        case type():
            return _describe_class(codec)
        case Scaled(codec=inner) if isinstance(inner, Choice | Piecewise):
            return f"scaled({describe(inner)})"
        case Scaled(codec=inner):
            words = describe(inner)
            return f"{words}{',' if ':' in words else ':'}scaled"
        case Piecewise(parts=parts):
            words = "+".join(map(describe, parts))
            nested = any(isinstance(part, Choice | Piecewise) for part in parts)
            return f"piecewise({words})" if nested or len(parts) == 1 else words
        case Choice(parts=parts):
            return f"choice({' | '.join(map(describe, parts))})"
    options = {field.name: getattr(codec, field.name) for field in _fields(type(codec))}
    return _join(codec.id, {k: v for k, v in options.items() if v is not None})


def option_names(cls: type[Codec]) -> list[str]:
    """Return the names of a codec's options, those of the blocks last."""
    return [field.name for field in _fields(cls)]


def _fields(cls: type[Codec]) -> list[dataclasses.Field[Any]]:
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    return sorted(fields, key=lambda field: bool(field.kw_only))


def _describe_class(cls: type[Codec]) -> str:
    options = {}
    for field in _fields(cls):
        missing = field.default is dataclasses.MISSING
        options[field.name] = field.name.upper() if missing else field.default
    return _join(cls.id, options)


def _join(id: str, options: dict[str, Any]) -> str:
    words = ",".join(f"{name}={_word(value)}" for name, value in options.items())
    return f"{id}:{words}" if words else id


def _word(value: Any) -> str:
    match value:
        case None | bool():
            return str(value).lower()
        case tuple():
            return "/".join(map(_word, value))
        case _:
            return str(value)


def parse(spec: str) -> list[tuple[str, dict[str, Any]]]:
    """Return names and options of ``NAME:OPTION=VALUE,...``, several joined by +.

    An option without a value is true. A value is a number, ``true``, ``false``,
    ``none``, integers joined by ``/``, or else text.

    >>> parse("sign:bounds=0/30/33 + stochastic:bits=3,scaled")
    [('sign', {'bounds': (0, 30, 33)}), ('stochastic', {'bits': 3, 'scaled': True})]
    """
    pieces = (piece.partition(":") for piece in spec.split("+"))
    return [(name.strip(), _options(name.strip(), text)) for name, _, text in pieces]


def _options(name: str, text: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        key, equals, word = (part.strip() for part in pair.partition("="))
        if equals and not word:
            raise ConfigError(f"codec: {name}:{pair} has no value; give {key}=VALUE")
        if key in options:
            raise ConfigError(f"codec: {name} has {key} twice; give it once")
        options[key] = _value(word) if equals else True
    return options


def _value(word: str) -> Any:
    constants = {"true": True, "false": False, "none": None}
    if word.lower() in constants:
        return constants[word.lower()]
    if "/" in word:
        return tuple(map(_value, word.split("/")))
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    return word
