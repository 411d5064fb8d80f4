"""Likelihoods: regressions, a Gaussian mixture, a scalar Kalman filter."""

import numpy as np

_rng = np.random.default_rng(2)
X = _rng.normal(size=(30, 4))
Y = (X @ np.array([1.0, -2.0, 0.5, 0.0]) + _rng.normal(size=30) > 0).astype(float)
COUNTS = _rng.poisson(2.0, 30).astype(float)


def logsumexp(a, axis):
    top = a.max(axis=axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.sum(np.exp(a - top), axis=axis))


def logistic_regression(w):
    z = X @ w
    return np.mean(np.logaddexp(0.0, z) - Y * z) + 0.01 * w @ w


def poisson_regression(params):
    rate = np.exp(X @ params["w"] + params["b"])
    return np.sum(rate - COUNTS * np.log(rate))


def ridge(w, strength):
    return np.sum((X @ w - COUNTS) ** 2) + strength * np.linalg.norm(w) ** 2


def mixture(alphas, means, log_scales):
    """Mean log-likelihood of a mixture of diagonal Gaussians."""
    z = (X[:, None, :] - means[None]) * np.exp(-log_scales)[None]
    inner = -0.5 * np.sum(z**2, axis=2) - np.sum(log_scales, axis=1) - 2.0 * np.log(2 * np.pi)
    return np.mean(logsumexp(inner + alphas - logsumexp(alphas, 0), 1))


def kalman(log_q, log_r):
    """Negative log-likelihood of a local-level model, filtered step by step."""
    mean, variance, total = 0.0, 10.0, 0.0
    for y in COUNTS[:12]:
        variance = variance + np.exp(log_q)
        s = variance + np.exp(log_r)
        total = total + 0.5 * (np.log(2 * np.pi * s) + (y - mean) ** 2 / s)
        gain = variance / s
        mean = mean + gain * (y - mean)
        variance = (1.0 - gain) * variance
    return total


PROGRAMS = [
    ("logistic_regression", logistic_regression, (_rng.normal(size=4),), 0, True),
    ("poisson_regression", poisson_regression, ({"w": _rng.normal(size=4) * 0.1, "b": 0.2},), 0, False),
    ("ridge", ridge, (_rng.normal(size=4), 0.3), (0, 1), True),
    ("mixture", mixture, (_rng.normal(size=3), _rng.normal(size=(3, 4)), 0.1 * _rng.normal(size=(3, 4))), (0, 1, 2), False),
    ("kalman", kalman, (-0.5, 0.3), ("log_q", "log_r"), True),
]  # fmt: skip
