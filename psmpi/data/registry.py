"""Loads data by name: a public data set, a file of the user's own, or synthetic data.

``$PSMPI_DATA/NAME/`` is searched first, for the file names under which the data set is
published. Downloads are cached in ``$PSMPI_CACHE`` (or the user's cache folder) and
verified: by checksum where one is published, else by the number of samples and
features. A download that doesn't answer is given up after seconds, not minutes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from psmpi.base import ConfigError
from psmpi.data import cache, memory, named, spec, synthetic, targets
from psmpi.data.dataset import Dataset, assemble
from psmpi.data.formats import read_libsvm, read_npz
from psmpi.data.spec import Defaults
from psmpi.errors import did_you_mean

DATASETS: dict[str, Callable[[Any], Dataset]] = {
    "digits": named.digits,
    "mnist": named.mnist,
    "ijcnn1": named.ijcnn1,
    "cifar10": named.cifar10,
    "rcv1": named.rcv1,
    "covtype": named.covtype,
    "susy": named.susy,
}
SYNTHETIC: dict[str, Defaults] = {
    name: kind.defaults for name, kind in synthetic.KINDS.items()
}


class _Memory:
    """The data set that was loaded last: runs of one process mostly share their data.

    One data set is kept, for the same name, dtype and environment, while the files that
    it was read from are unchanged. It is dropped before another one is loaded.
    """

    def __init__(self) -> None:
        self._key: object = None
        self._stamps: object = None
        self._data: Dataset | None = None

    def get(self, key: object) -> Dataset | None:
        """Return the data set of this key, or forget the one that is kept."""
        data = self._data
        if data is None or key != self._key or self._stamps != _stamps(data):
            self.clear()
            return None
        return data

    def clear(self) -> None:
        """Forget the data set that is kept."""
        self._key = self._stamps = self._data = None

    def put(self, key: object, data: Dataset) -> None:
        """Keep this data set in place of the last one."""
        stamps = _stamps(data)
        if stamps is not None:
            self._key, self._stamps, self._data = key, stamps, data


_memory = _Memory()


def load(name: str, dtype: Any = np.float32) -> Dataset:
    """Return the data set ``name`` with features of ``dtype``; don't write to it.

    Names are those of ``DATASETS``, and what ``schemes`` lists: ``libsvm:TRAIN[,TEST]``
    (plain, .gz or .bz2), ``npz:FILE`` (arrays X, y and maybe X_test, y_test), and
    ``synthetic:KIND,key=value,...``. The last data set is kept, and returned again when
    the same is asked for. Raises ``ConfigError`` for an unknown name, for files that
    are missing, damaged or of another format, and for data that don't fit
    (``assemble``) or don't fit into memory.
    """
    folders = (os.environ.get("PSMPI_DATA"), os.environ.get("PSMPI_CACHE"))
    key = (name, np.dtype(dtype).str, *folders)
    kept = _memory.get(key)
    if kept is not None:
        return kept
    try:
        data = _load(name, dtype)
    except MemoryError as error:
        raise memory.shortage(f"data: {name}", error) from error
    _memory.put(key, data)
    return data


def forget() -> None:
    """Free the memory of the data set that ``load`` keeps."""
    _memory.clear()


def is_known(name: str) -> bool:
    """Return whether ``load`` has a reader for this name, which may still fail."""
    scheme, colon, _ = name.partition(":")
    return name in DATASETS or bool(colon and scheme in _SCHEMES)


def unknown(name: str, others: Collection[str] = ()) -> ConfigError:
    """Return the error for a name that is not known; ``others`` are further names."""
    known = [*DATASETS, *others]
    near = did_you_mean(name.partition(":")[0], [*known, *_SCHEMES])
    return ConfigError(
        f"data: no data set is called {name!r}; "
        + f"{near} use one of {', '.join(known)}, ".lstrip()
        + "libsvm:TRAIN[,TEST], npz:FILE, synthetic:KIND,.."
    )


def schemes() -> dict[str, str]:
    """Return how to name files and synthetic data -> what they are, for listings."""
    kind = ",targets=real or ,targets=classes at the end overrides the rule"
    generated = {
        spec.write(name, synthetic_kind.defaults): synthetic_kind.summary
        for name, synthetic_kind in synthetic.KINDS.items()
    }
    return {
        **generated,
        "libsvm:TRAIN[,TEST]": f"svmlight files: plain, .gz or .bz2; {kind}",
        "npz:FILE": "numpy.savez with X (samples, features) and y, and maybe X_test "
        f"and y_test; {kind}",
    }


def _load(name: str, dtype: Any) -> Dataset:
    if not is_known(name):
        raise unknown(name)
    if name in DATASETS:
        return DATASETS[name](dtype)
    scheme, _, rest = name.partition(":")
    return _SCHEMES[scheme](rest, dtype)


def _stamps(data: Dataset) -> object:
    try:
        return cache.stamps(data.files)
    except OSError:
        return None


def _libsvm(rest: str, dtype: Any) -> Dataset:
    names, kind = targets.split_option(rest)
    paths = [cache.expand(text) for text in names.split(",") if text]
    if len(paths) not in (1, 2):
        raise ConfigError(f"libsvm: expected libsvm:TRAIN[,TEST], got libsvm:{rest}")
    pairs = cache.matrices(paths, dtype, read_libsvm)
    return assemble(
        f"libsvm:{rest}",
        ", ".join(map(str, paths)),
        *pairs,
        dtype=dtype,
        kind=kind,
        files=paths,
    )


def _npz(rest: str, dtype: Any) -> Dataset:
    name, kind = targets.split_option(rest)
    path = cache.expand(name)
    train, test = read_npz(path)
    return assemble(
        f"npz:{rest}", name, train, test, dtype=dtype, kind=kind, files=[path]
    )


def _synthetic(rest: str, dtype: Any) -> Dataset:
    kind, values = spec.parse(rest, SYNTHETIC)
    return synthetic.KINDS[kind].make(kind, values, dtype)


_SCHEMES: dict[str, Callable[[str, Any], Dataset]] = {
    "libsvm": _libsvm,
    "npz": _npz,
    "synthetic": _synthetic,
}
