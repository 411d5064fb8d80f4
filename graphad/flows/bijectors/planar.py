"""Planar and radial maps of vectors."""

from __future__ import annotations

import numpy as np

import graphad as ga
from graphad.errors import ShapeError
from graphad.flows.bijector import Bijector
from graphad.flows.monotone import solved
from graphad.flows.part import as_parameter


def _vector(operation: str, given, size, key, dtype):
    if given is not None:
        return as_parameter(operation, given, dtype)
    return 0.1 * ga.random.normal(key, (size,), dtype or "float64")


def _size(operation: str, event_shape, key, *given) -> int:
    known = [np.shape(g)[0] for g in given if g is not None and len(np.shape(g)) == 1]
    if event_shape is not None and len(tuple(event_shape)) == 1:
        known.append(next(iter(event_shape)))
    if len(set(known)) != 1 or (key is None and any(g is None for g in given)):
        raise ShapeError(operation, "it maps vectors",
                         fix=f"{operation}(event_shape=(3,), key=key)",
                         expected="vectors of one length, or event_shape= and key=",
                         got=f"lengths {known}")  # fmt: skip
    return known[0]


class Planar(Bijector):
    """y = x + u' tanh(w·x + b), with u' = u + (softplus(w·u) - 1 - w·u) w / |w|², so w·u' > -1.

    log-det log |1 + (1 - tanh²(w·x + b)) w·u'|. Rezende and Mohamed 2015, equations 10 to 12 and
    appendix A.1. The inverse solves one monotone equation for w·x.

    >>> import graphad as ga, numpy as np
    >>> flow = ga.flows.Planar((3,), key=ga.random.key(0))
    >>> bool(np.allclose(flow.inverse(flow.forward(np.ones(3))), 1.0))
    True
    """

    children = ("w", "u", "b")

    def __init__(self, event_shape=None, w=None, u=None, b=0.0, key=None, dtype=None):
        size = _size("Planar", event_shape, key, w, u)
        one, two = ga.random.split(key, 2) if key is not None else (None, None)
        w, u = _vector("Planar", w, size, one, dtype), _vector("Planar", u, size, two, dtype)
        self._set(w=w, u=u, b=as_parameter("Planar", b, w.dtype))

    @property
    def event_shape(self):
        """(d,)."""
        return tuple(self.w.shape)

    def _direction(self):
        """u' and w·u'."""
        dot = self.w @ self.u
        wanted = np.logaddexp(dot, 0) - 1.0
        return self.u + (wanted - dot) * self.w / (self.w @ self.w), wanted

    def _forward(self, x, context):
        u, dot = self._direction()
        h = np.tanh(x @ self.w + self.b)
        return x + h[..., None] * u, np.log1p((1.0 - h * h) * dot)

    def _inverse(self, y, context):
        u, dot = self._direction()

        def along(v, dot, b):
            return v + dot * np.tanh(v + b)

        v = solved(along, y @ self.w, (dot, self.b))
        h = np.tanh(v + self.b)
        return y - h[..., None] * u, -np.log1p((1.0 - h * h) * dot)

    @property
    def log_det_cost(self):
        """By the matrix determinant lemma."""
        return "rank one, O(d)"


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
        size = _size("Radial", event_shape, key, center)
        center = _vector("Radial", center, size, key, dtype)
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
