"""Events of another shape."""

from __future__ import annotations

import math

import numpy as np

from graphad.errors import ShapeError
from graphad.flows.bijector import Bijector
from graphad.flows.shapes import as_shape, nothing


class Reshape(Bijector):
    """An event of shape `event_shape` as one of `event_shape_out`, in C order; log-det 0.

    >>> import graphad as ga, numpy as np
    >>> ga.flows.Reshape((2, 2), (4,)).forward(np.ones((7, 2, 2))).shape
    (7, 4)
    """

    settings = ("_event", "_out")

    def __init__(self, event_shape, event_shape_out):
        event, out = as_shape("Reshape", event_shape), as_shape("Reshape", event_shape_out)
        if math.prod(event) != math.prod(out):
            raise ShapeError("Reshape", "the shapes have different sizes",
                             expected=f"{math.prod(event)} elements",
                             got=f"{out}, of {math.prod(out)}",
                             fix="shapes of one size")  # fmt: skip
        self._set(_event=event, _out=out)

    @property
    def event_shape_out(self):
        """Shape of what comes out."""
        return self._out

    @property
    def log_det_cost(self):
        """Nothing to do."""
        return "0"

    def _forward(self, x, context):
        lead = tuple(x.shape)[: len(x.shape) - len(self._event)]
        return np.reshape(x, (*lead, *self._out)), nothing(x, self._event)

    def _inverse(self, y, context):
        lead = tuple(y.shape)[: len(y.shape) - len(self._out)]
        return np.reshape(y, (*lead, *self._event)), nothing(y, self._out)
