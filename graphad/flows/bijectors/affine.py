"""y = loc + scale x, elementwise."""

from __future__ import annotations

import numpy as np

from graphad.errors import ParameterError
from graphad.flows.bijector import Bijector
from graphad.flows.normal import shape_together
from graphad.flows.part import as_parameter
from graphad.flows.shapes import as_shape, over, together


class Affine(Bijector):
    """y = loc + scale x, log-det sum log |scale| over the event.

    Args:
        loc, scale: arrays; scale has no zeros, and may be negative.
        event_shape: how many of their last axes are the event; all of them when None.

    >>> import graphad as ga, numpy as np
    >>> ga.flows.Affine(1.0, 2.0).forward_and_log_det(3.0)
    (np.float64(7.0), np.float64(0.6931471805599453))
    """

    children = ("loc", "scale")
    settings = ("_event",)

    def __init__(self, loc=0.0, scale=1.0, event_shape=None, dtype=None):
        loc, scale = (as_parameter("Affine", p, dtype) for p in (loc, scale))
        whole = shape_together("Affine", loc=loc, scale=scale)
        if not hasattr(scale, "spec") and not np.all(scale != 0):
            raise ParameterError("Affine", "a scale of zero has no inverse", expected="scale != 0",
                                 got="scale with 0 in it", fix="np.ones(shape)")  # fmt: skip
        event = whole if event_shape is None else as_shape("Affine", event_shape)
        self._set(loc=loc, scale=scale, _event=event)

    @property
    def batch_shape(self):
        """The axes of the parameters before the event."""
        whole = together(self.loc.shape, self.scale.shape)
        return whole[: len(whole) - len(self._event)] if len(whole) > len(self._event) else ()

    def _log_det(self, x):
        whole = np.broadcast_to(np.log(np.abs(self.scale)), tuple(x.shape))
        return over(whole, len(self._event))

    def _forward(self, x, context):
        return self.loc + self.scale * x, self._log_det(x)

    def _inverse(self, y, context):
        return (y - self.loc) / self.scale, -self._log_det(y)
