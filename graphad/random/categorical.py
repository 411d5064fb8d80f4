"""Draws of an index by weight: one a row, many, or all different."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

import graphad as ga
from graphad import primitives
from graphad.errors import DTypeError, ShapeError, WeightError
from graphad.random.draws import permutation, picked, shape_of
from graphad.random.whole import integers

MANY = 256  # draws from a row that are worth a table, and how many categories


@ga.function
def _weights(logits):
    """Weights beside the largest, in float64."""
    top = np.max(logits, axis=-1, keepdims=True)
    return np.exp(logits - np.where(top == -np.inf, 0.0, top)).astype("float64")


@ga.function
def table_of(logits):
    """The table of `alias_draw` for each row."""
    return primitives.alias_table(_weights(logits))


@ga.function
def _one(key, logits):
    words = primitives.random_bits(key, logits.shape[:-1], "uint64")
    return primitives.invert(logits, words[..., None])[..., 0]


@ga.function(static="count")
def _few(key, logits, count):
    words = primitives.random_bits(key, (*logits.shape[:-1], count), "uint64")
    return primitives.invert(logits, words)


@ga.function(static="count")
def _many(key, logits, count):
    return primitives.alias_draw(table_of(logits), key, 0, count)


@ga.function(static="count")
def _distinct(key, logits, count):
    return primitives.distinct(_weights(logits), key, 0, count)


def as_logits(operation: str, logits, axis: int = -1):
    """Log-weights as floats, their axis last; an error where there is nothing to draw from."""
    if not hasattr(logits, "spec"):
        logits = np.asarray(logits)
    if logits.dtype.kind not in "fiub":
        raise DTypeError(operation, "log-weights are numbers", expected="float64 or float32",
                         got=str(logits.dtype), fix="np.log(weights)")  # fmt: skip
    if logits.dtype.kind != "f":
        logits = logits.astype("float64")
    if len(logits.shape) == 0:
        raise ShapeError(operation, "one number is no list of log-weights",
                         expected="shape (..., K)", got="shape ()",
                         fix="an array of one weight for each category")  # fmt: skip
    logits = np.moveaxis(logits, axis, -1)
    if isinstance(logits.shape[-1], int) and logits.shape[-1] == 0:
        raise ShapeError(operation, "there are no categories", expected="one or more along axis "
                         f"{axis}", got=f"shape {tuple(logits.shape)}",
                         fix="log-weights of at least one category")  # fmt: skip
    return logits


def log_of(operation: str, weights):
    """Logarithms of weights, which are not negative where they are known."""
    if not hasattr(weights, "spec"):
        weights = np.asarray(weights, np.float64)
        if not np.all(weights >= 0):
            raise WeightError(operation, "a weight is negative or nan", expected="weights >= 0",
                              got=str(weights), fix="np.maximum(weights, 0)")  # fmt: skip
    with np.errstate(divide="ignore"):
        return np.log(weights)


def positive(operation: str, num_samples) -> int:
    """The number of draws, which must be one."""
    try:
        count = operator.index(num_samples)
    except TypeError:
        raise ShapeError(operation, "num_samples is an integer", expected="1 or more",
                         got=repr(num_samples), fix="num_samples=1000") from None  # fmt: skip
    if count < 1:
        raise ShapeError(operation, "num_samples must be positive", expected="1 or more",
                         got=str(count), fix="num_samples=1, or None for one a row")  # fmt: skip
    return count


def categorical(key, logits, num_samples=None, axis=-1, replace=True):
    """Indices k with probability exp(logits[k]) / sum(exp(logits)).

    Args:
        key: one random key.
        logits: (..., K), log-weights of any scale; -inf is never drawn.
        num_samples: None for one draw a row, shape (...); n for shape (..., n).
        axis: the axis of the categories.
        replace: False for draws that differ within a row, in the order of successive draws.

    Returns int64. Indices have no derivative: see `gumbel_softmax`, `score_function` and
    `expectation`. Few draws a row go by inversion, from max(256, K / 4) on by an alias
    table, without replacement by inversion that passes over what was drawn (docs/sampling.md).

    Raises WeightError for nan, +inf, rows of -inf alone, and for more draws without replacement
    than weights above zero; ValueError from `@njit` code.

    >>> import numpy as np, graphad as ga
    >>> ga.random.categorical(ga.random.key(0), np.array([-np.inf, 0.0]), 3)
    array([1, 1, 1])
    """
    name = "random.categorical"
    logits = as_logits(name, logits, axis)
    if num_samples is None:
        if not replace:
            raise ShapeError(name, "one draw a row has nothing to replace",
                             expected="num_samples=n with replace=False", got="num_samples=None",
                             fix="num_samples=1, or replace=True")  # fmt: skip
        return _one(key, logits)
    count = positive(name, num_samples)
    size = logits.shape[-1]
    if replace:
        worth = MANY if not isinstance(size, int) else max(MANY, size // 4)
        return (_many if count >= worth else _few)(key, logits, count)
    if isinstance(size, int) and count > size:
        raise ShapeError(name, "more draws without replacement than categories",
                         expected=f"at most {size}", got=str(count),
                         fix="fewer num_samples, or replace=True")  # fmt: skip
    return _distinct(key, logits, count)


def choice(key, a: Any, shape=(), replace=True, p=None, axis=0):
    """Elements of `a` along an axis (of an integer n: of 0 ... n - 1), by weights p or all alike.

    p need not sum to 1. As NumPy's `Generator.choice`. A few of many without replacement take time
    and memory by their number, not by that of all.

    >>> import numpy as np, graphad as ga
    >>> ga.random.choice(ga.random.key(0), np.array([3.0, 5.0]), (2,), p=[0.0, 1.0])
    array([5., 5.])
    """
    name = "random.choice"
    if not isinstance(a, (int, np.integer)):
        a = a if hasattr(a, "shape") else np.asarray(a)
        if len(a.shape) == 0:
            raise ShapeError(name, "one number is no list", expected="an integer, or an array",
                             got=f"a of shape () and dtype {a.dtype}", fix="int(a)")  # fmt: skip
        axis = normalize_axis_index(axis, len(a.shape))
    size = operator.index(a) if isinstance(a, (int, np.integer)) else a.shape[axis]
    shape = shape_of(name, shape)
    count = math.prod(shape)
    if size < 1 and count:
        raise ShapeError(name, "there is nothing to choose from", expected="one element or more",
                         got=str(size), fix="a longer array")  # fmt: skip
    if not replace and count > size:
        raise ShapeError(name, "more draws without replacement than elements",
                         expected=f"at most {size}", got=str(count),
                         fix="a smaller shape, or replace=True")  # fmt: skip
    at = np.reshape(_places(key, size, count, replace, p), shape)
    if not hasattr(at, "spec") and at.ndim == 0:
        at = at[()]
    return at if isinstance(a, (int, np.integer)) else picked(a, at, axis)


def _places(key, size: int, count: int, replace: bool, p):
    """So many numbers below `size`."""
    if p is not None:
        p = p if hasattr(p, "spec") else np.asarray(p, np.float64)
        if p.shape != (size,):
            raise ShapeError("random.choice", "p has one weight for each element",
                             expected=f"shape ({size},)", got=f"shape {p.shape}",
                             fix=f"p of {size} weights")  # fmt: skip
        logits = log_of("random.choice", p)
        if count == 0:
            return np.zeros(0, np.int64)
        return categorical(key, logits, count, replace=replace)
    if count == 0:
        return np.zeros(0, np.int64)
    if replace:
        return integers(key, 0, size, (count,))
    if size > MANY and 2 * count <= size:
        return primitives.few_of_many(key, size, count)
    return permutation(key, size)[:count]
