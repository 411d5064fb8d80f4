"""NumPy's names that are short for others: parts of real numbers, the array API's names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from graphad.errors import NotCoveredError, ShapeError
from graphad.op import TABLE
from graphad.ops.indexing import along
from graphad.ops.numpy_math import cumsum, diff, sum_
from graphad.ops.numpy_products import matmul
from graphad.ops.numpy_shape import concatenate, expand_dims, linspace, ravel, squeeze, value
from graphad.ops.numpy_stats import cumprod
from graphad.ops.value import apply, arrays_of, convert, full, lift, public, select, zeros_like


@public(np.real, np.real_if_close, np.conj, examples=["f(A34)"])
def real(val, *unused, **options):
    """The value: a traced one is real."""
    return value(val)


@public(np.imag, examples=["f(A34)"])
def imag(val):
    """Zeros: a traced value is real."""
    return zeros_like(value(val))


@public(np.angle, examples=["f(A34)", "f(A34, deg=True)"])
def angle(z, deg=False):
    """As np.angle of real numbers: 0 or pi."""
    x = value(z)
    return select(x < 0, 180.0 if deg else math.pi, apply("mul", x, 0.0))


@public(np.fix, examples=["f(A34 * 3)"])
def fix(x, out=None):
    """As np.fix: towards zero."""
    return apply("trunc", value(x))


@public(np.ediff1d, examples=["f(A4)", "f(A34, to_end=1.0)"])
def ediff1d(ary, to_end=None, to_begin=None):
    """As np.ediff1d."""
    x = ravel(ary)
    ends = [None if e is None else ravel(convert(lift(x, e), x.dtype)) for e in (to_begin, to_end)]
    parts = [ends[0], diff(x), ends[1]]
    return concatenate([p for p in parts if p is not None])


@public(np.logspace, examples=["f(A4[0], 2.0, 5)", "f(0.0, A4, 3, base=2.0)"])
def logspace(start, stop, num=50, endpoint=True, base: Any = 10.0, dtype=None, axis=0):
    """As np.logspace."""
    found = apply("power", base, linspace(start, stop, num, endpoint, axis=axis))
    return found if dtype is None else convert(found, dtype)


@public(np.geomspace, examples=["f(A4[0] ** 2 + 1, 20.0, 5)"])
def geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0):
    """As np.geomspace, of numbers of one sign."""
    first, last = arrays_of([start, stop])
    ratio = apply("log", apply("div", last, first))
    found = apply("mul", first, apply("exp", linspace(zeros_like(ratio), ratio, num, endpoint,
                                                      axis=axis)))  # fmt: skip
    return found if dtype is None else convert(found, dtype)


@public(np.gradient, examples=["f(A4)", "f(A4, 0.5)", "f(A34, axis=1)", "f(A34)[0]",
                               "f(A4, edge_order=2)"])  # fmt: skip
def gradient(f, *varargs, axis=None, edge_order=1):
    """As np.gradient with even spacing."""
    x = value(f)
    axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    axes = [normalize_axis_index(a, x.ndim) for a in axes]
    steps: list[Any] = list(varargs) or [1.0]
    steps = steps * len(axes) if len(steps) == 1 else steps
    if any(np.ndim(s) for s in steps):
        raise NotCoveredError("np.gradient", "spacing by coordinates is not covered",
                              expected="a number for each axis", got="an array",
                              fix="np.diff(f) / np.diff(x)")  # fmt: skip
    found = [_slopes(x, a, h, edge_order) for a, h in zip(axes, steps, strict=True)]
    return found[0] if len(found) == 1 else tuple(found)


def _slopes(x, axis: int, h, edge_order: int):
    def run(a, b):
        return along(x, axis, slice(a, b))

    def at(k):
        return run(k, k + 1 if k != -1 else None)

    if isinstance(x.shape[axis], int) and x.shape[axis] < edge_order + 1:
        raise ShapeError("np.gradient", "too few points", got=f"{x.shape[axis]}",
                         expected=f"{edge_order + 1} or more along axis {axis}",
                         fix="a longer array")  # fmt: skip
    x = convert(x, x.dtype if x.dtype.kind == "f" else "f8")
    if edge_order == 2:
        first = at(0) * -1.5 + at(1) * 2.0 - at(2) * 0.5
        last = at(-1) * 1.5 - at(-2) * 2.0 + at(-3) * 0.5
    else:
        first, last = at(1) - at(0), at(-1) - at(-2)
    inner = (run(2, None) - run(None, -2)) / 2.0
    return concatenate([first, inner, last], axis) / h


@public(np.unwrap, examples=["f(A34 * 4)", "f(A4 * 9)"])
def unwrap(p, discont=None, axis=-1, *, period=2 * math.pi):
    """As np.unwrap of floating-point angles."""
    x = value(p)
    axis = normalize_axis_index(axis, x.ndim)
    step, half = diff(x, axis=axis), period / 2
    wrapped = apply("sub", apply("remainder", apply("add", step, half), period), half)
    wrapped = select(apply("logical_and", wrapped == -half, step > 0), half, wrapped)
    put_right = select(apply("abs", step) < (half if discont is None else discont), 0.0,
                       apply("sub", wrapped, step))  # fmt: skip
    first, rest = along(x, axis, slice(0, 1)), along(x, axis, slice(1, None))
    return concatenate([first, apply("add", rest, cumsum(put_right, axis))], axis)


@public(np.cumulative_sum, examples=["f(A4)", "f(A34, axis=1)", "f(A4, include_initial=True)"])
def cumulative_sum(x, /, *, axis=None, dtype=None, out=None, include_initial=False):
    """As np.cumulative_sum."""
    return _running(x, cumsum, 0, axis, dtype, include_initial)


@public(np.cumulative_prod, examples=["f(A4)", "f(A34, axis=1)", "f(A4, include_initial=True)"])
def cumulative_prod(x, /, *, axis=None, dtype=None, out=None, include_initial=False):
    """As np.cumulative_prod."""
    return _running(x, cumprod, 1, axis, dtype, include_initial)


def _running(x, running, start, axis, dtype, include_initial):
    x = value(x)
    axis = normalize_axis_index(0 if axis is None else axis, x.ndim)
    found = running(x, axis, dtype)
    if not include_initial:
        return found
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    return concatenate([full(found, start, shape, found.dtype), found], axis)


@public(np.linalg.vecdot, np.vecdot, examples=["f(A34, A4)", "f(A34, A34)"])
def vecdot(x1, x2, /, *, axis=-1):
    """As np.vecdot."""
    x, y = arrays_of([x1, x2])
    return sum_(apply("mul", x, y), axis)


def matvec(x1, x2, /):
    """As np.matvec."""
    a, v = arrays_of([x1, x2])
    return squeeze(matmul(a, expand_dims(v, -1)), -1)


def vecmat(x1, x2, /):
    """As np.vecmat."""
    v, a = arrays_of([x1, x2])
    return squeeze(matmul(expand_dims(v, -2), a), -2)


if hasattr(np, "matvec"):  # NumPy 2.2
    public(np.matvec, examples=["f(A234, A4)", "f(A34, A34[:, None])"])(matvec)
    public(np.vecmat, examples=["f(A3, A34)"])(vecmat)

# Those of the array API's linear algebra that are NumPy's own under another name.
for _name in ("cross", "diagonal", "matmul", "matrix_transpose", "outer", "tensordot", "trace"):
    public(getattr(np.linalg, _name))(TABLE.numpy[getattr(np, _name)])
