"""A permutation of one axis of the event."""

from __future__ import annotations

import numpy as np

import graphad as ga
from graphad.errors import ShapeError
from graphad.flows.axes import inverse_of, taken
from graphad.flows.bijector import Bijector
from graphad.flows.shapes import as_shape, nothing


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
