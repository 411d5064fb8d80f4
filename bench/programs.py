"""Twenty small programs, each written once for NumPy's names: `make(np_) -> (f, arguments)`.

They are what people differentiate: losses, simulations, likelihoods, geometry. Used for cold
compiles and for warm calls of their value and gradient.
"""

from __future__ import annotations

import numpy as np

RNG = np.random.default_rng


def rosenbrock(np_):
    def f(x):
        return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()

    return f, (np.linspace(-1, 1, 10),)


def chain(np_):
    def f(x):
        return (np_.tanh(x) * np_.exp(-x * x) + np_.log1p(np_.exp(x))).sum()

    return f, (np.linspace(-2, 2, 1_000_000),)


def network(np_):
    def f(p, x):
        h = x
        for w in p:
            h = np_.tanh(h @ w)
        return (h**2).mean()

    rng = RNG(0)
    shapes = ((64, 256), (256, 256), (256, 10))
    return f, ([rng.normal(size=s) / 8 for s in shapes], rng.normal(size=(512, 64)))


def recurrence(np_):
    def f(w, x):
        h = x
        for _ in range(20):
            h = np_.tanh(w @ h + x)
        return h @ h

    return f, (np.eye(30) * 0.5, np.linspace(-1, 1, 30))


def logistic(np_):
    def f(w, x, y):
        z = x @ w
        return np_.mean(np_.logaddexp(0.0, z) - y * z) + 0.01 * (w @ w)

    rng = RNG(0)
    x = rng.normal(size=(500, 20))
    return f, (rng.normal(size=20), x, (x[:, 0] > 0) * 1.0)


def softmax_regression(np_):
    def f(w, b, x, t):
        z = x @ w + b
        z = z - z.max(axis=1, keepdims=True)
        p = z - np_.log(np_.exp(z).sum(axis=1, keepdims=True))
        return -(p * t).sum() / x.shape[0]

    rng = RNG(0)
    t = np.eye(10)[rng.integers(0, 10, 1000)]
    return f, (rng.normal(size=(50, 10)), np.zeros(10), rng.normal(size=(1000, 50)), t)


def attention(np_):
    def f(q, k, v):
        s = q @ k.T / 8.0
        e = np_.exp(s - s.max(axis=-1, keepdims=True))
        return ((e / e.sum(axis=-1, keepdims=True)) @ v).sum()

    rng = RNG(0)
    return f, tuple(rng.normal(size=(128, 64)) for _ in range(3))


def layer_norm(np_):
    def f(x, g, b):
        m = x.mean(axis=-1, keepdims=True)
        v = ((x - m) ** 2).mean(axis=-1, keepdims=True)
        return ((x - m) / np_.sqrt(v + 1e-5) * g + b).sum() ** 2

    rng = RNG(0)
    return f, (rng.normal(size=(1000, 1000)), rng.normal(size=1000), rng.normal(size=1000))


def mixture(np_):
    def f(mu, log_s, x):
        d = (x[:, None] - mu[None, :]) / np_.exp(log_s)
        e = -0.5 * d * d - log_s
        m = e.max(axis=1)
        return (m + np_.log(np_.exp(e - m[:, None]).sum(axis=1))).sum()

    rng = RNG(0)
    return f, (rng.normal(size=8), rng.normal(size=8) * 0.1, rng.normal(size=20_000))


def pendulum(np_):
    def f(x, k):
        q, p = x[0], x[1]
        for _ in range(50):
            p = p - 0.05 * k * np_.sin(q)
            q = q + 0.05 * p
        return q * q + p * p

    return f, (np.array([1.0, 0.2]), 1.3)


def n_body(np_):
    def f(x):
        d = x[:, None, :] - x[None, :, :]
        r2 = (d * d).sum(axis=-1) + 0.1
        return (1.0 / np_.sqrt(r2)).sum()

    return f, (RNG(0).normal(size=(200, 3)),)


def lennard_jones(np_):
    def f(x):
        d = x[:, None, :] - x[None, :, :]
        r2 = (d * d).sum(axis=-1) + np_.eye(x.shape[0])
        s = 1.0 / r2**3
        return (s * s - s).sum()

    return f, (RNG(0).uniform(0, 5, size=(64, 3)),)


def rotation(np_):
    def f(a, p):
        c, s = np_.cos(a), np_.sin(a)
        x = c[0] * p[:, 0] - s[0] * p[:, 1]
        y = s[0] * p[:, 0] + c[0] * p[:, 1]
        z = p[:, 2] * c[1] + x * s[1]
        return (x * y * z).sum()

    return f, (np.array([0.3, 0.7]), RNG(0).normal(size=(5000, 3)))


def heat(np_):
    def f(u):
        for _ in range(10):
            inner = u[1:-1] + 0.1 * (u[2:] - 2.0 * u[1:-1] + u[:-2])
            u = np_.concatenate([u[:1], inner, u[-1:]])
        return (u * u).sum()

    return f, (np.sin(np.linspace(0, 6, 10_000)),)


def poisson(np_):
    def f(w, x, y):
        eta = x @ w
        return (np_.exp(eta) - y * eta).sum()

    rng = RNG(0)
    return f, (
        rng.normal(size=8) * 0.1,
        rng.normal(size=(10_000, 8)),
        rng.poisson(2.0, 10_000) * 1.0,
    )


def kalman(np_):
    def f(q, r, y):
        m, p, total = 0.0, 1.0, 0.0
        for k in range(20):
            p = p + q
            s = p + r
            e = y[k] - m
            total = total + 0.5 * (np_.log(s) + e * e / s)
            g = p / s
            m = m + g * e
            p = (1.0 - g) * p
        return total

    return f, (0.1, 0.5, np.sin(np.arange(20.0)))


def black_scholes(np_):
    def f(s, k, v):
        d = (np_.log(s / k) + 0.5 * v * v) / v
        e = d - v
        cdf = lambda x: 0.5 * (1.0 + np_.tanh(0.7978845608 * (x + 0.044715 * x**3)))  # noqa: E731
        return (s * cdf(d) - k * cdf(e)).sum()

    rng = RNG(0)
    return f, tuple(rng.uniform(0.5, 1.5, 100_000) for _ in range(3))


def spline(np_):
    def f(c, x):
        t = x - 0.5
        y = c[0] + t * (c[1] + t * (c[2] + t * (c[3] + t * c[4])))
        return np_.mean(np_.abs(y - np_.sin(x)))

    return f, (np.linspace(0.1, 1, 5), np.linspace(0, 1, 100_000))


def ridge(np_):
    def f(w, x, y):
        r = x @ w - y
        return r @ r + np_.sum(w * w)

    rng = RNG(0)
    return f, (rng.normal(size=100), rng.normal(size=(2000, 100)), rng.normal(size=2000))


def gather(np_):
    def f(table, i):
        return (np_.tanh(table[i]) ** 2).sum()

    rng = RNG(0)
    return f, (rng.normal(size=(1000, 16)), rng.integers(0, 1000, 5000))


def scan_of(np_):
    """The scan that belongs to a NumPy: ours, or JAX's."""
    if np_ is np:
        import graphad

        return graphad.scan
    import jax

    return jax.lax.scan


def kalman_scan(np_):
    h = np.array([[1.0, 0.0, 0.5, 0.0], [0.0, 1.0, 0.0, 0.5]])
    q, r = 0.1 * np.eye(4), 0.2 * np.eye(2)
    rng = RNG(0)

    def f(a, zs):
        def step(state, z):
            m, p, total = state
            m, p = a @ m, a @ p @ a.T + q
            s, v = h @ p @ h.T + r, z - h @ m
            gain = np_.linalg.solve(s, h @ p).T
            det = s[0, 0] * s[1, 1] - s[0, 1] * s[1, 0]
            total = total + np_.log(det) + v @ np_.linalg.solve(s, v)
            return (m + gain @ v, p - gain @ h @ p, total), None

        start = (np_.zeros(4), np_.eye(4), 0.0)
        return scan_of(np_)(step, start, zs)[0][2]

    return f, (0.3 * rng.normal(size=(4, 4)), rng.normal(size=(200, 2)))


def recurrent_scan(np_):
    rng = RNG(0)

    def f(w, xs):
        step = lambda c, x: (np_.tanh(w @ c + x), c)  # noqa: E731
        return (scan_of(np_)(step, np_.zeros(64), xs)[1] ** 2).sum()

    return f, (rng.normal(size=(64, 64)) / 8, rng.normal(size=(1000, 64)))


def heat_scan(np_):
    def f(u):
        def step(u, _):
            return u[1:-1] * 0.8 + 0.1 * (u[2:] + u[:-2]), None

        def whole(u, _):
            inner = step(u, None)[0]
            return np_.concatenate([u[:1], inner, u[-1:]]), None

        return (scan_of(np_)(whole, u, None, length=500)[0] ** 2).sum()

    return f, (np.sin(np.linspace(0, 3, 200)),)


LOOPED = {f.__name__: f for f in (kalman_scan, recurrent_scan, heat_scan)}
PROGRAMS = {
    f.__name__: f
    for f in (
        chain, network, rosenbrock, recurrence, logistic, softmax_regression, attention,
        layer_norm, mixture, pendulum, n_body, lennard_jones, rotation, heat, poisson, kalman,
        black_scholes, spline, ridge, gather,
    )
}  # fmt: skip
