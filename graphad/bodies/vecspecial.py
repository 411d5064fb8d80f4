"""Bodies of special functions in plain arithmetic, as those of vecmath.py.

The logistic function and its kin, the error function and the normal distribution.
"""

from __future__ import annotations

import math

from graphad.bodies import wide
from graphad.bodies.real import DOUBLE, Pair, Real, quick_two_sum, quotient, two_product, two_sum
from graphad.bodies.vecmath import (
    BODIES,
    Logarithm,
    Steps,
    constant,
    exp,
    exp_close,
    exp_pair,
    exp_rest,
    log,
    log1p,
    numbers,
    polynomial,
)


# -- the logistic function and its kin -------------------------------------------------------------
def expit(x: Real) -> Real:
    """1 / (1 + e**-x), from e**-|x|."""
    e, one = exp_close(-x.magnitude()), x.like(1.0)
    p = quotient(Pair(one.where(x >= 0.0, e), x.like(0.0)), quick_two_sum(one, e))
    return p.high + p.low


def logistic_density(x: Real) -> Real:
    """The derivative of expit, e / (1 + e)**2 for e = e**-|x|."""
    e = exp(-x.magnitude())
    d = 1.0 + e
    return e / (d * d)


def softplus(x: Real) -> Real:
    """log(1 + e**x) = max(x, 0) + log1p(e**-|x|)."""
    e = exp_pair(-x.magnitude())
    rest = log1p(e.high) + e.low / (1.0 + e.high)
    return (x + x).where(x.unordered(x), x.like(0.0).where(x < 0.0, x) + rest)


def logit(p: Real) -> Real:
    """log(p / (1 - p)), with what the quotient was rounded by: near 1/2 that is all there is."""
    d = quick_two_sum(p.like(1.0), -p)
    r = p / d.high
    rest = ((-r).fma(d.high, p) - r * d.low) / p
    return log(r) + rest.where(p.b.and_(r < 8.0, p > 0.0), 0.0)


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
    tail = polynomial(q, others)
    high = q.fma(tail, first)
    d = two_sum(a + a, a.like(1.0))
    if below is not None:
        d = Pair(d.high, below.fma(2.0, d.low))
    p = quotient(Pair(high, q.fma(tail, first - high)), d)
    steps = Steps(-square.high)
    r = steps.r - square.low  # its rounding error is nothing beside 1
    m = r + exp_rest(r, steps.low + steps.rest())
    entry = wide.looked_up(a, numbers(a, "EXP_TABLE"), steps.place)
    whole = two_product(p.high, entry)
    out = whole.high + whole.high.fma(m, p.low.fma(entry, whole.low))
    return wide.scaled(out, steps.k, steps.whole)


def _exp_of_minus(square: Pair) -> Real:
    """e**-square, for a square of at most 900."""
    steps = Steps(-square.high)
    r = steps.r - square.low
    entry = wide.looked_up(r, numbers(r, "EXP_TABLE"), steps.place)
    return wide.scaled(entry.fma(exp_rest(r, r), entry), steps.k, steps.whole)


def exp_minus_square(x: Real) -> Real:
    """e**-x², with what the square was rounded by."""
    a = x.magnitude()
    top = 30.0 if x.f is DOUBLE else 12.0
    a = x.like(top).where(a > top, a)
    return _exp_of_minus(two_product(a, a))


def exp_minus_half_square(x: Real) -> Real:
    """e**(-x² / 2), likewise."""
    a = x.magnitude()
    top = 42.0 if x.f is DOUBLE else 16.0
    a = x.like(top).where(a > top, a)
    square = two_product(a, a)
    return _exp_of_minus(Pair(square.high * 0.5, square.low * 0.5))


def erf(x: Real) -> Real:
    """The error function: an odd polynomial below 0.9, then 1 - erfc."""
    size = x.magnitude()
    u = size * size
    small = size.fma(polynomial(u, numbers(x, "ERF")), size * 0.125)
    small = (size + small).where(u < 0.81, 1.0 - _erfc_of_size(size))
    return x.where(x == 0.0, small.with_sign_of(x))


def erfc(x: Real) -> Real:
    """1 - erf(x), relative for x > 0."""
    size = x.magnitude()
    far = _erfc_of_size(size)
    u = size * size
    near = (-x).fma(polynomial(u, numbers(x, "ERF_NEAR")), 1.0)
    return near.where(size < 0.25, (2.0 - far).where(x < 0.0, far))


def ndtr(x: Real) -> Real:
    """The standard normal distribution function: erfc(-x / sqrt(2)) / 2."""
    size = x.magnitude()
    top = 40.0 if x.f is DOUBLE else 16.0
    size = x.like(top).where(size > top, size)
    root = constant(x, "ROOT_HALF")
    a = two_product(size, root.high)
    far = _erfc_of_size(a.high, size.fma(root.low, a.low)) * 0.5
    u = a.high * a.high
    half = (a.high * 0.5).with_sign_of(x)
    near = half.fma(polynomial(u, numbers(x, "ERF_NEAR")), 0.5)
    return near.where(size < 0.35, (1.0 - far).where(x > 0.0, far))


def log_ratio(x: Real, y: Real) -> Real:
    """log(x / y) for positive numbers, also where the quotient overflows or is subnormal; with what
    the quotient was rounded by, which is all that is left near x = y."""
    r = x / y
    whole = 600 if x.f is DOUBLE else 75
    large = x.b.and_(r == math.inf, x < math.inf)
    small = x.b.and_(r < x.f.smallest_normal, y < math.inf)
    one = x.like(1.0)
    up = x.like(2.0**-whole).where(large, x.like(2.0**whole).where(small, one))
    down = x.like(2.0**whole).where(large, x.like(2.0**-whole).where(small, one))
    shift = x.like(2.0 * whole * math.log(2.0))
    back = shift.where(large, (-shift).where(small, 0.0))
    n, d = x * up, y * down
    r = n / d
    rest = (-r).fma(d, n) / n
    rest = rest.where((r - 1.0).magnitude() < 0.5, 0.0)
    return log(r) + (back + rest)


def log_ndtr(x: Real) -> Real:
    """log of ndtr: from the scaled function below 0, by log1p above."""
    size = x.magnitude()
    upper = log1p(-ndtr(-size))
    lower = log(_erfcx_of_root(size) * 0.5) - 0.5 * (size * size)
    return (x + x).where(x.unordered(x), lower.where(x < 0.0, upper))


def inverse_mills(x: Real) -> Real:
    """The density of the normal distribution over its distribution function."""
    size = x.magnitude()
    lower = math.sqrt(2.0 / math.pi) / _erfcx_of_root(size)
    upper = exp_minus_half_square(size) * (1.0 / math.sqrt(2.0 * math.pi)) / ndtr(size)
    lower = size.where(size > 1e9, lower)  # infinity too
    return (x + x).where(x.unordered(x), lower.where(x < 0.0, upper))


def mills_ratio(x: Real) -> Real:
    """The upper tail of the normal distribution over its density, for x >= 0."""
    out = _erfcx_of_root(x) * math.sqrt(0.5 * math.pi)
    out = (1.0 / x).where(x > 1e9, out)  # infinity too
    return out.where(x >= 0.0, math.nan)


def _erfcx_of_root(size: Real) -> Real:
    """e**a² erfc(a) for a = size / sqrt(2)."""
    top = 1e150 if size.f is DOUBLE else 1e18
    a = size.like(top).where(size > top, size) * math.sqrt(0.5)
    far = a > 25.0  # beyond the polynomial: the asymptotic series of erfc
    near = _erfcx_of(size.like(25.0).where(far, a))
    u = 1.0 / (a * a)
    tail = polynomial(u, [(-1) ** k * _odd_product(k) / 2**k for k in range(7)])
    return (tail / (a * math.sqrt(math.pi))).where(far, near)


def _odd_product(k: int) -> float:
    """(2k - 1)!!"""
    return float(math.prod(range(1, 2 * k, 2)))


def _erfcx_of(a: Real) -> Real:
    """e**a² erfc(a) for 0 <= a <= 25."""
    q = (a - 4.0) / (a + 4.0)
    return polynomial(q, numbers(a, "ERFCX")) / (a + a + 1.0)


# -- the normal quantile ---------------------------------------------------------------------------
# M. J. Wichura, Algorithm AS 241 (Appl. Statist. 37, 1988), PPND16: numerator and denominator,
# lowest first, of the centre, the tail and the far tail.
_CENTRE = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
     1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
     3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4,
     5.2264952788528545610e3),
)  # fmt: skip
_TAIL = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
     3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
     2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
     1.05075007164441684324e-9),
)  # fmt: skip
_FAR_TAIL = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
     2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
     2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
     2.04426310338993978564e-15),
)  # fmt: skip


def _quantile(q: Real, tail: Real) -> Real:
    """The normal quantile of 1/2 + q, where `tail` is the smaller of its two probabilities."""
    r = 0.180625 - q * q
    centre = q * polynomial(r, _CENTRE[0]) / polynomial(r, _CENTRE[1])
    root = (-log(tail)).sqrt()
    far = root > 5.0
    s = (root - 5.0).where(far, root - 1.6)

    def side(k):
        near, beyond = _TAIL[k], _FAR_TAIL[k]
        out = s.like(beyond[-1]).where(far, near[-1])
        for a, b in zip(beyond[-2::-1], near[-2::-1], strict=True):
            out = out.fma(s, s.like(a).where(far, b))
        return out

    outer = (side(0) / side(1)).with_sign_of(q)
    out = outer.where(q.magnitude() > 0.425, centre)
    return q.like(math.inf).with_sign_of(q).where(tail == 0.0, out)


def ndtri(p: Real) -> Real:
    """The inverse of ndtr."""
    q = p - 0.5
    tail = p.where(q < 0.0, 1.0 - p)
    out = _quantile(q, tail)
    return p.like(math.nan).where(p.b.not_(tail >= 0.0), out)


def tail_log(x: Real) -> Real:
    """log(x) for random numbers, which are positive, normal and finite: no steps for others."""
    return Logarithm(x, usual=True).natural()


def tail_quantile(x: Real) -> Real:
    """The normal quantile of 0 < x <= 1/2 for random numbers, by one division.

    To 2e-15 (4e-7), relative to the quantile or to one, whichever is larger.
    """
    s = (-tail_log(x)).sqrt()
    start, rest = numbers(x, "ROOT_LN2")
    u = (s - start) - rest
    return (
        -u
        * polynomial(u, numbers(x, "NORMAL_TAIL_ABOVE"))
        / polynomial(u, numbers(x, "NORMAL_TAIL_BELOW"))
    )


def erfinv(x: Real) -> Real:
    """The inverse of erf, by the normal quantile of (1 + x) / 2."""
    size = x.magnitude()
    out = _quantile(x * 0.5, (1.0 - size) * 0.5) * math.sqrt(0.5)
    out = x.where(x == 0.0, out)
    return x.like(math.nan).where(x.b.or_(size > 1.0, x.unordered(x)), out)


# -- Bessel functions ------------------------------------------------------------------------------
def _scaled_bessel(size: Real, name: str) -> Real:
    """Polynomials on [0, 8] and, of 1 / x, beyond."""
    if size.f is not DOUBLE:  # its rounding errors would be several units there
        return _scaled_bessel(size.to(DOUBLE), name).to(size.f)
    far = size > 8.0
    near = polynomial(size * 0.25 - 1.0, numbers(size, f"{name}_NEAR"))
    near = near * size if name == "I1E" else near
    safe = size.like(8.0).where(size < 8.0, size)
    beyond = polynomial(16.0 / safe - 1.0, numbers(size, f"{name}_FAR")) / safe.sqrt()
    return beyond.where(far, near)


def i0e(x: Real) -> Real:
    """exp(-|x|) times the modified Bessel function of order 0."""
    size = x.magnitude()
    return (x + x).where(x.unordered(x), _scaled_bessel(size, "I0E"))


def i1e(x: Real) -> Real:
    """exp(-|x|) times the modified Bessel function of order 1."""
    size = x.magnitude()
    out = _scaled_bessel(size, "I1E").with_sign_of(x)
    return (x + x).where(x.unordered(x), out)


BODIES |= {
    f.__name__: f
    for f in (expit, logistic_density, softplus, logit, erf, erfc, ndtr, log_ratio, log_ndtr, ndtri,
              tail_log, tail_quantile, erfinv, i0e, i1e, exp_minus_square, exp_minus_half_square,
              inverse_mills, mills_ratio)
}  # fmt: skip
