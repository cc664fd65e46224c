"""Trees of values and arrays: what comes back, what is refused, and hostile bytes."""

import io
import json
import math
import random
import zipfile

import numpy as np
import pytest

from psmpi.base import ConfigError
from psmpi.storage import tree


def again(value):
    return tree.unpack(tree.pack(value), "here")


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 3, -(2**70), 0.1, "text é", [], {}, [1, [2.5, None]]),
        {"a": {"b": [1, {"c": "d"}]}, "": 0},
        {1: "one", "two": 2, "$array": 3, "$items": [[1, 2]]},
    ],
    ids=str,
)
def test_plain_values_come_back(value):
    assert again(value) == value


def test_numbers_that_are_not_finite_come_back():
    values = again([math.nan, math.inf, -math.inf])
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u1", "?", "c8", "f2", ">i4"])
def test_arrays_come_back_with_their_type_and_shape(dtype):
    for shape in [(), (0,), (3,), (2, 0, 3), (2, 3)]:
        array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
        back = again({"x": [array]})["x"][0]
        assert (back.dtype, back.shape) == (array.dtype, shape)
        assert back.tobytes() == array.tobytes()


def test_scalars_of_numpy_and_tuples():
    back = again({"a": np.float32(0.1), "b": (1, np.int64(2))})
    assert isinstance(back["a"], np.float32)
    assert back == {"a": np.float32(0.1), "b": [1, 2]}


def test_tensors_come_back_as_arrays():
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 3)
    back = again(model.state_dict(keep_vars=False))
    assert back["weight"].tobytes() == model.weight.detach().numpy().tobytes()


@pytest.mark.parametrize("bad", [object(), {1, 2}, b"bytes", np.array(["a"]), print])
def test_other_values_are_refused_with_their_place(bad):
    with pytest.raises(ConfigError, match=r"at \['a'\]\[1\] is of"):
        tree.pack({"a": [0, bad]})


def test_a_key_that_is_neither_text_nor_number_is_refused():
    with pytest.raises(ConfigError, match="as a key"):
        tree.pack({"a": {(1, 2): 3}})


def with_entries(**entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in entries.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def npy(array, **more):
    file = io.BytesIO()
    np.save(file, array, **more)
    return file.getvalue()


def text(value):
    return npy(np.frombuffer(json.dumps(value).encode(), np.uint8))


HOSTILE = {
    "nothing": b"",
    "no zip": b"hello" * 100,
    "no tree": with_entries(a=npy(np.ones(3))),
    "pickled tree": with_entries(tree=npy(np.array([{}], object), allow_pickle=True)),
    "pickled array": with_entries(
        tree=text({"$array": 0}),
        **{"0": npy(np.array([print], object), allow_pickle=True)},
    ),
    "no json": with_entries(tree=npy(np.frombuffer(b"{", np.uint8))),
    "no utf-8": with_entries(tree=npy(np.frombuffer(b'"\xff"', np.uint8))),
    "missing array": with_entries(tree=text({"$array": 7})),
    "strange number": with_entries(tree=text({"$array": {}})),
    "strange items": with_entries(tree=text({"$items": [[[], 1]]})),
    "deep": with_entries(tree=npy(np.frombuffer(b"[" * 10**5, np.uint8))),
    "huge shape": with_entries(
        tree=npy(np.ones(3)).replace(b"(3,), }", b"(9999999999999999,), }")
    ),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bytes_are_refused(data):
    with pytest.raises(ConfigError, match="part: can't be read"):
        tree.unpack(data, "part")


def test_damaged_bytes_are_refused_or_give_values():
    good = tree.pack({"x": np.arange(20.0), "y": [1, {"z": np.arange(3)}]})
    generator = random.Random(0)
    refused = 0
    for _ in range(2000):
        data = bytearray(good)
        for _ in range(generator.randrange(1, 4)):
            data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        cut = generator.choice([len(data), generator.randrange(len(data))])
        try:
            tree.unpack(bytes(data[:cut]), "part")
        except ConfigError:
            refused += 1
    assert refused > 1000
