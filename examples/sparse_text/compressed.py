"""Logistic regression on sparse features, as scikit-learn's vectorizers make them.

psmpi launch --workers 4 examples/sparse_text/compressed.py

The texts are synthetic: words are drawn by a power law, and some belong to a class.
"""

import argparse

import numpy as np
import scipy.sparse
from sklearn.feature_extraction.text import TfidfTransformer

import psmpi


def texts(samples=2000, words=20_000, length=40):
    """Return tf-idf features in CSR, shape (samples, words), and classes -1 and 1."""
    draw = np.random.default_rng(0)
    y = draw.choice([-1, 1], samples)
    common = draw.zipf(1.3, (samples, length)) % words
    own = 100 + 2 * draw.integers(0, 500, (samples, 3)) + (y[:, None] > 0)
    columns = np.concatenate([common, own], axis=1)
    rows = np.repeat(np.arange(samples), columns.shape[1])
    ones = np.ones(columns.size, np.float32)
    places = (rows, columns.ravel())
    counts = scipy.sparse.csr_array((ones, places), (samples, words))
    return TfidfTransformer().fit_transform(counts), y.astype(np.float32)


def gradient(x, a, y):
    """Return the gradient of the mean logistic loss, and the loss."""
    margin = y * (a @ x)
    weight = -y / (1 + np.exp(margin)) / len(y)
    return a.T @ weight, float(np.logaddexp(0, -margin).mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=300)
    steps = parser.parse_args().steps
    a, y = texts()
    train, test = slice(0, 1500), slice(1500, None)
    x = np.zeros(a.shape[1], np.float32)
    with psmpi.session("signtopk", x, lr=10, k=0.01) as s:
        draw = np.random.default_rng(1 + s.worker)
        for _ in range(steps):
            batch = draw.integers(1500, size=64)
            g, loss = gradient(x, a[batch], y[batch])
            s.step(g, loss=loss)
        s.report(accuracy=np.mean(np.sign(a[test] @ x) == y[test]))
