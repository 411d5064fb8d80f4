"""NumPy's functions of polynomials by their coefficients, the highest power first."""

from __future__ import annotations

import numpy as np

from graphad.errors import NotCoveredError, ShapeError
from graphad.ops.array import require_static
from graphad.ops.indexing import index
from graphad.ops.numpy_shape import concatenate, stack, value
from graphad.ops.numpy_stats import convolve
from graphad.ops.value import (
    Value,
    apply,
    arrays_of,
    convert,
    full,
    lift,
    public,
    reshape,
    zeros_like,
)


@public(np.polyval, examples=["f(A4, A34)", "f(A4, 0.5)", "f([1.0, 2.0], A34)"])
def polyval(p, x):
    """As np.polyval: Horner's scheme."""
    p, x = arrays_of([p, x])
    total = zeros_like(x)
    for k in range(p.shape[0]):
        total = apply("add", apply("mul", total, x), index(p, k))
    return total


def _added(a, b, operation) -> Value:
    x, y = [v if v.ndim else reshape(v, (1,)) for v in arrays_of([a, b])]
    length = max(x.shape[0], y.shape[0])
    x, y = (_longer(v, length) for v in (x, y))
    return apply(operation, x, y)


def _longer(x: Value, length: int) -> Value:
    missing = length - x.shape[0]
    return concatenate([full(x, 0, (missing,), x.dtype), x]) if missing else x


@public(np.polyadd, examples=["f(A4, A3)", "f(A3, A4)"])
def polyadd(a1, a2):
    """As np.polyadd."""
    return _added(a1, a2, "add")


@public(np.polysub, examples=["f(A4, A3)", "f(A3, A4)"])
def polysub(a1, a2):
    """As np.polysub."""
    return _added(a1, a2, "sub")


@public(np.polymul, examples=["f(A4, A3)"])
def polymul(a1, a2):
    """As np.polymul, zeros of high powers included."""
    x, y = arrays_of([a1, a2])
    return convolve(x, y)


@public(np.polyder, examples=["f(A4)", "f(A4, 2)"])
def polyder(p, m=1):
    """As np.polyder."""
    x = value(p)
    require_static("np.polyder", x.shape)
    for _ in range(m):
        powers = np.arange(x.shape[0] - 1, 0, -1)
        x = apply("mul", index(x, slice(None, -1)), lift(x, powers))
    return x


@public(np.polyint, examples=["f(A4)"])
def polyint(p, m=1, k=None):
    """As np.polyint with constants of zero."""
    if k is not None:
        raise NotCoveredError("np.polyint", "constants are not covered", expected="no k",
                              got="k=", fix="np.polyadd")  # fmt: skip
    x = value(p)
    require_static("np.polyint", x.shape)
    for _ in range(m):
        powers = np.arange(x.shape[0], 0, -1)
        x = apply("div", x, lift(x, powers))
        x = concatenate([x, full(x, 0, (1,), x.dtype)])
    return x


@public(np.vander, examples=["f(A4)", "f(A4, 3)", "f(A4, 3, increasing=True)"])
def vander(x, N=None, increasing=False):
    """As np.vander."""
    x = value(x)
    if x.ndim != 1:
        raise ShapeError("np.vander", "takes a vector", expected="1 axis", got=f"{x.ndim}",
                         fix="np.ravel")  # fmt: skip
    x = convert(x, np.promote_types(x.dtype, int))
    count = x.shape[0] if N is None else N
    columns = [full(x, 1, x.shape, x.dtype)]
    for _ in range(1, count):
        columns.append(apply("mul", columns[-1], x))
    columns = columns[:count]
    return stack(columns if increasing else columns[::-1], axis=1)
