"""NumPy's sorting, searching, counting and choosing, composed from the primitives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from graphad.errors import NotCoveredError, ShapeError
from graphad.ops import array, indexing, sorting
from graphad.ops.array import scatter_add
from graphad.ops.numpy_math import _shaped, amax, amin, axes_of, strict_axes, sum_
from graphad.ops.numpy_shape import ravel, take, value
from graphad.ops.value import Value, add, apply, broadcast_to, convert, full, lift, public, reshape
from graphad.ops.value import select as choose
from graphad.spec import same_dim


# -- order ---------------------------------------------------------------------------------------
def _ordered(a, axis, which):
    x = value(a)
    if axis is None or (which and x.ndim == 0 and axis in (0, -1)):
        x, axis = ravel(x), 0
    axis = normalize_axis_index(axis, x.ndim)
    out = sorting.sort(sorting.last(x, axis))[which]
    return sorting.back_from_last(out, axis)


@public(np.sort, examples=["f(A34)", "f(A34, axis=0)", "f(A34, axis=None)", "f(K3)"])
def sort(a, axis=-1, kind=None, order=None, *, stable=None):
    """As np.sort, always stable; the derivative follows the elements to their places."""
    return _ordered(a, axis, 0)


@public(np.argsort, examples=["f(A34)", "f(A34, axis=0)", "f(A34, axis=None)"])
def argsort(a, axis=-1, kind=None, order=None, *, stable=None):
    """As np.argsort(kind='stable')."""
    return _ordered(a, axis, 1)


@public(np.partition)
def partition(a, kth, axis=-1, kind="introselect", order=None):
    """As np.partition, with both sides sorted too."""
    return sort(a, axis)


@public(np.argpartition)
def argpartition(a, kth, axis=-1, kind="introselect", order=None):
    """As np.argpartition, with both sides sorted too."""
    return argsort(a, axis)


def _along(arr, indices, axis) -> tuple[Value, Value, int]:
    """The array and the indices of a take along an axis, and the axis."""
    x = value(arr, indices)
    k = convert(lift(x, indices), "i8")
    if axis is None:
        x, axis = ravel(x), 0
    axis = normalize_axis_index(axis, x.ndim)
    if k.ndim != x.ndim:
        raise ShapeError("take_along_axis", "the indices need as many axes as the array",
                         expected=f"{x.ndim} axes", got=f"shape {k.shape}",
                         fix="np.expand_dims(indices, axis)")  # fmt: skip
    shape = tuple(k.shape[a] if a == axis else d for a, d in enumerate(x.shape))
    return x, broadcast_to(k, shape, "take_along_axis"), axis


@public(np.take_along_axis, examples=["f(A34, K34, 1)", "f(A34, K34, axis=0)"])
def take_along_axis(arr, indices, axis=-1):
    """As np.take_along_axis."""
    x, k, axis = _along(arr, indices, axis)
    out = sorting.along_last(sorting.last(x, axis), sorting.last(k, axis))
    return sorting.back_from_last(out, axis)


# -- quantiles -----------------------------------------------------------------------------------
METHODS = ("linear", "lower", "higher", "nearest", "midpoint")


def _flat_axes(a, axis) -> tuple[Value, tuple[int, ...], Any]:
    """x with the reduced axes joined at the end, those axes, and x as it was."""
    x = value(a)
    axes = axes_of(x, axis)
    kept = [k for k in range(x.ndim) if k not in axes]
    moved = array.transpose(x, [*kept, *axes])
    joined: Any = 1
    for k in axes:
        joined = joined * x.shape[k]
    return reshape(moved, [*[x.shape[k] for k in kept], joined]), axes, x


@public(np.quantile, examples=["f(A34, 0.3)", "f(A34, [0.1, 0.5], axis=1)",
                               "f(A34, 0.7, axis=0, keepdims=True)",
                               "f(A34, 0.4, axis=1, method='nearest')"])  # fmt: skip
def quantile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False):
    """As np.quantile for numbers q, by the methods linear, lower, higher, nearest and midpoint."""
    if method not in METHODS or isinstance(q, Value):
        raise NotCoveredError("quantile", "only numbers q and these methods are covered",
                              expected=", ".join(METHODS), got=f"q={q!r}, method={method!r}",
                              fix="method='linear'")  # fmt: skip
    flat, axes, x = _flat_axes(a, axis)
    qs = np.asarray(q, float)
    if flat.dtype.kind != "f" or qs.ndim:  # an array of numbers is f64, one number takes x's dtype
        flat = convert(flat, "f8")
    n = flat.shape[-1]
    array.require_static("quantile", (n,))
    if not n:
        raise ShapeError("quantile", "there is no element", expected="one or more", got="none")
    ordered = sorting.sort(flat)[0]
    last = indexing.index(ordered, (..., slice(n - 1, n)))  # a nan anywhere is the result
    ordered = choose(apply("isnan", last), last, ordered)
    places = [float(p) * (n - 1) for p in qs.ravel()]
    found = [_shaped(_between(ordered, at, method), x, axes, keepdims) for at in places]
    if qs.ndim == 0:
        return found[0]
    return reshape(array.stack(found), (*qs.shape, *found[0].shape))


def _between(ordered: Value, at: float, method: str) -> Value:
    """The element at a fractional place of the last axis."""
    low, high = math.floor(at), math.ceil(at)
    weight = at - low
    if method == "nearest":
        low = high = int(np.rint(at))
    a, b = indexing.index(ordered, (..., low)), indexing.index(ordered, (..., high))
    if method in ("lower", "nearest") or low == high:
        return a
    if method == "higher":
        return b
    weight = 0.5 if method == "midpoint" else weight
    # NumPy's lerp: from the nearer end, so that it is monotone.
    return a + (b - a) * weight if weight < 0.5 else b - (b - a) * (1 - weight)


@public(np.percentile, examples=["f(A34, 30)", "f(A34, [25, 75], axis=0)"])
def percentile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False):
    """As np.percentile; see quantile."""
    return quantile(a, np.asarray(q, float) / 100, axis, None, False, method, keepdims)


@public(np.median, examples=["f(A34)", "f(A34, axis=1)", "f(A44, axis=0, keepdims=True)"])
def median(a, axis=None, out=None, overwrite_input=False, keepdims=False):
    """As np.median."""
    x = value(a)
    axes = strict_axes(x, axis)
    if any(x.shape[k] == 0 for k in axes):  # of nothing it is nan
        shape = [1 if k in axes else d for k, d in enumerate(x.shape) if keepdims or k not in axes]
        return full(x, np.nan, shape, x.dtype if x.dtype.kind == "f" else np.float64)
    return quantile(a, 0.5, axis, keepdims=keepdims)


@public(np.ptp, examples=["f(A34)", "f(A34, axis=0)"])
def ptp(a, axis=None, out=None, keepdims=False):
    """As np.ptp: maximum less minimum."""
    return amax(a, axis, keepdims=keepdims) - amin(a, axis, keepdims=keepdims)


# -- searching and counting ----------------------------------------------------------------------
@public(np.searchsorted, examples=["f(A4 * 0 + np.arange(4.0), A34)", "f(K3, 1, side='right')"])
def searchsorted(a, v, side="left", sorter=None):
    """As np.searchsorted; a is sorted."""
    x = value(a, v)
    if sorter is not None:
        x = take(x, sorter)
    w = lift(x, v)
    dtype = np.result_type(x.dtype, w.dtype)
    return add(x, "searchsorted", [convert(x, dtype), convert(w, dtype)], side=side)


@public(np.digitize, examples=["f(A34, np.arange(3.0))"])
def digitize(x, bins, right=False):
    """As np.digitize for increasing bins."""
    return searchsorted(lift(value(x, bins), bins), x, side="left" if right else "right")


@public(np.bincount, examples=["f(K3, A3, minlength=3)", "f(K3, minlength=5)"])
def bincount(x, weights=None, minlength=0):
    """As np.bincount; traced integers need `minlength`, which is then the length."""
    like = value(x, weights)
    n = minlength
    if isinstance(x, Value):
        captured = x.builder.nodes[x.id].op.name == "captured"
        if captured:
            x = x.builder.captured[x.builder.nodes[x.id].param("index")]
    if not isinstance(x, Value):
        known = np.asarray(x)
        n = max(n, int(known.max()) + 1 if known.size else 0)
    elif not n:
        raise NotCoveredError(
            "bincount", "the length of the result would depend on traced values",
            expected="minlength=, above every index", got="minlength=0", fix="minlength=n",
        )  # fmt: skip
    k = convert(lift(like, x), "i8")
    w = full(k, 1, k.shape, "i8") if weights is None else lift(like, weights)
    w = w if weights is None or w.dtype == np.float64 else convert(w, "f8")
    return scatter_add(broadcast_to(w, k.shape, "bincount"), [k], (n,))


@public(np.any, examples=["f(A34 > 0, axis=1)", "f(A34)"])
def any_(a, axis=None, out=None, keepdims=False, *, where=True):
    """As np.any."""
    return _logical(a, axis, keepdims, where, "reduce_max", False)


@public(np.all, examples=["f(A34 > 0, axis=1)", "f(A34)"])
def all_(a, axis=None, out=None, keepdims=False, *, where=True):
    """As np.all."""
    return _logical(a, axis, keepdims, where, "reduce_min", True)


def _logical(a, axis, keepdims, where, name, neutral):
    x = value(a)
    x = x if x.dtype.kind == "b" else apply("not_equal", x, 0)
    x = x if where is True else choose(where, x, neutral)
    axes = axes_of(x, axis)
    x = convert(x, "u1")
    if any(isinstance(x.shape[k], int) and x.shape[k] == 0 for k in axes):
        shape = [d for k, d in enumerate(x.shape) if k not in axes]
        return _shaped(full(x, neutral, shape, "?"), x, axes, keepdims)
    out = add(x, name, [x], axes=axes) if axes else x
    return convert(_shaped(out, x, axes, keepdims), "?")


@public(np.count_nonzero, examples=["f(A34 > 0)", "f(A34, axis=0)"])
def count_nonzero(a, axis=None, *, keepdims=False):
    """As np.count_nonzero."""
    return sum_(apply("not_equal", value(a), 0), axis, keepdims=keepdims)


# -- choosing ------------------------------------------------------------------------------------
@public(np.select, examples=["f([A34 > 0.5, A34 > -0.5], [A34, A34 * 2], default=7.0)"])
def select(condlist, choicelist, default=0):
    """As np.select: the choice of the first condition that holds."""
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ShapeError("select", "each condition needs a choice", expected=f"{len(condlist)}",
                         got=f"{len(choicelist)}", fix="lists of equal length")  # fmt: skip
    out = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        out = choose(condition, choice, out)
    return out


@public(np.nan_to_num, examples=["f(A34)"])
def nan_to_num(x, copy=True, nan=0.0, posinf=None, neginf=None):
    """As np.nan_to_num."""
    v = value(x)
    if v.dtype.kind != "f":
        return v
    limits = np.finfo(v.dtype)
    v = choose(apply("isnan", v), nan, v)
    v = choose(v == math.inf, float(limits.max) if posinf is None else posinf, v)
    return choose(v == -math.inf, float(limits.min) if neginf is None else neginf, v)


@public(np.interp, examples=["f(A34, np.arange(-2.0, 3.0), A34[0, 0] * np.arange(5.0))"])
def interp(x, xp, fp, left=None, right=None, period=None):
    """As np.interp without a period: piecewise linear in the increasing points xp."""
    if period is not None:
        raise NotCoveredError("interp", "period= is not covered", expected="period=None",
                              got=str(period), fix="reduce x by np.mod first")  # fmt: skip
    v = value(x, xp, fp)
    v = convert(v, "f8")  # as NumPy
    xs, fs = convert(lift(v, xp), v.dtype), convert(lift(v, fp), v.dtype)
    n = xs.shape[0]
    if not (xs.ndim == fs.ndim == 1 and same_dim(n, fs.shape[0])):
        raise ShapeError("interp", "xp and fp need one axis of equal length",
                         expected=f"{xs.shape}", got=f"{fs.shape}", fix="np.ravel")  # fmt: skip
    place = apply("minimum", apply("maximum", searchsorted(xs, v, "right") - 1, 0), n - 2)
    x0, x1 = take(xs, place), take(xs, place + 1)
    f0, f1 = take(fs, place), take(fs, place + 1)
    out = f0 + (f1 - f0) / (x1 - x0) * (v - x0)
    low = indexing.index(fs, 0) if left is None else left
    high = indexing.index(fs, -1) if right is None else right
    out = choose(v < indexing.index(xs, 0), low, out)
    return choose(v > indexing.index(xs, -1), high, out)
