"""Trains a perceptron on the handwritten digits of scikit-learn, in JAX.

psmpi launch --workers 4 examples/jax_perceptron/compressed.py
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import psmpi


def start(width=64):
    """Return a perceptron with one hidden layer as a pytree."""
    first, second = jax.random.split(jax.random.key(0))
    return {
        "hidden": {
            "w": jax.random.normal(first, (64, width)) / 8,
            "b": jnp.zeros(width),
        },
        "out": {"w": jax.random.normal(second, (width, 10)) / 8, "b": jnp.zeros(10)},
    }


def scores(params, x):
    """Return the scores of the ten digits."""
    hidden = jnp.tanh(x @ params["hidden"]["w"] + params["hidden"]["b"])
    return hidden @ params["out"]["w"] + params["out"]["b"]


@jax.jit
@jax.value_and_grad
def loss_and_gradient(params, x, y):
    """Return the mean cross entropy, and its gradient."""
    return -jax.nn.log_softmax(scores(params, x))[jnp.arange(len(y)), y].mean()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=300)
    steps = parser.parse_args().steps
    x, y = load_digits(return_X_y=True)
    x, y, test_x, test_y = x[:1400] / 16, y[:1400], x[1400:] / 16, y[1400:]
    params = start()
    with psmpi.jax.session("dist-ef-sgd", params, lr=0.2) as s:
        draw = np.random.default_rng(1 + s.worker)
        for _ in range(steps):
            batch = draw.integers(len(y), size=32)
            loss, grads = loss_and_gradient(params, x[batch], y[batch])
            params = s.step(grads, loss=loss)
        accuracy = (scores(params, test_x).argmax(1) == test_y).mean()
        s.report(accuracy=accuracy)
