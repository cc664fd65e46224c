"""Trains a perceptron on the handwritten digits of scikit-learn, in JAX.

python examples/jax_perceptron/plain.py
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits


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
    draw = np.random.default_rng(1)
    for _ in range(steps):
        batch = draw.integers(len(y), size=32)
        loss, grads = loss_and_gradient(params, x[batch], y[batch])
        params = jax.tree.map(lambda p, g: p - 0.2 * g, params, grads)
    accuracy = (scores(params, test_x).argmax(1) == test_y).mean()
    print(f"accuracy {accuracy:.3f}")
