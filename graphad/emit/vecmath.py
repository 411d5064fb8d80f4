"""Bodies of exp, expm1, log, log1p and tanh in plain arithmetic, which LLVM vectorises.

Written once as arithmetic on `Real`s, for f64 and f32. Each is an inlined function, so a kernel
gets its instructions in place: no call, no branch, an explicit fused multiply-add, no fast-math. Right at
±0, subnormals, ±inf and nan; `tests/test_vecmath.py` has the bounds.

Sources: the reductions and log's coefficients are fdlibm's (e_log.c, Sun Microsystems 1993);
exp's polynomial is Taylor's on |r| <= ln(2)/2; log1p's correction is Kahan's (HP-15C handbook).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from llvmlite import ir


@dataclass(frozen=True)
class Format:
    """What differs between f64 and f32."""

    code: str
    real: Any
    integer: Any
    mantissa: int
    bias: int
    round: float  # 1.5 * 2**mantissa: adding it rounds to an integer in the low bits
    ln2_high: float  # ln(2) with so few bits that k * ln2_high is exact
    ln2_low: float
    exp_range: tuple[float, float]  # beyond, exp is 0 or inf
    exp_terms: int
    log_terms: tuple[float, ...]  # of 2 atanh(s)/s - 2 in s², lowest first
    smallest_normal: float


DOUBLE = Format(
    "f8", ir.DoubleType(), ir.IntType(64), 52, 1023, 6755399441055744.0,
    6.93147180369123816490e-01, 1.90821492927058770002e-10, (-746.0, 710.0), 13,
    (6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01,
     2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01,
     1.479819860511658591e-01), 2.0**-1022,
)  # fmt: skip
SINGLE = Format(
    "f4", ir.FloatType(), ir.IntType(32), 23, 127, 12582912.0,
    0.693359375, -2.12194440e-4, (-104.5, 89.5), 8,
    (2 / 3, 2 / 5, 2 / 7, 2 / 9, 2 / 11), 2.0**-126,
)  # fmt: skip
FORMATS = {"f8": DOUBLE, "f4": SINGLE}


class Real:
    """A floating-point value in a function being built; arithmetic appends instructions."""

    __slots__ = ("b", "f", "v")

    def __init__(self, builder, fmt: Format, value):
        self.b, self.f, self.v = builder, fmt, value

    def like(self, value) -> Real:
        """A constant."""
        if isinstance(value, Real):
            return value
        return Real(self.b, self.f, ir.Constant(self.f.real, float(value)))

    def _new(self, value) -> Real:
        return Real(self.b, self.f, value)

    def __add__(self, o):
        return self._new(self.b.fadd(self.v, self.like(o).v))

    def __radd__(self, o):
        return self.like(o) + self

    def __sub__(self, o):
        return self._new(self.b.fsub(self.v, self.like(o).v))

    def __rsub__(self, o):
        return self.like(o) - self

    def __mul__(self, o):
        return self._new(self.b.fmul(self.v, self.like(o).v))

    def __rmul__(self, o):
        return self.like(o) * self

    def __truediv__(self, o):
        return self._new(self.b.fdiv(self.v, self.like(o).v))

    def __neg__(self):
        return self._new(self.b.fneg(self.v))

    def __lt__(self, o):
        return self.b.fcmp_ordered("<", self.v, self.like(o).v)

    def __gt__(self, o):
        return self.b.fcmp_ordered(">", self.v, self.like(o).v)

    def __eq__(self, o):  # type: ignore[override]
        return self.b.fcmp_ordered("==", self.v, self.like(o).v)

    __hash__ = None  # type: ignore[assignment]

    def fma(self, y, z) -> Real:
        """self * y + z, rounded once."""
        return self._new(self.b.fma(self.v, self.like(y).v, self.like(z).v))

    def where(self, condition, other) -> Real:
        """condition ? self : other."""
        return self._new(self.b.select(condition, self.v, self.like(other).v))

    def bits(self):
        """The bit pattern as an integer."""
        return self.b.bitcast(self.v, self.f.integer)

    def from_bits(self, integer) -> Real:
        """The value with this bit pattern."""
        return self._new(self.b.bitcast(integer, self.f.real))

    def whole(self, n):
        """An integer constant."""
        return ir.Constant(self.f.integer, n)

    def magnitude(self) -> Real:
        """The absolute value."""
        mask = (1 << (8 * int(self.f.code[1]) - 1)) - 1
        return self.from_bits(self.b.and_(self.bits(), self.whole(mask)))

    def with_sign_of(self, other: Real) -> Real:
        """copysign."""
        top = 1 << (8 * int(self.f.code[1]) - 1)
        return self.from_bits(
            self.b.or_(self.magnitude().bits(), self.b.and_(other.bits(), self.whole(top)))
        )


def power_of_two(like: Real, k) -> Real:
    """2**k for an integer k in the normal range."""
    biased = like.b.add(k, like.whole(like.f.bias))
    return like.from_bits(like.b.shl(biased, like.whole(like.f.mantissa)))


def polynomial(x: Real, coefficients) -> Real:
    """Horner's scheme, lowest coefficient first."""
    out = x.like(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        out = out.fma(x, c)
    return out


def reduced(x: Real):
    """(k, r, m): x = k ln 2 + r with |r| <= ln(2)/2, and m = expm1(r) by a polynomial."""
    f = x.f
    t = x.fma(1.0 / math.log(2.0), f.round)
    k = t - f.round
    r = (-k).fma(f.ln2_low, (-k).fma(f.ln2_high, x))
    tail = polynomial(r, [1.0 / math.factorial(n) for n in range(2, f.exp_terms + 1)])
    return t, r, (r * r).fma(tail, r)


def whole_part(t: Real):
    """The integer that rounding left in the low bits of t."""
    return t.b.sub(t.bits(), t.like(t.f.round).bits())


def clamped(x: Real) -> Real:
    """x kept where exp is finite or overflows by the arithmetic itself; nan stays."""
    low, high = x.f.exp_range
    x = x.like(low).where(x < low, x)
    return x.like(high).where(x > high, x)


def exp(x: Real) -> Real:
    """e**x. The scale is applied in two halves, so that subnormal results are right."""
    t, _, m = reduced(clamped(x))
    k = whole_part(t)
    half = x.b.ashr(k, x.whole(1))
    return ((m + 1.0) * power_of_two(x, half)) * power_of_two(x, x.b.sub(k, half))


def expm1(x: Real) -> Real:
    """e**x - 1, exact at ±0 and relative near it."""
    t, _, m = reduced(clamped(x))
    k = whole_part(t)
    half = x.b.ashr(k, x.whole(1))
    a, b = power_of_two(x, half), power_of_two(x, x.b.sub(k, half))
    scaled = (a * m).fma(b, a.fma(b, -1.0))
    big = x > 0.5 * x.f.exp_range[1]  # where the -1 is lost and a*b may overflow before
    out = (((m + 1.0) * a) * b).where(big, scaled)
    return x.where(x == 0.0, out)


def log_of_normal(x: Real, shift: float = 0.0) -> Real:
    """log(x) - shift * ln 2 for x > 0 normal; fdlibm's e_log.c."""
    f = x.f
    root = math.frexp(math.sqrt(0.5))[0]
    sqrt_half = x.like(root).bits()
    e = x.b.ashr(x.b.sub(x.bits(), sqrt_half), x.whole(f.mantissa))
    m = x.from_bits(x.b.sub(x.bits(), x.b.shl(e, x.whole(f.mantissa))))
    exponent = x.from_bits(x.b.add(e, x.like(f.round).bits())) - (f.round + shift)
    z = m - 1.0
    s = z / (m + 1.0)
    w = s * s
    r = w * polynomial(w, f.log_terms)
    half = (z * z) * 0.5
    low = s.fma(half + r, exponent * f.ln2_low)
    return exponent.fma(f.ln2_high, z - (half - low))


def log(x: Real) -> Real:
    """Natural logarithm; subnormals are scaled up first."""
    f = x.f
    tiny = x < f.smallest_normal
    scale = f.mantissa + 2
    up = (x * 2.0**scale).where(tiny, x)
    out = log_of_normal(up)
    lifted = out - scale * math.log(2.0)
    out = lifted.where(tiny, out)
    return edges(x, out, 0.0)


def edges(x: Real, out: Real, pole: float) -> Real:
    """-inf at the pole, nan left of it, and inf and nan as they are."""
    out = x.like(-math.inf).where(x == pole, out)
    out = x.like(math.nan).where(x < pole, out)
    out = x.where(x == math.inf, out)
    return x.where(x.b.fcmp_unordered("uno", x.v, x.v), out)


def log1p(x: Real) -> Real:
    """log(1 + x): the rounding error of 1 + x comes back as a correction."""
    u = x + 1.0
    error = (x - (u - 1.0)).where(x < 2.0 ** (x.f.mantissa + 1), 0.0)
    out = log_of_normal(u) + error / u
    out = x.where(u == 1.0, out)
    return edges(x, out, -1.0)


def tanh(x: Real) -> Real:
    """With m = expm1(2|x|): m / (m + 2) near 0, and 1 - 2 / (m + 2) beyond, which is 1 at inf."""
    size = x.magnitude()
    m = expm1(size * 2.0)
    d = m + 2.0
    out = (m / d).where(size < 0.55, 1.0 - x.like(2.0) / d)
    return out.with_sign_of(x)


BODIES = {"exp": exp, "expm1": expm1, "log": log, "log1p": log1p, "tanh": tanh}


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
