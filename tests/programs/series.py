"""Models of sequences: filters, chains, volatility, alignments, trees of prices."""

import numpy as np

_rng = np.random.default_rng(11)
OBSERVED = _rng.normal(size=(15, 2)).cumsum(0)
RETURNS = 0.02 * _rng.normal(size=40)
SYMBOLS = _rng.integers(0, 3, 20)
LEFT, RIGHT = _rng.normal(size=6).cumsum(), _rng.normal(size=7).cumsum()
STATES = np.eye(4) + np.eye(4, k=2)
SEEN = np.eye(4)[:2]


def kalman_filter(world, log_q, log_r):
    """Negative log-likelihood of a target with constant velocity in the plane."""
    q, r = np.exp(log_q) * np.eye(4), np.exp(log_r) * np.eye(2)

    def step(carry, y):
        mean, cov, total = carry
        mean, cov = STATES @ mean, STATES @ cov @ STATES.T + q
        s = SEEN @ cov @ SEEN.T + r
        miss = y - SEEN @ mean
        gain = np.linalg.solve(s, SEEN @ cov).T
        total = total + 0.5 * (miss @ np.linalg.solve(s, miss) + np.linalg.slogdet(s)[1])
        return (mean + gain @ miss, cov - gain @ SEEN @ cov, total), None

    return world.scan(step, (np.zeros(4), 10.0 * np.eye(4), 0.0), OBSERVED)[0][2]


def hidden_markov(world, transition, emission):
    """Log-probability of symbols by the forward algorithm, in logarithms."""
    log_t = world.special.log_softmax(transition, axis=1)
    log_e = world.special.log_softmax(emission, axis=1).T

    def step(alpha, row):
        return world.special.logsumexp(alpha[:, None] + log_t, axis=0) + row, None

    rows = log_e[SYMBOLS]
    alpha, _ = world.scan(step, rows[0] - np.log(4.0), rows[1:])
    return world.special.logsumexp(alpha)


def garch(world, params):
    """Negative log-likelihood of a GARCH(1, 1) with a logistic bound on its persistence."""
    omega, total = np.exp(params[0]), world.special.expit(params[1])
    alpha = total * world.special.expit(params[2])

    def step(variance, r):
        after = omega + alpha * r**2 + (total - alpha) * variance
        return after, 0.5 * (np.log(variance) + r**2 / variance)

    return world.scan(step, omega / (1.0 - total), RETURNS)[1].sum()


def soft_alignment(world, scale):
    """Soft dynamic time warping of two series, a row at a time."""
    cost = scale * (LEFT[:, None] - RIGHT[None, :]) ** 2

    def soft_min(a, b, c):
        return -np.log(np.exp(-a) + np.exp(-b) + np.exp(-c))

    def row(above, now):
        def cell(carry, x):
            corner, left = carry
            here = x[1] + soft_min(corner, x[0], left)
            return (x[0], here), here

        _, out = world.scan(cell, (above[0], 1e2), np.stack([above[1:], now], 1))
        return np.concatenate([np.full(1, 1e2), out]), None

    start = np.concatenate([np.zeros(1), np.full(len(RIGHT), 1e2)])
    return world.scan(row, start, cost)[0][-1]


def american_put(world, volatility, rate):
    """Cox, Ross and Rubinstein's tree with early exercise, rolled back by a loop."""
    n, dt = 12, 1.0 / 12
    up = np.exp(volatility * np.sqrt(dt))
    p = (np.exp(rate * dt) - 1.0 / up) / (up - 1.0 / up)
    powers = np.arange(-n, n + 1)
    value = np.maximum(1.0 - 0.97 * up**powers, 0.0)

    def back(value, _):
        held = np.exp(-rate * dt) * (p * value[2:] + (1.0 - p) * value[:-2])
        middle = np.maximum(held, 1.0 - 0.97 * up ** powers[1:-1])
        return np.concatenate([value[:1], middle, value[-1:]]), None

    return world.scan(back, value, np.zeros(n))[0][n]


def echo_state(world, w, leak):
    """A leaky recurrent network whose read-out is fitted by ridge regression."""

    def step(h, x):
        h = (1.0 - leak) * h + leak * np.tanh(w @ h + x[0])
        return h, h

    states = world.scan(step, np.zeros(3), OBSERVED)[1]
    readout = np.linalg.solve(states.T @ states + 0.1 * np.eye(3), states.T @ OBSERVED[:, 1])
    return np.mean((states @ readout - OBSERVED[:, 1]) ** 2)


MODELS = [
    ("kalman_filter", kalman_filter, (-1.0, -0.5)),
    ("hidden_markov", hidden_markov, (_rng.normal(size=(4, 4)), _rng.normal(size=(4, 3)))),
    ("garch", garch, (np.array([-9.0, 1.0, -1.0]),)),
    ("soft_alignment", soft_alignment, (0.3,)),
    ("american_put", american_put, (0.31, 0.04)),
    ("echo_state", echo_state, (0.5 * _rng.normal(size=(3, 3)), 0.4)),
]
