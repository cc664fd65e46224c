"""Slow, obvious formulas to compare psmpi.problems with: one sample at a time."""

from __future__ import annotations

import itertools
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


def squared_loss(x, features, target, _=None):
    """Return (loss, gradient) of one sample, float64; x is weights then bias.

    ``target`` is a number, or a list with one number for each output.
    """
    targets = np.atleast_1d(target)
    d, outputs = len(features), len(targets)
    loss, gradient = 0.0, np.zeros(len(x))
    for c in range(outputs):
        score = sum(x[j * outputs + c] * features[j] for j in range(d))
        error = score + x[d * outputs + c] - targets[c]
        loss += error * error / 2
        for j in range(d):
            gradient[j * outputs + c] = error * features[j]
        gradient[d * outputs + c] = error
    return loss, gradient


def tensors(x, sizes):
    """Return [(weights as rows of outputs, bias), ...] of a perceptron's vector."""
    pairs, x = [], list(x)
    for inputs, outputs in itertools.pairwise(sizes):
        weights = [[x.pop(0) for _ in range(outputs)] for _ in range(inputs)]
        pairs.append((weights, [x.pop(0) for _ in range(outputs)]))
    assert not x
    return pairs


ACT = {  # activation -> (value, slope) at z
    "relu": (lambda z: max(z, 0.0), lambda z: float(z > 0)),
    "tanh": (math.tanh, lambda z: 1 - math.tanh(z) ** 2),
    "sigmoid": (
        lambda z: 1 / (1 + math.exp(-z)),
        lambda z: math.exp(-z) / (1 + math.exp(-z)) ** 2,
    ),
}


def mlp_layers(x, features, sizes, activation):
    """Return ([z_1, .., z_L], [a_0, .., a_{L-1}]) of one sample."""
    below, sums, inputs = list(features), [], []
    for weights, bias in tensors(x, sizes):
        z = [
            sum(weights[j][c] * below[j] for j in range(len(below))) + bias[c]
            for c in range(len(bias))
        ]
        sums.append(z)
        inputs.append(below)
        below = [ACT[activation][0](value) for value in z]
    return sums, inputs


def mlp_loss(x, features, label, sizes, activation, loss):
    """Return (loss, gradient) of one sample, float64, computed layer by layer."""
    layers = tensors(x, sizes)
    sums, inputs = mlp_layers(x, features, sizes, activation)
    scores = sums[-1]
    value, slopes = 0.0, []
    if loss == "softmax":
        norm = sum(math.exp(score) for score in scores)
        value = math.log(norm) - scores[label]
        slopes = [math.exp(z) / norm - (c == label) for c, z in enumerate(scores)]
    else:
        for c, z in enumerate(scores):
            p, target = 1 / (1 + math.exp(-z)), float(c == label)
            value -= target * math.log(p) + (1 - target) * math.log(1 - p)
            slopes.append(p - target)
    parts = []
    for i in reversed(range(len(layers))):
        parts.insert(0, [a * s for a in inputs[i] for s in slopes] + slopes)
        if i:
            weights = layers[i][0]
            slopes = [
                ACT[activation][1](sums[i - 1][j])
                * sum(weights[j][c] * slopes[c] for c in range(len(slopes)))
                for j in range(len(inputs[i]))
            ]
    return value, np.concatenate(parts)


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
