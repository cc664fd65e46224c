"""A session over pytrees: the bits of one over flat vectors."""

import numpy as np
import pytest

import psmpi

jax = pytest.importorskip("jax")
jnp = jax.numpy


@pytest.fixture
def params():
    return {"a": jnp.ones((2, 3)), "layers": [jnp.zeros(4), jnp.array(2.0)]}


def flat(tree):
    return np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(tree)])


def gradient(params, step):
    return jax.tree.map(lambda p: p * 0.5 + step, params)


def test_it_computes_the_bits_of_a_flat_session(params):
    with psmpi.session(
        "dist-ef-sgdm", flat(params), bounds=(0, 6, 10, 11), lr=0.1
    ) as raw:
        for step in range(6):
            raw.step(raw.x * np.float32(0.5) + step)
    before = jax.tree.map(np.asarray, params)
    model = params
    with psmpi.jax.session("dist-ef-sgdm", params, lr=0.1) as s:
        for step in range(6):
            model = s.step(gradient(model, step), loss=jnp.float32(1.5))
    assert flat(model).tobytes() == raw.x.tobytes()
    assert s.flat.result.summary["loss"] == 1.5
    assert jax.tree.structure(model) == jax.tree.structure(params)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(params), strict=True)
    )


def test_a_model_given_back_does_not_change_later(params):
    with psmpi.jax.session("gd", params, lr=0.1) as s:
        first = s.step(gradient(params, 1))
        kept = flat(first).copy()
        s.step(gradient(first, 1))
    assert np.array_equal(flat(first), kept)


def test_progress_of_an_optimizer_of_optax(params):
    optax = pytest.importorskip("optax")
    inner = optax.adamw(0.01)
    with psmpi.jax.session("diloco", params, local_steps=3) as s:
        model, state = params, inner.init(params)
        for _ in range(4):
            for step in range(3):
                updates, state = inner.update(gradient(model, step), state, model)
                model = optax.apply_updates(model, updates)
            model = s.advance(model)
        s.report(accuracy=jnp.float32(0.5))
    assert s.flat.result.summary["accuracy"] == 0.5
    assert s.flat.round == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: {**p, "a": p["a"].astype(jnp.bfloat16)}, r"\['a'\] is bfloat16"),
        (lambda p: {**p, "n": jnp.ones(2, int)}, r"\['n'\] is int32"),
        (lambda p: {**p, "e": jnp.ones((0, 2))}, r"\['e'\] is empty"),
        (lambda p: {}, "params: has no leaves"),
    ],
)
def test_models_that_cannot_be_trained_are_named(params, change, message):
    with pytest.raises(psmpi.ConfigError, match=message):
        psmpi.jax.session("gd", change(params))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: {"a": g["a"]}, "grads: must be a tree like the model"),
        (lambda g: {**g, "a": g["a"].T}, r"grads: \['a'\] must have shape \(2, 3\)"),
        (lambda g: {**g, "a": g["a"] * np.nan}, "gradient's entry 0 is nan"),
    ],
)
def test_bad_gradients_are_refused(params, change, message):
    with (
        pytest.raises(psmpi.PsmpiError, match=message),
        psmpi.jax.session("gd", params) as s,
    ):
        s.step(change(gradient(params, 0)))
