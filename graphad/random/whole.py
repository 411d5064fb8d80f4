"""Integers in a range: every range that a dtype has, to its last value."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

import graphad as ga
from graphad.errors import DTypeError, ShapeError
from graphad.primitives import random_bits
from graphad.random.draws import shape_of

NAME = "random.integers"
FULL = 1 << 64
LIMITS = {np.dtype(c): np.iinfo(c) for c in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")}


@ga.function(static=("shape", "dtype", "full"))
def _integers(key, first, rest, shape, dtype, full):
    """first + n for 0 <= n <= rest, all modulo 2**64; `full`: n may be any word."""
    words = random_bits(key, shape, "uint64")
    span = rest + np.uint64(1)
    a, b, c, d = words >> 32, words & 0xFFFFFFFF, span >> 32, span & 0xFFFFFFFF
    one, two = a * d, b * c
    middle = (one & 0xFFFFFFFF) + (two & 0xFFFFFFFF) + ((b * d) >> 32)
    upper = a * c + (one >> 32) + (two >> 32) + (middle >> 32)
    if full:
        upper = np.where(span == 0, words, upper)
    out = upper + first
    return out != 0 if dtype.kind == "b" else out.astype(dtype)


def integers(key, low, high=None, shape=None, dtype="int64", endpoint=False):
    """Integers in [low, high), or in [0, low) as NumPy has it; in [low, high] with `endpoint`.

    The upper half of word * (high - low): the probability of a value is off by less than 2**-64.
    Bounds broadcast. Raises ShapeError, a ValueError, for bounds that the dtype does not hold and
    where there is no integer between them; bounds that are traced are not looked at.

    >>> import graphad as ga
    >>> bool(ga.random.integers(ga.random.key(0), 6) < 6)
    True
    """
    low, high = (0, low) if high is None else (low, high)
    found = np.dtype(dtype)
    if found.kind not in "iub" or not found.isnative:
        raise DTypeError(NAME, "integers have an integer dtype", expected="int64, ...",
                         got=str(found), fix="dtype='int64'")  # fmt: skip
    low, high = _bound(low), _bound(high)
    size = shape_of(NAME, shape, low, high)
    if type(low) is int and type(high) is int:
        if 0 not in size:
            _check(low, high, found, endpoint)
        between = (high - low - (not endpoint)) % FULL
        first, rest, full = np.uint64(low % FULL), np.uint64(between), between == FULL - 1
        return _integers(key, first, rest, size, found, full)
    if hasattr(low, "spec") or hasattr(high, "spec"):
        full = endpoint
    else:
        if 0 not in size:
            _check(low, high, found, endpoint)
        full = True
    first = _word(low)
    with np.errstate(over="ignore"):
        rest = _word(high) - first - np.uint64(not endpoint)
    return _integers(key, first, rest, size, found, full)


def _bound(x: Any):
    """A bound as an integer of Python's, as an array of 64 bits, or as a value of a trace."""
    if type(x) is int:
        return x
    if hasattr(x, "spec"):
        kind, given = x.dtype.kind, x
    else:
        given = np.asarray(x)
        given = given.astype(np.int64) if given.size == 0 else given
        kind = given.dtype.kind
        if kind == "O":
            kind = "i" if all(isinstance(v, (int, np.integer)) for v in given.ravel()) else "O"
    if kind not in "iub":
        raise DTypeError(NAME, "the bounds are integers", expected="integers",
                         got=str(x), fix="int(x)")  # fmt: skip
    if hasattr(x, "spec"):
        return x
    if given.ndim == 0:
        return operator.index(given.item())
    return given if given.dtype in (object, np.uint64) else given.astype(np.int64)


def _word(x):
    """A bound modulo 2**64."""
    if hasattr(x, "spec"):
        return x.astype("uint64")
    if isinstance(x, int):
        return np.uint64(x % FULL)
    return (x % FULL if x.dtype == object else x).astype(np.uint64)


def _check(low, high, dtype: np.dtype, endpoint: bool) -> None:
    """Known bounds are in the dtype, and in order."""
    least, most = (0, 1) if dtype.kind == "b" else (LIMITS[dtype].min, LIMITS[dtype].max)
    for name, x, above in (("low", low, most), ("high", high, most + (not endpoint))):
        if _some((x < least) | (x > above)):
            raise ShapeError(NAME, f"{name} is out of bounds for {dtype}",
                             expected=f"integers from {least} to {most}", got=f"{name}={x}",
                             fix="a wider dtype, or nearer bounds")  # fmt: skip
    if _some(low > high if endpoint else low >= high):
        raise ShapeError(NAME, "there is no integer between the bounds",
                         expected="low <= high" if endpoint else "low < high",
                         got=f"low={low}, high={high}",
                         fix="high=low" if endpoint else "high=low + 1, or more")  # fmt: skip


def _some(found) -> bool:
    """Whether one is true, of a bool or an array."""
    return found if isinstance(found, bool) else bool(np.any(found))
