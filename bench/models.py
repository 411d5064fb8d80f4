"""Rows with loops, solves, sorting and special functions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.special

import graphad as ga
from bench.measure import Row
from bench.peers import jax_job, module, torch_gradient
from bench.programs import LOOPED, scan_of

RNG = np.random.default_rng


def _pair(name, f, args, target, tolerance=1e-8, wrt=0) -> Row:
    """Value and gradient of f(np_, *args), graphad and JAX."""
    jax = module("jax")
    g = ga.value_and_grad(lambda *a: f(np, *a), wrt=wrt)
    jobs = {"graphad": lambda: g(*args)}
    if jax:
        h = jax.value_and_grad(lambda *a: f(jax.numpy, *a), argnums=wrt)
        jobs["jax"] = jax_job(h, *args)
    return Row(name, jobs, tolerance, target=target)


# -- loops -----------------------------------------------------------------------------------------
def recurrent(np_, w, xs):
    """The squares of the states of a recurrent layer, summed."""
    start = np_.zeros(w.shape[0])
    _, ys = scan_of(np_)(lambda c, x: (np_.tanh(w @ c + x), c), start, xs)
    return (ys**2).sum()


def lstm(np_, main, extra, sequence):
    """ADBench's LSTM: two layers of elementwise gates; minus the log-likelihood of the sequence."""
    b = sequence.shape[1]

    def layer(weight, bias, hidden, cell, x):
        gates = np_.concatenate([x, x, hidden, hidden]) * weight + bias
        forget, inner, outer = (
            1.0 / (1.0 + np_.exp(-gates[k * b : (k + 1) * b])) for k in range(3)
        )
        cell = cell * forget + inner * np_.tanh(gates[3 * b :])
        return outer * np_.tanh(cell), cell

    def step(state, pair):
        x, gold = pair
        x = x * extra[0]
        new = []
        for k in range(2):
            hidden, cell = layer(main[2 * k], main[2 * k + 1], state[2 * k], state[2 * k + 1], x)
            new += [hidden, cell]
            x = hidden
        y = x * extra[1] + extra[2]
        y = y - np_.log(np_.exp(y).sum() + 2.0)
        return tuple(new), (gold * y).sum()

    start = tuple(np_.zeros(b) for _ in range(4))
    _, terms = scan_of(np_)(step, start, (sequence[:-1], sequence[1:]))
    return -terms.sum() / (b * (sequence.shape[0] - 1))


def loops() -> list[Row]:
    """Scans with their gradients, and an ODE fit."""
    rng = RNG(0)
    w, xs = rng.normal(size=(64, 64)) / 8, rng.normal(size=(1000, 64))
    rows = [_pair("scan, 1000 steps of 64 states", recurrent, (w, xs), 0.4, wrt=(0, 1))]
    args = LOOPED["kalman_scan"](np)[1]
    rows.append(_pair("Kalman filter, 200 steps",
                      lambda np_, *a: LOOPED["kalman_scan"](np_)[0](*a), args, 0.3))  # fmt: skip
    b = 14
    data = (rng.normal(size=(4, 4 * b)), rng.normal(size=(3, b)),
            (rng.uniform(size=(1024, b)) > 0.5).astype(float))  # fmt: skip
    rows.append(_pair("LSTM gradient, 1024 steps", lstm, data, 0.5, wrt=(0, 1)))
    rows.append(ode())
    return rows


def ode() -> Row:
    """The fit of a predator-prey model to 50 points: value and gradient in four parameters."""
    ts, y0 = np.linspace(0.0, 10.0, 50), np.array([10.0, 5.0])
    p = np.array([1.5, 1.0, 3.0, 1.0])

    def slope(np_):
        return lambda y, t, p: np_.stack(
            [p[0] * y[0] - p[1] * y[0] * y[1], -p[2] * y[1] + p[3] * y[0] * y[1]]
        )

    data = ga.odeint(slope(np), y0, ts, p * 1.01)
    options = {"rtol": 1e-6, "atol": 1e-6}
    g = ga.value_and_grad(
        lambda p: ((ga.odeint(slope(np), y0, ts, p, **options) - data) ** 2).sum()
    )
    jobs = {"graphad": lambda: g(p)}
    jax = module("jax")
    if jax:
        from jax.experimental.ode import odeint

        f = slope(jax.numpy)
        start, times, goal = (jax.numpy.asarray(a) for a in (y0, ts, data))
        jobs["jax"] = jax_job(jax.value_and_grad(
            lambda p: ((odeint(f, start, times, p, **options) - goal) ** 2).sum()), p)  # fmt: skip
        diffrax = module("diffrax")
        if diffrax:
            term = diffrax.ODETerm(lambda t, y, p: f(y, t, p))

            def loss(p):
                out = diffrax.diffeqsolve(
                    term, diffrax.Dopri5(), 0.0, 10.0, None, start, args=p, max_steps=4096,
                    saveat=diffrax.SaveAt(ts=times),
                    stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6),
                )  # fmt: skip
                return ((out.ys - goal) ** 2).sum()

            jobs["diffrax"] = jax_job(jax.value_and_grad(loss), p)
    return Row("ODE fit, predators and prey", jobs, 1e-2, target=0.5)


# -- linear algebra --------------------------------------------------------------------------------
def gaussian_process(np_, theta, x, y):
    """Minus the log-likelihood of a Gaussian process with a squared exponential kernel."""
    gap = (x[:, None] - x[None, :]) / theta[0]
    k = theta[1] ** 2 * np_.exp(-0.5 * gap * gap) + theta[2] ** 2 * np_.eye(x.shape[0])
    low = np_.linalg.cholesky(k)
    a = np_.linalg.solve(k, y)
    return 0.5 * (y @ a) + np_.log(np_.diagonal(low)).sum()


def linear_algebra() -> list[Row]:
    """A Gaussian process, and batches of small solves and factorisations, with gradients."""
    rng = RNG(0)
    x = np.sort(rng.uniform(size=200))
    y = np.sin(6 * x) + 0.1 * rng.normal(size=200)
    rows = [_pair("Gaussian process, n = 200", gaussian_process, (np.array([0.3, 1.0, 0.2]), x, y),
                  0.8)]  # fmt: skip
    beside = _pair("Gaussian process, n = 200, on busy cores", gaussian_process,
                   (np.array([0.3, 1.0, 0.2]), x, y), 1.0)  # fmt: skip
    rows.append(replace(beside, busy=True))
    n = 100_000
    a, b = rng.normal(size=(n, 3, 3)) + 3 * np.eye(3), rng.normal(size=(n, 3, 1))
    rows.append(_pair("100,000 solves of 3 x 3",
                      lambda np_, a, b: (np_.linalg.solve(a, b) ** 2).sum(), (a, b), 0.3,
                      wrt=(0, 1)))  # fmt: skip
    s = rng.normal(size=(n, 4, 4))
    s = s @ np.swapaxes(s, 1, 2) + np.eye(4)

    def factors(np_, s):  # of the symmetric part: the peers differ in which half they read
        return (np_.linalg.cholesky(0.5 * (s + np_.swapaxes(s, 1, 2))) ** 3).sum()

    rows.append(_pair("100,000 Cholesky factors of 4 x 4", factors, (s,), 0.3))
    return rows


# -- order and sums along an axis ------------------------------------------------------------------
def sequences() -> list[Row]:
    """sort, cumsum and convolve of 10⁶ elements, with gradients."""
    rng = RNG(0)
    x, k = rng.normal(size=1_000_000), rng.normal(size=64)
    w = np.linspace(0.0, 1.0, len(x))
    torch = module("torch")
    jobs = {
        "sort": (lambda np_, x, w: (np_.sort(x) * w).sum(), (x, w)),
        "cumsum": (lambda np_, x, w: (np_.cumsum(x) * w).sum(), (x, w)),
        "convolve": (lambda np_, x, k: (np_.convolve(x, k, mode="valid") ** 2).sum(), (x, k)),
    }
    rows = []
    for name, (f, args) in jobs.items():
        row = _pair(f"{name} with gradient, 10⁶", f, args, 0.8, wrt=(0, 1))
        if torch and name != "convolve":
            g = torch.sort if name == "sort" else torch.cumsum
            whole = (lambda x, w, g=g: (g(x)[0] * w).sum()) if name == "sort" else (
                lambda x, w, g=g: (g(x, 0) * w).sum())  # fmt: skip
            row.jobs["torch"] = torch_gradient(whole, *args)["torch"]
        rows.append(row)
    return rows


# -- special functions -----------------------------------------------------------------------------
SPECIAL = {
    "erf": "normal", "erfc": "normal", "erfinv": "sign", "ndtr": "normal", "ndtri": "unit",
    "log_ndtr": "normal", "expit": "normal", "logit": "unit", "gammaln": "positive",
    "digamma": "positive", "i0e": "normal", "i1e": "normal", "entr": "unit", "xlogy": "pair",
    "betaln": "pair", "rel_entr": "pair",
}  # fmt: skip


def special() -> list[Row]:
    """Special functions of 10⁶ elements, and their derivatives."""
    jax = module("jax")
    rng = RNG(0)
    n = 1_000_000
    kinds = {"normal": 2 * rng.normal(size=n), "sign": rng.uniform(-0.99, 0.99, n),
             "unit": rng.uniform(0.01, 0.99, n), "positive": rng.uniform(0.1, 20, n),
             "pair": rng.uniform(0.1, 5, n)}  # fmt: skip
    rows = []
    for name, kind in SPECIAL.items():
        args = (kinds[kind],) * (2 if kind == "pair" else 1)
        args = (args[0], args[0][::-1].copy()) if kind == "pair" else args
        ufunc = getattr(scipy.special, name)
        f = ga.function(lambda *a, f=ufunc: f(*a))
        g = ga.grad(lambda *a, f=ufunc: f(*a).sum())
        value = {"graphad": lambda f=f, a=args: f(*a), "scipy": lambda f=ufunc, a=args: f(*a)}
        slope = {"graphad": lambda g=g, a=args: g(*a)}
        if jax:
            peer = getattr(jax.scipy.special, name)
            value["jax"] = jax_job(peer, *args)
            slope["jax"] = jax_job(jax.grad(lambda *a, f=peer: f(*a).sum()), *args)
        rows.append(Row(f"{name}", value, 1e-9, target=0.5))
        rows.append(Row(f"derivative of {name}", slope, 1e-9, target=0.5))
    return rows


GROUPS = {
    "loops": loops,
    "linear_algebra": linear_algebra,
    "sequences": sequences,
    "special": special,
}
