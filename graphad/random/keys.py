"""Keys: values that say which random numbers a function draws."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

import graphad as ga
from graphad import primitives
from graphad.errors import DTypeError, ShapeError

# Elements of a stream whose number has the top bit are never drawn: new keys are made of them.
APART = np.uint64(1 << 63)
TWEAK = np.uint64(0xD1B54A32D192ED03)  # between a key and those folded from it
MASK = (1 << 64) - 1


def key(seed: Any = 0):
    """A key from an integer: uint64 of shape (2,), the key of Philox and the stream.

    Draws are a function of the key and of nothing else: the same key gives the same numbers in any
    process, thread or target. Use each key once, and `split` it for more.

    >>> import graphad as ga
    >>> ga.random.key(7)
    array([7, 0], dtype=uint64)
    """
    if hasattr(seed, "spec"):
        seed = seed.astype("uint64")
        return np.stack([seed, np.uint64(0) * seed])
    try:
        number = operator.index(seed)
    except TypeError:
        raise DTypeError("random.key", "a seed is an integer", expected="an integer",
                         got=type(seed).__name__, fix="ga.random.key(0)") from None  # fmt: skip
    return np.array([number & MASK, 0], np.uint64)


@ga.function(static="num")
def _split(key, num):
    return primitives.random_bits(key, (num, 2), "uint64", APART)


def split(key, num: int = 2):
    """`num` new keys from one, uint64 of shape (num, 2); independent of each other and of `key`.

    >>> import graphad as ga
    >>> one, two = ga.random.split(ga.random.key(0))
    """
    count = operator.index(num)
    if count < 1:
        raise ShapeError("random.split", "the number of keys must be positive",
                         expected="1 or more", got=str(count), fix="num=2")  # fmt: skip
    return _split(key, count)


@ga.function
def _fold_in(key, data):
    key = primitives.checked_key("random.fold_in", key, data)
    mixed = np.stack([key[0] + TWEAK, key[1] ^ data])
    return primitives.random_bits(mixed, (2,), "uint64", APART)


def fold_in(key, data):
    """The key of a number, as of a step: fold_in(key, 0), fold_in(key, 1), ... are independent.

    >>> import graphad as ga
    >>> step = ga.random.fold_in(ga.random.key(0), 3)
    """
    if hasattr(data, "spec"):
        return _fold_in(key, data.astype("uint64"))
    return _fold_in(key, np.uint64(operator.index(data) & MASK))
