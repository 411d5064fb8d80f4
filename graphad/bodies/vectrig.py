"""Bodies of the trigonometric functions and their inverses; vecmath.py has their sources."""

from __future__ import annotations

import math

from graphad.bodies import wide
from graphad.bodies.real import (
    DOUBLE,
    Pair,
    Real,
    quick_two_sum,
    quotient,
    rarely,
    two_product,
    two_sum,
)
from graphad.bodies.vecmath import BODIES, numbers, polynomial, whole_part


# -- trigonometric functions ---------------------------------------------------------------------
def quarter_turns(x: Real):
    """(q, r): x = q pi/2 + r, q an integer, r a pair with |r.high| <= pi/4, for |x| <= far."""
    parts = numbers(x, "HALF_PI")
    t = x.fma(2.0 / math.pi, x.f.round)
    k = -(t - x.f.round)
    r = k.fma(parts[0], x)  # exact: a multiple of the last place of the first part, below 1
    p = two_product(k, x.like(parts[1]))
    # Right for |r| < |p.high| too, as r is a multiple of its last place: S. Boldo, S. Graillat and
    # J.-M. Muller, On the robustness of the 2Sum and Fast2Sum algorithms (2017).
    s = quick_two_sum(r, p.high)
    return whole_part(t), Pair(s.high, k.fma(parts[2], s.low + p.low))


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
    """Tangent by a polynomial, -1 over it in odd quarters."""
    q, r = quarter_turns(x)
    odd = _odd(x, q)
    u = r.high * r.high
    rest = (r.high * u).fma(polynomial(u, numbers(x, "TAN")), r.low.fma(u, r.low))
    t = quick_two_sum(r.high, rest)
    turned = -1.0 / t.high
    out = (turned * turned).fma(t.low, turned).where(odd, t.high)
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
    """Arctangent: arctan(c) + arctan((|x| - c) / (1 + c |x|)), c near |x| from a table.

    Its entries are for |x| below 1/8 (c = 0), two an octave up to 16, and beyond (c = inf).
    """
    b, f, size = x.b, x.f, x.magnitude()
    size = x.like(f.huge).where(size > f.huge, size)
    shift = f.mantissa - 1
    place = b.ashr(b.sub(size.bits(), x.like(0.125).bits()), x.whole(shift))
    zero, last = x.whole(-1), x.whole(wide.ENTRIES - 2)
    place = b.select(b.icmp_signed("<", place, zero), zero, place)
    place = b.select(b.icmp_signed(">", place, last), last, place)
    place = b.add(place, x.whole(1))

    def entry(name):
        return wide.looked_up(x, numbers(x, name), place)

    c, one = entry("ATAN_TABLE"), entry("ATAN_ONE")
    z = size.fma(one, -c) / size.fma(c, one)
    u = z * z
    rest = (z * u).fma(polynomial(u, numbers(x, "ATAN_NEAR")), entry("ATAN_LOW"))
    return (entry("ATAN_HIGH") + (z + rest)).with_sign_of(x)


def _octant(n: Real, d: Real) -> Pair:
    """arctan(n / d) for 0 <= n <= d, d > 0; in f32 by one polynomial."""
    if n.f is not DOUBLE:
        z = n / d
        u = z * z
        return Pair(z, (z * u) * polynomial(u, numbers(n, "ATAN_ALL")))
    b, f = n.b, n.f
    exponent = b.lshr(d.bits(), n.whole(f.mantissa))
    top = n.whole(2 * f.bias - 1)
    exponent = b.select(b.icmp_unsigned(">", exponent, top), top, exponent)
    turned = b.sub(n.whole(2 * f.bias), exponent)
    scale = n.from_bits(b.shl(turned, n.whole(f.mantissa)))
    return angle(n * scale, d * scale)


def atan2(y: Real, x: Real) -> Real:
    """The angle of (x, y): the octant's from the smaller over the larger, then its place."""
    b = x.b
    ay, ax = y.magnitude(), x.magnitude()
    swapped = ay > ax
    n, d = ax.where(swapped, ay), ay.where(swapped, ax)
    one, zero = x.like(1.0), x.like(0.0)
    endless = d == math.inf
    n = one.where(n == math.inf, zero.where(endless, n))
    d = one.where(endless, one.where(d == 0.0, d))
    a = _octant(n, d)
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
    error: Real | float = 0.0
    if x.f is DOUBLE:  # the root's; in f32 there is room for it
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


BODIES |= {f.__name__: f for f in (sin, cos, tan, asin, acos, atan, atan2)}
