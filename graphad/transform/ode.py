"""Ordinary differential equations: `odeint`, adaptive Dormand and Prince's 5(4) pair.

The coefficients are those of J. R. Dormand and P. J. Prince, A family of embedded Runge-Kutta
formulae (J. Comp. Appl. Math. 6, 1980); dense output by the quartic of L. F. Shampine, Some
practical Runge-Kutta formulas (Math. Comp. 46, 1986).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphad.errors import ShapeError, TraceError
from graphad.ops.indexing import index as indexed
from graphad.ops.value import lift, reshape
from graphad.spec import size_of
from graphad.trace import pytree
from graphad.transform.control import TracedLoop, eager, like_of, scan
from graphad.transform.derivatives import vjp
from graphad.transform.parts import custom_derivative, stop_gradient
from graphad.transform.selection import tensors

# Nodes and weights of the stages; the last stage is the result, so its slope starts the next step.
NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
# Fifth order less fourth.
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
# Twice the weights of the slopes for the value in the middle of a step.
MIDDLE = (
    6025192743 / 30085553152, 0.0, 51252292925 / 65400821598, -2691868925 / 45128329728,
    187940372067 / 1594534317056, -1776094331 / 19743644256, 11237099 / 235043384,
)  # fmt: skip
SAFETY, LEAST, MOST = 0.9, 0.2, 10.0
ADJOINTS = ("discrete", "continuous")


def odeint(
    f: Callable,
    y0,
    ts,
    *args,
    rtol: float = 1.4e-8,
    atol: float = 1.4e-8,
    max_steps: int = 4096,
    adjoint: str = "discrete",
):
    """The solution of dy/dt = f(y, t, *args), y(ts[0]) = y0, at the times ts.

    Args:
        f: (y, t, *args) -> dy/dt, shaped as y, any pytree of floats.
        y0: the start.
        ts: increasing (or decreasing) times, shape (n,).
        args: parameters, pytrees of floats. With the continuous adjoint derivatives are taken with
            respect to y0, ts and these; with the discrete one also to what f uses from around it.
        rtol, atol: the error allowed in a step is atol + rtol |y|.
        max_steps: at most so many steps; beyond them the results are nan. The discrete adjoint
            keeps the states of as many.
        adjoint: 'discrete' differentiates the steps that were taken (exact for them, to every
            order, both modes); 'continuous' solves the adjoint equation backward (reverse mode
            only, memory independent of the steps).

    Returns y at the times: each leaf with a first axis of n.

    >>> import numpy as np
    >>> y = odeint(lambda y, t: -y, 1.0, np.array([0.0, 1.0, 2.0]))
    >>> bool(np.abs(y - np.exp([0.0, -1.0, -2.0])).max() < 1e-7)
    True
    """
    if adjoint not in ADJOINTS:
        raise TraceError("odeint", "unknown adjoint", expected="'discrete' or 'continuous'",
                         got=repr(adjoint), fix="adjoint='discrete'")  # fmt: skip
    options = {"rtol": rtol, "atol": atol, "max_steps": max_steps, "adjoint": adjoint}
    like = like_of(y0, ts, args)
    if like is None:
        run = eager(lambda f, y0, ts, *args: odeint(f, y0, ts, *args, **options), f, "odeint",
                     *options.values())  # fmt: skip
        return run(y0, ts, *args)
    times = tensors([lift(like, ts, "odeint")])[0]
    if times.ndim != 1 or times.shape[0] == 0:
        raise ShapeError("odeint", "the times need one axis, not empty", expected="shape (n,)",
                         got=str(times.shape), fix="np.ravel(ts)")  # fmt: skip
    leaves, tree = pytree.flatten(y0)
    values = [lift(like, v, "odeint") for v in leaves]
    shapes = [v.shape for v in values]
    sizes = [size_of(s) for s in shapes]
    ends = np.cumsum(sizes).tolist()

    def state(flat) -> Any:
        parts = [reshape(indexed(flat, slice(e - n, e)), s)
                 for e, n, s in zip(ends, sizes, shapes, strict=True)]  # fmt: skip
        return pytree.unflatten(tree, tensors(parts))

    def joined(values) -> Any:
        parts: Any = tensors(values)
        return np.concatenate([np.reshape(v, -1) for v in parts])

    def flattened(y) -> Any:
        parts, out_tree = pytree.flatten(y)
        parts = [lift(like, p, "odeint") for p in parts]
        if out_tree != tree or [p.shape for p in parts] != shapes:
            raise ShapeError("odeint", "f returns another structure or shape than y",
                             expected=f"{tree} of {shapes}",
                             got=f"{out_tree} of {[p.shape for p in parts]}",
                             fix="return dy/dt shaped as y")  # fmt: skip
        return joined(parts)

    def slope(flat, t, *args):
        return flattened(f(state(flat), t, *args))

    start = joined(values) * 1.0
    solve = _discrete if adjoint == "discrete" else _continuous
    rows: Any = solve(slope, start, times, args, rtol, atol, max_steps)
    n = times.shape[0]
    parts = [reshape(indexed(rows, (slice(None), slice(e - k, e))), (n, *s))
             for e, k, s in zip(ends, sizes, shapes, strict=True)]  # fmt: skip
    return pytree.unflatten(tree, tensors(parts))


# -- one step --------------------------------------------------------------------------------------
def _norm(error, y0, y1, rtol, atol):
    """The root mean square of the error over what is allowed."""
    allowed = atol + rtol * np.maximum(np.abs(y0), np.abs(y1))
    return np.sqrt(np.mean((error / allowed) ** 2))


def _weighted(weights, slopes):
    total = None
    for w, k in zip(weights, slopes, strict=False):
        if w:
            total = k * w if total is None else total + k * w
    return total


def _step(f, y, t, h, k1):
    """(value after a step, all slopes)."""
    slopes = [k1]
    new = y
    for node, weights in zip(NODES, STAGES, strict=True):
        new = y + h * _weighted(weights, slopes)
        slopes.append(f(new, t + node * h))
    return new, slopes


def _first_step(f, y, t, k1, rtol, atol):
    """A step whose error should be small (E. Hairer, S. P. Norsett and G. Wanner, Solving Ordinary
    Differential Equations I, II.4)."""
    scale = atol + rtol * np.abs(y)
    d0, d1 = (np.sqrt(np.mean((v / scale) ** 2)) for v in (y, k1))
    tiny = (d0 < 1e-5) | (d1 < 1e-5)
    h0 = np.where(tiny, 1e-6, 0.01 * d0 / np.where(d1 == 0.0, 1.0, d1))
    k2 = f(y + h0 * k1, t + h0)
    d2 = np.sqrt(np.mean(((k2 - k1) / scale) ** 2)) / h0
    most = np.maximum(d1, d2)
    h1 = np.where(most <= 1e-15, np.maximum(1e-6, h0 * 1e-3),
                  (0.01 / np.where(most == 0.0, 1.0, most)) ** 0.2)  # fmt: skip
    return np.minimum(100.0 * h0, h1)


def _quartic(y0, y1, slopes, h):
    """The polynomial of a step, of the share of it that has passed: coefficients, highest first."""
    middle = y0 + 0.5 * h * _weighted(MIDDLE, slopes)
    d0, d1 = slopes[0], slopes[-1]
    a = -2.0 * h * d0 + 2.0 * h * d1 - 8.0 * y0 - 8.0 * y1 + 16.0 * middle
    b = 5.0 * h * d0 - 3.0 * h * d1 + 18.0 * y0 + 14.0 * y1 - 32.0 * middle
    c = -4.0 * h * d0 + h * d1 - 11.0 * y0 - 5.0 * y1 + 16.0 * middle
    return a, b, c, h * d0, y0


# -- the discrete adjoint: the steps are a loop that is differentiated -----------------------------
def _discrete(f, y0, ts, args, rtol, atol, max_steps):
    # Time runs from 0 to 1 between the ends, so decreasing times need nothing of their own.
    first, last = ts[0], ts[-1]
    span = last - first

    def slope(y, s):
        return f(y, first + s * span, *args) * span

    k1 = slope(y0, 0.0)
    fixed = stop_gradient
    h0 = _first_step(lambda y, s: fixed(slope(y, s)), fixed(y0), 0.0, fixed(k1), rtol, atol)
    h0 = np.minimum(h0, 1.0)

    def step(carry, _):
        y, s, h, k = carry
        h = fixed(np.minimum(h, 1.0 - s))
        new, slopes = _step(slope, y, s, h, k)
        error = _norm(fixed(h * _weighted(ERROR, slopes)), fixed(y), fixed(new), rtol, atol)
        good = error <= 1.0
        factor = SAFETY * np.where(error == 0.0, MOST, np.where(error == 0.0, 1.0, error) ** -0.2)
        factor = np.clip(factor, LEAST, np.where(good, MOST, 1.0))
        end = np.where(good, np.where(h >= 1.0 - s, 1.0, s + h), s)
        row = (s, h, end, 0.0 * h + 1.0, *_quartic(y, new, slopes, h))
        slope_there = np.where(good, slopes[-1], k)
        return (np.where(good, new, y), end, h * factor, slope_there), row

    loop = TracedLoop(y0, "odeint", (y0, 0.0 * h0, h0, k1))
    # h that shrinks to nothing, or becomes nan, ends the loop.
    carry, rows = loop.steps(step, [], max_steps, condition=lambda c: (c[1] < 1.0) & (c[2] > 1e-14))
    starts, widths, ends, taken, *quartic = rows
    done = carry[1] >= 1.0
    # The step of each time is the first that ends there or later. Steps that were tried again end
    # where they began; rows beyond the last step are 0.
    passed = (ts - first) / np.where(span == 0.0, 1.0, span)
    place = np.searchsorted(np.where(taken > 0.0, ends, np.inf), fixed(passed))
    place = np.minimum(place, max_steps - 1)
    width = np.take(widths, place)
    u = passed - np.take(starts, place)
    u = (u / np.where(width == 0.0, 1.0, width))[:, None]
    a, b, c, d, e = (np.take(q, place, axis=0) for q in quartic)
    out = (((a * u + b) * u + c) * u + d) * u + e
    out = np.where(np.arange(ts.shape[0])[:, None] == 0, y0, out)
    return np.where(done | (span == 0.0), out, np.nan)


# -- the continuous adjoint ------------------------------------------------------------------------
def _continuous(f, y0, ts, args, rtol, atol, max_steps):
    """a' = -a df/dy backward in time, with the state beside it (L. S. Pontryagin et al., 1962)."""

    @custom_derivative
    def solved(y0, ts, args):
        return stop_gradient(_discrete(f, y0, ts, args, rtol, atol, max_steps))

    @solved.define_vjp
    def rule(primals, outputs, cotangents):
        y0, ts, args = primals
        ys, g = outputs, cotangents
        flat, tree = pytree.flatten(args)
        pull = vjp(lambda y, t, args: f(y, t, *args), wrt=(0, 1, 2))

        def backward(packed, s, span, last):
            # One interval: state, adjoint, and the integrals of the adjoint with the parameters.
            y, a = packed[0], packed[1]
            value, (gy, gt, gp) = pull(y, last + s * span, args, cotangents=a)
            return (value * span, -gy * span, -gt * span,
                    *[-p * span for p in pytree.flatten(gp)[0]])  # fmt: skip

        def interval(carry, row):
            a, sums = carry
            y, g_y, t0, t1 = row
            end = f(y, t1, *args)
            a = a + g_y
            g_t1 = np.sum(g_y * end)
            start = (y, a, np.zeros(()), *[np.zeros(v.shape) + 0.0 * v for v in flat])
            out = odeint(lambda p, s: backward(p, s, t0 - t1, t1), start, np.array([0.0, 1.0]),
                         rtol=rtol, atol=atol, max_steps=max_steps)  # fmt: skip
            moved = [v[-1] for v in out]
            return (moved[1], [s + m for s, m in zip(sums, moved[3:], strict=True)]), g_t1

        zeros = [0.0 * v for v in flat]
        rows = (ys[1:], g[1:], ts[:-1], ts[1:])
        (a, sums), g_ts = scan(interval, (0.0 * y0, zeros), rows, reverse=True)
        g_first = -np.sum(a * f(y0, ts[0], *args))
        a = a + g[0]
        return a, np.concatenate([g_first[None], g_ts]), pytree.unflatten(tree, sums)

    return solved(y0, ts, args)
