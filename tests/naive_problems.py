"""Slow, obvious formulas that psmpi.problems is held to: one sample at a time."""

from __future__ import annotations

import math

import numpy as np


def softmax_loss(x, features, label, classes):
    """Return (loss, gradient) of one sample, float64; x is weights then bias."""
    d = len(features)
    scores = [
        sum(x[j * classes + c] * features[j] for j in range(d)) + x[d * classes + c]
        for c in range(classes)
    ]
    top = max(scores)
    norm = sum(math.exp(score - top) for score in scores)
    loss = top + math.log(norm) - scores[label]
    gradient = np.zeros(len(x))
    for c in range(classes):
        slope = math.exp(scores[c] - top) / norm - (c == label)
        for j in range(d):
            gradient[j * classes + c] = slope * features[j]
        gradient[d * classes + c] = slope
    return loss, gradient


def logistic_loss(x, features, label, classes=2):
    """Return (loss, gradient) of one sample, float64; x is weights then bias."""
    sign = 1 if label == 1 else -1
    margin = sign * (sum(w * f for w, f in zip(x, features, strict=False)) + x[-1])
    loss = math.log(1 + math.exp(-margin))
    slope = -sign / (1 + math.exp(margin))
    return loss, slope * np.append(features, 1.0)


def objective(sample_loss, x, features, labels, classes, weight, l2):
    """Return (f, gradient): weight * sum of the samples', plus (l2/2) ||x||^2."""
    x = np.asarray(x, np.float64)
    value, gradient = 0.5 * l2 * float(x @ x), l2 * x
    for row, label in zip(np.asarray(features, np.float64), labels, strict=True):
        loss, slope = sample_loss(x, row, label, classes)
        value += weight * loss
        gradient = gradient + weight * slope
    return value, gradient


def difference(function, x, step=1e-5):
    """Return the gradient of ``function`` at ``x`` by central differences, float64."""
    gradient = np.zeros(x.size)
    for i in range(x.size):
        up, down = x.copy(), x.copy()
        up[i] += step
        down[i] -= step
        gradient[i] = (function(up) - function(down)) / (2 * step)
    return gradient


def idx(array):
    """Return the bytes of an idx file that holds a uint8 array."""
    shape = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return b"\0\0\x08" + bytes([array.ndim]) + shape + array.astype(np.uint8).tobytes()
