"""Inverses of monotone functions of one number, for whole arrays, by bracketed Newton steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import graphad as ga

STEPS = 200  # of Newton or bisection; the bracket alone needs about 60


def slope_of(f: Callable, x, params) -> tuple[Any, Any]:
    """(f(x), df/dx), elementwise."""
    return ga.jvp(lambda v: f(v, *params))(x, tangents=np.ones_like(x))


def solved(f: Callable, y, params=(), domain=(-math.inf, math.inf)):
    """x with f(x, *params) = y, elementwise; f is strictly monotone on the domain.

    Results have the shape and dtype of y; params are whatever f takes, of any shape.

    Each Newton step that leaves the bracket, or that does not halve the last but one, is a
    bisection, so it always converges; in the end it is right to a few units in the last place.
    Derivatives of every order by the implicit function theorem, dx = (dy - f_p dp) / f_x.
    Outside of the range of f the result is nan.
    """

    @ga.custom_derivative
    def inverse(y, params):
        return _search(f, y, params, domain)

    @inverse.define_jvp
    def rule(primals, tangents):
        y, params = primals
        moved, shifts = tangents
        x = inverse(y, params)
        _, slope = slope_of(f, x, params)
        held = ga.jvp(lambda *p: f(x, *p), wrt=tuple(range(len(params))))
        drift = held(*params, tangents=shifts)[1] if params else 0.0
        return x, (moved - drift) / slope

    return inverse(y, tuple(params))


def _search(f, y, params, domain):
    low, high = _bracket(f, y, params, domain)
    first, last = f(low, *params), f(high, *params)
    rising = last >= first
    ok = np.isfinite(y) & (y >= np.minimum(first, last)) & (y <= np.maximum(first, last))
    start = 0.5 * low + 0.5 * high
    eps = float(np.finfo(y.dtype).eps)

    def unfinished(state):
        return np.any(state[-1]) & (state[0] < STEPS)

    def step(state):
        count, x, low, high, last, before, _ = state
        value, slope = slope_of(f, x, params)
        above = np.where(rising, value > y, value < y)
        high, low = np.where(above, x, high), np.where(above, low, x)
        moved = x - (value - y) / slope
        slow = np.abs(moved - x) * 2.0 > before
        middle = 0.5 * low + 0.5 * high
        good = (moved > low) & (moved < high) & ~slow
        new = np.where(value == y, x, np.where(good, moved, middle))
        size = np.abs(new - x)
        busy = (size > eps * np.abs(new)) & (value != y) & (new > low) & (new < high) & ok
        return count + 1, new, low, high, size, last, busy

    wide = np.full_like(start, math.inf)
    state = (0, start, low, high, wide, wide, ok)
    x = ga.while_loop(unfinished, step, state)[1]
    return np.where(ok, x, math.nan)


def _bracket(f, y, params, domain):
    """Two points around the solution, by doubling steps from the middle of the domain."""
    first, last = domain
    center = 0.0
    if math.isfinite(first) and math.isfinite(last):
        return np.full_like(y, first), np.full_like(y, last)
    if math.isfinite(first):
        center = first + 1.0
    elif math.isfinite(last):
        center = last - 1.0
    low, high = np.full_like(y, max(first, center - 1.0)), np.full_like(y, min(last, center + 1.0))
    most = float(np.finfo(y.dtype).max) / 4.0

    def outside(state):
        return np.any(state[-1])

    def grow(state):
        low, high, size, _ = state
        a, b = f(low, *params), f(high, *params)
        rising = b >= a
        below = np.where(rising, a > y, a < y)  # the solution is below low
        above = np.where(rising, b < y, b > y)
        inside = ~below & ~above
        lower = low if first > -math.inf else np.where(below, center - size, low)
        upper = high if last < math.inf else np.where(above, center + size, high)
        # What was an end is on the other side of the solution now.
        new_low = np.where(above & (upper != high), high, lower)
        new_high = np.where(below & (lower != low), low, upper)
        busy = ~inside & (size < most) & ((new_low != low) | (new_high != high))
        return new_low, new_high, size * 2.0, busy

    state = (low, high, np.full((), 2.0, y.dtype), np.isfinite(y))
    return ga.while_loop(outside, grow, state)[:2]


def points(domain, count: int = 2001) -> np.ndarray:
    """Points of a domain: dense near its middle and its ends, and far out."""
    first, last = domain
    far = np.concatenate([np.linspace(0.0, 10.0, count), np.geomspace(10.0, 1e6, 200)])
    near = np.concatenate([np.geomspace(1e-6, 0.1, 200), np.linspace(0.1, 10.0, count),
                           np.geomspace(10.0, 1e6, 200)])  # fmt: skip
    if math.isfinite(first) and math.isfinite(last):
        t = np.linspace(0.0, 1.0, count + 2)[1:-1]
        found = np.concatenate([first + (last - first) * t])
    elif math.isfinite(first):
        found = first + near
    elif math.isfinite(last):
        found = last - near
    else:
        found = np.concatenate([-far, far])
    return np.unique(found)
