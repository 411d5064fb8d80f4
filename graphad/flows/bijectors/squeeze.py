"""Squares of pixels as channels."""

from __future__ import annotations

import numpy as np

from graphad.errors import ShapeError
from graphad.flows.bijector import Bijector
from graphad.flows.shapes import as_shape, nothing


class Squeeze(Bijector):
    """Images (h, w, c) as (h/2, w/2, 4c): each square of 2 x 2 becomes channels; log-det 0.

    Dinh, Sohl-Dickstein and Bengio 2017, section 3.6.

    >>> import graphad as ga, numpy as np
    >>> ga.flows.Squeeze((4, 4, 1)).forward(np.ones((4, 4, 1))).shape
    (2, 2, 4)
    """

    settings = ("_event",)

    def __init__(self, event_shape):
        event = as_shape("Squeeze", event_shape)
        if len(event) != 3 or event[0] % 2 or event[1] % 2:
            raise ShapeError("Squeeze", "an image has even sides", expected="(h, w, c), h and w "
                             "even", got=str(event), fix="np.pad to even sides")  # fmt: skip
        self._set(_event=event)

    @property
    def event_shape_out(self):
        """(h/2, w/2, 4c)."""
        h, w, c = self._event
        return (h // 2, w // 2, 4 * c)

    @property
    def log_det_cost(self):
        """Nothing to do."""
        return "0"

    def _forward(self, x, context):
        h, w, c = self._event
        lead = tuple(x.shape)[:-3]
        x = np.reshape(x, (*lead, h // 2, 2, w // 2, 2, c))
        x = np.moveaxis(x, -4, -3)
        return np.reshape(x, (*lead, *self.event_shape_out)), nothing(x, (1,) * 5)

    def _inverse(self, y, context):
        h, w, c = self._event
        lead = tuple(y.shape)[:-3]
        y = np.reshape(y, (*lead, h // 2, w // 2, 2, 2, c))
        y = np.moveaxis(y, -4, -3)
        return np.reshape(y, (*lead, h, w, c)), nothing(y, (1,) * 5)
