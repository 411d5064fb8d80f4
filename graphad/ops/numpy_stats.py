"""NumPy's statistics, cumulative products, convolutions and integrals of samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from graphad.errors import NotCoveredError, ShapeError
from graphad.graph import Builder
from graphad.ops import sorting
from graphad.ops.indexing import index
from graphad.ops.iterate import COUNT, iterate
from graphad.ops.numpy_math import _count, _summable, mean, sum_
from graphad.ops.numpy_products import matmul
from graphad.ops.numpy_shape import concatenate, diagonal, permute, ravel, value
from graphad.ops.rounding import rounded
from graphad.ops.value import (
    Value,
    _first_value,
    apply,
    broadcast_to,
    convert,
    full,
    lift,
    promoted,
    public,
    reshape,
    select,
)
from graphad.spec import Spec


@public(np.average, examples=["f(A34)", "f(A34, axis=1, weights=A4 * A4)",
                              "f(A34, weights=A34 * A34)"])  # fmt: skip
def average(a, axis=None, weights=None, returned=False, *, keepdims=False):
    """As np.average."""
    x = value(a, weights)
    if weights is None:
        w = full(x, 1.0, x.shape, x.dtype if x.dtype.kind == "f" else "f8")
    else:
        w = lift(x, weights)
        if w.ndim < x.ndim and isinstance(axis, int):
            shape = [1] * x.ndim
            shape[axis] = w.shape[0]
            w = reshape(w, shape)
        w = broadcast_to(w, x.shape, "average")
    total = sum_(w, axis, keepdims=keepdims)
    out = sum_(x * w, axis, keepdims=keepdims) / total
    return (out, total) if returned else out


@public(np.cov, examples=["f(A34)", "f(A34, rowvar=False)", "f(A34, ddof=0)", "f(A4, A4 * A4)"])
def cov(m, y=None, rowvar=True, bias=False, ddof=None, fweights=None, aweights=None, *, dtype=None):
    """As np.cov without weights."""
    if fweights is not None or aweights is not None:
        raise NotCoveredError("cov", "weights are not covered", expected="no weights",
                              got="fweights= or aweights=", fix="np.average and @")  # fmt: skip
    x = convert(_rows_of(value(m, y)), dtype or "f8")
    if not rowvar and x.shape[0] != 1:
        x = permute(x)
    if y is not None:
        other = convert(_rows_of(lift(x, y)), x.dtype)
        other = permute(other) if not rowvar and other.shape[0] != 1 else other
        x = concatenate([x, other], axis=0)
    less = ddof if ddof is not None else (0 if bias else 1)
    centred = x - mean(x, axis=1, keepdims=True)
    out = matmul(centred, permute(centred)) / (_count(x, (1,)) - less)
    return reshape(out, ()) if out.shape == (1, 1) else out


def _rows_of(x: Value) -> Value:
    return x if x.ndim > 1 else reshape(x, (1, x.size))


@public(np.corrcoef, examples=["f(A34)", "f(A34, rowvar=False)"])
def corrcoef(x, y=None, rowvar=True, *, dtype=None):
    """As np.corrcoef."""
    c = cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    scale = apply("sqrt", diagonal(c))
    out = c / reshape(scale, (scale.size, 1)) / reshape(scale, (1, scale.size))
    return select(out > 1.0, 1.0, select(out < -1.0, -1.0, out))


@public(np.cumprod, examples=["f(A34)", "f(A34, axis=0)", "f(A34, axis=1)", "f(K3)"])
def cumprod(a, axis=None, dtype=None, out=None):
    """As np.cumprod; a loop over the axis, so its derivatives are right where elements are 0."""
    x = _summable(value(a), dtype)
    if axis is None or (x.ndim == 0 and axis in (0, -1)):
        x, axis = ravel(x), 0
    axis = normalize_axis_index(axis, x.ndim)
    order = [axis, *[k for k in range(x.ndim) if k != axis]]
    rows = permute(x, order)
    inner = Builder()
    row = Spec(rows.shape[1:], rows.dtype)
    inner.input(COUNT, "i")
    carry, step = Value(inner, inner.input(row, "c")), Value(inner, inner.input(row, "x"))
    product = (carry * step).id
    one = full(rows, 1, row.shape)
    ys = iterate(rows, [one], [], [rows], inner.finish([product, product]), rows.shape[0])[1]
    return permute(ys, np.argsort(order).tolist())


# -- convolution ---------------------------------------------------------------------------------
def _sides(operation, a, v) -> tuple[Value, Value]:
    like = _first_value([a, v])
    x, y = promoted(operation, [lift(like, a), lift(like, v)])
    if x.ndim != 1 or y.ndim != 1 or 0 in (x.shape[0], y.shape[0]):
        raise ShapeError(operation, "it takes two arrays of one axis, not empty",
                         expected="shapes (n,) and (m,)", got=f"{x.shape} and {y.shape}",
                         fix="ga.vmap over the other axes")  # fmt: skip
    return x, y


def _slid(x: Value, y: Value, mode: str) -> Value:
    """Sums of products of x with y at every place, len(x) >= len(y)."""
    m = y.shape[0]
    if mode == "valid":
        return sorting.correlate(x, y)
    if mode == "same":
        return sorting.correlate(sorting.padded(x, m // 2, m - 1 - m // 2), y)
    if mode != "full":
        raise NotCoveredError("convolve", "unknown mode", expected="'full', 'same' or 'valid'",
                              got=repr(mode), fix="mode='full'")  # fmt: skip
    return sorting.correlate(sorting.padded(x, m - 1, m - 1), y)


@public(np.convolve, examples=["f(A4, A3)", "f(A3, A4, mode='same')", "f(A4, A3, mode='valid')"])
def convolve(a, v, mode="full"):
    """As np.convolve: sum over k of a[i - k] v[k]."""
    x, y = _sides("convolve", a, v)
    if x.shape[0] < y.shape[0]:
        x, y = y, x
    if mode == "same":  # NumPy centres the result on the full one
        n, m = x.shape[0], y.shape[0]
        whole = _slid(x, sorting.reversed_last(y), "full")
        return index(whole, slice((m - 1) // 2, (m - 1) // 2 + n))
    return _slid(x, sorting.reversed_last(y), mode)


@public(np.correlate, examples=["f(A4, A3)", "f(A4, A3, mode='full')", "f(A4, A3, 'same')"])
def correlate(a, v, mode="valid"):
    """As np.correlate: sum over k of a[i + k] v[k]; a is the longer."""
    x, y = _sides("correlate", a, v)
    if x.shape[0] < y.shape[0]:
        return sorting.reversed_last(correlate(y, x, mode))
    return _slid(x, y, mode)


# -- integrals and the rest ----------------------------------------------------------------------
@public(np.trapezoid, examples=["f(A34)", "f(A34, dx=0.5, axis=0)", "f(A34, np.arange(4.0))"])
def trapezoid(y, x=None, dx=1.0, axis=-1):
    """As np.trapezoid."""
    v = value(y, x)
    axis = normalize_axis_index(axis, v.ndim)
    before = (slice(None),) * axis
    low, high = (*before, slice(None, -1)), (*before, slice(1, None))
    if x is not None:
        p = lift(v, x)
        if p.ndim == 1:
            shape = [1] * v.ndim
            shape[axis] = p.shape[0]
            p = reshape(p, shape)
        dx = index(p, high) - index(p, low)
    return sum_((index(v, high) + index(v, low)) * 0.5 * dx, axis=axis)


@public(np.round, np.around, examples=["f(A34)", "f(A34, 1)", "f(A34 * 100, -1)"])
def round_(a, decimals=0, out=None):
    """As np.round; flat, so its derivative is 0."""
    return rounded(value(a), int(decimals))


@public(np.sinc, examples=["f(A34)"])
def sinc(x):
    """As np.sinc: sin(pi x) / (pi x), 1 at 0."""
    v = value(x)
    y = v * float(np.pi)
    safe = select(y == 0.0, 1.0, y)
    # Beside 0 the series, which has the derivatives there, and leaves small differences to nobody.
    series: Any = 0.0
    for k in reversed(range(11)):
        series = series * (y * y) + (-1) ** k / math.factorial(2 * k + 1)
    return select(apply("abs", y) < 1.0, series, apply("sin", safe) / safe)
