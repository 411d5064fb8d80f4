"""A permutation of one axis of the event."""

from __future__ import annotations

import itertools

import numpy as np

import graphad as ga
from graphad.errors import ShapeError
from graphad.flows.bijector import Bijector
from graphad.flows.shapes import as_shape


class Permute(Bijector):
    """y[..., i] = x[..., order[i]], log-det 0.

    Args:
        order: a permutation of 0 ... d - 1, or 'reverse', or a random key.
        event_shape: (d,) for order None.
        axis: of the event, counted from its end.

    >>> import graphad as ga, numpy as np
    >>> ga.flows.Permute([2, 0, 1]).forward(np.array([5.0, 6.0, 7.0]))
    array([7., 5., 6.])
    """

    settings = ("order", "_event", "axis")

    def __init__(self, order, event_shape=None, axis=-1):
        name = "Permute"
        if event_shape is None:
            event_shape = (len(order),)
        event = as_shape(name, event_shape)
        size = event[axis]
        if isinstance(order, str) and order == "reverse":
            order = range(size)[::-1]
        elif getattr(order, "dtype", None) == np.uint64 and np.shape(order) == (2,):
            order = ga.random.permutation(order, size)
        order = tuple(int(k) for k in order)
        if sorted(order) != list(range(size)):
            raise ShapeError(name, "order is not a permutation", expected=f"each of 0 ... "
                             f"{size - 1} once", got=str(order)[:60],
                             fix="ga.random.permutation(key, d)")  # fmt: skip
        self._set(order=order, _event=event, axis=axis if axis < 0 else axis - len(event))

    @property
    def log_det_cost(self):
        """Nothing to do."""
        return "0"

    def _forward(self, x, context):
        return taken(x, self.order, self.axis), nothing(x, self._event)

    def _inverse(self, y, context):
        return taken(y, inverse_of(self.order), self.axis), nothing(y, self._event)


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


def nothing(x, event_shape):
    """A log-det of zeros."""
    return np.zeros_like(x[(..., *(0,) * len(event_shape))])
