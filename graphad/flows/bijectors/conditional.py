"""A bijector whose parameters a context gives."""

from __future__ import annotations

import math

import numpy as np

import graphad as ga
from graphad.errors import ShapeError
from graphad.flows.bijector import Bijector
from graphad.flows.conditioner import MLP, widths
from graphad.flows.context import MUST
from graphad.flows.part import places_of, replaced
from graphad.flows.shapes import together

SMALL = 0.1  # of the last layer's first weights: it starts near the inner bijector


class Conditional(Bijector):
    """Any bijector, with parameters params + network(context) for each row of the context.

    Args:
        inner: the bijector; its own parameters are what the network's results are added to.
        features: of the context, for the MLP that is made with `key` where network is None.
        network: context (..., features) -> (..., number of parameters).

    >>> import graphad as ga, numpy as np
    >>> layer = ga.flows.Conditional(ga.flows.Affine(np.zeros(2)), 3, key=ga.random.key(0))
    >>> layer.forward(np.ones((5, 2)), context=np.ones((5, 3))).shape
    (5, 2)
    """

    children = ("inner", "network")

    def __init__(self, inner: Bijector, features: int = 0, network=None, key=None,
                 hidden=(64, 64), activation="relu", dtype="float64"):  # fmt: skip
        count = sum(math.prod(p.value.shape) for p in places_of(inner, once=False))
        if network is None:
            if key is None or features < 1:
                raise ShapeError("Conditional", "the network's weights are drawn at random",
                                 expected="features= and key=, or network=", got="neither",
                                 fix="Conditional(inner, 3, key=key)")  # fmt: skip
            network = MLP(key, (features, *widths(hidden), count), activation, dtype)
            last = [n for n in network.params if n.startswith(f"layers.{len(network.layers) - 1}.")]
            network = network.replace({n: SMALL * network.params[n] for n in last})
        self._set(inner=inner, network=network)

    @property
    def event_shape(self):
        """That of the inner bijector."""
        return self.inner.event_shape

    @property
    def event_shape_out(self):
        """That of the inner bijector."""
        return self.inner.event_shape_out

    def context_needs(self):
        """What goes into the network."""
        if isinstance(self.network, MLP):
            return frozenset([self.network.layers[0]["weight"].shape[0]])
        return frozenset([MUST])

    def _at(self, shifts):
        """The inner bijector with its parameters moved by one row of shifts."""
        made, start = {}, 0
        for name, _, value, _ in places_of(self.inner, once=False):
            size = math.prod(value.shape)
            part = shifts[start : start + size].reshape(tuple(value.shape))
            made[name] = value + part.astype(value.dtype)
            start += size
        return replaced(self.inner, made, once=False)

    def _apply(self, x, context, axes, method):
        shifts = self.network(context)
        lead = together(tuple(x.shape)[: len(x.shape) - axes], tuple(shifts.shape[:-1]))
        event = tuple(x.shape)[len(x.shape) - axes :]
        if not lead:
            return getattr(self._at(shifts), method)(x, None)
        rows = math.prod(lead)
        x = np.broadcast_to(x, (*lead, *event)).reshape((rows, *event))
        shifts = np.broadcast_to(shifts, (*lead, shifts.shape[-1])).reshape((rows, -1))
        y, log_det = ga.vmap(lambda s, v: getattr(self._at(s), method)(v, None))(shifts, x)
        return y.reshape((*lead, *y.shape[1:])), log_det.reshape(lead)

    def _forward(self, x, context):
        return self._apply(x, context, len(self.event_shape), "_forward")

    def _inverse(self, y, context):
        return self._apply(y, context, len(self.event_shape_out), "_inverse")

    def _lines(self, indent):
        return [f"{indent}Conditional", *self.inner._lines(indent + "  ")]

    @property
    def log_det_cost(self):
        """That of the inner bijector."""
        return self.inner.log_det_cost
