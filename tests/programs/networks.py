"""Networks: an MLP with layer norm, attention, a convolution, an unrolled recurrence, an LSTM."""

import numpy as np

_rng = np.random.default_rng(4)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def layer_norm(x, gain, bias):
    centred = x - x.mean(axis=-1, keepdims=True)
    return gain * centred / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5) + bias


def mlp(params, x):
    for w, b in params[:-1]:
        x = layer_norm(np.tanh(x @ w + b), 1.0, 0.0)
    w, b = params[-1]
    return np.sum((x @ w + b) ** 2)


def attention(q, k, v):
    scores = np.einsum("bqd,bkd->bqk", q, k) / np.sqrt(q.shape[-1])
    return np.sum(np.einsum("bqk,bkd->bqd", softmax(scores), v) ** 2)


def convolution(image, kernel):
    """A valid correlation of an image with a 3 x 3 kernel, then a rectifier and a mean pool."""
    n, m = image.shape
    out = sum(
        kernel[i, j] * image[i : n - 2 + i, j : m - 2 + j] for i in range(3) for j in range(3)
    )
    out = np.maximum(out, 0.0)
    return (out.reshape(3, 2, 3, 2).mean(axis=(1, 3)) ** 2).sum()


def recurrent(w, u, xs):
    h = np.zeros(w.shape[0])
    for x in xs:
        h = np.tanh(w @ h + u @ x)
    return h @ h


def lstm(weights, xs):
    """One LSTM layer, gates in one product."""
    n = weights.shape[1] // 4
    h, c = np.zeros(n), np.zeros(n)
    for x in xs:
        gates = np.concatenate([x, h]) @ weights
        i, f, o = (1.0 / (1.0 + np.exp(-gates[k * n : (k + 1) * n])) for k in range(3))
        c = f * c + i * np.tanh(gates[3 * n :])
        h = o * np.tanh(c)
    return np.sum(h * c)


_layers = [
    (_rng.normal(size=(6, 5)), _rng.normal(size=5)),
    (_rng.normal(size=(5, 3)), _rng.normal(size=3)),
]
PROGRAMS = [
    ("mlp", mlp, (_layers, _rng.normal(size=(8, 6))), 0, False),
    ("attention", attention, tuple(_rng.normal(size=(2, 5, 4)) for _ in range(3)), (0, 1, 2), False),
    ("convolution", convolution, (_rng.normal(size=(8, 8)), _rng.normal(size=(3, 3))), (0, 1), False),
    ("recurrent", recurrent, (0.5 * _rng.normal(size=(4, 4)), _rng.normal(size=(4, 3)), _rng.normal(size=(6, 3))), (0, 1), False),
    ("lstm", lstm, (0.5 * _rng.normal(size=(7, 16)), _rng.normal(size=(5, 3))), (0, 1), False),
]  # fmt: skip
