"""Elements of an axis: taken by their places, and put back."""

from __future__ import annotations

import itertools

import numpy as np


def inverse_of(order) -> tuple[int, ...]:
    """The inverse of a permutation."""
    back = [0] * len(order)
    for k, place in enumerate(order):
        back[place] = k
    return tuple(back)


def taken(x, order, axis=-1):
    """np.take of static places along an axis; slices where they are evenly spaced."""
    at = as_slice(order)
    if at is not None:
        whole = (slice(None),) * (-axis - 1)
        return x[(..., at, *whole)]
    return np.take(x, np.asarray(order), axis=axis)


def as_slice(order) -> slice | None:
    """The slice that takes these places, if there is one."""
    if len(order) == 0:
        return slice(0, 0)
    step = order[1] - order[0] if len(order) > 1 else 1
    if step == 0 or any(b - a != step for a, b in itertools.pairwise(order)):
        return None
    stop = order[-1] + (1 if step > 0 else -1)
    return slice(order[0], None if stop < 0 else stop, step)
