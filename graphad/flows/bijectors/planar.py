"""A planar map of vectors."""

from __future__ import annotations

import numpy as np

import graphad as ga
from graphad.errors import ShapeError
from graphad.flows.bijector import Bijector
from graphad.flows.monotone import solved
from graphad.flows.part import as_parameter


def vector(operation: str, given, size, key, dtype):
    """A given vector as a parameter, or a small random one."""
    if given is not None:
        return as_parameter(operation, given, dtype)
    return 0.1 * ga.random.normal(key, (size,), dtype or "float64")


def size_of(operation: str, event_shape, key, *given) -> int:
    """The length that the vectors and the event shape agree on."""
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
        size = size_of("Planar", event_shape, key, w, u)
        one, two = ga.random.split(key, 2) if key is not None else (None, None)
        w, u = vector("Planar", w, size, one, dtype), vector("Planar", u, size, two, dtype)
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
