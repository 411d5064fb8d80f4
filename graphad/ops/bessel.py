"""Bessel functions of the first two orders, elementwise; their derivatives are of the next orders.

A function of the first order over x is a part of its own derivative. Near 0 the derivative of that
part is a series: a difference of nearly equal terms would be right for no second derivative.
"""

from __future__ import annotations

import math

import numpy as np

from graphad.ops.scalar import elementwise, sym
from graphad.ops.special_functions import polynomial, special
from graphad.ops.value import apply, select


def _sign(x):
    return apply("sign", x)


def _second_over(x, sign: float):
    """The function of the second order over x, near 0: by its series."""
    terms = [0.25 * (0.25 * sign) ** k / (math.factorial(k) * math.factorial(k + 2))
             for k in range(11)]  # fmt: skip
    return x * polynomial(x * x, terms)


def _first_over(name: str, slope, far: str = "{1} / {0}"):
    """Declare a function of the first order over x, its second argument being that function."""

    def reference(x, first):
        with np.errstate(all="ignore"):
            out = np.where(np.isinf(first), 0, first / x) if name == "i1_over" else first / x
        return np.where(x == 0, np.asarray(0.5, x.dtype), out)

    elementwise(
        name, None, f"({{cast}}(0.5) if {{0}} == {{zero}} else {far})", arity=2, takes="float",
        reference=reference, cost=5, meaning=lambda x, first: first / x,
        partials=lambda x, first, out: (slope(x, out), None),
    )  # fmt: skip


# Where both are infinite, the first order over x is nothing beside the others.
_first_over(
    "i1_over",
    lambda x, out: select(
        apply("abs", x) < 1.0, _second_over(x, 1.0), (apply("i0", x) - 2.0 * out) / x
    ),
    "({zero} if abs({1}) == {cast}(np.inf) else {1} / {0})",
)
_first_over(
    "i1e_over",
    lambda x, out: select(
        apply("abs", x) < 1.0, apply("exp", -apply("abs", x)) * _second_over(x, 1.0),
        (apply("i0e", x) - 2.0 * out) / x) - _sign(x) * out,
)  # fmt: skip
_first_over(
    "j1_over",
    lambda x, out: select(
        apply("abs", x) < 1.0, -_second_over(x, -1.0), (apply("j0", x) - 2.0 * out) / x
    ),
)
special("i0", 1, meaning=sym("besseli", 0), partials=lambda x, out: (apply("i1", x),))
special("i1", 1, meaning=sym("besseli", 1),
        partials=lambda x, out: (apply("i0", x) - apply("i1_over", x, out),))  # fmt: skip
special("i0e", 1, "i0e_{code}({0})", units=(4.0, 0.6),
        meaning=lambda x: sym("exp")(-x) * sym("besseli", 0)(x),
        domain=((0.2, 4.0),),  # where the meaning needs no absolute value
        partials=lambda x, out: (apply("i1e", x) - _sign(x) * out,))  # fmt: skip
special("i1e", 1, "i1e_{code}({0})", units=(4.0, 0.6),
        meaning=lambda x: sym("exp")(-x) * sym("besseli", 1)(x),
        domain=((0.2, 4.0),),
        partials=lambda x, out: (
            apply("i0e", x) - _sign(x) * out - apply("i1e_over", x, out),))  # fmt: skip
special("j0", 1, meaning=sym("besselj", 0), partials=lambda x, out: (-apply("j1", x),))
special("j1", 1, meaning=sym("besselj", 1),
        partials=lambda x, out: (apply("j0", x) - apply("j1_over", x, out),))  # fmt: skip
