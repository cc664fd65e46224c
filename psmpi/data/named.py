"""The data sets that have a name: where their files are, and what is in them.

Each function reads one data set with features of the given dtype. A further data set
takes one function here and one line of ``registry.DATASETS``.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psmpi.base import ConfigError
from psmpi.data import cache
from psmpi.data.dataset import Dataset, assemble
from psmpi.data.download import DataFiles, Remote, find
from psmpi.data.formats import read_cifar, read_csv, read_idx, read_libsvm
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

# (training samples, test samples, features) that a download must have, as most have no
# published checksum.
_SHAPES = {
    "ijcnn1": (49990, 91701, 22),
    "rcv1": (20242, 677399, 47236),
    "covtype": (464809, 116203, 54),
    "susy": (4500000, 500000, 18),
}


def digits(dtype: Any) -> Dataset:
    """scikit-learn's 8x8 digits: the first 1437 in file order train, 360 test, /16.

    File order keeps writers together, so the test digits are by other writers.
    """
    table = _digits_table()
    pixels = table[:, :-1].astype(np.uint8)  # values are 0 .. 16
    labels = table[:, -1].astype(np.int64)
    return assemble(
        "digits",
        "scikit-learn load_digits, file order, first 1437 train, last 360 test",
        (pixels[:1437], labels[:1437]),
        (pixels[1437:], labels[1437:]),
        divisor=16,
        dtype=dtype,
    )


def _digits_table() -> NDArray[Any]:
    """Return the digits, shape (1797, 65): pixels, and the label in the last column.

    Reads the file that scikit-learn contains, because importing scikit-learn takes
    about a second on every rank. ``load_digits`` is called if the file isn't there.
    """
    try:
        package = importlib.util.find_spec("sklearn")
        folders = (package and package.submodule_search_locations) or []
        path = Path(next(iter(folders))) / "datasets" / "data" / "digits.csv.gz"
        table = np.loadtxt(path, delimiter=",")
    except (OSError, ValueError, StopIteration):
        table = np.empty((0, 0))
    if table.shape == (1797, 65):
        return table
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return np.column_stack([x, y])


def mnist(dtype: Any) -> Dataset:
    """MNIST in file order, /255: 60 000 train, 10 000 test, 784 features."""
    files = find("mnist", _MNIST)
    images, labels, test_images, test_labels = files.paths
    return assemble(
        "mnist",
        files.source,
        (_read_images(images), read_idx(labels)),
        (_read_images(test_images), read_idx(test_labels)),
        divisor=255,
        dtype=dtype,
        files=files.paths,
    )


def cifar10(dtype: Any) -> Dataset:
    """CIFAR-10 in file order, /255: 50 000 train, 10 000 test, 3072 features."""
    files = find("cifar10", _CIFAR, folder="cifar-10-batches-bin")
    (place,) = files.paths
    batches = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    return assemble(
        "cifar10",
        files.source,
        read_cifar(place, batches[:-1]),
        read_cifar(place, batches[-1:]),
        divisor=255,
        dtype=dtype,
        files=[place / batch for batch in batches] if place.is_dir() else [place],
    )


def ijcnn1(dtype: Any) -> Dataset:
    """LIBSVM's ijcnn1, stored dense: 59 % of its entries are not zero."""
    files = find("ijcnn1", _IJCNN1)
    train, test = (
        (x.toarray(), y) for x, y in cache.matrices(files.paths, dtype, read_libsvm)
    )
    return _read_from(files, "ijcnn1", train, test, dtype)


def rcv1(dtype: Any) -> Dataset:
    """LIBSVM's two-class rcv1 in CSR: CCAT and ECAT against GCAT and MCAT."""
    files = find("rcv1", _RCV1)
    train, test = cache.matrices(files.paths, dtype, read_libsvm)
    return _read_from(files, "rcv1", train, test, dtype)


def covtype(dtype: Any) -> Dataset:
    """UCI covertype, 7 classes, features scaled to [0, 1] over all rows.

    The file is ordered by location, so rows are shuffled with a fixed key; the first
    4/5 of them train.
    """
    files = find("covtype", _COVTYPE)
    table = read_csv(files.paths[0], 55)
    x, y = table[:, :54], table[:, 54]
    low, high = x.min(axis=0), x.max(axis=0)
    x = (x - low) / np.where(high > low, high - low, 1)
    order = generator(0, DATA).permutation(y.size)
    train, test = np.split(order, [y.size * 4 // 5])
    return _read_from(files, "covtype", (x[train], y[train]), (x[test], y[test]), dtype)


def susy(dtype: Any) -> Dataset:
    """UCI SUSY in file order; the last 500 000 (a tenth) test, as its authors ask."""
    files = find("susy", _SUSY)
    table = read_csv(files.paths[0], 19)
    train, test = np.split(table, [table.shape[0] - table.shape[0] // 10])
    return _read_from(
        files, "susy", (train[:, 1:], train[:, 0]), (test[:, 1:], test[:, 0]), dtype
    )


def _read_images(path: Path) -> NDArray[np.uint8]:
    """Return the images of an idx file as rows, shape (samples, pixels)."""
    images = read_idx(path)
    if images.ndim != 3:
        raise ConfigError(
            f"{path}: expected images in 3 dimensions, got {images.shape}"
        )
    return images.reshape(images.shape[0], -1)


def _read_from(
    files: DataFiles, name: str, train: Any, test: Any, dtype: Any
) -> Dataset:
    """Return the data set; a downloaded one must have its published shape.

    A user's own files may have any shape.
    """
    data = assemble(name, files.source, train, test, dtype=dtype, files=files.paths)
    shape = (data.samples, data.x_test.shape[0], data.features)
    if files.downloaded and shape != _SHAPES[name]:
        raise ConfigError(
            f"{name}: {files.source}, which gives (train samples, test "
            f"samples, features) = {shape}, expected {_SHAPES[name]}; delete "
            f"{files.paths[0].parent} and try again"
        )
    return data
