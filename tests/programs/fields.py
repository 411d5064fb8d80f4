"""Finance and fields: a portfolio, a bond, residuals of the heat and Burgers equations."""

import numpy as np

_rng = np.random.default_rng(5)
RETURNS = 0.01 * _rng.normal(size=(40, 5))
TIMES = np.arange(1, 11) * 0.5


def sharpe(weights):
    """Negative Sharpe ratio of a portfolio with softmax weights."""
    w = np.exp(weights - weights.max())
    r = RETURNS @ (w / w.sum())
    return -r.mean() / r.std()


def bond(yields, coupon):
    """Present value with a piecewise linear curve of zero rates."""
    rates = np.concatenate([yields[:1] + (yields[1:2] - yields[:1]) * t for t in TIMES[:5] / 2.5]
                           + [yields[1:2] + (yields[2:] - yields[1:2]) * t for t in TIMES[5:] / 5.0])  # fmt: skip
    flows = coupon * np.ones(10) + 100.0 * np.eye(10)[9]
    return np.sum(flows * np.exp(-rates * TIMES))


def heat(u, conductivity):
    """Residual of an implicit step of the heat equation with fixed ends."""
    flux = np.diff(u) * np.sqrt(conductivity[1:] * conductivity[:-1])
    return np.pad(np.diff(flux), 1) - 0.1 * (u - np.linspace(0.0, 1.0, u.shape[0]))


def burgers(u):
    """Squared residual of the periodic Burgers equation."""
    left, right = np.roll(u, 1), np.roll(u, -1)
    residual = u * (right - left) / 2.0 - 0.05 * (right - 2.0 * u + left)
    return np.sum(residual**2)


def total_variation(image):
    """Smoothed total variation of an image."""
    dx, dy = np.diff(image, axis=1)[:-1], np.diff(image, axis=0)[:, :-1]
    return np.sum(np.sqrt(dx**2 + dy**2 + 1e-3))


PROGRAMS = [
    ("sharpe", sharpe, (_rng.normal(size=5),), 0, True),
    ("bond", bond, (np.array([0.02, 0.025, 0.03]), 3.0), (0, 1), False),
    ("heat", heat, (_rng.normal(size=9), 1.0 + _rng.uniform(size=9)), (0, 1), False),
    ("burgers", burgers, (_rng.normal(size=12),), 0, True),
    ("total_variation", total_variation, (_rng.normal(size=(6, 7)),), 0, False),
]
