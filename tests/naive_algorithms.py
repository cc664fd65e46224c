"""GD and LAQ as one would write them on the board: no codec, no link, float64."""

import numpy as np


def gd(gradients, x, alpha, rounds):
    """Return the iterates of x <- x - alpha sum_m grad f_m(x)."""
    x = x.astype(np.float64)
    iterates = [x.copy()]
    for _ in range(rounds):
        x = x - alpha * sum(g(x) for g in gradients)
        iterates.append(x.copy())
    return iterates


def quantise(v, bits):
    """LAQ's grid around zero: returns the point of it that is nearest to v."""
    radius = np.float64(np.float32(np.abs(v).max()))
    if radius == 0:
        return np.zeros_like(v)
    tau = 1 / (2**bits - 1)
    return 2 * tau * radius * np.floor((v + radius) / (2 * tau * radius) + 0.5) - radius


def laq(gradients, x, *, alpha, bits, D, weight, tbar, rounds):
    """Return the iterates of LAQ and the number of uploads, by the paper's rule (7a).

    ``bits`` None leaves out the quantisation: LAG.
    """
    M = len(gradients)
    x = x.astype(np.float64)
    held = [np.zeros_like(x) for _ in gradients]
    error_then = [0.0] * M
    clock = [None] * M
    moves = []
    iterates, uploads = [x.copy()], 0
    for _ in range(rounds):
        recent = moves[-D:]
        window = sum(weight / len(recent) * m for m in recent)
        for m in range(M):
            g = gradients[m](x)
            change = g - held[m] if bits is None else quantise(g - held[m], bits)
            error = np.sum((g - held[m] - change) ** 2)
            bound = window / (alpha * M) ** 2 + 3 * (error + error_then[m])
            if clock[m] is None or clock[m] == tbar or np.sum(change**2) >= bound:
                held[m] = held[m] + change
                error_then[m], clock[m] = error, 0
                uploads += 1
            else:
                clock[m] += 1
        after = x - alpha * sum(held)
        moves.append(np.sum((after - x) ** 2))
        x = after
        iterates.append(x.copy())
    return iterates, uploads
