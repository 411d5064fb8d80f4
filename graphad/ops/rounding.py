"""Rounding, remainders, signs and tests of numbers: piecewise linear or constant, elementwise."""

from __future__ import annotations

import numpy as np

from graphad.errors import DTypeError
from graphad.op import TABLE
from graphad.ops.scalar import elementwise, sym
from graphad.ops.value import Value, apply, convert, promoted, select

FLOATS = ((-3.2, 3.2),)


def _flat(*args):
    """Partials of what is constant between its jumps."""
    return (None,) * (len(args) - 1)


# -- rounding ------------------------------------------------------------------------------------
elementwise("ceil", np.ceil, "ceil_{code}({0})", meaning=sym("ceiling"), partials=_flat,
            takes="float")  # fmt: skip
elementwise("rint", np.rint, "rint_{code}({0})", partials=_flat, takes="float", domain=FLOATS)
elementwise("trunc", np.trunc, "trunc_{code}({0})", partials=_flat, takes="float", domain=FLOATS)
for _name, _ufunc in (("ceil", np.ceil), ("trunc", np.trunc)):
    TABLE.numpy[_ufunc] = lambda x, _name=_name: x if x.dtype.kind in "biu" else apply(_name, x)

# -- remainders: of integers by zero they are 0, and nothing traps ---------------------------------
_SAFE = "({1} if (({1} != {zero}) & ({1} != -{one})) else {one})"
_SAFE_U = "({1} if {1} != {zero} else {one})"


def _divided(name, ufunc, body, signed, unsigned, partials):
    """Declare a kind of division, of floats by a body and of integers by texts."""
    texts = {c: f"({{zero}} if {{1}} == {{zero}} else {t})" for c, t in
             (("i", signed), ("u", unsigned))}  # fmt: skip
    elementwise(
        name, ufunc, {"f": f"{body}_{{code}}({{0}}, {{1}})", **texts},
        partials=partials, takes="number", cost=20, domain=((-3, 3), (0.3, 3)),
    )  # fmt: skip


_divided("remainder", np.remainder, "mod", f"{{0}} % {_SAFE}", f"{{0}} % {_SAFE_U}",
         lambda x, y, out: (1.0, -apply("floor", x / y)))  # fmt: skip
_divided("fmod", np.fmod, "rem",
         f"({{0}} % {_SAFE} if ({{0}} < {{zero}}) == ({{1}} < {{zero}}) else -(-{{0}} % {_SAFE}))",
         f"{{0}} % {_SAFE_U}",
         lambda x, y, out: (1.0, -apply("trunc", x / y)))  # fmt: skip
_divided("floor_divide", np.floor_divide, "floordiv",
         f"(-{{0}} if {{1}} == -{{one}} else {{0}} // {_SAFE})", f"{{0}} // {_SAFE_U}",
         _flat)  # fmt: skip
TABLE.numpy[np.divmod] = lambda x, y: (apply("floor_divide", x, y), apply("remainder", x, y))


# -- signs and choices ---------------------------------------------------------------------------
def _sign_of(x):
    """1 or -1 by the sign bit."""
    return apply("copysign", 1.0, x)


elementwise("copysign", np.copysign, "copysign_{code}({0}, {1})", takes="float",
            partials=lambda x, y, out: (_sign_of(x) * _sign_of(y), None))  # fmt: skip
elementwise(
    "heaviside", np.heaviside,
    "({zero} if {0} < {zero} else ({one} if {0} > {zero} else "
    "({1} if {0} == {zero} else {0})))",
    takes="float", partials=lambda x, y, out: (None, select(x == 0.0, 1.0, 0.0)),
)  # fmt: skip


def _share(first, x, y):
    """1 where x is what fmax or fmin gives, 1/2 at a tie, else 0."""
    wins = select(first, 1.0, select(x == y, 0.5, 0.0))
    return select(x != x, 0.0, select(y != y, 1.0, wins))


elementwise("fmax", np.fmax, "({0} if (({0} >= {1}) | ({1} != {1})) else {1})",
            partials=lambda x, y, out: (_share(x > y, x, y), _share(y > x, y, x)))  # fmt: skip
elementwise("fmin", np.fmin, "({0} if (({0} <= {1}) | ({1} != {1})) else {1})",
            partials=lambda x, y, out: (_share(x < y, x, y), _share(y < x, y, x)))  # fmt: skip

# -- tests ---------------------------------------------------------------------------------------
elementwise("isnan", np.isnan, "({0} != {0})", result="bool", family="opaque", takes="number")
elementwise("isfinite", np.isfinite, "(({0} - {0}) == {zero})", result="bool", family="opaque",
            takes="number")  # fmt: skip
elementwise("isinf", np.isinf, "((({0} - {0}) != {zero}) & ({0} == {0}))", result="bool",
            family="opaque", takes="number")  # fmt: skip
elementwise("signbit", np.signbit,
            {"f": "(copysign_{code}({one}, {0}) < {zero})", "i": "({0} < {zero})",
             "u": "({0} < {zero})"}, result="bool", family="opaque", takes="number")  # fmt: skip


# -- composites ----------------------------------------------------------------------------------
def _logaddexp2(x, y):
    # max + log2(1 + 2^-|x - y|), by log1p.
    x, y = promoted("logaddexp2", [x, y], "float")
    scale = float(np.log(2.0))
    low = apply("logaddexp", apply("mul", x, scale), apply("mul", y, scale))
    return low * (1.0 / scale)


TABLE.numpy[np.logaddexp2] = _logaddexp2


def _scaled(by: float):
    return lambda x: apply("mul", *promoted("degrees", [x], "float"), by)


TABLE.numpy[np.deg2rad] = TABLE.numpy[np.radians] = _scaled(float(np.pi / 180))
TABLE.numpy[np.rad2deg] = TABLE.numpy[np.degrees] = _scaled(float(180 / np.pi))


def rounded(x: Value, decimals: int = 0) -> Value:
    """As np.round: to so many decimals, halves to even."""
    if x.dtype.kind == "b" and decimals:
        raise DTypeError("np.round", "bools have no decimals", expected="numbers", got="bools",
                         fix="x.astype(int)")  # fmt: skip
    if x.dtype.kind != "f":
        if decimals >= 0:
            return x
        step = 10**-decimals
        return convert(apply("rint", convert(x, "f8") / step), x.dtype) * step
    if decimals == 0:
        return apply("rint", x)
    if decimals > 0:
        return apply("rint", x * 10.0**decimals) / 10.0**decimals
    return apply("rint", x / 10.0**-decimals) * 10.0**-decimals
