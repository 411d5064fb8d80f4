"""A radial map of vectors."""

from __future__ import annotations

import numpy as np

from graphad.flows.bijector import Bijector
from graphad.flows.bijectors.planar import size_of, vector
from graphad.flows.part import as_parameter


class Radial(Bijector):
    """y = x + b (x - c) / (a + r), r = |x - c|, a = exp(log_alpha), b = softplus(raw_beta) - a.

    log-det (d - 1) log(1 + b h) + log(1 + b h - b r h²), h = 1 / (a + r). Rezende and Mohamed 2015,
    equation 14 and appendix A.2. The inverse solves a quadratic equation for r.

    >>> import graphad as ga, numpy as np
    >>> flow = ga.flows.Radial((3,), key=ga.random.key(0))
    >>> bool(np.allclose(flow.inverse(flow.forward(np.ones(3))), 1.0))
    True
    """

    children = ("center", "log_alpha", "raw_beta")

    def __init__(self, event_shape=None, center=None, log_alpha=0.0, raw_beta=1.0, key=None,
                 dtype=None):  # fmt: skip
        size = size_of("Radial", event_shape, key, center)
        center = vector("Radial", center, size, key, dtype)
        log_alpha, raw_beta = (as_parameter("Radial", p, center.dtype) for p in
                               (log_alpha, raw_beta))  # fmt: skip
        self._set(center=center, log_alpha=log_alpha, raw_beta=raw_beta)

    @property
    def event_shape(self):
        """(d,)."""
        return tuple(self.center.shape)

    def _numbers(self):
        alpha = np.exp(self.log_alpha)
        return alpha, np.logaddexp(self.raw_beta, 0) - alpha

    def _log_det(self, r, alpha, beta):
        h = 1.0 / (alpha + r)
        d = self.center.shape[0]
        return (d - 1) * np.log1p(beta * h) + np.log1p(beta * alpha * h * h)

    def _forward(self, x, context):
        alpha, beta = self._numbers()
        away = x - self.center
        r = np.sqrt((away * away).sum(-1))
        return x + (beta / (alpha + r))[..., None] * away, self._log_det(r, alpha, beta)

    def _inverse(self, y, context):
        alpha, beta = self._numbers()
        away = y - self.center
        whole = np.sqrt((away * away).sum(-1))
        # r + b r / (a + r) = |y - c|: the root of r² + (a + b - |y - c|) r - a |y - c| above 0.
        half = 0.5 * (alpha + beta - whole)
        root = np.sqrt(half * half + alpha * whole)
        r = np.where(half > 0, alpha * whole / (np.abs(half) + root), root - half)
        scale = 1.0 / (1.0 + beta / (alpha + r))
        return self.center + scale[..., None] * away, -self._log_det(r, alpha, beta)

    @property
    def log_det_cost(self):
        """d - 1 equal directions and the radial one."""
        return "closed form, O(d)"
