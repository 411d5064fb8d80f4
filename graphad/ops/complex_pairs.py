"""A complex array in a trace: two real ones. `np.linalg.eig` gives them; they can be computed with
and returned, and a result is a complex array."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from graphad.errors import NotCoveredError
from graphad.ops import numpy_linalg, numpy_math, numpy_products, numpy_shape
from graphad.ops.eigen import complex_product
from graphad.ops.indexing import index
from graphad.ops.numpy_shape import concatenate
from graphad.ops.value import Composite, Value, apply, lift, zeros_like

Pair = tuple[Any, Any]


class ComplexPair(Composite):
    """`real` and `imag` are traced arrays of one shape."""

    __array_priority__ = 2000

    def __init__(self, real: Value, imag: Value):
        self.real, self.imag = real, imag

    shape = property(lambda self: self.real.shape)
    ndim = property(lambda self: self.real.ndim)
    size = property(lambda self: self.real.size)
    T = property(lambda self: _each(numpy_shape.permute, self))
    dtype = property(lambda self: np.result_type(self.real.dtype, np.complex64))

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        """NumPy's ufuncs of complex arrays."""
        rule = UFUNCS.get(ufunc)
        if method == "reduce" and ufunc is np.add:
            return _each(numpy_math.sum_, inputs[0], **{"axis": 0, **options})
        if rule is None or method != "__call__" or options:
            raise _not_covered(ufunc)
        parts = [_parts(self.real, x) for x in inputs]
        out = rule(*parts)
        return ComplexPair(*out) if isinstance(out, tuple) else out

    def __array_function__(self, func, types, args, kwargs):
        """NumPy's other functions: what is linear, and the inverse."""
        if func in FUNCTIONS:
            return FUNCTIONS[func](*args, **kwargs)
        if func not in LINEAR:
            raise _not_covered(func)
        return _each(LINEAR[func], *args, **kwargs)

    def __getitem__(self, key):
        return _each(index, self, key)

    def __len__(self):
        return len(self.real)  # type: ignore[arg-type]

    def __iter__(self):
        return (self[k] for k in range(len(self)))

    def conj(self):
        """The conjugate."""
        return ComplexPair(self.real, -self.imag)

    conjugate = conj

    def sum(self, axis=None, keepdims=False):
        """As ndarray.sum."""
        return _each(numpy_math.sum_, self, axis=axis, keepdims=keepdims)

    def __repr__(self):
        return f"<complex {self.real.spec}>"

    def __neg__(self):
        return ComplexPair(-self.real, -self.imag)

    def __abs__(self):
        return np.abs(self)


def _operator(name: str, ufunc):
    def forward(self, other):
        return ufunc(self, other)

    def reflected(self, other):
        return ufunc(other, self)

    setattr(ComplexPair, f"__{name}__", forward)
    setattr(ComplexPair, f"__r{name}__", reflected)


for _name, _ufunc in {"add": np.add, "sub": np.subtract, "mul": np.multiply,
                      "truediv": np.divide, "matmul": np.matmul}.items():  # fmt: skip
    _operator(_name, _ufunc)


def _parts(like: Value, x) -> Pair:
    """(real, imaginary) parts of an operand; None for an imaginary part that is not there."""
    if isinstance(x, ComplexPair):
        return x.real, x.imag
    if isinstance(x, Value) or not np.iscomplexobj(x):
        return lift(like, x), None
    array: Any = np.asarray(x)
    real, imag = (part.copy() if array.ndim else float(part) for part in (array.real, array.imag))
    return lift(like, real), lift(like, imag)


def _each(f: Callable, x, *args, **kwargs) -> ComplexPair:
    """A linear function of one array, of both parts."""
    return ComplexPair(f(x.real, *args, **kwargs), f(x.imag, *args, **kwargs))


def _not_covered(f) -> NotCoveredError:
    name = getattr(f, "__name__", str(f))
    return NotCoveredError(
        name, "this call is not covered for complex values", got=f"np.{name}",
        expected="+ - * / @, np.abs, angle, conj, exp, log, sqrt, sum, diag, inv, transpose",
        fix="write it with .real and .imag, which are traced arrays",
    )  # fmt: skip


def _add(x: Pair, y: Pair) -> Pair:
    return x[0] + y[0], _of_both(np.add, x[1], y[1], x[0], y[0])


def _subtract(x: Pair, y: Pair) -> Pair:
    return x[0] - y[0], _of_both(np.subtract, x[1], y[1], x[0], y[0])


def _of_both(f, a, b, x, y):
    """f of two imaginary parts, at most one of which is missing, in the shape of the result."""
    zero = zeros_like(x + y)
    return f(zero if a is None else a, zero if b is None else b)


def _product(f):
    def rule(x: Pair, y: Pair) -> Pair:
        (a, b), (c, d) = x, y
        if d is None:
            return f(a, c), f(b, c)
        if b is None:
            return f(a, c), f(a, d)
        return complex_product(f, x, y)

    return rule


_multiply = _product(operator.mul)


def _divide(x: Pair, y: Pair) -> Pair:
    if y[1] is None:
        return x[0] / y[0], x[1] / y[0]
    size = y[0] * y[0] + y[1] * y[1]
    real, imag = _multiply(x, (y[0], -y[1]))
    return real / size, imag / size


def _exp(x: Pair) -> Pair:
    size = apply("exp", x[0])
    return size * apply("cos", x[1]), size * apply("sin", x[1])


def _sqrt(x: Pair) -> Pair:
    size, angle = apply("sqrt", apply("hypot", *x)), _angle(x) * 0.5
    return size * apply("cos", angle), size * apply("sin", angle)


def _angle(x: Pair) -> Value:
    return apply("arctan2", x[1], x[0])


def _inverse(x) -> ComplexPair:
    """(A + iB)^-1, the first columns of the inverse of [[A, -B], [B, A]]."""
    n = x.shape[-1]
    rows = [concatenate([x.real, -x.imag], -1), concatenate([x.imag, x.real], -1)]
    whole = numpy_linalg.inv(concatenate(rows, -2))
    return ComplexPair(index(whole, (..., slice(n), slice(n))),
                       index(whole, (..., slice(n, None), slice(n))))  # fmt: skip


UFUNCS: dict[Any, Callable] = {
    np.add: _add, np.subtract: _subtract, np.multiply: _multiply, np.divide: _divide,
    np.matmul: _product(numpy_products.matmul),
    np.negative: lambda x: (-x[0], -x[1]), np.conjugate: lambda x: (x[0], -x[1]),
    np.absolute: lambda x: apply("hypot", *x), np.exp: _exp, np.sqrt: _sqrt,
    np.square: lambda x: _multiply(x, x),
    np.log: lambda x: (apply("log", apply("hypot", *x)), _angle(x)),
}  # fmt: skip
FUNCTIONS: dict[Any, Callable] = {
    np.real: lambda x: x.real, np.imag: lambda x: x.imag,
    np.angle: lambda x: _angle((x.real, x.imag)),
    np.linalg.inv: _inverse,
}  # fmt: skip
LINEAR: dict[Any, Callable] = {
    np.sum: numpy_math.sum_, np.mean: numpy_math.mean, np.transpose: numpy_shape.permute,
    np.swapaxes: numpy_shape.swapaxes, np.diag: numpy_shape.diag,
    np.reshape: numpy_shape.reshape, np.trace: numpy_math.trace,
}  # fmt: skip
