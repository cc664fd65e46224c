"""Loaders on small generated files, and every way in which data can be wrong."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import os
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_array

from psmpi.base import ConfigError
from psmpi.data.dataset import assemble
from psmpi.data.download import Remote, find
from psmpi.data.registry import DATASETS, forget, load
from tests.reference.naive_problems import idx

MNIST = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
MNIST += ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
LIBSVM = b"# a comment\n+1 1:0.5 3:-2\n-1 2:1\n+1 1:1 # end\n"
PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}


@pytest.fixture(autouse=True)
def _folders(tmp_path, monkeypatch):
    """Use this test's own folders for data and cache, and no network."""
    forget()
    monkeypatch.setenv("PSMPI_DATA", str(tmp_path))
    monkeypatch.setenv("PSMPI_CACHE", str(tmp_path / "cache"))

    def refuse(*args, **kwargs):
        raise OSError("no network in tests")

    monkeypatch.setattr("pooch.retrieve", refuse)


def images(samples):
    return (np.arange(samples * 6).reshape(samples, 2, 3) * 7 % 256).astype(np.uint8)


def write_mnist(folder, suffix=".gz", samples=5):
    folder.mkdir(exist_ok=True)
    parts = images(samples), np.arange(samples) % 2, images(2), np.arange(2)
    for name, part in zip(MNIST, parts, strict=True):
        (folder / (name + suffix)).write_bytes(PACK[suffix](idx(part)))


# -- loaders -----------------------------------------------------------------------


def test_digits_is_split_in_file_order():
    x, y = load_digits()(return_X_y=True)
    data = load("digits", np.float64)
    np.testing.assert_array_equal(data.rows(slice(None)), x[:1437] / 16)
    np.testing.assert_array_equal(data.x_test, x[1437:])
    np.testing.assert_array_equal(data.y, y[:1437])
    np.testing.assert_array_equal(data.y_test, y[1437:])
    assert (data.samples, data.features, data.classes) == (1437, 64, 10)
    assert data.x.dtype == np.uint8


@pytest.mark.parametrize("damage", ["no package", "no file", "other file"])
def test_digits_come_from_load_digits_if_the_file_is_not_found(
    tmp_path, monkeypatch, damage
):
    calls = []
    monkeypatch.setattr("sklearn.datasets.load_digits", spy(calls, load_digits()))
    package = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    if damage == "other file":
        folder = tmp_path / "datasets" / "data"
        folder.mkdir(parents=True)
        np.savetxt(folder / "digits.csv.gz", np.eye(3), delimiter=",")
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name: None if damage == "no package" else package,
    )
    assert load("digits").digest() == DIGITS
    assert calls == [{"return_X_y": True}]


def test_digits_are_read_without_load_digits(monkeypatch):
    monkeypatch.setattr("sklearn.datasets.load_digits", None)
    assert load("digits").digest() == DIGITS


DIGITS = "801701d9269102675dec87749affdb584c1deb87385b4d998fc8f84505196bb0"


def load_digits():
    from sklearn.datasets import load_digits

    return load_digits


def spy(calls, function):
    """Return ``function``, which now appends its keyword arguments to ``calls``."""

    def call(**options):
        calls.append(options)
        return function(**options)

    return call


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist_files(tmp_path, suffix, dtype):
    write_mnist(tmp_path / "mnist", suffix)
    data = load("mnist", dtype)
    rows = data.rows(np.array([3, 1]))
    assert rows.dtype == dtype
    np.testing.assert_array_equal(
        rows, (images(5).reshape(5, 6)[[3, 1]] / 255).astype(dtype)
    )
    assert data.y.tolist() == [0, 1, 0, 1, 0]
    assert data.x_test.shape == (2, 6)
    assert str(tmp_path / "mnist") in data.source


@pytest.mark.parametrize("suffix", ["", ".bz2", ".gz"])
@pytest.mark.parametrize("test", [True, False])
def test_libsvm_files(tmp_path, suffix, test):
    train = tmp_path / f"train{suffix}"
    train.write_bytes(PACK[suffix](LIBSVM))
    name = f"libsvm:{train}"
    if test:
        (tmp_path / "test").write_bytes(b"-1 5:1\n")
        name += f",{tmp_path / 'test'}"
    data = load(name)
    dense = np.array([[0.5, 0, -2], [0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(data.x.toarray()[:, :3], dense)
    assert isinstance(data.x, csr_array)
    assert (data.labels, data.y.tolist()) == ((-1, 1), [1, 0, 1])
    assert data.features == (5 if test else 3)
    assert data.y_test is None or data.y_test.tolist() == [0]


@pytest.mark.parametrize(
    ("name", "files", "sparse"),
    [
        ("ijcnn1", ("ijcnn1.bz2", "ijcnn1.t.bz2"), False),
        ("rcv1", ("rcv1_train.binary.bz2", "rcv1_test.binary.bz2"), True),
    ],
)
def test_named_libsvm_sets(tmp_path, name, files, sparse):
    (tmp_path / name).mkdir()
    (tmp_path / name / files[0]).write_bytes(bz2.compress(LIBSVM))
    (tmp_path / name / files[1]).write_bytes(bz2.compress(b"-1 2:3\n"))
    data = load(name)
    assert (data.samples, data.features, data.classes) == (3, 3, 2)
    assert isinstance(data.x, csr_array) is sparse


@pytest.mark.parametrize("packed", [True, False])
def test_cifar10_files(tmp_path, packed):
    records = np.zeros((2, 3073), np.uint8)
    records[1] = 1
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    folder = tmp_path / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        records[0, 1] = number
        (folder / name).write_bytes(records.tobytes())
    if packed:
        with tarfile.open(folder.parent / "cifar-10-binary.tar.gz", "w:gz") as archive:
            archive.add(folder, folder.name)
        folder.rename(tmp_path / "elsewhere")
    data = load("cifar10")
    assert data.x[::2, 0].tolist() == [0, 1, 2, 3, 4]
    assert data.x_test[0, 0] == 5
    assert data.y.tolist() == [0, 1] * 5
    assert data.features == 3072


def test_covtype_is_scaled_and_shuffled(tmp_path):
    (tmp_path / "covtype").mkdir()
    table = np.tile(np.arange(20)[:, None], 55)
    table[:, -1] = 1 + np.arange(20) % 2
    np.savetxt(tmp_path / "covtype" / "covtype.data", table, "%d", ",")
    data = load("covtype")
    assert (data.samples, data.features, data.classes) == (16, 54, 2)
    column = np.concatenate([data.x[:, 0], data.x_test[:, 0]])
    np.testing.assert_allclose(np.sort(column), np.arange(20) / 19, rtol=1e-6)
    assert (np.diff(data.x[:, 0]) < 0).any()


def test_susy_tests_on_the_last_tenth(tmp_path):
    (tmp_path / "susy").mkdir()
    table = np.tile(np.arange(20)[:, None] / 4, 19)
    table[:, 0] = np.arange(20) % 2
    np.savetxt(tmp_path / "susy" / "SUSY.csv.gz", table, delimiter=",")
    data = load("susy")
    assert data.x[:, 0].tolist() == [i / 4 for i in range(18)]
    assert data.y_test.tolist() == [0, 1]


@pytest.mark.parametrize("test", [True, False])
def test_npz_files(tmp_path, test):
    arrays = {"X": np.eye(3), "y": np.array([5.0, 7, 5])}
    if test:
        arrays |= {"X_test": np.ones((1, 3)), "y_test": np.array([7])}
    np.savez(tmp_path / "a.npz", **arrays)
    data = load(f"npz:{tmp_path / 'a.npz'}")
    assert data.labels == (5, 7)
    assert data.x.dtype == np.float32
    assert (data.y_test is not None) is test


@pytest.mark.parametrize("damage", [None, b"", b"PK\3\4 cut"])
def test_parsed_text_is_cached_and_a_damaged_copy_replaced(
    tmp_path, monkeypatch, damage
):
    monkeypatch.setattr("psmpi.data.cache._WORTH_CACHING", 1)
    path = tmp_path / "a"
    path.write_bytes(LIBSVM)
    fresh = load(f"libsvm:{path}")
    (copy,) = (tmp_path / "cache").iterdir()
    if damage is None:
        monkeypatch.setattr("psmpi.data.registry.read_libsvm", None)
    else:
        copy.write_bytes(damage)
    forget()
    again = load(f"libsvm:{path}")
    assert again.digest() == fresh.digest()
    assert copy.stat().st_size > 100


def test_a_changed_text_file_is_parsed_again(tmp_path, monkeypatch):
    monkeypatch.setattr("psmpi.data.cache._WORTH_CACHING", 1)
    (tmp_path / "a").write_bytes(LIBSVM)
    before = load(f"libsvm:{tmp_path / 'a'}")
    (tmp_path / "a").write_bytes(LIBSVM + b"-1 1:1\n")
    assert load(f"libsvm:{tmp_path / 'a'}").samples == before.samples + 1


@pytest.mark.parametrize("density", [1, 0.2])
@pytest.mark.parametrize("outputs", [1, 3])
def test_synthetic_targets_are_linear_plus_noise(outputs, density):
    spec = f"synthetic:linear,samples=400,features=5,outputs={outputs}"
    spec += f",density={density}"
    data = load(spec + ",noise=0.5", np.float64)
    assert data.digest() == load(spec + ",noise=0.5,seed=0", np.float64).digest()
    assert data.digest() != load(spec + ",noise=0.5,seed=1", np.float64).digest()
    assert (data.is_regression, data.classes, data.x_test) == (True, 0, None)
    assert data.y.shape == ((400,) if outputs == 1 else (400, outputs))
    x = data.x if density == 1 else data.x.toarray()
    if density < 1:
        assert data.x.nnz == pytest.approx(density * x.size, rel=0.1)
    rows = np.column_stack([x, np.ones(400)])
    solution = np.linalg.lstsq(rows, data.y, rcond=None)[0]
    assert np.std(data.y - rows @ solution) == pytest.approx(0.5, rel=0.1)
    exact = load(spec + ",noise=0", np.float64)
    solution = np.linalg.lstsq(rows, exact.y, rcond=None)[0]
    np.testing.assert_allclose(rows @ solution, exact.y, atol=1e-12)


@pytest.mark.parametrize("density", [1, 0.1])
def test_synthetic_data_follow_their_spec(density):
    spec = f"synthetic:softmax,samples=60,features=50,classes=3,density={density}"
    data, again = load(spec), load(spec)
    other = load(f"{spec},seed=1")
    assert (data.samples, data.features, data.classes) == (60, 50, 3)
    assert np.bincount(data.y).tolist() == [20, 20, 20]
    assert data.digest() == again.digest() != other.digest()
    if density < 1:
        assert data.x.nnz == pytest.approx(0.1 * 60 * 50, rel=0.2)


def test_separated_synthetic_classes_can_be_classified():
    data = load("synthetic:logistic,separation=5", np.float64)
    centres = np.array([data.x[data.y == c].mean(axis=0) for c in range(2)])
    away = np.linalg.norm(data.x_test[:, None] - centres, axis=2)
    assert (away.argmin(axis=1) == data.y_test).mean() > 0.99


def test_synthetic_text_is_like_text():
    spec = "synthetic:text,samples=900,features=4000,test=100,density=0.01"
    data, again = load(spec, np.float64), load(spec, np.float64)
    assert data.digest() == again.digest() != load(f"{spec},seed=1").digest()
    assert (data.samples, data.features, data.classes) == (900, 4000, 2)
    assert np.bincount(data.y).tolist() == [450, 450]
    assert data.x_test.shape == (100, 4000)
    assert data.x.nnz == pytest.approx(0.01 * 900 * 4000, rel=0.05)
    assert (data.x.data > 0).all()
    assert (np.diff(data.x.indptr) > 0).all()
    np.testing.assert_allclose((data.x**2).sum(axis=1), 1)
    held = np.sort(np.bincount(data.x.indices, minlength=4000))[::-1]
    assert held[:400].sum() > 0.3 * data.x.nnz  # a tenth of the words
    assert held[9] / held[909] == pytest.approx((910 + 50) / (10 + 50), rel=0.5)


def test_topics_of_synthetic_text_can_be_classified():
    data = load("synthetic:text,separation=1,density=0.02", np.float64)
    centres = [data.x[data.y == c].mean(axis=0) for c in range(2)]
    guess = data.x_test @ (centres[1] - centres[0]) > 0
    assert (guess == data.y_test).mean() > 0.95


# -- missing data sets and files ---------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minst", "no data set is called 'minst'; did you mean mnist[?]"),
        ("libsvn:/a", "did you mean libsvm[?]"),
        ("", "no data set is called ''"),
        ("libsvm:/nowhere/a", "/nowhere/a: no such file"),
        ("libsvm:", "expected libsvm:TRAIN"),
        ("libsvm:a,b,c", "expected libsvm:TRAIN"),
        ("npz:/nowhere/a", "/nowhere/a: no such file"),
        ("npz:/", "/: is a folder, not a file"),
        ("npz:~nobody-of-this-name/a", "there is no such home folder; write the path"),
        ("npz:a,targets=reel", "no kind is called 'reel'; did you mean real[?] use"),
        ("synthetic:softmx", "no kind is called 'softmx'; did you mean softmax[?]"),
        ("synthetic:softmax,feature=3", "'feature=3' is not .*did you mean features"),
        ("synthetic:softmax,features", "'features' is not key=value"),
        ("synthetic:softmax,features=3.5", "features must be an integer, got '3.5'"),
        ("synthetic:softmax,separation=x", "separation must be a number, got 'x'"),
        ("synthetic:softmax,features=0", "features must be at least 1, got 0"),
        ("synthetic:softmax,classes=1", "needs at least 2 classes"),
        ("synthetic:softmax,density=0", "density in"),
        ("synthetic:text,density=0.9", "density must be in"),
        ("synthetic:text,separation=2", "separation in"),
        ("synthetic:linear,outputs=0", "outputs must be at least 1, got 0"),
        ("synthetic:linear,noise=-1", "noise must be at least 0"),
        ("synthetic:linear,noise=nan", "noise must be at least 0"),
        ("synthetic:linear,density=0", "density in"),
        ("synthetic:text,samples=1", "at least 2 samples"),
        ("synthetic:logistic,seed=-1", "seed: must lie in 0"),
    ],
)
def test_a_wrong_name_is_explained(name, message):
    with pytest.raises(ConfigError, match=message):
        load(name)


@pytest.mark.parametrize("name", sorted(DATASETS.keys() - {"digits"}))
def test_missing_files_are_one_clear_line(tmp_path, name):
    with pytest.raises(ConfigError) as caught:
        load(name)
    message = str(caught.value)
    assert message.startswith(f"{name}: missing ")
    assert f"looked in {tmp_path / name} (from PSMPI_DATA)" in message
    assert "https://" in message
    assert "no network in tests" in message
    assert f"put the files in $PSMPI_DATA/{name}/" in message
    assert "\n" not in message


def test_only_the_missing_files_are_named(tmp_path):
    write_mnist(tmp_path / "mnist")
    (tmp_path / "mnist" / f"{MNIST[3]}.gz").unlink()
    with pytest.raises(ConfigError, match=f"missing {MNIST[3]}.gz; looked in"):
        load("mnist")


def test_missing_files_without_psmpi_data(monkeypatch):
    monkeypatch.delenv("PSMPI_DATA")
    with pytest.raises(ConfigError, match="because PSMPI_DATA is not set"):
        load("mnist")


def test_downloads_are_cached_under_the_name(tmp_path, monkeypatch):
    def retrieve(url, checksum, fname, path, downloader):
        assert downloader.kwargs["timeout"] <= 10
        return path / fname

    monkeypatch.setattr("pooch.retrieve", retrieve)
    files = find(
        "made", [Remote("https://host/a.gz"), Remote("https://host/7", None, "b")]
    )
    assert files.downloaded
    assert files.paths == [tmp_path / "cache/made/a.gz", tmp_path / "cache/made/b"]


@pytest.mark.parametrize(
    "error", [PermissionError("a"), OSError(errno.EROFS, "read-only")], ids=str
)
def test_a_download_without_a_cache_folder_names_psmpi_cache(monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("pooch.retrieve", fail)
    with pytest.raises(ConfigError, match=r"downloads need .*: set PSMPI_CACHE to one"):
        load("mnist")


def test_a_download_of_another_shape_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("pooch.retrieve", lambda *a, **k: tmp_path / "svm")
    (tmp_path / "svm").write_bytes(LIBSVM)
    with pytest.raises(ConfigError, match=r"ijcnn1: downloaded .*expected \(49990,"):
        load("ijcnn1")


# -- damaged files and other formats -----------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "damage", "message"),
    [
        ("", lambda b: b[:-4], "promises 46 bytes, found 42"),
        ("", lambda b: b + b"x", "promises 46 bytes, found 47"),
        ("", lambda b: b"", "not an idx file of bytes.*got nothing"),
        ("", lambda b: b"label,x\n", "not an idx file of bytes.*got 6c 61 62 65"),
        (".gz", lambda b: gzip.compress(b[:-4]), "promises 46 bytes, found 42"),
        (".gz", lambda b: gzip.compress(b)[:-4], "promises 46 bytes, found 46"),
        (".gz", lambda b: b, "not an idx file of bytes"),
        ("", lambda b: idx(np.zeros(5)), "expected images in 3 dimensions"),
    ],
)
def test_errors_about_damaged_idx_files_name_the_bytes(
    tmp_path, suffix, damage, message
):
    write_mnist(tmp_path / "mnist", suffix)
    path = tmp_path / "mnist" / (MNIST[0] + suffix)
    path.write_bytes(damage(idx(images(5))))
    with pytest.raises(ConfigError, match=f"{path}: .*{message}"):
        load("mnist")


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_errors_about_truncated_gz_files_say_how_much_was_read(tmp_path, keep):
    noise = np.random.Generator(np.random.Philox(key=1)).bytes(400 * 6)
    whole = idx(np.frombuffer(noise, np.uint8).reshape(400, 2, 3))
    packed = gzip.compress(whole)
    write_mnist(tmp_path / "mnist")
    path = tmp_path / "mnist" / f"{MNIST[0]}.gz"
    path.write_bytes(packed[: int(keep * len(packed))])
    with pytest.raises(ConfigError, match=f"promises {len(whole)} bytes, found") as e:
        load("mnist")
    size = int(str(e.value).split("found ")[1].split(";")[0])
    assert size == pytest.approx(keep * len(whole), rel=0.1)


@pytest.mark.parametrize(
    ("suffix", "content", "message"),
    [
        ("", b"1,0.5,2\n0,1,2\n", r"looks like CSV \(its first line is '1,0.5,2'\)"),
        (".gz", gzip.compress(b"y,a,b\n1,2,3\n"), "looks like CSV"),
        (".gz", gzip.compress(LIBSVM)[:-9], "truncated or damaged|may be truncated"),
        (".bz2", bz2.compress(LIBSVM)[:-9], "truncated or damaged|may be truncated"),
        (".bz2", LIBSVM, "truncated or damaged"),
        ("", b"", "holds no samples"),
        ("", b"# only a comment\n", "holds no samples"),
        ("", b"+1 one:2\n", "not in libsvm format"),
        ("", b"hello mpi_job\n", "not in libsvm format"),
        ("", b"+1 2:1 1:1\n", "not in libsvm format"),
        ("", b"1 1:nan\n0 1:1\n", "1 training features are not finite"),
        ("", b"1 1:2\n1 1:1\n", "all training labels are 1"),
        ("", b"nan 1:2\n1 1:1\n", r"1 training targets are not finite .* nan"),
        ("", b"inf 1:2\n1 1:1\n", r"1 training targets are not finite .* inf"),
    ],
)
def test_wrong_libsvm_files(tmp_path, suffix, content, message):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load(f"libsvm:{path}")
    assert str(path) in str(caught.value)


def saved(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def array_file(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


X, Y = np.eye(4), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (saved(X=X), "no array y; found X; save with"),
        (saved(a=X), "no array X and no y; found a; save with"),
        (saved(X=X, y=Y, X_test=X), "no array y_test; found X, y, X_test"),
        (saved(X=X, y=Y.astype(object)), "holds pickled objects"),
        (b"\x80\x04K\x01.", "holds pickled objects"),
        (saved(X=X, y=Y)[:-50], "not an npz file of arrays, or damaged"),
        (saved(X=X, y=Y).replace(b"\0\0\xf0?", b"\1\1\xf0?"), "or damaged"),
        (b"", "not an npz file"),
        (b"1,0.5,2\n0,1,2\n", r"not an npz file; it looks like text .*'1,0.5,2'"),
        (b"+1 1:0.5 3:-2\n", "label index:value ... use libsvm:FILE, else read it"),
        (array_file(X), r"is one array \(.npy\), not an npz file of arrays"),
    ],
)
def test_wrong_npz_files(tmp_path, content, message):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ConfigError, match=f"{tmp_path / 'a.npz'}: .*{message}"):
        load(f"npz:{tmp_path / 'a.npz'}")


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("1,2\n3,4\n", "expected 19 columns, found 2"),
        ("a,b\n", "not a CSV file of numbers"),
    ],
)
def test_wrong_csv_files(tmp_path, csv, message):
    (tmp_path / "susy").mkdir()
    (tmp_path / "susy" / "SUSY.csv").write_text(csv)
    with pytest.raises(ConfigError, match=message):
        load("susy")


@pytest.mark.parametrize("length", [0, 3072])
def test_errors_about_truncated_cifar_files_name_the_bytes(tmp_path, length):
    folder = tmp_path / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "data_batch_1.bin").write_bytes(bytes(length))
    with pytest.raises(ConfigError, match=f"holds {length} bytes, expected a multiple"):
        load("cifar10")


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_cifar_archive_of_another_kind(tmp_path, content):
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "cifar-10-binary.tar.gz").write_bytes(content)
    with pytest.raises(ConfigError, match="no readable member"):
        load("cifar10")


# -- data that don't fit -----------------------------------------------------------

NAN = np.where(X == 1, np.nan, X)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ((X, Y[:3]), None, r"4 training samples need as many labels, got .* \(3,\)"),
        ((X, Y[:, None]), None, r"got labels of shape \(4, 1\)"),
        ((X, Y * 0), None, "all training labels are 0; at least two classes"),
        ((X, Y + 0.25), None, "4 training labels are not integers .* 0.25"),
        ((X, Y * np.nan), None, r"4 training labels are not integers .* nan"),
        (
            (X, np.where(Y, np.inf, 0)),
            None,
            "2 training labels are not integers .* inf",
        ),
        ((X, np.array(list("abab"))), None, "training labels must be integers, got"),
        ((X[:0], Y[:0]), None, "the training set is empty: 0 samples of 4 features"),
        ((X[:, :0], Y), None, "the training set is empty: 4 samples of 0 features"),
        ((NAN, Y), None, r"4 training features are not finite .* nan"),
        ((csr_array(NAN), Y), None, "training features are not finite"),
        ((X * 1e300, Y), None, r"4 training features are not finite in float32 .* inf"),
        ((X[0], Y), None, r"training features must have shape .* got \(4,\)"),
        ((X.astype(str), Y), None, "training features must be numbers, got <U"),
        ((X, Y), (X, Y + 1), "test label 2 doesn't occur in training, whose labels"),
        ((X, Y), (X, Y[:2]), "4 test samples need as many labels"),
        ((X, Y), (X[:, :2], Y), "test samples have 2 features, training samples 4"),
        ((X, Y), (NAN, Y), "4 test features are not finite"),
        ((X, Y), (X[:0], Y[:0]), "the test set is empty"),
    ],
)
def test_data_that_do_not_fit(train, test, message):
    with (
        pytest.raises(ConfigError, match=f"made: .*{message}"),
        np.errstate(over="ignore"),
    ):
        assemble("made", "test", train, test)


def test_half_precision_is_refused():
    with pytest.raises(ConfigError, match="dtype: must be float32 or float64"):
        assemble("made", "test", (X, Y), dtype=np.float16)


# -- real data ---------------------------------------------------------------------

REAL = os.environ.get("PSMPI_DATA")


@pytest.mark.skipif(not REAL, reason="PSMPI_DATA is not set: no real data files")
@pytest.mark.parametrize(
    ("name", "shape", "tested"),
    [("mnist", (60000, 784), 10000), ("ijcnn1", (49990, 22), 91701)],
)
def test_real_data(name, shape, tested, monkeypatch):
    if not os.path.isdir(os.path.join(REAL, name)):
        pytest.skip(f"PSMPI_DATA has no {name}")
    monkeypatch.setenv("PSMPI_DATA", REAL)
    data = load(name)
    assert data.x.shape == shape
    assert data.y_test.size == tested
