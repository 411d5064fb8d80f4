"""NumPy's reductions that pass over nan, composed from the others."""

from __future__ import annotations

import math

import numpy as np

from graphad.ops.numpy_math import amax, amin, cumsum, prod, strict_axes, sum_
from graphad.ops.numpy_order import all_
from graphad.ops.numpy_shape import value
from graphad.ops.numpy_stats import cumprod
from graphad.ops.value import Value, apply, convert, public, select

HOLED = "np.where(K34 > 0, A34, np.nan)"


def _without(x: Value, instead) -> tuple[Value, Value]:
    """(where x is nan, x with another number there)."""
    missing = apply("isnan", x)
    return missing, select(missing, np.asarray(instead, x.dtype)[()], x)


def _has_nan(x: Value) -> bool:
    return x.dtype.kind == "f"


def _filled(a, neutral) -> Value:
    x = value(a)
    return _without(x, neutral)[1] if _has_nan(x) else x


@public(
    np.nansum,
    examples=[
        f"f({HOLED})",
        f"f({HOLED}, axis=1)",
        f"f({HOLED}, axis=0, keepdims=True)",
    ],
)
def nansum(a, axis=None, dtype=None, out=None, keepdims=False, initial=0, where=True):
    """As np.nansum."""
    return sum_(_filled(a, 0), axis, dtype, keepdims=keepdims, initial=initial, where=where)


@public(np.nanprod, examples=[f"f({HOLED})", f"f({HOLED}, axis=1)"])
def nanprod(a, axis=None, dtype=None, out=None, keepdims=False, initial=1, where=True):
    """As np.nanprod."""
    return prod(_filled(a, 1), axis, dtype, keepdims=keepdims, initial=initial, where=where)


@public(
    np.nancumsum,
    examples=[f"f({HOLED})", f"f({HOLED}, axis=1)"],
)
def nancumsum(a, axis=None, dtype=None, out=None):
    """As np.nancumsum."""
    return cumsum(_filled(a, 0), axis, dtype)


@public(
    np.nancumprod,
    examples=[f"f({HOLED})", f"f({HOLED}, axis=1)"],
)
def nancumprod(a, axis=None, dtype=None, out=None):
    """As np.nancumprod."""
    return cumprod(_filled(a, 1), axis, dtype)


def _extreme(x: Value, which, end: float, axis, keepdims) -> Value:
    if not _has_nan(x):
        return which(x, axis, keepdims=keepdims)
    missing, rest = _without(x, end)
    found = which(rest, axis, keepdims=keepdims)
    nothing = all_(missing, axis, keepdims=keepdims)
    return select(nothing, np.asarray(math.nan, x.dtype)[()], found)


@public(
    np.nanmax,
    examples=[
        f"f({HOLED})",
        f"f({HOLED}, axis=1)",
        f"f({HOLED}, axis=0, keepdims=True)",
    ],
)
def nanmax(a, axis=None, out=None, keepdims=False):
    """As np.nanmax; nan where there is nothing else."""
    return _extreme(value(a), amax, -math.inf, axis, keepdims)


@public(np.nanmin, examples=[f"f({HOLED})", f"f({HOLED}, axis=1)"])
def nanmin(a, axis=None, out=None, keepdims=False):
    """As np.nanmin; nan where there is nothing else."""
    return _extreme(value(a), amin, math.inf, axis, keepdims)


def _mean(x: Value, axis, dtype, keepdims) -> tuple[Value, Value, Value]:
    """(mean, how many numbers it is of, where there are none)."""
    strict_axes(x, axis)
    kind = np.dtype(dtype or (x.dtype if _has_nan(x) else "f8"))
    x = convert(x, kind)
    missing, rest = _without(x, 0)
    count = sum_(convert(apply("logical_not", missing), kind), axis, keepdims=keepdims)
    return sum_(rest, axis, keepdims=keepdims) / count, count, missing


@public(
    np.nanmean,
    examples=[
        f"f({HOLED})",
        f"f({HOLED}, axis=1)",
        "f(A34, axis=0, keepdims=True)",
    ],
)
def nanmean(a, axis=None, dtype=None, out=None, keepdims=False):
    """As np.nanmean."""
    return _mean(value(a), axis, dtype, keepdims)[0]


@public(
    np.nanvar,
    examples=[
        f"f({HOLED})",
        f"f({HOLED}, axis=1)",
        f"f({HOLED}, axis=1, ddof=1)",
    ],
)
def nanvar(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False):
    """As np.nanvar; nan where there are no more numbers than `ddof`."""
    x = value(a)
    centre, _, missing = _mean(x, axis, dtype, True)
    count = _mean(x, axis, dtype, keepdims)[1]
    off = select(missing, np.asarray(0, centre.dtype)[()], x - centre)
    found = sum_(off * off, axis, keepdims=keepdims) / (count - ddof)
    return select(count > ddof, found, np.asarray(math.nan, found.dtype)[()])


@public(np.nanstd, examples=[f"f({HOLED})", f"f({HOLED}, axis=1)"])
def nanstd(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False):
    """As np.nanstd."""
    return apply("sqrt", nanvar(a, axis, dtype, None, ddof, keepdims))
