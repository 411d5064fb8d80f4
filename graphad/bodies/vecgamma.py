"""Bodies of log gamma and its derivatives, as those of vecmath.py.

To the right of 0 by the recurrence to an interval where a polynomial holds, and by the asymptotic
series far out (NIST DLMF 5.11.1, 5.11.2, 5.15.8); to the left by reflection (5.5.3, 5.5.4).
"""

from __future__ import annotations

import math

from graphad.bodies.real import DOUBLE, Pair, Real
from graphad.bodies.vecmath import BODIES, log, log1p, numbers, polynomial
from graphad.bodies.vectrig import sin_and_cos

BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
FAR = 10.0  # from here on eight terms of a series are enough
SHIFT = 8  # of trigamma


def _reflected(x: Real) -> Real:
    """x, or 1 - x on the left of 0."""
    return x.where(x > 0.0, 1.0 - x)


def _half_turns(x: Real) -> tuple[Real, Real, Real]:
    """(distance to the next integer, signed; sine and cosine of pi times its size)."""
    side = x - (x + 0.5).floor()
    r = side.magnitude()
    far = r > 0.25
    s, c = sin_and_cos(Pair((0.5 - r).where(far, r) * math.pi, x.like(0.0)))
    return side, c.high.where(far, s.high), s.high.where(far, c.high)


def _stirling_rest(x: Real) -> Real:
    """log gamma(x) - ((x - 1/2) log(x) - x + log(2 pi) / 2) for x >= FAR."""
    y = 1.0 / x
    terms = [v / (2 * k * (2 * k - 1)) for k, v in enumerate(BERNOULLI, 1)]
    return y * polynomial(y * y, terms)


def gammaln(x: Real) -> Real:
    """log |gamma(x)|."""
    if x.f is not DOUBLE:
        return gammaln(x.to(DOUBLE)).to(x.f)
    b, w = x.b, _reflected(x)
    one, far = x.like(1.0), w >= FAR
    v = one.where(far, w)
    product, t = one, v - 2.0
    for k in range(1, int(FAR) - 1):  # gamma(v) = (v - 1) (v - 2) ... gamma(t + 2), |t| <= 1/2
        more = v >= k + 1.5
        product = (product * (v - float(k))).where(more, product)
        t = (v - float(k + 2)).where(more, t)
    low, lowest = v < 1.5, v < 0.5
    product = (v * (v + 1.0)).where(lowest, v).where(low, product)
    t = v.where(lowest, v - 1.0).where(low, t)
    logarithm = log(w.where(far, product))
    rest = t * polynomial(t, numbers(x, "LOG_GAMMA"))
    near = (-logarithm).where(low, logarithm) + rest
    series = _stirling_rest(w) + math.log(2.0 * math.pi) / 2
    out = ((w - 0.5).fma(logarithm, series - w)).where(far, near)
    out = w.where(w == math.inf, out)
    _, sine, _ = _half_turns(x)
    left = math.log(math.pi) - log(sine) - out
    left = x.like(math.inf).where(x.floor() == x, left)
    left = x.where(x == -math.inf, left)  # as SciPy has it
    return out.where(b.fcmp_unordered(">", x.v, x.like(0.0).v), left)


def digamma(x: Real) -> Real:
    """The derivative of log gamma. Right as a part of it for x > 0; -inf at 0, nan left of it at
    the integers."""
    if x.f is not DOUBLE:
        return digamma(x.to(DOUBLE)).to(x.f)
    w = _reflected(x)
    one, zero, far = x.like(1.0), x.like(0.0), w >= FAR
    v = one.where(far, w)
    above, below, t = zero, one, v
    for k in range(1, int(FAR) - 1):  # digamma(v) = digamma(v - 1) + 1 / (v - 1)
        d = v - float(k)
        more = d >= 1.0
        above = above.fma(d, below).where(more, above)
        below = (below * d).where(more, below)
        t = d.where(more, t)
    low = v < 1.0  # digamma(v) = digamma(v + 1) - 1 / v
    above, below, t = (-one).where(low, above), v.where(low, below), (v + 1.0).where(low, t)
    root, rest = numbers(x, "DIGAMMA_ROOT")
    near = ((t - root) - rest) * polynomial(t - 1.5, numbers(x, "DIGAMMA")) + above / below
    y = one / w
    u = y * y
    series = (0.5 * y) + u * polynomial(u, [v / (2 * k) for k, v in enumerate(BERNOULLI, 1)])
    out = (log(w) - series).where(far, near)
    side, sine, cosine = _half_turns(x)
    cotangent = cosine / sine * math.pi
    left = out - (-cotangent).where(side < 0.0, cotangent)
    left = x.like(math.nan).where(x.floor() == x, left)
    left = x.like(math.inf).with_sign_of(-x).where(x == 0.0, left)
    return out.where(x.b.fcmp_unordered(">", x.v, zero.v), left)


def trigamma(x: Real) -> Real:
    """The second derivative of log gamma, for x > 0: the recurrence to x + 8, where the asymptotic
    series holds (NIST DLMF 5.15.5, 5.15.9); nan elsewhere."""
    total = x.like(0.0)
    for k in range(SHIFT):
        total = total + 1.0 / ((x + float(k)) * (x + float(k)))
    y = x + float(SHIFT)
    r = 1.0 / y
    u = r * r
    series = r + 0.5 * u + r * u * polynomial(u, BERNOULLI)
    return x.like(math.nan).where(x.b.not_(x > 0.0), series + total)


def betaln(a: Real, b: Real) -> Real:
    """log |B(a, b)|. For b >= a > 0, where logarithms of gammas would cancel: A. R. DiDonato and
    A. H. Morris, Algorithm 708 (1992), functions `betaln` and `algdiv`, b brought to FAR by
    B(a, b) = B(a, b + 1) (a + b) / b. To the left of 0 by log |gamma|, infinite at the poles."""
    if a.f is not DOUBLE:
        return betaln(a.to(DOUBLE), b.to(DOUBLE)).to(a.f)
    x, y = b.where(a > b, a), a.where(a > b, b)  # x <= y
    gamma = gammaln(x)
    left = gamma + gammaln(y) - gammaln(x + y)
    pole = x.b.and_(left.unordered(left), x.b.not_(x.unordered(y)))
    left = x.like(math.inf).where(pole, left)
    u = x.where(x > 0.0, 1.0)
    v = y.where(x > 0.0, 1.0)
    above = below = x.like(1.0)
    for _ in range(int(FAR)):
        more = v < FAR
        above = (above * (u + v)).where(more, above)
        below = (below * v).where(more, below)
        v = (v + 1.0).where(more, v)
    t = u + v
    rest = _stirling_rest(v) - _stirling_rest(t)
    log_v, log_t = log(v), log1p(u / v)  # of t / v
    near = gamma + (rest - (t - 0.5) * log_t - u * (log_v - 1.0)) + log(above / below)
    w = u.where(u >= FAR, u.like(FAR))
    both = rest + _stirling_rest(w) + (math.log(2.0 * math.pi) / 2 - 0.5 * log_v)
    both = both + ((w - 0.5) * log(w / (w + v)) - v * log_t)
    out = both.where(x >= FAR, near)
    infinite = x.b.and_(y == math.inf, x < math.inf)
    out = x.like(-math.inf).where(infinite, out).where(x > 0.0, left)
    return x.like(math.inf).where(x == 0.0, out)


BODIES |= {f.__name__: f for f in (gammaln, betaln, digamma, trigamma)}
