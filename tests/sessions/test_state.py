"""A session that goes on from a saved state computes what one session computes."""

import numpy as np
import pytest

import psmpi
from psmpi import algorithms
from psmpi.runs import role_state
from tests.helpers import own_loops

#: Their rule looks back on one change of the model more after a resume.
LOOK_BACK = {"laq", "slaq", "lag-wk"}
IN_STEP = [
    id
    for id in own_loops.DRIVEN
    if algorithms.find(id).driven_by == "gradient"
    and "topology" not in algorithms.find(id).__dataclass_fields__
    and id != "dynamic-averaging"
]
DIM = 8


def gradient(x, step):
    """A gradient of least squares over samples that the step draws."""
    a = np.random.default_rng(step).normal(size=(4, DIM)).astype(np.float32)
    return a.T @ (a @ x - 1)


def loop(id, first, last, state=None):
    options = {**own_loops.options(id), "lr": 0.02}
    options.pop("batch", None)
    start = np.zeros(DIM, np.float32)
    with psmpi.session(id, start, bounds=(0, 3, DIM), state=state, **options) as s:
        for step in range(first, last):
            s.step(gradient(s.x, step))
        saved = s.state_dict()
    return s.x.copy(), saved


@pytest.mark.parametrize("id", IN_STEP)
def test_it_goes_on_to_the_bit(id):
    whole, _ = loop(id, 0, 12)
    _, saved = loop(id, 0, 6)
    resumed, _ = loop(id, 6, 12, {name: v.copy() for name, v in saved.items()})
    assert np.array_equal(resumed, whole) or id in LOOK_BACK
    assert np.isfinite(resumed).all()


def test_residuals_of_both_ends_are_in_it():
    _, saved = loop("dist-ef-sgdm", 0, 6)
    for name in ("worker.up.e", "server.down.memory.e", "worker.momentum.velocity"):
        assert saved[name].shape == (DIM,)
    assert saved["worker.up.e"].any()  # signs of one worker's signs lose nothing
    without, _ = loop("dist-ef-sgdm", 6, 12, _zeroed(saved, "worker.up.e"))
    whole, _ = loop("dist-ef-sgdm", 0, 12)
    assert not np.array_equal(without, whole)


def _zeroed(saved, name):
    return {**saved, name: np.zeros_like(saved[name])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("worker.up.e"),
            "by another configuration .it lacks up.e",
        ),
        (lambda s: s.update({"worker.y": np.ones(2)}), "it has y"),
        (lambda s: s.update({"spare": np.ones(2)}), "'spare' is no name"),
        (lambda s: s.update({"worker.x": np.ones(3)}), r"a model of shape \(3,\)"),
        (
            lambda s: s.update({"worker.up.e": np.ones(DIM)}),
            "up.e has shape .*64",
        ),
    ],
)
def test_another_state_is_refused(change, message):
    _, saved = loop("dist-ef-sgdm", 0, 6)
    change(saved)
    with pytest.raises(psmpi.ConfigError, match=message):
        loop("dist-ef-sgdm", 6, 8, saved)


def test_asynchronous_servers_have_no_common_point():
    with (
        pytest.raises(psmpi.ConfigError, match="state_dict: the server of asylpg"),
        psmpi.session("asylpg", np.zeros(3, np.float32), samples=4) as s,
    ):
        s.state_dict()


def test_values_survive_as_bytes():
    saved = {"a": np.arange(3.0), "b": np.array(7)}
    again = role_state.unpack(role_state.pack(saved))
    assert again.keys() == saved.keys()
    assert np.array_equal(again["a"], saved["a"])
    with pytest.raises(psmpi.ConfigError, match="state: can't be read"):
        role_state.unpack(b"PK rubbish")
