"""Fits a linear model to noisy data, by stochastic gradient descent in NumPy.

psmpi launch --workers 4 examples/regression/compressed.py
"""

import argparse

import numpy as np

import psmpi


def data(samples=4000, width=200):
    """Return features (samples, width), and targets with noise."""
    draw = np.random.default_rng(0)
    a = draw.normal(size=(samples, width)).astype(np.float32)
    b = a @ draw.normal(size=width) + 0.1 * draw.normal(size=samples)
    return a, b.astype(np.float32)


def gradient(x, a, b):
    """Return the gradient of the mean squared error / 2, and the loss."""
    residual = a @ x - b
    return residual @ a / len(b), float(residual @ residual) / (2 * len(b))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=500)
    steps = parser.parse_args().steps
    a, b = data()
    x = np.zeros(a.shape[1], np.float32)
    with psmpi.session("dist-ef-sgd", x, lr=0.02) as s:
        draw = np.random.default_rng(1 + s.worker)
        for _ in range(steps):
            batch = draw.integers(len(b), size=64)
            g, loss = gradient(x, a[batch], b[batch])
            s.step(g, loss=loss)
        s.report(loss=gradient(x, a, b)[1])
