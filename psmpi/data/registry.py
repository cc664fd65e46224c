"""Data sets by name: files under ``$PSMPI_DATA``, else the usual public sources.

``$PSMPI_DATA/NAME/`` is looked in first, with the file names the data set is published
under. What is downloaded is cached by pooch in ``$PSMPI_CACHE`` (or the user's cache
folder) and verified: by checksum where one is published, else by the number of samples
and features. Downloads give up after seconds, not minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from psmpi.base import ConfigError
from psmpi.data import cache, spec, synthetic
from psmpi.data.dataset import Dataset, assemble
from psmpi.data.download import Found, Remote, find
from psmpi.data.formats import read_cifar, read_csv, read_idx, read_libsvm, read_npz
from psmpi.random import DATA, generator

_S3 = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_LIBSVM = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/binary/"
_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases/"
_MNIST = (
    Remote(_S3 + "train-images-idx3-ubyte.gz", "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    Remote(_S3 + "train-labels-idx1-ubyte.gz", "md5:d53e105ee54ea40749a09fcbcd1e9432"),
    Remote(_S3 + "t10k-images-idx3-ubyte.gz", "md5:9fb629c4189551a2d022fa330f9573f3"),
    Remote(_S3 + "t10k-labels-idx1-ubyte.gz", "md5:ec29112dd5afa0611ce80d1b7f02629c"),
)
_CIFAR = (
    Remote(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "md5:c32a1d4ab5d03f1284b67883e8d87530",
    ),
)
_IJCNN1 = (Remote(_LIBSVM + "ijcnn1.bz2"), Remote(_LIBSVM + "ijcnn1.t.bz2"))
_RCV1 = (
    Remote(_LIBSVM + "rcv1_train.binary.bz2"),
    Remote(_LIBSVM + "rcv1_test.binary.bz2"),
)
_COVTYPE = (
    Remote(
        "https://ndownloader.figshare.com/files/5976039",
        "sha256:614360d0257557dd1792834a85a1cdebfadc3c4f30b011d56afee7ffb5b15771",
        "covtype.data.gz",
    ),
)
_SUSY = (Remote(_UCI + "00279/SUSY.csv.gz"),)

# Samples in train and test, and features: what a download without checksum must give.
_SHAPES = {
    "ijcnn1": (49990, 91701, 22),
    "rcv1": (20242, 677399, 47236),
    "covtype": (464809, 116203, 54),
    "susy": (4500000, 500000, 18),
}


def load(name: str, dtype: Any = np.float32) -> Dataset:
    """Return the data set ``name``: see ``DATASETS``; features become ``dtype``.

    Besides those names: ``libsvm:TRAIN[,TEST]`` (plain, .gz or .bz2), ``npz:FILE``
    (arrays X, y and maybe X_test, y_test), and ``synthetic:softmax,key=value,...``,
    ``synthetic:logistic,...`` or ``synthetic:text,...``. Raises ``ConfigError`` for an
    unknown name, files that are missing, damaged or of another format, and data that
    don't fit (``assemble``).
    """
    scheme, colon, rest = name.partition(":")
    if colon and scheme in _SCHEMES:
        return _SCHEMES[scheme](rest, dtype)
    if name not in DATASETS:
        raise ConfigError(
            f"data: no data set is called {name!r}; "
            f"{spec.nearest(scheme, [*DATASETS, *_SCHEMES])}use one of "
            f"{', '.join(DATASETS)}, libsvm:TRAIN[,TEST], npz:FILE, synthetic:KIND,.."
        )
    return DATASETS[name](dtype)


def _digits(dtype: Any) -> Dataset:
    """scikit-learn's 8x8 digits: the first 1437 in file order train, 360 test, /16.

    File order keeps writers together, so the test digits are by other hands.
    """
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    pixels = x.astype(np.uint8)  # they are 0 .. 16
    return assemble(
        "digits",
        "scikit-learn load_digits, file order, first 1437 train, last 360 test",
        (pixels[:1437], y[:1437]),
        (pixels[1437:], y[1437:]),
        divisor=16,
        dtype=dtype,
    )


def _mnist(dtype: Any) -> Dataset:
    """MNIST in file order, /255: 60 000 train, 10 000 test, 784 features."""
    found = find("mnist", _MNIST)
    images, labels, test_images, test_labels = (read_idx(path) for path in found.paths)
    train, test = (
        _flat(p, x)
        for p, x in ((found.paths[0], images), (found.paths[2], test_images))
    )
    return assemble(
        "mnist",
        found.source,
        (train, labels),
        (test, test_labels),
        divisor=255,
        dtype=dtype,
    )


def _cifar10(dtype: Any) -> Dataset:
    """CIFAR-10 in file order, /255: 50 000 train, 10 000 test, 3072 features."""
    found = find("cifar10", _CIFAR, folder="cifar-10-batches-bin")
    train = read_cifar(found.paths[0], [f"data_batch_{i}.bin" for i in range(1, 6)])
    test = read_cifar(found.paths[0], ["test_batch.bin"])
    return assemble("cifar10", found.source, train, test, divisor=255, dtype=dtype)


def _ijcnn1(dtype: Any) -> Dataset:
    """LIBSVM's ijcnn1, dense: 59 % of its entries are not zero."""
    found = find("ijcnn1", _IJCNN1)
    train, test = (
        (x.toarray(), y) for x, y in cache.matrices(found.paths, dtype, read_libsvm)
    )
    return _verified(found, assemble("ijcnn1", found.source, train, test, dtype=dtype))


def _rcv1(dtype: Any) -> Dataset:
    """LIBSVM's two-class rcv1 in CSR: CCAT and ECAT against GCAT and MCAT."""
    found = find("rcv1", _RCV1)
    train, test = cache.matrices(found.paths, dtype, read_libsvm)
    return _verified(found, assemble("rcv1", found.source, train, test, dtype=dtype))


def _covtype(dtype: Any) -> Dataset:
    """UCI covertype, 7 classes, features scaled to [0, 1] over all rows.

    The file is ordered by place, so rows are shuffled (fixed key), then 4/5 train.
    """
    found = find("covtype", _COVTYPE)
    table = read_csv(found.paths[0], 55)
    x, y = table[:, :54], table[:, 54]
    low, high = x.min(axis=0), x.max(axis=0)
    x = (x - low) / np.where(high > low, high - low, 1)
    order = generator(0, DATA).permutation(y.size)
    train, test = np.split(order, [y.size * 4 // 5])
    data = assemble(
        "covtype", found.source, (x[train], y[train]), (x[test], y[test]), dtype=dtype
    )
    return _verified(found, data)


def _susy(dtype: Any) -> Dataset:
    """UCI SUSY in file order; as its authors ask, the last 500 000 (a tenth) test."""
    found = find("susy", _SUSY)
    table = read_csv(found.paths[0], 19)
    train, test = np.split(table, [table.shape[0] - table.shape[0] // 10])
    pairs = ((part[:, 1:], part[:, 0]) for part in (train, test))
    return _verified(found, assemble("susy", found.source, *pairs, dtype=dtype))


def _libsvm(rest: str, dtype: Any) -> Dataset:
    paths = [Path(text).expanduser() for text in rest.split(",") if text]
    if len(paths) not in (1, 2):
        raise ConfigError(f"libsvm: expected libsvm:TRAIN[,TEST], got libsvm:{rest}")
    pairs = cache.matrices(paths, dtype, read_libsvm)
    return assemble(f"libsvm:{rest}", ", ".join(map(str, paths)), *pairs, dtype=dtype)


def _npz(rest: str, dtype: Any) -> Dataset:
    train, test = read_npz(Path(rest).expanduser())
    return assemble(f"npz:{rest}", rest, train, test, dtype=dtype)


def _synthetic(rest: str, dtype: Any) -> Dataset:
    kind, values = spec.parse(rest, SYNTHETIC)
    if kind == "text":
        return synthetic.text(values, dtype)
    return synthetic.gaussian(kind, values, dtype)


def _flat(path: Path, images: Any) -> Any:
    if images.ndim != 3:
        raise ConfigError(
            f"{path}: expected images in 3 dimensions, got {images.shape}"
        )
    return images.reshape(images.shape[0], -1)


def _verified(found: Found, data: Dataset) -> Dataset:
    """Return ``data`` if it has its published shape; a user's own files may differ."""
    tested = 0 if data.x_test is None else data.x_test.shape[0]
    got, want = (data.samples, tested, data.features), _SHAPES[data.name]
    if found.downloaded and got != want:
        raise ConfigError(
            f"{data.name}: {found.source}, which gives (train samples, test "
            f"samples, features) = {got}, expected {want}; delete "
            f"{found.paths[0].parent} and try again"
        )
    return data


DATASETS: dict[str, Callable[[Any], Dataset]] = {
    "digits": _digits,
    "mnist": _mnist,
    "ijcnn1": _ijcnn1,
    "cifar10": _cifar10,
    "rcv1": _rcv1,
    "covtype": _covtype,
    "susy": _susy,
}
SYNTHETIC: dict[str, Mapping[str, int | float]] = {
    "softmax": synthetic.GAUSSIAN,
    "logistic": {**synthetic.GAUSSIAN, "classes": 2},
    "text": synthetic.TEXT,
}
_SCHEMES: dict[str, Callable[[str, Any], Dataset]] = {
    "libsvm": _libsvm,
    "npz": _npz,
    "synthetic": _synthetic,
}
