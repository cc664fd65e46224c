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


def signs(v, blocks=None):
    """One scale a block, mean |v_i|, and signs with sign(0) = +1."""
    out = np.empty_like(v)
    for first, last in blocks or [(0, v.size)]:
        part = v[first:last]
        scale = np.float64(np.float32(np.abs(part).mean()))
        out[first:last] = np.where(part < 0, -scale, scale)
    return out


def dist_ef(gradients, x, *, etas, mu, decay, blocks):
    """Return the iterates of dist-EF-SGDM with the authors' weight decay."""
    M = len(gradients)
    x = x.astype(np.float64)
    m = [np.zeros_like(x) for _ in gradients]
    e = [np.zeros_like(x) for _ in gradients]
    et, v = np.zeros_like(x), np.zeros_like(x)
    before, iterates = 0.0, [x.copy()]
    for eta in etas:
        total = np.zeros_like(x)
        for i in range(M):
            g = gradients[i](x)
            m[i] = mu * m[i] + g
            p = g + mu * m[i] + before / eta * e[i]
            delta = signs(p, blocks)
            e[i] = p - delta
            total = total + delta
        pt = total / M + before / eta * et
        step = signs(pt, blocks)
        et = pt - step
        v = mu * v + decay * x
        x = x - eta * (decay * x + mu * v) - eta * step
        before = eta
        iterates.append(x.copy())
    return iterates


def signum(gradients, x, *, eta, mu, decay, rounds):
    """Return the last iterate of Signum with majority vote; ties are +1."""
    x = x.astype(np.float64)
    m = [np.zeros_like(x) for _ in gradients]
    for _ in range(rounds):
        votes = np.zeros_like(x)
        for i, gradient in enumerate(gradients):
            m[i] = mu * m[i] + (1 - mu) * gradient(x)
            votes += np.where(m[i] < 0, -1, 1)
        x = x - eta * (np.where(votes < 0, -1, 1) + decay * x)
    return x


def top(v, k):
    out = np.zeros_like(v)
    chosen = np.lexsort((np.arange(v.size), -np.abs(v)))[:k]
    out[chosen] = v[chosen].astype(np.float32)
    return out


def qsparse(gradients, x, *, eta, k, H, mu, decay, rounds):
    """Return the last iterate of synchronous Qsparse-local-SGD with TopK."""
    R = len(gradients)
    x = x.astype(np.float64)
    memory = [np.zeros_like(x) for _ in gradients]
    velocity = [np.zeros_like(x) for _ in gradients]
    for _ in range(rounds):
        total = np.zeros_like(x)
        for r in range(R):
            local = x.copy()
            for _ in range(H):
                g = gradients[r](local) + decay * local
                velocity[r] = mu * velocity[r] + g
                local = local - eta * (g + mu * velocity[r])
            u = memory[r] + x - local
            sent = top(u, k)
            memory[r] = u - sent
            total = total + sent
        x = x - total / R
    return x


def prox(v, eta, l1, l2):
    """argmin_x l1 ||x||_1 + (l2/2) ||x||^2 + ||x - v||^2 / (2 eta)."""
    return np.sign(v) * np.maximum(np.abs(v) - eta * l1, 0) / (1 + eta * l2)


def asylpg(f, draw, full, x, arrivals, *, eta, length, tau, l1, l2, accelerated):
    """Return the iterates of (Acc-)AsyLPG with exact messages, and the late frames.

    ``f[m](x, batch)`` is a gradient of worker m, ``draw(m, k)`` the batch of its k-th
    message, ``full(x)`` grad f(x). ``arrivals``: whose gradient each step takes.
    """
    M = len(f)
    x = x.astype(np.float64)
    y, iterates, late, out = x, [x], 0, {}
    seen = [0] * M  # messages that a worker has answered
    for t, m in enumerate(arrivals):
        s, within = divmod(t, length)
        theta = 2 / (s + 2) if accelerated else 1.0
        if within == 0:
            late += len(out)
            snapshot, G = x, full(x)
            x = snapshot + theta * (y - snapshot) if accelerated else x
            out, idle = {}, list(range(M))
            iterates[-1] = x
            seen = [k + 1 for k in seen]  # the snapshot is a message
        while idle and len(out) <= tau:
            worker = idle.pop(0)
            out[worker] = x, draw(worker, seen[worker])
            seen[worker] += 1
        old, batch = out.pop(m)
        u = f[m](old, batch) - f[m](snapshot, batch) + G
        idle.append(m)
        if accelerated:
            y = prox(y - eta / theta * u, eta / theta, l1, l2)
            x = snapshot + theta * (y - snapshot)
        else:
            x = prox(x - eta * u, eta, l1, l2)
        iterates.append(x)
    return iterates, late


def prox_svrg(gradient, draw, x, *, eta, length, epochs, l1, l2):
    """Return the last iterate of SVRG of one machine, with the ridge and l1 by prox."""
    for s in range(epochs):
        snapshot, G = x, gradient(x, None)
        for i in range(length):
            batch = draw(s, i)
            u = gradient(x, batch) - gradient(snapshot, batch) + G
            x = prox(x - eta * u, eta, l1, l2)
    return x


def rounding_error(x, bits):
    """E||Q(x) - x||^2 of unbiased rounding to 2^bits - 1 points on [-max, max]."""
    largest = np.abs(x).max()
    delta = largest / (2 ** (bits - 1) - 1)
    low = np.floor(x / delta) * delta
    return float(np.sum(np.maximum((x - low) * (low + delta - x), 0)))


def gossip(gradients, X, W, *, alpha, eps, rounds, quantise=lambda x, i, k: x):
    """Return the models of all nodes, a row each, after every round.

    ``gradients[i](x, k)`` is node i's gradient of round k.
    """
    n = len(X)
    found = [X]
    for k in range(rounds):
        Z = np.array([quantise(X[i], i, k) for i in range(n)])
        new = np.empty_like(X)
        for i in range(n):
            new[i] = (1 - eps + eps * W[i, i]) * X[i]
            new[i] += eps * sum(W[i, j] * Z[j] for j in range(n) if j != i)
            new[i] -= alpha * eps * gradients[i](X[i], k)
        X = new
        found.append(X)
    return found


def async_gossip(gradients, x, W, heard, *, alpha):
    """Return {(i, k): model of node i before its round k}, all starting from ``x``.

    ``heard[i][k]``: {j: the round after which node i had neighbour j's newest model}.
    """
    n = len(W)
    found = {(i, 0): x for i in range(n)}
    ahead = True
    while ahead:  # whoever has all that its next round needs does it
        ahead = False
        for i in range(n):
            k = max(k for m, k in found if m == i)
            if k == len(heard[i]) or any(
                (j, r + 1) not in found for j, r in heard[i][k].items()
            ):
                continue
            own = found[i, k]
            new = W[i, i] * own - alpha * gradients[i](own, k)
            for j in range(n):
                if j != i and W[i, j]:
                    r = heard[i][k].get(j)
                    new = new + W[i, j] * (x if r is None else found[j, r + 1])
            found[i, k + 1] = new
            ahead = True
    return found


class Sgd:
    """SGD with Nesterov's momentum; weight decay is part of the gradient."""

    def __init__(self, lr, momentum=0.0, weight_decay=0.0):
        self.lr, self.mu, self.decay = lr, momentum, weight_decay
        self.m = 0.0

    def step(self, x, g):
        g = g + self.decay * x
        self.m = self.mu * self.m + g
        return x - self.lr * (g + self.mu * self.m)


class AdamW:
    """Adam with bias correction, and weight decay on the model itself."""

    def __init__(self, lr, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0):
        self.lr, self.b1, self.b2 = lr, beta1, beta2
        self.epsilon, self.decay = epsilon, weight_decay
        self.m, self.v, self.t = 0.0, 0.0, 0

    def step(self, x, g):
        self.t += 1
        self.m = self.b1 * self.m + (1 - self.b1) * g
        self.v = self.b2 * self.v + (1 - self.b2) * g**2
        m = self.m / (1 - self.b1**self.t)
        v = self.v / (1 - self.b2**self.t)
        x = x - self.lr * self.decay * x
        return x - self.lr * m / (np.sqrt(v) + self.epsilon)


INNER = {"sgd": Sgd, "adamw": AdamW}


def local_updates(
    gradients, x, *, inner, H, alpha, mu, beta, compress, reduce, clip, rounds
):
    """Return the last model of local updates; ``inner``: each worker's optimizer."""
    theta = x.astype(np.float64)
    e = [np.zeros_like(theta) for _ in gradients]
    m = np.zeros_like(theta)
    for _ in range(rounds):
        sent = []
        for r, gradient in enumerate(gradients):
            local = theta
            for _ in range(H):
                local = inner[r].step(local, gradient(local))
            e[r] = beta * e[r] + theta - local
            sent.append(compress(e[r]))
            e[r] = e[r] - sent[r]
        if clip == "median":
            norms = [np.linalg.norm(s) for s in sent]
            limit = np.median(norms)
            sent = [s * min(1, limit / n) for s, n in zip(sent, norms, strict=True)]
        by = len(sent) if reduce == "mean" else sum((s != 0) * 1 for s in sent)
        g = sum(sent) / np.maximum(by, 1)
        m = mu * m + g
        theta = theta - alpha * (g + mu * m)
    return theta
