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
from collections.abc import Callable, Sequence

from llvmlite import ir

from graphad.bodies import coefficients, wide
from graphad.bodies.real import (
    DOUBLE,
    FORMATS,
    Pair,
    Real,
    power_of_two,
    quick_two_sum,
    two_product,
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
# x = k ln(2) / 16 + r, |r| <= ln(2) / 32: e**x is 2**(k / 16), by a table, times 1 + expm1(r).
class Steps:
    """k / 16 as a Real, the integer that picks the table's entry, r, and r's rounding error."""

    def __init__(self, x: Real):
        f = x.f
        t = x.fma(wide.ENTRIES / math.log(2.0), f.round)
        k = t - f.round
        high = (-k).fma(f.ln2_high / wide.ENTRIES, x)  # exact
        self.r = (-k).fma(f.ln2_low / wide.ENTRIES, high)
        self.low = (-k).fma(f.ln2_low / wide.ENTRIES, high - self.r)
        self.place, self.k = t.bits(), k * (1.0 / wide.ENTRIES)

    def power(self, shift: int = 0, back: bool = False) -> Real:
        """2**(k / 16 + shift), or 2**(-k / 16 + shift), rounded."""
        k = -self.k if back else self.k
        k = k + float(shift) if shift else k
        return wide.scaled(self._entry("EXP_TABLE", back), k, lambda: self.whole(shift, back))

    def whole(self, shift: int = 0, back: bool = False):
        """floor(k / 16 + shift), or of -k, as an integer."""
        r = self.r
        steps = r.b.sub(self.place, r.like(r.f.round).bits())
        steps = r.b.neg(steps) if back else steps
        return r.b.add(r.b.ashr(steps, r.whole(4)), r.whole(shift))

    def rest(self, back: bool = False) -> Real:
        """What is missing of that power, as a part of it."""
        return self._entry("EXP_REST", back)

    def _entry(self, name, back):
        place = self.r.b.neg(self.place) if back else self.place
        return wide.looked_up(self.r, numbers(self.r, name), place)


def exp_rest(r: Real, more: Real) -> Real:
    """exp(r) - 1 - r + more, right as a part of 1."""
    return (r * r).fma(polynomial(r, numbers(r, "EXP")), more)


def expm1_rest(r: Real, more: Real) -> Real:
    """exp(r) - 1 - r + more, right as a part of r."""
    return (r * r).fma(polynomial(r, numbers(r, "EXPM1")), more)


def whole_part(t: Real):
    """The integer that rounding left in the low bits of t."""
    return t.b.sub(t.bits(), t.like(t.f.round).bits())


def clamped(x: Real) -> Real:
    """x kept where exp is finite or overflows by the arithmetic itself; nan stays."""
    low, high = x.f.exp_range
    x = x.like(low).where(x < low, x)
    return x.like(high).where(x > high, x)


def exp(x: Real) -> Real:
    """e**x. It is scaled at the end, with one rounding where the result is subnormal."""
    x = clamped(x)
    steps = Steps(x)
    entry = wide.looked_up(x, numbers(x, "EXP_TABLE"), steps.place)
    return wide.scaled(entry.fma(exp_rest(steps.r, steps.r), entry), steps.k, steps.whole)


def exp_close(x: Real) -> Real:
    """e**x to three quarters of a unit: with what the table and the steps leave out."""
    steps = Steps(clamped(x))
    entry = wide.looked_up(x, numbers(x, "EXP_TABLE"), steps.place)
    m = exp_rest(steps.r, steps.r + (steps.low + steps.rest()))
    return wide.scaled(entry.fma(m, entry), steps.k, steps.whole)


def exp_pair(x: Real) -> Pair:
    """e**x and what its rounding left out."""
    steps = Steps(clamped(x))
    entry = wide.looked_up(x, numbers(x, "EXP_TABLE"), steps.place)
    m = exp_rest(steps.r, steps.r)
    high = entry.fma(m, entry)
    low = entry.fma(m, entry - high) + entry * (steps.low + steps.rest())
    return Pair(*(wide.scaled(part, steps.k, steps.whole) for part in (high, low)))


def expm1(x: Real) -> Real:
    """e**x - 1, exact at ±0 and relative near it; half of it at first, which does not overflow."""
    steps = Steps(clamped(x))
    power = steps.power(-1)
    p = steps.r + expm1_rest(steps.r, steps.low + steps.rest())
    tiny = x.magnitude() < 2.0 ** -(x.f.mantissa + 2)  # its half may be subnormal
    return x.where(tiny, power.fma(p, power - 0.5) * 2.0)


def tanh(x: Real) -> Real:
    """q = m / d with m = expm1(2|x|), d = m + 2; the rounding error of d comes back by
    1 / d = (1 - q) / 2."""
    size = x.magnitude()
    size = x.like(22.0).where(size > 22.0, size)  # where it is 1
    steps = Steps(size + size)
    power = steps.power()
    p = steps.r + expm1_rest(steps.r, steps.low + steps.rest())
    m = power.fma(p, power - 1.0)
    d = m + 2.0
    q = m / d
    low = ((d - 2.0) - m).where(m < 2.0, 0.0)  # beyond, it matters less
    rest = q.fma(low, (-q).fma(d, m))  # what is left of m, times 1 / d
    return rest.fma(q.fma(-0.5, 0.5), q).with_sign_of(x)


def _even_and_odd(r: Real, low: Real) -> tuple[Real, Real]:
    """cosh(r) - 1 and sinh(r), by their series."""
    u = r * r
    terms = 3 if r.f is DOUBLE else 2
    even = u * polynomial(u, (1 / 2, 1 / 24, 1 / 720)[:terms])
    return even, r + (r * u).fma(polynomial(u, (1 / 6, 1 / 120, 1 / 5040)[:terms]), low)


def _hyperbolic(size: Real) -> tuple[Steps, Real, Real]:
    """(the steps, e**s / 4, e**-s / 4) of a size, where s is its multiple of ln(2) / 16."""
    top = size.f.exp_range[1] + 1.0 if size.f is DOUBLE else 90.0  # where the result is inf
    steps = Steps(size.like(top).where(size > top, size))
    return steps, steps.power(-2), steps.power(-2, back=True)


def sinh(x: Real) -> Real:
    """sinh(s + r) = sinh(s) cosh(r) + cosh(s) sinh(r)."""
    size = x.magnitude()
    steps, grown, shrunk = _hyperbolic(size)
    even, odd = _even_and_odd(steps.r, steps.low)
    difference, total = grown - shrunk, grown + shrunk
    rest = grown * steps.rest() - shrunk * steps.rest(back=True)
    out = difference + total.fma(odd, difference.fma(even, rest))
    tiny = size < 2.0 ** -(x.f.mantissa // 2 + 2)  # a quarter may be subnormal
    return x.where(tiny, (out + out).with_sign_of(x))


def cosh(x: Real) -> Real:
    """cosh(s + r) = cosh(s) cosh(r) + sinh(s) sinh(r)."""
    steps, grown, shrunk = _hyperbolic(x.magnitude())
    even, odd = _even_and_odd(steps.r, steps.low)
    total = grown + shrunk
    out = total + (grown - shrunk).fma(odd, total * even)
    return out + out


# -- logarithms ----------------------------------------------------------------------------------
# x = 2**e m with m in [3/4, 3/2), and r = m c - 1 for c near 1 / m from a table: log(x) is
# e log(2) - log(c) + log(1 + r). On both sides of 1, c is 1.
class Parts:
    """e and m of a number, and the entries of tables for m."""

    def __init__(self, x: Real, normal: bool = False, usual: bool = False):
        self.x, self.e = x, wide.exponent(x, normal, usual)
        self.m = wide.mantissa(x, normal, usual)
        self.place = x.b.lshr(self.m.bits(), x.whole(x.f.mantissa - 4))

    def entry(self, name: str) -> Real:
        """The entry for m of a table."""
        return wide.looked_up(self.x, numbers(self.x, name), self.place)


class Logarithm(Parts):
    """What log(x) is made of; with `more`, that of x + more, where x is not subnormal.

    `usual` says that x is positive, normal and finite.
    """

    def __init__(self, x: Real, more: Real | None = None, usual: bool = False):
        super().__init__(x, more is not None, usual)
        c = self.entry("LOG_TABLE")
        self.r = self.m.fma(c, -1.0)
        if more is not None:
            self.r = wide.scaled(more, -self.e, self._down).fma(c, self.r)
        r = self.r
        self.rest = (r * r) * r.fma(polynomial(r, numbers(x, "LOG")), -0.5)  # log(1 + r) - r

    def _down(self):
        """-e as an integer."""
        zero = self.x.like(self.x.f.round)
        return self.x.b.sub(zero.bits(), (self.e + zero).bits())

    def natural(self) -> Real:
        """The logarithm, rounded."""
        f, e = self.x.f, self.e
        high = e.fma(f.ln2_high, self.entry("LOG_HIGH"))  # exact
        return high + (self.r + (self.rest + e.fma(f.ln2_low, self.entry("LOG_LOW"))))

    def at_ends(self, out: Real) -> Real:
        """The result, but e where that is infinite: at 0 and at infinity; nan where m is."""
        return (self.e + self.m).where(self.e.magnitude() == math.inf, out)

    def to_base(self, name: str, unit: Sequence[float], inverse: Sequence[float]) -> Real:
        """The logarithm to a base: `unit` is that of 2, `inverse` that of e."""
        e, r = self.e, self.r
        high = e.fma(unit[0], self.entry(f"{name}_HIGH"))  # exact
        low = self.entry(f"{name}_LOW")
        low = e.fma(unit[1], low) if unit[1] else low
        if self.x.f is not DOUBLE:  # at the ends, high and low have one sign
            return high + r.fma(inverse[0], self.rest.fma(inverse[0], low))
        p = two_product(r, r.like(inverse[0]))
        low = self.rest.fma(inverse[0], r.fma(inverse[1], p.low + low))
        total = quick_two_sum(high, p.high)
        return self.at_ends(total.high + (total.low + low))


def log(x: Real) -> Real:
    """Natural logarithm: -inf at 0 and inf at infinity by e, nan left of 0 by the mantissa."""
    return Logarithm(x).natural()


def constant(x: Real, name: str) -> Pair:
    """A number as a pair."""
    high, low = numbers(x, name)
    return Pair(x.like(high), x.like(low))


def log2(x: Real) -> Real:
    """Logarithm to base 2, exact at powers of two."""
    return Logarithm(x).to_base("LOG2", (1.0, 0.0), numbers(x, "INV_LN2"))


def log10(x: Real) -> Real:
    """Logarithm to base 10."""
    return Logarithm(x).to_base("LOG10", numbers(x, "LOG10_2"), numbers(x, "INV_LN10"))


def log1p(x: Real) -> Real:
    """log(1 + x)."""
    return _log1p(x)


def _log1p(x: Real, more: Real | float = 0.0) -> Real:
    """log(1 + x + more): the rounding error of u = 1 + x is added to what the mantissa is beyond
    1 / c, and so is `more`, which is as small."""
    u = x + 1.0
    error = x - (u - 1.0)
    error = error + more if isinstance(more, Real) else error
    whole = Logarithm(u, error.where(x < 2.0 ** (x.f.mantissa + 1), 0.0))
    return x.where(u == 1.0, whole.at_ends(whole.natural()))


# -- powers --------------------------------------------------------------------------------------
def hypot(x: Real, y: Real) -> Real:
    """sqrt(x² + y²) without overflow on the way; inf wins over nan."""
    a, b = x.magnitude(), y.magnitude()
    top, bottom, by = (510, -450, 600) if x.f is DOUBLE else (62, -50, 75)
    large = x.b.or_(a > 2.0**top, b > 2.0**top)
    small = x.b.and_(a < 2.0**bottom, b < 2.0**bottom)
    scale = x.like(2.0**-by).where(large, x.like(2.0**by).where(small, 1.0))
    back = x.like(2.0**by).where(large, x.like(2.0**-by).where(small, 1.0))
    p, q = a * scale, b * scale
    out = p.fma(p, q * q).sqrt() * back
    endless = x.b.or_(a == math.inf, b == math.inf)
    return x.like(math.inf).where(endless, out)


def log2_pair(x: Real) -> Pair:
    """log2 of x > 0 to about 63 bits, for pow."""
    parts = Parts(x)
    p = two_product(parts.m, parts.entry("LOG_TABLE"))
    r = quick_two_sum(p.high - 1.0, p.low)
    unit = constant(x, "INV_LN2")
    square = two_product(r.high, r.high)
    cube = (square.high * r.high) * polynomial(r.high, numbers(x, "LOG"))
    first, second = two_product(r.high, unit.high), two_product(square.high, unit.high * -0.5)
    one = quick_two_sum(parts.e + parts.entry("LOG2_HIGH"), first.high)
    two = quick_two_sum(one.high, second.high)
    low = r.high.fma(unit.low, (r.low - r.high * r.low - square.low * 0.5 + cube) * unit.high)
    low = square.high.fma(unit.low * -0.5, low) + (first.low + second.low)
    return quick_two_sum(two.high, two.low + (one.low + (low + parts.entry("LOG2_LOW"))))


def binary_steps(x: Real, low: Real | None = None) -> tuple[Real, Real, Real]:
    """(r, k, 2**(k % 1)): 2**(x + low) is e**r 2**k, k a multiple of 1/16."""
    t = x.fma(wide.ENTRIES, x.f.round)
    k = (t - x.f.round) * (1.0 / wide.ENTRIES)
    rest = x - k if low is None else x - k + low
    return rest * math.log(2.0), k, wide.looked_up(x, numbers(x, "EXP_TABLE"), t.bits())


def exp2_pair(e: Pair) -> Real:
    """2**(high + low)."""
    high = e.high
    top = 1100.0 if high.f is DOUBLE else 160.0  # beyond, it is 0 or inf
    within = high.magnitude() < top
    high = high.like(top).where(high > top, high)
    high = high.like(-top).where(high < -top, high)
    r, k, entry = binary_steps(high, e.low.where(within, 0.0))
    return wide.scaled(entry.fma(exp_rest(r, r), entry), k)


def _single_power(size: Real, y: Real) -> Real:
    """size**y for f32 in f64, to 2**-30."""
    x, y = size.to(DOUBLE), y.to(DOUBLE)
    parts = Parts(x)
    r = parts.m.fma(parts.entry("LOG_TABLE"), -1.0)
    whole = parts.e + parts.entry("LOG2_HIGH")
    z = r.fma(polynomial(r, numbers(x, "LOG2_OF_POWER")), whole) * (y * wide.ENTRIES)
    most = 200.0 * wide.ENTRIES
    z = z.like(most).where(z > most, z)
    z = z.like(-most).where(z < -most, z)
    t = z + x.f.round
    k = t - x.f.round
    entry = wide.looked_up(x, numbers(x, "EXP_TABLE"), t.bits())
    part = (z - k) * polynomial(z - k, numbers(x, "EXP2_OF_POWER"))
    return wide.scaled(entry.fma(part, entry), k * (1.0 / wide.ENTRIES)).to(size.f)


def _power_of_size(size: Real, y: Real) -> Real:
    """size**y for size >= 0."""
    if size.f is not DOUBLE:
        return _single_power(size, y)  # 0, inf and nan by the arithmetic itself
    e = log2_pair(size)
    p = two_product(e.high, y)
    out = exp2_pair(Pair(p.high, e.low.fma(y, p.low)))
    up, down = y > 0.0, y < 0.0
    zero, inf = size.like(0.0), size.like(math.inf)
    out = zero.where(up, inf.where(down, 1.0)).where(size == 0.0, out)
    out = inf.where(up, zero.where(down, 1.0)).where(size == math.inf, out)
    return (size + y).where(size.unordered(y), out)


def pow(x: Real, y: Real) -> Real:
    """x**y; a negative x with an integer y has the sign of an odd or even power, else nan."""
    size = x.magnitude()
    out = _power_of_size(size, y)
    out = x.like(1.0).where(x.b.or_(size == 1.0, y == 0.0), out)
    whole = y.floor() == y
    half = y * 0.5
    odd = x.b.and_(whole, x.b.not_(half.floor() == half))
    negative = x.b.icmp_signed("<", x.bits(), x.whole(0))
    out = (-out).where(x.b.and_(negative, odd), out)
    fine = x.b.or_(x.b.or_(whole, y.magnitude() == math.inf), size == math.inf)
    return x.like(math.nan).where(x.b.and_(x < 0.0, x.b.not_(fine)), out)


def exp2(x: Real) -> Real:
    """2**x, exact at integers."""
    return exp2_pair(Pair(x, x.like(0.0)))


def cbrt(x: Real) -> Real:
    """The real cube root: of the mantissa by Halley's iteration, a last step by Newton's with the
    rounding error of the cube."""
    size = x.magnitude()
    exponent, m = wide.exponent(size), wide.mantissa(size)
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
    whole = quick_two_sum(a, (a * a) / ((a.fma(a, 1.0)).sqrt() + 1.0))
    out = _log1p(whole.high, whole.low)
    return x.where(size == 0.0, _large_log(size, out).with_sign_of(x))


def acosh(x: Real) -> Real:
    """log(x + sqrt(x² - 1)), by log1p of what is beyond 1; nan below 1."""
    top = 2.0 ** (x.f.mantissa // 2 + 3)
    t = x.like(top).where(x > top, x) - 1.0
    whole = quick_two_sum((t.fma(t, t + t)).sqrt(), t)
    out = _log1p(whole.high, whole.low)
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
    for f in (exp, expm1, log, log1p, log2, log10, tanh, sinh, cosh, hypot, pow, exp2, cbrt,
              asinh, acosh, atanh, rem, mod, floordiv)
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
