"""The same program in two worlds: graphad's control flow, and Python's loops with SciPy's solvers.

A model takes its world as its first argument, so that one text is both what is differentiated
and, run by NumPy and SciPy alone, its own oracle.
"""

from types import SimpleNamespace

import numpy as np
import scipy.integrate
import scipy.linalg
import scipy.optimize
import scipy.special

import graphad as ga


def _scan(f, carry, xs):
    ys = []
    for x in xs:
        carry, y = f(carry, x)
        ys.append(y)
    return carry, None if ys[0] is None else np.stack(ys)


def _fori_loop(lower, upper, body, carry):
    for i in range(lower, upper):
        carry = body(i, carry)
    return carry


def _while_loop(condition, body, carry, max_steps):
    for _ in range(max_steps):
        if not condition(carry):
            break
        carry = body(carry)
    return carry


def _root(f, x0=None, bracket=None):
    if bracket is not None:
        return scipy.optimize.brentq(f, *bracket, xtol=1e-15, rtol=1e-14)
    return scipy.optimize.fsolve(f, x0, xtol=1e-14)


def _fixed_point(f, x):
    for _ in range(2000):
        x = f(x)
    return x


def _odeint(f, y0, ts, rtol, atol):
    found = scipy.integrate.solve_ivp(
        lambda t, y: f(y, t), (ts[0], ts[-1]), y0, "DOP853", ts, rtol=1e-13, atol=1e-13
    )
    return found.y.T


GRAPHAD = SimpleNamespace(
    scan=ga.scan, fori_loop=ga.fori_loop, while_loop=ga.while_loop, cond=ga.cond,
    switch=ga.switch, root=ga.root, fixed_point=ga.fixed_point, odeint=ga.odeint, vmap=ga.vmap,
    special=ga.special, linalg=ga.linalg,
)  # fmt: skip
PLAIN = SimpleNamespace(
    scan=_scan, fori_loop=_fori_loop, while_loop=_while_loop,
    cond=lambda p, a, b, *xs: a(*xs) if p else b(*xs),
    switch=lambda k, branches, *xs: branches[k](*xs),
    root=_root, fixed_point=_fixed_point, odeint=_odeint,
    vmap=lambda f: lambda *xs: np.stack([f(*row) for row in zip(*xs, strict=True)]),
    special=scipy.special, linalg=scipy.linalg,
)  # fmt: skip
