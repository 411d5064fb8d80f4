"""Derivatives of eigenvectors where eigenvalues are equal: poles in a formal small number.

Move each of equal eigenvalues a little, w_j + eps e_j with the vectors as they are: then every
derivative has a value, a Laurent series in eps, and where the function is smooth its limit is the
derivative at eps = 0. Rules say so by `pole(x)`, which is x / eps, times differences of the e_j;
`diff/limits.py` takes the limit, and until then nothing else looks at eps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphad.op import Op, register
from graphad.ops.array import iota
from graphad.ops.scalar import scale
from graphad.ops.value import Value, add, all_batched, apply, convert, full, select
from graphad.spec import Spec

# Of what is 0 up to rounding: so many roundings of the largest value, times the number of rows.
ROUNDINGS = 4.0

register(
    Op("pole", "linear", lambda specs, params: Spec(specs[0].shape, specs[0].dtype),
       lambda arrays, params, spec: np.zeros_like(arrays[0]), arity=1, lowering="view",
       transpose=lambda ct, i, args, specs, params: pole(ct),
       batch=lambda args, batched, size, params: pole(args[0]))
)  # fmt: skip


def pole(x: Value) -> Value:
    """x / eps."""
    return add(x, "pole", [x])


# c, where 1 / difference is c / eps (or eps^2, by `order`): its derivative is that of the inverse.
register(
    Op("polar", "linearised", lambda specs, params: Spec(specs[0].shape, specs[0].dtype),
       lambda arrays, params, spec: np.asarray(arrays[0]), arity=2, lowering="view",
       jvp=lambda tangents, args, out, params: _polar_jvp(tangents[1], out, params["order"]),
       batch=lambda args, batched, size, params: add(
           args[0], "polar", all_batched(args, batched, size), **params))
)  # fmt: skip


def _polar_jvp(t: Value, out: Value, order: int) -> Value:
    change = -scale(t, out * out)
    for _ in range(order):
        change = pole(change)
    return change


# Which result of a decomposition the formal number moves; whether its values fall.
MOVED = {"eigh": (0, False), "svd": (1, True), "eig": (0, False)}


def direction(values: Value, falling: bool) -> Value:
    """The e_j of `values`: 0, 1, 2, ...; n, n - 1, ..., 1 of those that fall and are positive."""
    n, at = values.shape[-1], iota(values, values.shape, values.ndim - 1)
    return convert(n - at if falling else at, values.dtype)


def rounding_of(values: Value) -> Value:
    """Up to which difference of them values are equal, (..., 1)."""
    n: Any = values.shape[-1]
    many = n if isinstance(n, int) else 64
    size = add(values, "reduce_max", [apply("abs", values)], axes=(values.ndim - 1,))
    bound = size * (ROUNDINGS * many * float(np.finfo(values.dtype).eps))
    return add(bound, "broadcast", [bound], shape=(*values.shape[:-1], 1),
               axes=tuple(range(bound.ndim)))  # fmt: skip


def near_of(values: Value) -> float:
    """Up to which difference, relative to themselves, values are taken as equal: the error is as
    much then, and one rounding over it of the values' second derivative otherwise."""
    return float(np.finfo(values.dtype).eps) ** (2 / 3)


def inverse(difference: Value, zero: Value, moved: Value, order: int = 1) -> tuple[Value, Value]:
    """(the inverse of a difference, what to take the pole of): where `zero` holds it is
    eps^order times `moved`, and nothing at all where that is 0, too."""
    regular = select(zero, 0.0, 1.0 / select(zero, 1.0, difference))
    none = moved == 0.0
    singular = select(none, 0.0, 1.0 / select(none, 1.0, moved))
    singular = select(zero, singular, full(singular, 0.0))
    return regular, add(singular, "polar", [singular, difference], order=order)
