"""Bodies of the transcendental functions in plain arithmetic, which LLVM vectorises.

Written once as arithmetic on `Real`s, for f64 and f32. Each is an inlined function, so a kernel
gets its instructions in place: no call, no branch, an explicit fused multiply-add, no fast-math.
Right at ±0, subnormals, ±inf and nan; docs/accuracy.md has the measured errors.

Sources: the reductions and log's coefficients are fdlibm's (Sun Microsystems, 1993: e_log.c,
k_sin.c, e_asin.c); arctan's reduction at tan(pi/8) is Cephes' (S. L. Moshier, 1989); log1p's
correction is Kahan's (HP-15C handbook); the reduction by pi/2 in parts is W. J. Cody and W. Waite's
(Software Manual for the Elementary Functions, 1980). Other polynomials: tests/fit_coefficients.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from llvmlite import ir

from graphad.emit import coefficients
from graphad.emit.real import (
    DOUBLE,
    FORMATS,
    Pair,
    Real,
    power_of_two,
    quick_two_sum,
    quotient,
    rarely,
    two_product,
    two_sum,
)


def numbers(x: Real, name: str) -> tuple[float, ...]:
    """Fitted coefficients, or the parts of a constant, in the format of x."""
    return getattr(coefficients, f"{name}_{x.f.code.upper()}")


def polynomial(x: Real, coefficients) -> Real:
    """Horner's scheme, lowest coefficient first."""
    out = x.like(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        out = out.fma(x, c)
    return out


# -- exponentials --------------------------------------------------------------------------------
def reduced(x: Real):
    """(t, r, m): x = k ln 2 + r with |r| <= ln(2)/2, k in the low bits of t, m = expm1(r)."""
    t, high, low = reduced_pair(x)
    r = high + low
    return t, r, (r * r).fma(tail_of_exp(r), r)


def reduced_pair(x: Real):
    """(t, r, low): the same, r with its rounding error."""
    f = x.f
    t = x.fma(1.0 / math.log(2.0), f.round)
    k = t - f.round
    high = (-k).fma(f.ln2_high, x)  # exact
    r = (-k).fma(f.ln2_low, high)
    return t, r, (-k).fma(f.ln2_low, high - r)


def tail_of_exp(r: Real) -> Real:
    """(exp(r) - 1 - r) / r²."""
    return polynomial(r, numbers(r, "EXP"))


def whole_part(t: Real):
    """The integer that rounding left in the low bits of t."""
    return t.b.sub(t.bits(), t.like(t.f.round).bits())


def halves(x: Real, k) -> tuple[Real, Real]:
    """2**k as a product of two, so that neither overflows nor is subnormal."""
    half = x.b.ashr(k, x.whole(1))
    return power_of_two(x, half), power_of_two(x, x.b.sub(k, half))


def clamped(x: Real) -> Real:
    """x kept where exp is finite or overflows by the arithmetic itself; nan stays."""
    low, high = x.f.exp_range
    x = x.like(low).where(x < low, x)
    return x.like(high).where(x > high, x)


def exp(x: Real) -> Real:
    """e**x. The scale is applied in two halves, so that subnormal results are right."""
    t, _, m = reduced(clamped(x))
    a, b = halves(x, whole_part(t))
    return ((m + 1.0) * a) * b


def less_one(a: Real, unit: Real, r: Real, low: Real) -> Pair:
    """a exp(r + low) - unit, for a unit that is 1 or below a."""
    rest = (r * r).fma(tail_of_exp(r), low)
    whole = two_sum(a, -unit)
    grown = two_sum(whole.high, a * r)
    return quick_two_sum(grown.high, a.fma(rest, grown.low + whole.low))


def expm1(x: Real) -> Real:
    """e**x - 1, exact at ±0 and relative near it."""
    t, r, low = reduced_pair(clamped(x))
    k = whole_part(t)
    half = x.b.ashr(k, x.whole(1))
    rest = x.b.sub(k, half)
    unit = power_of_two(x, x.b.neg(rest))
    p = less_one(power_of_two(x, half), unit, r, low)
    return x.where(x == 0.0, p.sum() * power_of_two(x, rest))


def tanh(x: Real) -> Real:
    """q = m / d with m = expm1(2|x|), d = m + 2; the rounding error of d comes back by
    1 / d = (1 - q) / 2."""
    size = x.magnitude()
    size = x.like(22.0).where(size > 22.0, size)  # where it is 1
    t, r, low = reduced_pair(size + size)
    a = power_of_two(x, whole_part(t))
    p = r + (r * r).fma(tail_of_exp(r), low)
    m = a.fma(p, a - 1.0)
    d = m + 2.0
    q = m / d
    low = ((d - 2.0) - m).where(m < 2.0, 0.0)  # beyond, it matters less
    return (q * low).fma(q.fma(-0.5, 0.5), q).with_sign_of(x)


def exp_pair(x: Real) -> tuple[Pair, Real, Real]:
    """(p, a, b): e**x = p a b, with p near 1."""
    t, r, low = reduced_pair(x)
    a, b = halves(x, whole_part(t))
    p = quick_two_sum(x.like(1.0), r)
    return quick_two_sum(p.high, p.low + (r * r).fma(tail_of_exp(r), low)), a, b


def half_exp(size: Real) -> tuple[Pair, Real]:
    """(e**x / 2, e**-x / 2) for x >= 0."""
    top = size.f.exp_range[1] + 2.0  # where the half overflows too
    p, a, b = exp_pair(size.like(top).where(size > top, size))
    a = a * 0.5
    high = (p.high * a) * b
    return Pair(high, (p.low * a) * b), 0.25 / high


def sinh(x: Real) -> Real:
    """(e**x - e**-x) / 2; an odd polynomial below 1."""
    size = x.magnitude()
    grown, shrunk = half_exp(size)
    large = quick_two_sum(grown.high, -shrunk)
    large_sum = large.high + (large.low + grown.low)
    large_sum = grown.high.where(grown.high == math.inf, large_sum)
    u = size * size
    small = (size * u).fma(polynomial(u, numbers(x, "SINH")), size)
    return small.where(size < 1.0, large_sum).with_sign_of(x)


def cosh(x: Real) -> Real:
    """(e**x + e**-x) / 2."""
    size = x.magnitude()
    grown, shrunk = half_exp(size)
    out = grown.high + (shrunk + grown.low)
    return grown.high.where(grown.high == math.inf, out)


# -- logarithms ----------------------------------------------------------------------------------
def split(x: Real):
    """(exponent as a Real, mantissa m): x = 2**e m with m between sqrt(1/2) and sqrt(2)."""
    f = x.f
    sqrt_half = x.like(math.sqrt(0.5)).bits()
    e = x.b.ashr(x.b.sub(x.bits(), sqrt_half), x.whole(f.mantissa))
    m = x.from_bits(x.b.sub(x.bits(), x.b.shl(e, x.whole(f.mantissa))))
    exponent = x.from_bits(x.b.add(e, x.like(f.round).bits())) - f.round
    return exponent, m


def lifted(x: Real):
    """(x, or x scaled up where it is subnormal; what to add to its exponent)."""
    scale = x.f.mantissa + 2
    tiny = x < x.f.smallest_normal
    return (x * 2.0**scale).where(tiny, x), x.like(-scale).where(tiny, 0.0)


def ratio(m: Real) -> tuple[Real, Real]:
    """(m - 1, (m - 1) / (m + 1)) for a mantissa."""
    z = m - 1.0
    return z, z / (m + 1.0)


def log_mantissa(m: Real) -> Pair:
    """log(m) as a pair: z - z²/2, and the rest."""
    z, s = ratio(m)
    u = s * s
    half = (z * z) * 0.5
    high = z - half
    low = (z - high) - half - (z * 0.5).fma(z, -half)
    return Pair(high, s.fma(half + u * polynomial(u, numbers(m, "LOG")), low))


def _log_sum(f, exponent, m, more: Real | None = None):
    """exponent * ln 2 + log(m) + more."""
    z, s = ratio(m)
    u = s * s
    half = (z * z) * 0.5
    low = exponent * f.ln2_low if more is None else exponent.fma(f.ln2_low, more)
    low = s.fma(half + u * polynomial(u, numbers(m, "LOG")), low)
    return exponent.fma(f.ln2_high, z - (half - low))


def log(x: Real) -> Real:
    """Natural logarithm; subnormals are scaled up first."""
    up, shift = lifted(x)
    exponent, m = split(up)
    return edges(x, _log_sum(x.f, exponent + shift, m), 0.0)


def edges(x: Real, out: Real, pole: float) -> Real:
    """-inf at the pole, nan left of it, and inf and nan as they are."""
    special = x.like(-math.inf).where(x == pole, math.nan)
    out = special.where(x.b.fcmp_ordered("<=", x.v, x.like(pole).v), out)
    return x.where(x.b.fcmp_unordered(">=", x.v, x.like(math.inf).v), out)


def _log_in_base(x: Real, base: Pair, unit: Pair | None) -> Real:
    """log(x) / log(base): `base` is 1 / log(base), `unit` log 2 in that base (None: 1)."""
    up, shift = lifted(x)
    exponent, m = split(up)
    exponent = exponent + shift
    natural = log_mantissa(m)
    p = two_product(natural.high, base.high)
    low = natural.high.fma(base.low, natural.low.fma(base.high, p.low))
    if unit is None:
        total = quick_two_sum(exponent, p.high)
        return edges(x, total.high + (total.low + low), 0.0)
    whole = two_product(exponent, unit.high)
    total = quick_two_sum(whole.high, p.high)
    low = low + exponent.fma(unit.low, whole.low)
    return edges(x, total.high + (total.low + low), 0.0)


def constant(x: Real, name: str) -> Pair:
    """A number as a pair."""
    high, low = numbers(x, name)
    return Pair(x.like(high), x.like(low))


def log2(x: Real) -> Real:
    """Logarithm to base 2, exact at powers of two."""
    return _log_in_base(x, constant(x, "INV_LN2"), None)


def log10(x: Real) -> Real:
    """Logarithm to base 10."""
    return _log_in_base(x, constant(x, "INV_LN10"), constant(x, "LOG10_2"))


def log1p(x: Real) -> Real:
    """log(1 + x): the rounding error c of u = 1 + x comes back as c / u.

    1 / u is needed to a few bits only, but all of them near 1: 1 - z + z² for 1 / (1 + z).
    """
    u = x + 1.0
    exponent, m = split(u)
    e = x.b.ashr(x.b.sub(u.bits(), x.like(math.sqrt(0.5)).bits()), x.whole(x.f.mantissa))
    error = (x - (u - 1.0)) * power_of_two(x, x.b.neg(e))
    error = error.where(x < 2.0 ** (x.f.mantissa + 1), 0.0)
    z = m - 1.0
    out = _log_sum(x.f, exponent, m, error * z.fma(z - 1.0, 1.0))
    out = x.where(u == 1.0, out)
    return edges(x, out, -1.0)


# -- trigonometric functions ---------------------------------------------------------------------
def quarter_turns(x: Real):
    """(q, r): x = q pi/2 + r, q an integer, r a pair with |r.high| <= pi/4, for |x| <= far."""
    parts = numbers(x, "HALF_PI")
    t = x.fma(2.0 / math.pi, x.f.round)
    k = -(t - x.f.round)
    p = two_product(k, x.like(parts[1]))
    r = two_sum(k.fma(parts[0], x), p.high)  # the first product cancels exactly
    low = k.fma(parts[2], r.low + p.low)
    return whole_part(t), quick_two_sum(r.high, low)


def sin_and_cos(r: Pair) -> tuple[Pair, Pair]:
    """Of |r| <= pi/4, each as a pair."""
    x = r.high
    u = x * x
    half = u * 0.5
    t = (x * u).fma(polynomial(u, numbers(x, "SIN")), r.low.fma(-half, r.low))
    one = 1.0 - half
    rest = (u * u).fma(polynomial(u, numbers(x, "COS")), (-x).fma(r.low, (1.0 - one) - half))
    return quick_two_sum(x, t), quick_two_sum(one, rest)


def _odd(x: Real, q):
    return x.b.icmp_signed("!=", x.b.and_(q, x.whole(1)), x.whole(0))


def _sine(x: Real, turns: int, name: str) -> Real:
    q, r = quarter_turns(x)
    q = x.b.add(q, x.whole(turns))
    s, c = sin_and_cos(r)
    out = c.high.where(_odd(x, q), s.high)
    flip = x.b.shl(x.b.and_(q, x.whole(2)), x.whole(8 * int(x.f.code[1]) - 2))
    return rarely(x, x.f.far, name, x.from_bits(x.b.xor(out.bits(), flip)))


def sin(x: Real) -> Real:
    """Sine."""
    return x.where(x == 0.0, _sine(x, 0, "sin"))


def cos(x: Real) -> Real:
    """Cosine."""
    return _sine(x, 1, "cos")


def tan(x: Real) -> Real:
    """Tangent: sine over cosine, turned where the quarter is odd."""
    q, r = quarter_turns(x)
    s, c = sin_and_cos(r)
    odd = _odd(x, q)
    out = quotient(Pair(-c.high, -c.low).where(odd, s), s.where(odd, c)).sum()
    return x.where(x == 0.0, rarely(x, x.f.far, "tan", out))


# -- their inverses ------------------------------------------------------------------------------
def angle(n: Real, d: Real) -> Pair:
    """arctan(n / d) for 0 <= n <= d, d normal and its reciprocal too."""
    steep = n > d * 0.41421356
    less, more = two_sum(n, -d), two_sum(d, n)
    zero = n.like(0.0)
    z = quotient(less.where(steep, Pair(n, zero)), more.where(steep, Pair(d, zero)))
    u = z.high * z.high
    cube = u * polynomial(u, numbers(n, "ATAN"))
    t = z.high.fma(cube, z.low.fma(-u, z.low))
    quarter = [0.5 * p for p in numbers(n, "HALF_PI")[:2]]
    total = quick_two_sum(n.like(quarter[0]).where(steep, 0.0), z.high)
    return quick_two_sum(total.high, total.low + (t + n.like(quarter[1]).where(steep, 0.0)))


def from_constant(constant: str, x: Real, a: Pair, times: float = 1.0) -> Real:
    """times * constant - a."""
    high, low = (times * p for p in numbers(x, constant)[:2])
    total = two_sum(x.like(high), -a.high)
    return total.high + (total.low + (low - a.low))


def atan(x: Real) -> Real:
    """Arctangent: pi/2 - arctan(1/|x|) beyond 1."""
    size = x.magnitude()
    size = x.like(x.f.huge).where(size > x.f.huge, size)
    steep = size > 1.0
    one = x.like(1.0)
    a = angle(one.where(steep, size), size.where(steep, one))
    out = from_constant("HALF_PI", x, a).where(steep, a.sum())
    return out.with_sign_of(x)


def atan2(y: Real, x: Real) -> Real:
    """The angle of (x, y): the octant's from the smaller over the larger, then its place."""
    b, f = x.b, x.f
    ay, ax = y.magnitude(), x.magnitude()
    swapped = ay > ax
    n, d = ax.where(swapped, ay), ay.where(swapped, ax)
    one, zero = x.like(1.0), x.like(0.0)
    endless = d == math.inf
    n = one.where(n == math.inf, zero.where(endless, n))
    d = one.where(endless, one.where(d == 0.0, d))
    exponent = b.lshr(d.bits(), x.whole(f.mantissa))
    top = x.whole(2 * f.bias - 1)
    exponent = b.select(b.icmp_unsigned(">", exponent, top), top, exponent)
    turned = b.sub(x.whole(2 * f.bias), exponent)
    scale = x.from_bits(b.shl(turned, x.whole(f.mantissa)))
    a = angle(n * scale, d * scale)
    left = b.icmp_signed("<", x.bits(), x.whole(0))
    minus = b.xor(swapped, left)
    signed = Pair(-a.high, -a.low).where(minus, a)
    half = numbers(x, "HALF_PI")

    def base(k):
        return x.like(half[k]).where(swapped, x.like(2.0 * half[k]).where(left, 0.0))

    total = two_sum(base(0), signed.high)
    out = (total.high + (total.low + (base(1) + signed.low))).with_sign_of(y)
    return (x + y).where(x.unordered(y), out)


def _arcsine_parts(x: Real):
    """(|x| >= 1/2, s, rest): arcsin(s + ...) = s + rest, of |x| or of sqrt((1 - |x|) / 2)."""
    size = x.magnitude()
    large = size >= 0.5
    z = ((1.0 - size) * 0.5).where(large, size * size)
    root = z.sqrt()
    s = root.where(large, size)
    error = ((-s).fma(s, z) / (s + s)).where(large, 0.0)
    error = s.like(0.0).where(s == 0.0, error)
    return large, Pair(s, s.fma(z * polynomial(z, numbers(x, "ASIN")), error))


def asin(x: Real) -> Real:
    """Arcsine: pi/2 - 2 arcsin(sqrt((1 - |x|) / 2)) from 1/2 on; nan beyond 1."""
    large, s = _arcsine_parts(x)
    out = from_constant("HALF_PI", x, Pair(s.high * 2.0, s.low * 2.0)).where(large, s.sum())
    return out.with_sign_of(x)


def acos(x: Real) -> Real:
    """Arccosine, from the same parts."""
    large, s = _arcsine_parts(x)
    negative = x < 0.0
    twice = Pair(s.high * 2.0, s.low * 2.0)
    far = from_constant("HALF_PI", x, twice, 2.0).where(negative, twice.sum())
    signed = Pair(-s.high, -s.low).where(negative, s)
    return far.where(large, from_constant("HALF_PI", x, signed))


# -- powers --------------------------------------------------------------------------------------
def hypot(x: Real, y: Real) -> Real:
    """sqrt(x² + y²) without overflow on the way; inf wins over nan."""
    a, b = x.magnitude(), y.magnitude()
    if x.f is not DOUBLE:
        p, q = a.to(DOUBLE), b.to(DOUBLE)
        out = (p * p + q * q).sqrt().to(x.f)
    else:
        large = x.b.or_(a > 2.0**510, b > 2.0**510)
        small = x.b.and_(a < 2.0**-450, b < 2.0**-450)
        scale = x.like(2.0**-600).where(large, x.like(2.0**600).where(small, 1.0))
        back = x.like(2.0**600).where(large, x.like(2.0**-600).where(small, 1.0))
        p, q = a * scale, b * scale
        out = p.fma(p, q * q).sqrt() * back
    endless = x.b.or_(a == math.inf, b == math.inf)
    return x.like(math.inf).where(endless, out)


def log2_pair(x: Real) -> Pair:
    """log2 of x > 0 to about 66 bits, for pow."""
    up, shift = lifted(x)
    exponent, m = split(up)
    exponent = exponent + shift
    z = m - 1.0
    s = quotient(Pair(z, x.like(0.0)), two_sum(m, x.like(1.0)))
    u = two_product(s.high, s.high)
    u = Pair(u.high, u.low + 2.0 * (s.high * s.low))
    q = polynomial(u.high, numbers(x, "LOG_TAIL"))
    t = two_product(u.high, q)
    third = constant(x, "TWO_THIRDS")
    p = quick_two_sum(third.high, t.high)
    p = Pair(p.high, p.low + (third.low + u.low.fma(q, t.low)))
    cube = two_product(s.high, u.high)
    cube = Pair(cube.high, cube.low + s.high.fma(u.low, s.low * u.high))
    w = two_product(cube.high, p.high)
    w = Pair(w.high, w.low + cube.high.fma(p.low, cube.low * p.high))
    total = quick_two_sum(2.0 * s.high, w.high)
    natural = quick_two_sum(total.high, total.low + (2.0 * s.low + w.low))
    c = constant(x, "INV_LN2")
    g = two_product(natural.high, c.high)
    g_low = g.low + natural.high.fma(c.low, natural.low * c.high)
    out = quick_two_sum(exponent, g.high)
    return quick_two_sum(out.high, out.low + g_low)


def exp2_pair(e: Pair) -> Real:
    """2**(high + low)."""
    high = e.high
    top = 1100.0 if high.f is DOUBLE else 160.0  # beyond, it is 0 or inf
    within = high.magnitude() < top
    high = high.like(top).where(high > top, high)
    high = high.like(-top).where(high < -top, high)
    low = e.low.where(within, 0.0)
    t = high + high.f.round
    f = high - (t - high.f.round)
    ln2, ln2_low = numbers(high, "LN2")[:2]
    r = two_product(f, high.like(ln2))
    rest = f.fma(ln2_low, low.fma(ln2, r.low))
    p = quick_two_sum(high.like(1.0), r.high)
    tail = (r.high * r.high) * tail_of_exp(r.high)
    near = p.high + (p.low + tail)
    a, b = halves(high, whole_part(t))
    return ((p.high + (p.low + rest.fma(near, tail))) * a) * b


def _power_of_size(size: Real, y: Real) -> Real:
    """size**y for size >= 0."""
    if size.f is not DOUBLE:
        out = exp(log(size.to(DOUBLE)) * y.to(DOUBLE)).to(size.f)
    else:
        e = log2_pair(size)
        p = two_product(e.high, y)
        out = exp2_pair(Pair(p.high, e.low.fma(y, p.low)))
    up, down = y > 0.0, y < 0.0
    zero, inf = size.like(0.0), size.like(math.inf)
    out = zero.where(up, inf.where(down, 1.0)).where(size == 0.0, out)
    return inf.where(up, zero.where(down, 1.0)).where(size == math.inf, out)


def pow(x: Real, y: Real) -> Real:
    """x**y; a negative x with an integer y has the sign of an odd or even power, else nan."""
    size = x.magnitude()
    out = _power_of_size(size, y)
    one = x.like(1.0)
    endless = y.magnitude() == math.inf
    out = one.where(x.b.and_(size == 1.0, endless), out)
    whole = y.floor() == y
    half = y * 0.5
    odd = x.b.and_(whole, x.b.not_(half.floor() == half))
    negative = x.b.icmp_signed("<", x.bits(), x.whole(0))
    out = (-out).where(x.b.and_(negative, odd), out)
    bad = x.b.and_(x < 0.0, x.b.not_(x.b.or_(whole, size == math.inf)))
    out = x.like(math.nan).where(bad, out)
    out = (x + y).where(x.unordered(y), out)
    return one.where(x.b.or_(x == 1.0, y == 0.0), out)


def exp2(x: Real) -> Real:
    """2**x, exact at integers."""
    return exp2_pair(Pair(x, x.like(0.0)))


def cbrt(x: Real) -> Real:
    """The real cube root: of the mantissa by Halley's iteration, a last step by Newton's with the
    rounding error of the cube."""
    size = x.magnitude()
    up, shift = lifted(size)
    exponent, m = split(up)
    exponent = exponent + shift
    t = exponent.fma(1.0 / 3.0, x.f.round)
    third = t - x.f.round
    m = m * power_of_two(x, whole_part(exponent - 3.0 * third + x.f.round))
    y = polynomial(m, numbers(x, "CBRT"))
    cube = y * y * y
    y = y * ((cube + (m + m)) / ((cube + cube) + m))
    square = two_product(y, y)
    cube = two_product(square.high, y)
    error = (m - cube.high) - (cube.low + square.low * y)
    y = y + error / (3.0 * square.high)
    out = (y * power_of_two(x, whole_part(t))).with_sign_of(x)
    unchanged = x.b.or_(size == 0.0, x.b.not_(size < math.inf))
    return x.where(unchanged, out)


# -- remainders ------------------------------------------------------------------------------------
def rem(x: Real, y: Real) -> Real:
    """x - trunc(x / y) y, exact; the sign is that of x."""
    return x % y


def _floor_division(x: Real, y: Real) -> tuple[Real, Real]:
    """(floor(x / y), the remainder with the sign of y), as Python has them."""
    b = x.b
    m = x % y
    wrong = b.and_(b.fcmp_unordered("!=", m.v, m.like(0.0).v), b.xor(y < 0.0, m < 0.0))
    left = (x - m) / y
    left = (left - 1.0).where(wrong, left)
    m = (m + y).where(wrong, m)
    whole = left.floor()
    whole = (whole + 1.0).where(left - whole > 0.5, whole)
    whole = x.like(0.0).with_sign_of(x / y).where(left == 0.0, whole)
    return (x / y).where(y == 0.0, whole), x.like(0.0).with_sign_of(y).where(m == 0.0, m)


def mod(x: Real, y: Real) -> Real:
    """The remainder with the sign of y."""
    return _floor_division(x, y)[1]


def floordiv(x: Real, y: Real) -> Real:
    """floor(x / y)."""
    return _floor_division(x, y)[0]


# -- inverse hyperbolic functions ------------------------------------------------------------------
def _large_log(size: Real, usual: Real) -> Real:
    """log(2 size) where that is all there is to it."""
    large = log(size) + math.log(2.0)
    return large.where(size > 2.0 ** (size.f.mantissa // 2 + 2), usual)


def asinh(x: Real) -> Real:
    """log(|x| + sqrt(x² + 1)), by log1p of what is beyond 1."""
    size = x.magnitude()
    top = 2.0 ** (x.f.mantissa // 2 + 3)
    a = x.like(top).where(size > top, size)
    out = log1p(a + (a * a) / ((a.fma(a, 1.0)).sqrt() + 1.0))
    return x.where(size == 0.0, _large_log(size, out).with_sign_of(x))


def acosh(x: Real) -> Real:
    """log(x + sqrt(x² - 1)), by log1p of what is beyond 1; nan below 1."""
    top = 2.0 ** (x.f.mantissa // 2 + 3)
    t = x.like(top).where(x > top, x) - 1.0
    out = log1p(t + (t.fma(t, t + t)).sqrt())
    return x.like(math.nan).where(t < 0.0, _large_log(x, out))


def atanh(x: Real) -> Real:
    """log1p(2a + 2a² / (1 - a)) / 2 for a = |x|; nan beyond 1."""
    a = x.magnitude()
    twice = a + a
    small = twice + (twice * a) / (1.0 - a)
    large = twice / (1.0 - a)
    return x.where(a == 0.0, (0.5 * log1p(small.where(a < 0.5, large))).with_sign_of(x))


BODIES: dict[str, Callable[..., Real]] = {
    f.__name__: f
    for f in (exp, expm1, log, log1p, log2, log10, tanh, sinh, cosh, sin, cos, tan,
              asin, acos, atan, atan2, hypot, pow, exp2, cbrt, asinh, acosh, atanh,
              rem, mod, floordiv)
}  # fmt: skip


def defined(module, name: str, code: str):
    """The function of a body in a module: inlined wherever it is called."""
    full = f"graphad_{name}_{code}"
    known = module.globals.get(full)
    if known is not None:
        return known
    body, fmt = BODIES[name], FORMATS[code]
    kind = ir.FunctionType(fmt.real, [fmt.real] * body.__code__.co_argcount)
    function = ir.Function(module, kind, full)
    function.linkage = "internal"
    function.attributes.add("alwaysinline")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(body(*[Real(builder, fmt, a) for a in function.args]).v)
    return function
