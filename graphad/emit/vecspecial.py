"""Bodies of special functions in plain arithmetic, as those of vecmath.py.

The logistic function and its kin, the error function and the normal distribution.
"""

from __future__ import annotations

import math

from graphad.emit.real import DOUBLE, Pair, Real, quick_two_sum, quotient, two_product, two_sum
from graphad.emit.vecmath import (
    BODIES,
    atanh,
    clamped,
    constant,
    exp,
    halves,
    log,
    log1p,
    numbers,
    polynomial,
    reduced_pair,
    tail_of_exp,
    whole_part,
)


# -- the logistic function and its kin -------------------------------------------------------------
def expit(x: Real) -> Real:
    """1 / (1 + e**-x), from e**-|x|."""
    e = exp(-x.magnitude())
    return (x.like(1.0).where(x >= 0.0, e)) / (1.0 + e)


def softplus(x: Real) -> Real:
    """log(1 + e**x) = max(x, 0) + log1p(e**-|x|)."""
    rest = log1p(exp(-x.magnitude()))
    return (x + x).where(x.unordered(x), x.like(0.0).where(x < 0.0, x) + rest)


def logit(p: Real) -> Real:
    """log(p / (1 - p)); 2 atanh(2p - 1) near 1/2, where that loses no bits."""
    near = (p - 0.5).magnitude() < 0.25
    inner = p.like(0.25).where(near, 0.0)
    return (2.0 * atanh((p + p - 1.0).where(near, inner))).where(near, log(p / (1.0 - p)))


# -- the error function ----------------------------------------------------------------------------
def _erfc_of_size(a: Real, below: Real | None = None) -> Real:
    """erfc(a + below) for a >= 0: e**-a² times a polynomial in (a - 4) / (a + 4), over 1 + 2a.

    The form is N. Juffa's (erfcx in CUDA's library, 2013), the polynomial our own.
    """
    top = 30.0 if a.f is DOUBLE else 12.0
    a = a.like(top).where(a > top, a)
    square = two_product(a, a)
    if below is not None:
        square = Pair(square.high, (a + a).fma(below, square.low))
    q = (a - 4.0) / (a + 4.0)
    first, *others = numbers(a, "ERFCX")
    rest = two_product(q, polynomial(q, others))
    n = quick_two_sum(a.like(first), rest.high)
    p = quotient(Pair(n.high, n.low + rest.low), two_sum(a + a, a.like(1.0)))
    t, r, low = reduced_pair(clamped(-square.high))
    m = r + (r * r).fma(tail_of_exp(r), low)
    m = (-square.low).fma(m + 1.0, m)
    one, two = halves(a, whole_part(t))
    return ((p.high + p.high.fma(m, p.low)) * one) * two


def erf(x: Real) -> Real:
    """The error function: an odd polynomial below 0.9, then 1 - erfc."""
    size = x.magnitude()
    u = size * size
    small = size.fma(polynomial(u, numbers(x, "ERF")), size * 0.125)
    small = (size + small).where(u < 0.81, 1.0 - _erfc_of_size(size))
    return x.where(x == 0.0, (x + x).where(x.unordered(x), small.with_sign_of(x)))


def erfc(x: Real) -> Real:
    """1 - erf(x), relative for x > 0."""
    size = x.magnitude()
    far = _erfc_of_size(size)
    u = size * size
    small = x.fma(polynomial(u, numbers(x, "ERF")), x * 0.125)
    near = 1.0 - (x + small)
    out = near.where(size < 0.25, (2.0 - far).where(x < 0.0, far))
    return (x + x).where(x.unordered(x), out)


def ndtr(x: Real) -> Real:
    """The standard normal distribution function: erfc(-x / sqrt(2)) / 2."""
    size = x.magnitude()
    top = 40.0 if x.f is DOUBLE else 16.0
    size = x.like(top).where(size > top, size)
    root = constant(x, "ROOT_HALF")
    a = two_product(size, root.high)
    far = _erfc_of_size(a.high, size.fma(root.low, a.low)) * 0.5
    u = a.high * a.high
    half = a.high * 0.5
    small = half + half.fma(polynomial(u, numbers(x, "ERF")), half * 0.125)
    near = 0.5 + x.like(0.0).where(x == 0.0, small.with_sign_of(x))
    out = near.where(size < 0.35, (1.0 - far).where(x > 0.0, far))
    return (x + x).where(x.unordered(x), out)


def log_ratio(x: Real, y: Real) -> Real:
    """log(x / y) for positive numbers, also where the quotient overflows or is subnormal."""
    r = x / y
    whole = 600 if x.f is DOUBLE else 75
    large = x.b.and_(r == math.inf, x < math.inf)
    small = x.b.and_(r < x.f.smallest_normal, y < math.inf)
    one = x.like(1.0)
    up = x.like(2.0**-whole).where(large, x.like(2.0**whole).where(small, one))
    down = x.like(2.0**whole).where(large, x.like(2.0**-whole).where(small, one))
    shift = x.like(2.0 * whole * math.log(2.0))
    back = shift.where(large, (-shift).where(small, 0.0))
    return log((x * up) / (y * down)) + back


BODIES |= {f.__name__: f for f in (expit, softplus, logit, erf, erfc, ndtr, log_ratio)}
