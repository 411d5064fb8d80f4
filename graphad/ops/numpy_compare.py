"""NumPy's tests of whole arrays and of nearness, composed from elementwise comparisons."""

from __future__ import annotations

import numpy as np

from graphad.ops.numpy_order import all_, any_
from graphad.ops.numpy_shape import expand_dims, ravel, value
from graphad.ops.value import Value, apply, arrays_of, full, lift, public
from graphad.spec import same_dim

BOTH_NAN = "f(np.where(K34 > 0, A34, np.nan), np.where(K34 > 0, A34, np.nan), equal_nan=True)"


@public(
    np.isclose,
    examples=[
        "f(A34, A34 + 1e-9)",
        "f(A34, A4)",
        BOTH_NAN,
    ],
)
def isclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False):
    """As np.isclose: |a - b| <= atol + rtol |b|, or equal."""
    x, y = arrays_of([a, b])
    room = apply("add", apply("mul", apply("abs", y), rtol), atol)
    near = apply("logical_and", apply("less_equal", apply("abs", apply("sub", x, y)), room),
                 apply("isfinite", y))  # fmt: skip
    return apply("logical_or", near, _equal(x, y, equal_nan))


def _equal(x: Value, y: Value, equal_nan: bool) -> Value:
    same = apply("equal", x, y)
    if not equal_nan:
        return same
    return apply("logical_or", same, apply("logical_and", apply("isnan", x), apply("isnan", y)))


@public(np.allclose, examples=["f(A34, A34 + 1e-9)", "f(A34, A4)"])
def allclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False):
    """As np.allclose; a traced bool."""
    return all_(isclose(a, b, rtol, atol, equal_nan))


@public(
    np.array_equal,
    examples=[
        "f(A34, A34)",
        "f(A34, A4)",
        BOTH_NAN,
    ],
)
def array_equal(a1, a2, equal_nan=False):
    """As np.array_equal; a traced bool."""
    x, y = arrays_of([a1, a2])
    if x.ndim != y.ndim or not all(map(same_dim, x.shape, y.shape)):
        return lift(x, np.bool_(False))
    return all_(_equal(x, y, equal_nan))


@public(np.isposinf, examples=["f(A34)", "f(np.where(B34, A34, np.inf))"])
def isposinf(x, out=None):
    """As np.isposinf."""
    return apply("equal", value(x), np.inf)


@public(np.isneginf, examples=["f(A34)", "f(np.where(B34, A34, -np.inf))"])
def isneginf(x, out=None):
    """As np.isneginf."""
    return apply("equal", value(x), -np.inf)


@public(np.isin, examples=["f(K34, [1, 2])", "f(K34, K3, invert=True)"])
def isin(element, test_elements, assume_unique=False, invert=False, *, kind=None):
    """As np.isin, each element compared with each."""
    x, among = arrays_of([element, test_elements])
    found = any_(apply("equal", expand_dims(x, -1), ravel(among)), axis=-1)
    return apply("logical_not", found) if invert else found


def _of_real(x: Value, answer: bool) -> Value:
    return full(x, answer, x.shape, "?")


@public(np.isreal, examples=["f(A34)"])
def isreal(x):
    """As np.isreal: a traced value is."""
    return _of_real(value(x), True)


@public(np.iscomplex, examples=["f(A34)"])
def iscomplex(x):
    """As np.iscomplex: a traced value is not."""
    return _of_real(value(x), False)


@public(np.isrealobj)
def isrealobj(x):
    """As np.isrealobj: a traced value is."""
    return True


@public(np.iscomplexobj)
def iscomplexobj(x):
    """As np.iscomplexobj: a traced value is not."""
    return False
