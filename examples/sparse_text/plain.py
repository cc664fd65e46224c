"""Logistic regression on sparse features, as scikit-learn's vectorizers make them.

python examples/sparse_text/plain.py

The texts are synthetic: words are drawn by a power law, and some belong to a class.
"""

import argparse

import numpy as np
import scipy.sparse
from sklearn.feature_extraction.text import TfidfTransformer


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
    draw = np.random.default_rng(1)
    for _ in range(steps):
        batch = draw.integers(1500, size=64)
        g, loss = gradient(x, a[batch], y[batch])
        x -= 10 * g
    print(f"accuracy {np.mean(np.sign(a[test] @ x) == y[test]):.3f}")
