"""NumPy's reductions and the rest, composed from the primitives."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from graphad.errors import NotCoveredError, ShapeError
from graphad.ops import array, indexing
from graphad.ops.numpy_shape import diagonal, ravel, value
from graphad.ops.value import (
    Value,
    add,
    apply,
    broadcast_to,
    convert,
    lift,
    public,
    reshape,
    select,
)


def axes_of(x: Value, axis: Any) -> tuple[int, ...]:
    """The reduced axes, sorted. As in NumPy's reductions, a number has an axis 0."""
    if x.ndim == 0 and not isinstance(axis, tuple) and axis in (0, -1):
        return ()
    return (
        tuple(range(x.ndim)) if axis is None else tuple(sorted(normalize_axis_tuple(axis, x.ndim)))
    )


def strict_axes(x: Value, axis: Any) -> tuple[int, ...]:
    """The same for what NumPy counts elements in: there a number has no axis."""
    if x.ndim == 0 and axis is not None:
        normalize_axis_tuple(axis, 0)
    return axes_of(x, axis)


def at_least_none(count):
    """A number of degrees of freedom, as NumPy divides by it."""
    return apply("maximum", count, 0) if isinstance(count, Value) else max(count, 0)


def _shaped(out, x, axes, keepdims):
    if not keepdims:
        return out
    return reshape(out, [1 if a in axes else d for a, d in enumerate(x.shape)])


def _summable(x, dtype=None):
    if dtype is not None:
        return convert(x, dtype)
    if x.dtype.kind in "bi":
        return convert(x, "i8")
    return convert(x, "u8" if x.dtype.kind == "u" else x.dtype)


def _masked(x, where, neutral):
    return x if where is True else select(where, x, neutral)


@public(
    np.sum,
    examples=[
        "f(A34)",
        "f(A34, axis=0)",
        "f(A234, axis=(0, 2), keepdims=True)",
        "f(A34, axis=-1, where=B34)",
    ],
)
def sum_(a, axis=None, dtype=None, out=None, keepdims=False, initial=0, where=True):
    """As np.sum."""
    x = _masked(_summable(value(a, where), dtype), where, 0)
    axes = axes_of(x, axis)
    total = _shaped(array.total(x, axes), x, axes, keepdims)
    return total + initial if isinstance(initial, Value) or initial != 0 else total


@public(np.prod, examples=["f(A34)", "f(A34, axis=1)", "f(A234, axis=(0, 2), keepdims=True)"])
def prod(a, axis=None, dtype=None, out=None, keepdims=False, initial=1, where=True):
    """As np.prod."""
    x = _masked(_summable(value(a), dtype), where, 1)
    axes = axes_of(x, axis)
    out = _shaped(add(x, "prod", [x], axes=axes) if axes else x, x, axes, keepdims)
    return out * initial if isinstance(initial, Value) or initial != 1 else out


def _count(x, axes):
    n = 1
    for a in axes:
        n = n * x.shape[a]
    return n if isinstance(n, int) else _run_time_size(x, n)


def _averaged(x, dtype):
    """x in the dtype that means are taken in."""
    return convert(x, dtype or (x.dtype if x.dtype.kind == "f" else "f8"))


def _run_time_size(x, dim):
    """A symbolic dim as a traced number."""
    return Value(x.builder, x.builder.add("dim", (), None, value=dim))


@public(
    np.mean, examples=["f(A34)", "f(A34, axis=0)", "f(A234, axis=(0, 2), keepdims=True)", "f(K3)"]
)
def mean(a, axis=None, dtype=None, out=None, keepdims=False, *, where=True):
    """As np.mean: the sum over the number of elements."""
    x = _averaged(value(a), dtype)
    if x.dtype.kind != "f":  # as NumPy has it: divided, then converted
        return convert(mean(convert(x, "f8"), axis, None, None, keepdims, where=where), x.dtype)
    axes = strict_axes(x, axis)
    if where is not True:
        mask = convert(broadcast_to(lift(x, where), x.shape), x.dtype)
        return sum_(select(where, x, 0.0), axis, keepdims=keepdims) / sum_(
            mask, axis, keepdims=keepdims
        )
    return _shaped(array.total(x, axes), x, axes, keepdims) / _count(x, axes)


@public(np.var, examples=["f(A34)", "f(A34, axis=1, ddof=1)", "f(A34, axis=0, keepdims=True)"])
def var(
    a,
    axis=None,
    dtype=None,
    out=None,
    ddof=0,
    keepdims=False,
    *,
    mean=None,
    correction=None,
):
    """As np.var: the mean of squared deviations, with n - ddof in the denominator."""
    x = _averaged(value(a), dtype)
    axes = strict_axes(x, axis)
    ddof = ddof if correction is None else correction
    centre = globals()["mean"](x, axis, keepdims=True) if mean is None else mean
    deviation = x - centre
    total = array.total(deviation * deviation, axes)
    return _shaped(total, x, axes, keepdims) / at_least_none(_count(x, axes) - ddof)


@public(np.std, examples=["f(A34)", "f(A34, axis=1, ddof=1)"])
def std(
    a,
    axis=None,
    dtype=None,
    out=None,
    ddof=0,
    keepdims=False,
    *,
    mean=None,
    correction=None,
):
    """As np.std: the root of `var`."""
    return apply("sqrt", var(a, axis, dtype, out, ddof, keepdims, mean=mean, correction=correction))


def _extreme(name, numpy_name):
    def reduction(a, axis=None, out=None, keepdims=False, initial=None):
        x = value(a)
        if x.dtype.kind == "b":
            return convert(reduction(convert(x, "u1"), axis, out, keepdims, initial), "?")
        axes = axes_of(x, axis)
        if initial is None and any(isinstance(x.shape[i], int) and x.shape[i] == 0 for i in axes):
            raise ShapeError(
                numpy_name, "an empty axis has no extreme", expected="one element or more",
                got=f"shape {x.shape}", fix="initial=",
            )  # fmt: skip
        out = _shaped(add(x, name, [x], axes=axes) if axes else x, x, axes, keepdims)
        pair = "maximum" if name == "reduce_max" else "minimum"
        return out if initial is None else apply(pair, out, initial)

    return reduction


amax = public(
    np.max, np.amax, examples=["f(A34)", "f(A34, axis=0)", "f(A234, axis=(0, 2), keepdims=True)"]
)(_extreme("reduce_max", "max"))
amin = public(
    np.min, np.amin, examples=["f(A34)", "f(A34, axis=0)", "f(A34, axis=1, keepdims=True)"]
)(_extreme("reduce_min", "min"))


def _arg(name):
    def reduction(a, axis=None, out=None, *, keepdims=False):
        x = value(a)
        if axis is None:
            flat = add(x, name, [ravel(x)], axes=(0,))
            return reshape(flat, (1,) * x.ndim) if keepdims else flat
        if x.ndim == 0:
            axis = normalize_axis_index(axis, 1)
            return add(x, name, [ravel(x)], axes=(0,))
        axis = normalize_axis_index(axis, x.ndim)
        return _shaped(add(x, name, [x], axes=(axis,)), x, (axis,), keepdims)

    return reduction


argmax = public(np.argmax, examples=["f(A34)", "f(A34, axis=1)"])(_arg("argmax"))
argmin = public(np.argmin, examples=["f(A34)", "f(A34, axis=0, keepdims=True)"])(_arg("argmin"))


@public(np.cumsum, examples=["f(A34)", "f(A34, axis=0)", "f(A34, axis=1)"])
def cumsum(a, axis=None, dtype=None, out=None):
    """As np.cumsum."""
    if np.ndim(a) == 0 and axis in (0, -1):
        axis = None
    x = _summable(value(a), dtype)
    if axis is None:
        x, axis = ravel(x), 0
    return array.cumsum(x, normalize_axis_index(axis, x.ndim))


@public(np.diff, examples=["f(A34)", "f(A34, n=2, axis=1)", "f(A34, axis=0)"])
def diff(a, n=1, axis=-1):
    """As np.diff."""
    x = value(a)
    axis = normalize_axis_index(axis, x.ndim)
    change = "not_equal" if x.dtype.kind == "b" else "sub"
    for _ in range(n):
        later, before = slice(1, None), slice(None, -1)
        x = apply(change, indexing.along(x, axis, later), indexing.along(x, axis, before))
    return x


def _within(x: Value, bound):
    """A Python integer as a bound that the integers' dtype holds."""
    if type(bound) is not int or x.dtype.kind not in "iu" or x.spec.weak:
        return bound
    held = np.iinfo(x.dtype)
    return int(np.clip(bound, int(held.min), int(held.max)))


@public(np.clip, examples=["f(A34, -0.5, 0.5)", "f(A34, None, 0.3)", "f(A34, A34 - 1.0, 0.2)"])
def clip(a, a_min=None, a_max=None, out=None, *, min=None, max=None):
    """As np.clip; the derivative is 1 inside and at both ends."""
    low = a_min if min is None else min
    high = a_max if max is None else max
    x = value(a, low, high)
    low, high = _within(x, low), _within(x, high)
    if low is not None:
        x = select(x < low, low, x)
    return x if high is None else select(x > high, high, x)


@public(np.where, examples=["f(B34, A34, 0.0)", "f(A34 > 0, A34, A4)"])
def where(condition, x=None, y=None):
    """As np.where with three arguments; a zero cotangent stays zero in the branch not taken."""
    if x is None or y is None:
        raise NotCoveredError(
            "where", "the form with one argument has a result of unknown shape",
            expected="np.where(condition, x, y)", got="np.where(condition)",
            fix="give x and y",
        )  # fmt: skip
    return select(condition, x, y)


@public(np.trace, examples=["f(A34)", "f(A234, 0, 1, 2)"])
def trace(a, offset=0, axis1=0, axis2=1, dtype=None, out=None):
    """As np.trace."""
    return sum_(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)
