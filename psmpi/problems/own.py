"""Problems of the user's own, named by text: each rank makes one, nothing is pickled.

======================  ===========================================================
text                    what it names
======================  ===========================================================
``model.py:make``       ``make`` in the file ``model.py``
``package.model:make``  ``make`` in a module that can be imported
``rosenbrock``          an entry point ``psmpi.problems`` of an installed package
======================  ===========================================================

It is a callable that returns the whole, unsharded problem, equal on all ranks: a
function, or a subclass of ``psmpi.base.Problem``. It gets the options that were given,
converted by its annotations (int, float, bool or str), and ``dtype`` (``numpy.float32``
or ``numpy.float64``) and ``seed`` if it has parameters of these names.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import itertools
import sys
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from psmpi.base import ConfigError, Problem, PsmpiError, plugins
from psmpi.errors import did_you_mean

GROUP = "psmpi.problems"
_GIVEN = ("dtype", "seed")  # arguments that come from the run
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def registered() -> list[str]:
    """Return the sorted names of the problems that other packages add."""
    return plugins.names(GROUP)


def make_own(
    name: str,
    options: Mapping[str, str] | None = None,
    dtype: Any = np.float32,
    seed: int = 0,
) -> Problem:
    """Return the whole problem that ``name`` names.

    Raises ``ConfigError`` that says what is wrong: if there is none, if its callable
    fails, if it does not take the options, or if it returns no usable problem.
    """
    factory, origin, remedy = _find(name)
    if not callable(factory):
        raise ConfigError(f"{origin}: must be callable, got {factory!r}; {remedy}")
    scalar = np.dtype(dtype)
    arguments = _arguments(factory, options or {}, origin)
    for key, value in (("dtype", scalar.type), ("seed", seed)):
        if _takes(factory, key):
            arguments[key] = value
    try:
        problem = factory(**arguments)
        wrong = _fault(problem, scalar, seed)
    except PsmpiError:
        raise
    except Exception as error:  # it may raise anything
        raise ConfigError(
            f"{origin}: can't be made ({type(error).__name__}: {error}); {remedy}"
        ) from error
    if wrong:
        raise ConfigError(f"{origin}: {wrong}; {remedy}")
    whole: Problem = problem
    return whole


def check_own(name: str) -> None:
    """Refuse a name that certainly names nothing; run none of the user's code."""
    place, colon, attribute = name.partition(":")
    if not colon:
        if name not in registered():
            raise _unknown(name)
        return
    if not place.endswith(".py"):
        package = place.partition(".")[0]
        if package and importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"problem: {name}: there is no module {package}; give FILE.py:NAME, or "
                "a module that can be imported"
            )
        return
    path = _existing(name, place)
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise ConfigError(
            f"problem: {path}, line {error.lineno}: {error.msg}; mend the file"
        ) from None
    names = _names(tree)
    if names is not None and attribute not in names:
        public = [known for known in names if not known.startswith("_")]
        hint = did_you_mean(attribute, public, f"it has {', '.join(public) or 'none'}")
        raise ConfigError(f"problem: {place} has no {attribute!r}; {hint}")


def file_digest(name: str) -> str | None:
    """Return the SHA-256 of the file that a name names; None if it names none."""
    place = name.partition(":")[0]
    if not place.endswith(".py"):
        return None
    return hashlib.sha256(_existing(name, place).read_bytes()).hexdigest()


def _find(name: str) -> plugins.Resolved:
    """Return what a name names, where that is, and what to do if it is wrong."""
    place, colon, attribute = name.partition(":")
    if not colon:
        resolved = plugins.resolve(GROUP, name, f"problem {name!r}")
        if resolved is None:
            raise _unknown(name)
        return resolved
    origin = f"problem {name}"
    try:
        module = _module(name, place)
    except PsmpiError:
        raise
    except Exception as error:  # the module may raise anything
        raise ConfigError(
            f"{origin}: {place} can't be imported ({type(error).__name__}: {error}); "
            "mend it"
        ) from error
    if not hasattr(module, attribute):
        hint = did_you_mean(
            attribute, vars(module), "give a name that is defined there"
        )
        raise ConfigError(f"problem: {place} has no {attribute!r}; {hint}")
    return plugins.Resolved(getattr(module, attribute), origin, f"mend {place}")


def _module(name: str, place: str) -> types.ModuleType:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    path = _existing(name, place).resolve()
    label = "psmpi_problem_" + hashlib.sha256(bytes(path)).hexdigest()[:16]
    if label in sys.modules:
        return sys.modules[label]
    spec = importlib.util.spec_from_file_location(label, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.parent)
    if folder not in sys.path:  # for modules beside it, as in a script
        sys.path.insert(0, folder)
    sys.modules[label] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[label]
        raise
    return module


def _existing(name: str, place: str) -> Path:
    path = Path(place).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"problem: {name}: there is no file {place} in {Path.cwd()}; give "
            "FILE.py:NAME, with the path from here"
        )
    return path


def _unknown(name: str) -> ConfigError:
    known = registered()
    hint = did_you_mean(name, known)
    installed = f" (installed: {', '.join(known)})" if known else ""
    return ConfigError(
        f"problem: no installed package offers {name!r}{installed}; "
        + (hint or "give FILE.py:NAME or MODULE:NAME")
    )


def _names(tree: ast.Module) -> set[str] | None:
    """Return the names that a module defines; None if that can't be seen."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(names=aliases) if any(a.name == "*" for a in aliases):
                return None
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names |= {alias.asname or alias.name for alias in aliases}
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
    return names


def _parameters(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(factory, eval_str=True).parameters)
    except (ValueError, NameError, TypeError):
        try:
            return dict(inspect.signature(factory).parameters)
        except (ValueError, TypeError):
            return {}


def _takes(factory: Callable[..., Any], name: str) -> bool:
    parameters = _parameters(factory)
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return name in parameters or anything


def _arguments(
    factory: Callable[..., Any], options: Mapping[str, str], origin: str
) -> dict[str, Any]:
    """Return the options as the callable's parameters have them."""
    parameters = _parameters(factory)
    named = {
        name: parameter
        for name, parameter in parameters.items()
        if name not in _GIVEN
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    arguments: dict[str, Any] = {}
    for name, text in options.items():
        if name not in named and not _takes(factory, name):
            hint = did_you_mean(name, named, f"it has {', '.join(named) or 'none'}")
            raise ConfigError(f"{origin}: has no option {name!r}; {hint}")
        annotation = named[name].annotation if name in named else str
        arguments[name] = _converted(text, annotation, f"{origin}: option {name}")
    missing = [
        name
        for name, parameter in named.items()
        if parameter.default is parameter.empty and name not in arguments
    ]
    if missing:
        raise ConfigError(
            f"{origin}: needs {', '.join(missing)}; give --problem-option "
            + " ".join(f"{name}=VALUE" for name in missing)
        )
    return arguments


def _converted(text: str, annotation: Any, what: str) -> Any:
    """Return a text as the annotated type: bool, int, float, or else the text."""
    kinds = typing.get_args(annotation) or (annotation,)
    if bool in kinds:
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        raise ConfigError(f"{what}: must be true or false, got {text!r}")
    wanted = [kind for kind in (int, float) if kind in kinds]
    for kind in wanted:
        try:
            return kind(text)
        except ValueError:
            continue
    if wanted and str not in kinds:
        number = "a number" if float in wanted else "a whole number"
        raise ConfigError(f"{what}: must be {number}, got {text!r}")
    return text


def _fault(problem: Any, dtype: np.dtype[Any], seed: int) -> str:
    """Return what is wrong with a problem; an empty string if nothing is."""
    if not isinstance(problem, Problem):
        return f"must return a psmpi.base.Problem, got {problem!r}"
    for name in ("dim", "bounds", "samples"):
        if not hasattr(problem, name):
            return f"its problem has no {name}, which a psmpi.base.Problem needs"
    dim, bounds = problem.dim, tuple(problem.bounds)
    if not isinstance(dim, int | np.integer) or dim < 1:
        return f"dim must be an integer of at least 1, got {dim!r}"
    ascending = all(low < high for low, high in itertools.pairwise(bounds))
    if len(bounds) < 2 or not ascending or (bounds[0], bounds[-1]) != (0, dim):
        return f"bounds must ascend from 0 to dim={dim}, got {bounds}"
    start = np.asarray(problem.start(seed))
    if start.shape != (dim,) or start.dtype != dtype:
        other = start.dtype if start.dtype in (np.float32, np.float64) else "float64"
        remedy = "" if start.dtype == dtype else f" (or give --dtype {other})"
        return (
            f"start must return shape ({dim},) of {dtype}, got {start.shape} of "
            f"{start.dtype}{remedy}"
        )
    return ""
