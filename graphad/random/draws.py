"""Draws of numbers: words, uniforms, normals and what is made of them.

A number is a function of one word: of 64 bits for float64, of 32 for float32. Where a logarithm or
a quantile follows, the word is a sign and a tail (n + 1/2) / 2**bits, which is never 0 and has
all its digits however small it is.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

import graphad as ga
from graphad.errors import DTypeError, ParameterError, RangeError, ShapeError
from graphad.primitives import random_bits, tail_log, tail_quantile

FLOATS = (np.dtype("f8"), np.dtype("f4"))
HUGE = 1e38  # ranges between -HUGE and HUGE are finite in both


def integers_of(operation: str, shape, expected: str, fix: str) -> tuple[int, ...]:
    """A shape as a tuple of integers; one integer is a shape of one axis."""
    try:
        given = tuple(shape) if hasattr(shape, "__iter__") else (shape,)
        return tuple(operator.index(d) for d in given)
    except TypeError:
        raise ShapeError(operation, "a shape is made of integers", expected=expected,
                         got=repr(shape), fix=fix) from None  # fmt: skip


def shape_of(operation: str, shape, *parameters) -> tuple:
    """The shape of a result: what is asked for, or that of the parameters together."""
    together = np.broadcast_shapes(*[np.shape(p) for p in parameters]) if parameters else ()
    if shape is None:
        return together
    given = integers_of(operation, shape, "such as (3, 4)", "shape=(3, 4)")
    if any(d < 0 for d in given):
        raise ShapeError(operation, "a shape has no negative sizes", expected="sizes >= 0",
                         got=str(given), fix="shape=(3, 4)")  # fmt: skip
    if np.broadcast_shapes(given, together) != given:
        raise ShapeError(
            operation, "the parameters have more elements than the result",
            expected=f"parameters that broadcast to {given}", got=f"shape {together}",
            fix=f"shape={together}, or leave shape out",
        )  # fmt: skip
    return given


def float_of(operation: str, dtype) -> np.dtype:
    """The dtype, which is to be float64 or float32."""
    found = np.dtype(dtype)
    if found not in FLOATS:
        raise DTypeError(operation, "such numbers are floats", expected="float64 or float32",
                         got=str(found), fix="dtype='float64'")  # fmt: skip
    return found


def picked(x, at, axis: int):
    """np.take, which sees traced values only in x."""
    return np.take(np.asarray(x, like=at) if hasattr(at, "spec") else x, at, axis=axis)


def _of(dtype, x):
    """A parameter in the dtype of the draws."""
    if isinstance(x, (int, float)):
        return x
    return x.astype(dtype) if hasattr(x, "astype") else np.asarray(x, dtype)


def _check_scale(operation: str, scale) -> None:
    """A scale whose values are known is not negative; nan gives nan, as NumPy has it."""
    if hasattr(scale, "spec") or (type(scale) in (int, float) and scale > 0):
        return
    if np.any(np.signbit(scale) & ~np.isnan(scale)):
        raise ParameterError(operation, "scale < 0", expected="scale >= 0", got=f"scale={scale}",
                             fix=f"scale={abs(np.asarray(scale)).tolist()}")  # fmt: skip


def _check_range(low, high, dtype) -> None:
    """The same of a range: it is finite in this dtype, and its ends are in order."""
    if hasattr(low, "spec") or hasattr(high, "spec"):
        return
    if type(low) in (int, float) and type(high) in (int, float) and -HUGE < low <= high < HUGE:
        return
    with np.errstate(all="ignore"):
        width = np.asarray(high, dtype) - np.asarray(low, dtype)
    if not np.all(np.isfinite(width)):
        raise RangeError("random.uniform", "high - low range exceeds valid bounds",
                         expected="finite bounds", got=f"low={low}, high={high}",
                         fix="bounds that are nearer")  # fmt: skip
    if np.any(width < 0):
        raise ParameterError("random.uniform", "high - low < 0", expected="low <= high",
                             got=f"low={low}, high={high}", fix="low first")  # fmt: skip


def _check_probability(p) -> None:
    """The same of a probability."""
    if hasattr(p, "spec") or (type(p) in (int, float) and 0 <= p <= 1):
        return
    p = np.asarray(p)
    if not np.all((p >= 0) & (p <= 1)):
        raise ParameterError("random.bernoulli", "p < 0, p > 1 or p is nan", expected="0 <= p <= 1",
                             got=f"p={p}", fix="a probability")  # fmt: skip


def _unit(key, shape, dtype):
    """Multiples of 2**-53 or 2**-24 in [0, 1)."""
    if dtype.itemsize == 8:
        return (random_bits(key, shape, "uint64") >> 11).astype(dtype) * 2.0**-53
    return (random_bits(key, shape, "uint32") >> 8).astype(dtype) * 2.0**-24


def _tail(key, shape, dtype):
    """(x, side): x in (0, 1/2] with all its digits, and which half of the interval is meant."""
    bits = 8 * dtype.itemsize
    words = random_bits(key, shape, f"uint{bits}")
    x = ((words >> 1).astype(dtype) + 0.5) * 2.0**-bits
    return x, (words & 1) != 0


@ga.function(static=("shape", "dtype"))
def _uniform(key, low, high, shape, dtype):
    low, high = _of(dtype, low), _of(dtype, high)
    x = low + (high - low) * _unit(key, shape, dtype)
    # Rounding may end at `high`: what is below has no derivative of its own.
    limits = np.finfo(dtype)
    step = np.maximum(abs(high) * limits.eps, limits.tiny)
    below = ga.stop_gradient(np.maximum(low, high - step) - x)
    return np.where(x < high, x, x + below)


@ga.function(static=("shape", "dtype"))
def _standard_uniform(key, shape, dtype):
    return _unit(key, shape, dtype)


@ga.function(static=("shape", "dtype"))
def _normal(key, shape, dtype):
    x, side = _tail(key, shape, dtype)
    z = tail_quantile(x)
    return np.where(side, -z, z)


@ga.function(static=("shape", "dtype"))
def _exponential(key, shape, dtype):
    # -log(x) or -log1p(-x) by one logarithm: 1 - x is y + c exactly, log(y + c) = log(y) + c / y.
    x, side = _tail(key, shape, dtype)
    rest = 1.0 - x
    y = np.where(side, x, rest)
    c = np.where(side, 0.0, (1.0 - rest) - x)
    return -(tail_log(y) + c * (2.0 - y))


def bits(key, shape=(), dtype="uint64"):
    """Random words of all bits, uint64 or uint32.

    Word i is half (a quarter) of block i // 2 (i // 4) of Philox4x32-10, whose key is key[0] and
    the upper half of whose counter is key[1].

    >>> import graphad as ga
    >>> ga.random.bits(ga.random.key(0), 2, 'uint32')
    array([1713891541, 3781805453], dtype=uint32)
    """
    found = np.dtype(dtype)
    if found.kind != "u" or found.itemsize not in (4, 8):
        raise DTypeError("random.bits", "words have 32 or 64 bits", expected="uint64 or uint32",
                         got=str(found), fix="dtype='uint64'")  # fmt: skip
    return random_bits(key, shape_of("random.bits", shape), found.name)


def uniform(key, shape=None, dtype: Any = "float64", low=0.0, high=1.0):
    """Uniform numbers in [low, high): low + (high - low) u, u a multiple of 2**-53 (2**-24 in f32).

    `low` and `high` broadcast, and are differentiated. Raises ParameterError, a ValueError, for
    high < low, and RangeError, an OverflowError, where high - low is not finite.

    >>> import graphad as ga
    >>> ga.random.uniform(ga.random.key(0), (2,))
    array([0.8805202 , 0.60548185])
    """
    found = float_of("random.uniform", dtype)
    size = shape_of("random.uniform", shape, low, high)
    if type(low) in (int, float) and type(high) in (int, float) and (low, high) == (0, 1):
        return _standard_uniform(key, size, found)
    _check_range(low, high, found)
    return _uniform(key, low, high, size, found)


def normal(key, shape=None, dtype: Any = "float64", loc=0.0, scale=1.0):
    """Normal numbers loc + scale z, z by the quantile function with full-precision tails.

    |z| reaches 9.1 in f64 and 6.3 in f32. `loc` and `scale` broadcast, and are differentiated
    (reparameterisation).

    >>> import graphad as ga
    >>> ga.random.normal(ga.random.key(0), (2,)).shape
    (2,)
    """
    found = float_of("random.normal", dtype)
    _check_scale("random.normal", scale)
    z = _normal(key, shape_of("random.normal", shape, loc, scale), found)
    return _moved(z, found, loc, scale)


def _moved(z, dtype, loc, scale):
    """loc + scale z, with nothing to do for 0 and 1."""
    if not (type(scale) in (int, float) and scale == 1):
        z = z * _of(dtype, scale)
    return z if type(loc) in (int, float) and loc == 0 else z + _of(dtype, loc)


def exponential(key, shape=None, dtype: Any = "float64", scale=1.0):
    """Exponential numbers of mean `scale`: never 0, with full precision near 0 and far out.

    >>> import graphad as ga
    >>> bool(ga.random.exponential(ga.random.key(0)) > 0)
    True
    """
    found = float_of("random.exponential", dtype)
    _check_scale("random.exponential", scale)
    e = _exponential(key, shape_of("random.exponential", shape, scale), found)
    return _moved(e, found, 0.0, scale)


@ga.function(static=("shape", "dtype"))
def _gumbel(key, shape, dtype):
    return -tail_log(_exponential(key, shape, dtype))


def gumbel(key, shape=None, dtype: Any = "float64", loc=0.0, scale=1.0):
    """Numbers of Gumbel's distribution, loc - scale log(e), e exponential.

    >>> import graphad as ga
    >>> ga.random.gumbel(ga.random.key(0), (3,), 'float32').dtype
    dtype('float32')
    """
    found = float_of("random.gumbel", dtype)
    _check_scale("random.gumbel", scale)
    g = _gumbel(key, shape_of("random.gumbel", shape, loc, scale), found)
    return _moved(g, found, loc, scale)


@ga.function(static="shape")
def _bernoulli(key, p, shape):
    return _unit(key, shape, FLOATS[0]) < p


def bernoulli(key, p=0.5, shape=None):
    """True with probability p, to within 2**-53; not differentiated. ParameterError, a ValueError,
    where p is no probability.

    >>> import graphad as ga
    >>> ga.random.bernoulli(ga.random.key(0), 1.0, (2,))
    array([ True,  True])
    """
    _check_probability(p)
    return _bernoulli(key, p, shape_of("random.bernoulli", shape, p))


@ga.function(static="n")
def _order(key, n):
    return np.argsort(random_bits(key, (n,), "uint64"))


def permutation(key, x, axis=0):
    """x in random order along an axis; of an integer n the numbers 0 ... n - 1.

    Sorted by words of 64 bits: an order's probability is off by less than n² / 2**65 of it.

    >>> import graphad as ga, numpy as np
    >>> np.sort(ga.random.permutation(ga.random.key(0), 4))
    array([0, 1, 2, 3])
    """
    if isinstance(x, (int, np.integer)):
        return _order(key, max(operator.index(x), 0))
    x = x if hasattr(x, "shape") else np.asarray(x)
    axis = normalize_axis_index(axis, len(x.shape))
    return picked(x, _order(key, x.shape[axis]), axis)
