"""Channels of mean 0 and deviation 1 at the start."""

from __future__ import annotations

import math

import numpy as np

from graphad.flows.bijector import Bijector, inverse_of
from graphad.flows.shapes import as_shape, nothing


class ActNorm(Bijector):
    """y = loc + exp(log_scale) x along the last axis; log-det h w ... sum log_scale.

    `initialised(y)` takes loc and log_scale from a batch of data, so that x has mean 0 and
    deviation 1 in each channel; `fit` does so before its first step. A channel that is constant
    keeps the scale 1. Kingma and Dhariwal 2018, section 3.1.

    >>> import graphad as ga, numpy as np
    >>> norm, x = ga.flows.ActNorm((1,)).initialised(np.array([[1.0], [3.0]]))
    >>> x.tolist()
    [[-1.0], [1.0]]
    """

    children = ("loc", "log_scale")
    settings = ("_event", "ready")

    def __init__(self, event_shape, dtype="float64"):
        event = as_shape("ActNorm", event_shape)
        size = event[-1:] or ()
        self._set(loc=np.zeros(size, dtype), log_scale=np.zeros(size, dtype), _event=event,
                  ready=False)  # fmt: skip

    def _log_det(self, x):
        return nothing(x, self._event) + math.prod(self._event[:-1]) * self.log_scale.sum()

    def _forward(self, x, context):
        return self.loc + np.exp(self.log_scale) * x, self._log_det(x)

    def _inverse(self, y, context):
        return (y - self.loc) * np.exp(-self.log_scale), -self._log_det(y)

    def initialised(self, x, context=None):
        """With the mean and deviation of each channel of x, once."""
        if self.ready:
            return self, inverse_of(self, x)
        axes = tuple(range(len(x.shape) - 1)) if self._event else None
        loc, deviation = x.mean(axis=axes), x.std(axis=axes)
        constant = deviation <= 1e-6 * (1.0 + np.abs(loc))
        log_scale = np.log(np.where(constant, 1.0, deviation))
        made = object.__new__(ActNorm)
        made._set(loc=np.asarray(loc, self.loc.dtype), _event=self._event, ready=True,
                  log_scale=np.asarray(log_scale, self.loc.dtype))  # fmt: skip
        return made, inverse_of(made, x)

    @property
    def log_det_cost(self):
        """A sum of the channels."""
        return "sum over channels, O(c)"
