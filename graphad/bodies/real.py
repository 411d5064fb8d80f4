"""Arithmetic on floating-point values of a function being built, for f64 and f32 alike.

`Real` has operators, an explicit fused multiply-add, selects and bit patterns; `Pair`s are sums of
two Reals (T. J. Dekker, A floating-point technique for extending the available precision, Numer.
Math. 18, 1971). Everything vectorises: no call, no branch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from graphad.emit.target import target_of


@dataclass(frozen=True)
class Format:
    """What differs between f64 and f32."""

    code: str
    real: Any
    integer: Any
    mantissa: int
    bias: int
    round: float  # 1.5 * 2**mantissa: adding it rounds to an integer in the low bits
    ln2_high: float  # below ln(2), with so few bits that k * ln2_high is exact
    ln2_low: float
    exp_range: tuple[float, float]  # beyond, exp is 0 or inf
    smallest_normal: float
    huge: float  # whose arctangent is pi/2, and whose reciprocal is normal
    far: float  # beyond, sines are reduced by the C library


DOUBLE = Format(
    "f8", ir.DoubleType(), ir.IntType(64), 52, 1023, 6755399441055744.0,
    6.93147180369123816490e-01, 1.90821492927058770002e-10, (-746.0, 710.0), 2.0**-1022, 1e300,
    2.0**28,
)  # fmt: skip
SINGLE = Format(
    "f4", ir.FloatType(), ir.IntType(32), 23, 127, 12582912.0,
    0.69140625, 0.0017409305599453094, (-104.5, 89.0), 2.0**-126, 1e37, 2.0**17,
)  # fmt: skip
FORMATS = {"f8": DOUBLE, "f4": SINGLE}


def on_cuda(b) -> bool:
    """Whether a builder's code is for a GPU, whose LLVM is older: no fneg, and libdevice for far
    sines."""
    return target_of(b.module).cuda


def declared(module, name: str, kind):
    """The function of this name in a module, declared at need."""
    return module.globals.get(name) or ir.Function(module, kind, name)


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

    def __rtruediv__(self, o):
        return self.like(o) / self

    def __mod__(self, o):
        """The remainder with the sign of the dividend, exact: C's fmod."""
        return self._new(self.b.frem(self.v, self.like(o).v))

    def __neg__(self):
        if on_cuda(self.b):
            return self.like(-0.0) - self
        return self._new(self.b.fneg(self.v))

    def __lt__(self, o):
        return self.b.fcmp_ordered("<", self.v, self.like(o).v)

    def __gt__(self, o):
        return self.b.fcmp_ordered(">", self.v, self.like(o).v)

    def __ge__(self, o):
        return self.b.fcmp_ordered(">=", self.v, self.like(o).v)

    def __eq__(self, o):  # type: ignore[override]
        return self.b.fcmp_ordered("==", self.v, self.like(o).v)

    def unordered(self, o):
        """Whether one of the two is nan."""
        return self.b.fcmp_unordered("uno", self.v, self.like(o).v)

    __hash__ = None  # type: ignore[assignment]

    def fma(self, y, z) -> Real:
        """self * y + z, rounded once."""
        return self._new(self.b.fma(self.v, self.like(y).v, self.like(z).v))

    def sqrt(self) -> Real:
        """The square root, rounded once."""
        return self._call("sqrt")

    def floor(self) -> Real:
        """The largest integer below."""
        return self._call("floor")

    def trunc(self) -> Real:
        """Rounded toward zero."""
        return self._call("trunc")

    def _call(self, name):
        full = f"llvm.{name}.f{8 * int(self.f.code[1])}"
        kind = ir.FunctionType(self.f.real, [self.f.real])
        return self._new(self.b.call(declared(self.b.module, full, kind), [self.v]))

    def to(self, fmt: Format) -> Real:
        """The same number in another format."""
        if fmt is self.f:
            return self
        cast = self.b.fpext if fmt.code == "f8" else self.b.fptrunc
        return Real(self.b, fmt, cast(self.v, fmt.real))

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


@dataclass(frozen=True)
class Pair:
    """high + low, where low is at most half a unit in the last place of high."""

    high: Real
    low: Real

    def where(self, condition, other: Pair) -> Pair:
        """condition ? self : other."""
        return Pair(self.high.where(condition, other.high), self.low.where(condition, other.low))

    def sum(self) -> Real:
        """Both as one."""
        return self.high + self.low


def two_sum(a: Real, b: Real) -> Pair:
    """a + b exactly (D. E. Knuth, The Art of Computer Programming 2, 4.2.2)."""
    s = a + b
    t = s - a
    return Pair(s, (a - (s - t)) + (b - t))


def quick_two_sum(a: Real, b: Real) -> Pair:
    """a + b exactly for |a| >= |b|, or a = 0."""
    s = a + b
    return Pair(s, (a - s) + b)


def two_product(a: Real, b: Real) -> Pair:
    """a * b exactly."""
    p = a * b
    return Pair(p, a.fma(b, -p))


def quotient(n: Pair, d: Pair) -> Pair:
    """n / d with one division."""
    r = 1.0 / d.high
    z = n.high * r
    return Pair(z, ((-z).fma(d.high, n.high) + n.low - z * d.low) * r)


def rarely(x: Real, limit: float, name: str, usual: Real) -> Real:
    """`usual`, but the C library's function where |x| > limit.

    LLVM cannot vectorise a branch. It can a call whose vector form is known, so the choice is a
    call with such a form, which is inlined after the loops are vectorised: one test a vector.
    """
    if on_cuda(x.b):
        kind = ir.FunctionType(x.f.real, [x.f.real])
        full = f"__nv_{name}" if x.f.code == "f8" else f"__nv_{name}f"
        before = x.b.block
        with x.b.if_then(x.magnitude() > limit, likely=False):
            far, there = x.b.call(declared(x.b.module, full, kind), [x.v]), x.b.block
        phi = x.b.phi(x.f.real)
        phi.add_incoming(usual.v, before)
        phi.add_incoming(far, there)
        return x._new(phi)
    variants = _vector_forms(x.b.module, x.f, limit, name)
    chosen = x.b.call(_scalar_form(x.b.module, x.f, limit, name), [x.v, usual.v])
    set.add(chosen.attributes, f'"vector-function-abi-variant"="{variants}"')
    return x.like(usual)._new(chosen)


def _scalar_form(module, fmt: Format, limit: float, name: str):
    """rare(x, y): the library's function of x beyond the limit, else y."""
    full = f"graphad_rare_{name}_{fmt.code}"
    known = module.globals.get(full)
    if known is not None:
        return known
    kind = fmt.real
    f = ir.Function(module, ir.FunctionType(kind, [kind, kind]), full)
    f.linkage = "internal"
    for attribute in ("noinline", "nounwind", "willreturn", "memory(none)"):
        set.add(f.attributes, attribute)
    b = ir.IRBuilder(f.append_basic_block())
    x, y = f.args
    library = ir.Function(
        module, ir.FunctionType(kind, [kind]), name if fmt.code == "f8" else f"{name}f"
    )
    with b.if_then(Real(b, fmt, x).magnitude() > limit, likely=False):
        b.ret(b.call(library, [x]))
    b.ret(y)
    keep(module, f)
    return f


def _vector_forms(module, fmt: Format, limit: float, name: str) -> str:
    """The vector forms of that function for this CPU, as its call's attribute names them."""
    scalar = f"graphad_rare_{name}_{fmt.code}"
    found = []
    native = target_of(module).bits // (8 * int(fmt.code[1]))
    for lanes in (native, 2 * native) if fmt.code == "f8" else (native,):
        full = f"{scalar}_{lanes}"
        if full not in module.globals:
            _vector_form(module, fmt, limit, name, lanes)
        found.append(f"_ZGV_LLVM_N{lanes}vv_{scalar}({full})")
    return ",".join(found)


def _vector_form(module, fmt: Format, limit: float, name: str, lanes: int):
    vector = ir.VectorType(fmt.real, lanes)
    kind = ir.FunctionType(vector, [vector, vector])
    slow = _lane_by_lane(module, fmt, limit, name, lanes, kind)
    f = ir.Function(module, kind, f"graphad_rare_{name}_{fmt.code}_{lanes}")
    f.linkage = "internal"
    f.attributes.add("alwaysinline")
    b = ir.IRBuilder(f.append_basic_block())
    x, y = f.args
    bits = f"v{lanes}f{8 * int(fmt.code[1])}"
    size = declared(module, f"llvm.fabs.{bits}", ir.FunctionType(vector, [vector]))
    far = b.fcmp_ordered(">", b.call(size, [x]), ir.Constant(vector, [limit] * lanes))
    some = b.icmp_unsigned("!=", b.bitcast(far, ir.IntType(lanes)), ir.IntType(lanes)(0))
    with b.if_then(some, likely=False):
        b.ret(b.call(slow, [x, y]))
    b.ret(y)
    keep(module, f)


def _lane_by_lane(module, fmt: Format, limit: float, name: str, lanes: int, kind):
    f = ir.Function(module, kind, f"graphad_lanes_{name}_{fmt.code}_{lanes}")
    f.linkage = "internal"
    for attribute in ("noinline", "cold", "nounwind"):
        f.attributes.add(attribute)
    b = ir.IRBuilder(f.append_basic_block())
    x, y = f.args
    start = b.block
    loop = b.append_basic_block()
    b.branch(loop)
    b.position_at_end(loop)
    k, out = b.phi(ir.IntType(64)), b.phi(kind.return_type)
    scalar = _scalar_form(module, fmt, limit, name)
    got = b.call(scalar, [b.extract_element(x, k), b.extract_element(y, k)])
    new = b.insert_element(out, got, k)
    after = b.add(k, ir.IntType(64)(1))
    for value, first, later in ((k, ir.IntType(64)(0), after), (out, y, new)):
        value.add_incoming(first, start)
        value.add_incoming(later, loop)
    done = b.append_basic_block()
    b.cbranch(b.icmp_unsigned("==", after, ir.IntType(64)(lanes)), done, loop)
    b.position_at_end(done)
    b.ret(new)
    return f


def keep(module, f) -> None:
    """Note a function that has vector forms, or is one: LLVM may not drop or change it."""
    used = module.__dict__.setdefault("used", [])
    if f not in used:
        used.append(f)


def keep_vector_forms(module) -> None:
    """Vector forms are not called before loops are vectorised: keep LLVM from dropping them, and
    the arguments of what has them (an internal function may lose those that are always the same)
    from differing from what the names of the forms say."""
    used = getattr(module, "used", ())
    if not used:
        return
    pointer = ir.IntType(8).as_pointer()
    kind = ir.ArrayType(pointer, len(used))
    kept: Any = ir.GlobalVariable(module, kind, "llvm.compiler.used")
    kept.linkage, kept.section = "appending", "llvm.metadata"
    kept.initializer = ir.Constant(kind, [f.bitcast(pointer) for f in used])
