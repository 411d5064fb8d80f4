"""Elementwise operations: one declaration each.

`meaning` is the sympy expression of the operation; its partials come from `sympy.diff` unless
the declaration gives better ones (stable at extremes, or using the output). `body` is what a
kernel computes. `domain` is where tests sample. Ties and end points: docs/derivatives.md.
"""

from __future__ import annotations

import math

import numpy as np

from graphad.errors import DTypeError
from graphad.op import TABLE, Op, register
from graphad.ops.sympy_nodes import partials_of
from graphad.ops.value import (
    Value,
    add,
    apply,
    batch_by_repeating,
    convert,
    full,
    promoted,
    select,
)
from graphad.spec import Spec

BOOL = np.dtype("?")


def _infer_same(specs, params):
    first = specs[0]
    weak = first.weak
    for s in specs[1:]:
        if s is not first:
            assert s.shape == first.shape and s.dtype == first.dtype, specs
            weak = weak and s.weak
    return first if weak == first.weak else Spec(first.shape, first.dtype, weak)


def _infer_bool(specs, params):
    return Spec(specs[0].shape, BOOL)


def _infer_select(specs, params):
    return Spec(specs[1].shape, specs[1].dtype, specs[1].weak and specs[2].weak)


def elementwise(name, ufunc, body, *, meaning=None, partials=None, result="same", **more):
    """Declare an elementwise operation and the NumPy function that it is, if it is one."""
    if partials is None and meaning is not None:
        partials = partials_of(meaning)
    family = "elementwise" if partials is not None else "opaque"
    reference = more.pop("reference", ufunc)
    op = register(
        Op(
            name=name,
            family=more.pop("family", family),
            infer={"same": _infer_same, "bool": _infer_bool, "select": _infer_select}[result],
            reference=lambda arrays, params, spec: reference(*arrays),
            arity=more.pop("arity", getattr(ufunc, "nin", None)),
            meaning=meaning,
            partials=partials,
            batch=batch_by_repeating(name),
            body=body,
            **more,
        )
    )
    if ufunc is not None:
        TABLE.numpy[ufunc] = lambda *xs, dtype=None, _name=name: _cast(apply(_name, *xs), dtype)
    return op


def _cast(x, dtype):
    return x if dtype is None else convert(x, dtype)


def sym(name, *before):
    """A sympy function by name, its first arguments given; imported when first needed."""

    def call(*args):
        import sympy

        return getattr(sympy, name)(*before, *args)

    return call


def _linear(rule):
    """transpose for operations whose cotangent needs only ct and the argument's position."""
    return lambda ct, i, args, specs, params: rule(ct, i)


# -- arithmetic ---------------------------------------------------------------------------------
elementwise(
    "add", np.add, "({0} + {1})", meaning=lambda x, y: x + y, family="linear",
    transpose=_linear(lambda ct, i: ct), takes="number",
)  # fmt: skip
elementwise(
    "sub", np.subtract, "({0} - {1})", meaning=lambda x, y: x - y, family="linear",
    transpose=_linear(lambda ct, i: ct if i == 0 else -ct), takes="number",
)  # fmt: skip
elementwise(
    "neg", np.negative, "(-{0})", meaning=lambda x: -x, family="linear",
    transpose=_linear(lambda ct, i: -ct), takes="number",
)  # fmt: skip
elementwise("mul", np.multiply, "({0} * {1})", meaning=lambda x, y: x * y,
            partials=lambda x, y, out: (y, x), takes="number")  # fmt: skip
elementwise("div", np.divide, "({0} / {1})", meaning=lambda x, y: x / y, takes="float",
            partials=lambda x, y, out: (1.0 / y, -out / y), cost=5,
            domain=((-3, 3), (0.2, 3)))  # fmt: skip


def asked(partial):
    """A partial that is needed; one that there is none of is a function that raises."""
    return partial() if callable(partial) else partial


def scale(tangent: Value, partial) -> Value:
    """tangent * partial with a strong zero: an exact zero on either side gives zero."""
    if isinstance(partial, (int, float)):
        if partial == 1:
            return tangent
        if partial == 0:
            return full(tangent, 0)
        return add(tangent, "scale", [tangent, full(tangent, partial)])
    if partial.dtype != tangent.dtype:  # a choice between numbers, whose dtype is weak
        partial = convert(partial, tangent.dtype)
    return add(tangent, "scale", [tangent, partial])


def _strong_multiply(x, y):
    with np.errstate(all="ignore"):
        return np.where((x == 0) | (y == 0), np.zeros((), x.dtype), x * y)


register(
    Op(
        "scale", "bilinear", _infer_same,
        lambda arrays, params, spec: _strong_multiply(*arrays),
        arity=2,
        transpose=lambda ct, i, args, specs, params: scale(ct, args[1 - i]),
        batch=batch_by_repeating("scale"),
        body="(({0} * {1}) if (({0} != {zero}) & ({1} != {zero})) else {zero})",
    )
)  # fmt: skip


# What is 0 times something, or 0 over it, is 0 as the cotangents are; unlike a `where` at the zero,
# these have the derivatives that the product and the quotient have around it.
elementwise(
    "ratio", None, "({zero} if {0} == {zero} else {0} / {1})", arity=2, cost=5,
    reference=lambda x, y: np.where(x == 0, np.zeros((), x.dtype), x / y),
    meaning=lambda x, y: x / y, domain=((-3, 3), (0.2, 3)), takes="float",
    partials=lambda x, y, out: (1.0 / y, -apply("ratio", out, y)),
)  # fmt: skip
elementwise(
    "difference", None, "({zero} if {0} == {1} else {0} - {1})", arity=2,
    reference=lambda x, y: np.where(x == y, np.zeros((), x.dtype), x - y),
    meaning=lambda x, y: x - y, takes="float",
    partials=lambda x, y, out: (1.0, -1.0),  # of equal infinities too
)  # fmt: skip


def _power_partials(x, y, out):
    none = apply("logical_and", x == 0.0, y <= 0.0)
    return scale(y, x ** (y - 1.0)), select(none, 0.0, scale(out, apply("log", x)))


_POWER = {"f": "pow_{code}({0}, {1})", "i": "({0} ** {1})", "u": "({0} ** {1})"}
elementwise("power", np.power, _POWER, meaning=lambda x, y: x**y,
            partials=_power_partials, takes="number", cost=30,
            domain=((0.1, 3), (-2, 2)))  # fmt: skip

# -- exponentials and logarithms ----------------------------------------------------------------
elementwise("exp", np.exp, "exp_{code}({0})", meaning=sym("exp"), takes="float",
            partials=lambda x, out: (out,), cost=10)  # fmt: skip
elementwise("expm1", np.expm1, "expm1_{code}({0})", meaning=lambda x: sym("exp")(x) - 1,
            takes="float", partials=lambda x, out: (apply("exp", x),), cost=12)  # fmt: skip
elementwise("log", np.log, "log_{code}({0})", meaning=sym("log"), takes="float",
            partials=lambda x, out: (1.0 / x,), cost=10, domain=((0.05, 5),))  # fmt: skip
elementwise("log2", np.log2, "log2_{code}({0})", meaning=lambda x: sym("log")(x) / sym("log")(2),
            takes="float", partials=lambda x, out: (1.0 / (x * math.log(2)),), cost=10,
            domain=((0.05, 5),))  # fmt: skip
elementwise("log10", np.log10, "log10_{code}({0})",
            meaning=lambda x: sym("log")(x) / sym("log")(10), takes="float", cost=10,
            partials=lambda x, out: (1.0 / (x * math.log(10)),),
            domain=((0.05, 5),))  # fmt: skip
elementwise("log1p", np.log1p, "log1p_{code}({0})", meaning=lambda x: sym("log")(1 + x),
            takes="float", partials=lambda x, out: (1.0 / (1.0 + x),), cost=12,
            domain=((-0.9, 5),))  # fmt: skip
elementwise("sqrt", np.sqrt, "sqrt_{code}({0})", meaning=sym("sqrt"), takes="float",
            partials=lambda x, out: (0.5 / out,), cost=5, domain=((0.05, 5),))  # fmt: skip


elementwise("exp2", np.exp2, "exp2_{code}({0})", meaning=lambda x: 2**x, takes="float", cost=12,
            partials=lambda x, out: (out * math.log(2.0),))  # fmt: skip


def _over_square(root):
    """The slope of the cube root: a power of one term, whose derivatives at 0 have a sign each."""
    r = 1.0 / root
    return r * r * (1.0 / 3.0)


elementwise("cbrt", np.cbrt, "cbrt_{code}({0})",
            meaning=lambda x: x ** sym("Rational")(1, 3),  # of positive numbers
            takes="float", partials=lambda x, out: (_over_square(out),), cost=20,
            domain=((0.2, 3.0),))  # fmt: skip


def _logaddexp_partials(x, y, out):
    # The weights of a softmax of two, right where both are infinite and equal.
    def weight(a, b):
        return 1.0 / (1.0 + apply("exp", apply("difference", b, a)))

    return weight(x, y), weight(y, x)


elementwise("logaddexp", np.logaddexp,
            "({0} + {log2} if {0} == {1} else "
            "(max({0}, {1}) + log1p_{code}(exp_{code}(-abs({0} - {1})))))",
            meaning=lambda x, y: sym("log")(sym("exp")(x) + sym("exp")(y)),
            partials=_logaddexp_partials, takes="float", cost=25,
            domain=((-3, 3), (-3, 3)))  # fmt: skip

# -- trigonometric and hyperbolic ---------------------------------------------------------------
elementwise("sin", np.sin, "sin_{code}({0})", meaning=sym("sin"), takes="float", cost=10,
            partials=lambda x, out: (apply("cos", x),))  # fmt: skip
elementwise("cos", np.cos, "cos_{code}({0})", meaning=sym("cos"), takes="float", cost=10,
            partials=lambda x, out: (-apply("sin", x),))  # fmt: skip
elementwise("tan", np.tan, "tan_{code}({0})", meaning=sym("tan"), takes="float", cost=15,
            partials=lambda x, out: (1.0 + out * out,), domain=((-1.4, 1.4),))  # fmt: skip
elementwise("arcsin", np.arcsin, "asin_{code}({0})", meaning=sym("asin"), takes="float", cost=12,
            partials=lambda x, out: (1.0 / apply("sqrt", (1.0 - x) * (1.0 + x)),),
            domain=((-0.95, 0.95),))  # fmt: skip
elementwise("arccos", np.arccos, "acos_{code}({0})", meaning=sym("acos"), takes="float", cost=12,
            partials=lambda x, out: (-1.0 / apply("sqrt", (1.0 - x) * (1.0 + x)),),
            domain=((-0.95, 0.95),))  # fmt: skip
elementwise("arctan", np.arctan, "atan_{code}({0})", meaning=sym("atan"), takes="float", cost=12,
            partials=lambda x, out: (1.0 / (1.0 + x * x),))  # fmt: skip


def _arctan2_partials(y, x, out):
    # y/(x²+y²) as (y/r)/r: no overflow where x² would. At the origin: 0.
    r = apply("hypot", x, y)
    origin = r == 0.0
    return select(origin, 0.0, (x / r) / r), select(origin, 0.0, -(y / r) / r)


elementwise("arctan2", np.arctan2, "atan2_{code}({0}, {1})", meaning=sym("atan2"), takes="float",
            partials=_arctan2_partials, cost=20, domain=((-3, 3), (0.2, 3)))  # fmt: skip
elementwise("sinh", np.sinh, "sinh_{code}({0})", meaning=sym("sinh"), takes="float", cost=15,
            partials=lambda x, out: (apply("cosh", x),))  # fmt: skip
elementwise("cosh", np.cosh, "cosh_{code}({0})", meaning=sym("cosh"), takes="float", cost=15,
            partials=lambda x, out: (apply("sinh", x),))  # fmt: skip
elementwise("tanh", np.tanh, "tanh_{code}({0})", meaning=sym("tanh"), takes="float", cost=12,
            partials=lambda x, out: (1.0 - out * out,))  # fmt: skip
elementwise("hypot", np.hypot, "hypot_{code}({0}, {1})",
            meaning=lambda x, y: sym("sqrt")(x**2 + y**2), takes="float", cost=10,
            partials=lambda x, y, out: (
                select(out == 0.0, 0.0, x / out), select(out == 0.0, 0.0, y / out)
            ))  # fmt: skip

elementwise("arcsinh", np.arcsinh, "asinh_{code}({0})", meaning=sym("asinh"), takes="float",
            cost=25, partials=lambda x, out: (1.0 / apply("hypot", x, 1.0),))  # fmt: skip
elementwise("arccosh", np.arccosh, "acosh_{code}({0})", meaning=sym("acosh"), takes="float",
            partials=lambda x, out: (
                (1.0 / apply("sqrt", x - 1.0)) * (1.0 / apply("sqrt", x + 1.0)),
            ), cost=25, domain=((1.1, 5.0),))  # fmt: skip
elementwise("arctanh", np.arctanh, "atanh_{code}({0})", meaning=sym("atanh"), takes="float",
            partials=lambda x, out: (1.0 / ((1.0 - x) * (1.0 + x)),), cost=20,
            domain=((-0.9, 0.9),))  # fmt: skip

# -- pieces: kinks follow one convention each, docs/derivatives.md -------------------------------
elementwise("sign", np.sign,
            "({one} if {0} > {zero} else "
            "(-{one} if {0} < {zero} else ({zero} if {0} == {zero} else {0})))",
            meaning=sym("sign"), partials=lambda x, out: (None,), takes="number")  # fmt: skip
elementwise("abs", np.absolute, "abs({0})", meaning=sym("Abs"), takes="number",
            partials=lambda x, out: (apply("sign", x),))  # fmt: skip
elementwise("floor", np.floor, "floor_{code}({0})", meaning=sym("floor"), takes="float",
            partials=lambda x, out: (None,))  # fmt: skip


def _greater_share(x, y):
    """1 where x wins, 1/2 at a tie, else 0."""
    return select(x > y, 1.0, select(x == y, 0.5, 0.0))


elementwise("maximum", np.maximum, "({0} if (({0} >= {1}) | ({0} != {0})) else {1})",
            meaning=sym("Max"), takes="same",
            partials=lambda x, y, out: (_greater_share(x, y), _greater_share(y, x)))  # fmt: skip
elementwise("minimum", np.minimum, "({0} if (({0} <= {1}) | ({0} != {0})) else {1})",
            meaning=sym("Min"), takes="same",
            partials=lambda x, y, out: (_greater_share(y, x), _greater_share(x, y)))  # fmt: skip

# -- comparison and logic: no derivative ---------------------------------------------------------
for _name, _ufunc, _sign in (
    ("less", np.less, "<"),
    ("less_equal", np.less_equal, "<="),
    ("greater", np.greater, ">"),
    ("greater_equal", np.greater_equal, ">="),
    ("equal", np.equal, "=="),
    ("not_equal", np.not_equal, "!="),
):
    elementwise(_name, _ufunc, f"({{0}} {_sign} {{1}})", result="bool", family="opaque")
for _name, _ufunc, _sign in (
    ("logical_and", np.logical_and, "({0} & {1})"),
    ("logical_or", np.logical_or, "({0} | {1})"),
    ("logical_xor", np.logical_xor, "({0} ^ {1})"),
    ("logical_not", np.logical_not, "(not {0})"),
):
    elementwise(_name, _ufunc, _sign, result="bool", family="opaque", takes="bool")


def _select_transpose(ct, i, args, specs, params):
    zero = full(ct, 0)
    return add(ct, "select", [args[0], ct, zero] if i == 1 else [args[0], zero, ct])


register(
    Op(
        "select", "linear", _infer_select,
        lambda arrays, params, spec: np.where(*arrays).astype(spec.dtype),
        arity=3,
        linear_args=(1, 2),
        transpose=_select_transpose,
        batch=batch_by_repeating("select"),
        body="({1} if {0} else {2})",
    )
)  # fmt: skip


def _infer_convert(specs, params):
    return Spec(specs[0].shape, params["dtype"])


def _convert_reference(arrays, params, spec):
    with np.errstate(all="ignore"):
        return np.asarray(arrays[0]).astype(params["dtype"])


register(
    Op(
        "convert", "linear", _infer_convert, _convert_reference,
        arity=1,
        transpose=lambda ct, i, args, specs, params: convert(ct, specs[0].dtype),
        batch=batch_by_repeating("convert"),
        body="{cast}({0})",
    )
)  # fmt: skip

# -- composites: written with the above, no rule of their own -----------------------------------
TABLE.numpy[np.square] = lambda x: _square(x)
TABLE.numpy[np.reciprocal] = lambda x: _reciprocal(x)
TABLE.numpy[np.positive] = lambda x: _positive(x)
TABLE.numpy[np.fabs] = lambda x: apply("abs", *promoted("fabs", [x], "float"))
TABLE.numpy[np.float_power] = lambda x, y: apply("power", *[_as_double(v) for v in (x, y)])
TABLE.numpy[np.floor] = lambda x: x if x.dtype.kind in "biu" else apply("floor", x)


def _square(x):
    x = convert(x, "i1") if x.dtype.kind == "b" else x
    return apply("mul", x, x)


def _as_double(x):
    return convert(x, "f8") if isinstance(x, Value) else np.asarray(x, float)


def _reciprocal(x):
    if x.dtype.kind == "b":
        x = convert(x, "i1")
    if x.dtype.kind not in "iu":
        return apply("div", 1.0, x)
    return select(apply("abs", x) == 1, x, np.asarray(0, x.dtype)[()])  # of integers, an integer


def _positive(x):
    if x.dtype.kind == "b":
        raise DTypeError("np.positive", "bools have no sign", expected="numbers", got="bools",
                         fix="x.astype(int)")  # fmt: skip
    return x
