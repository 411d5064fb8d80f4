"""Masked autoregressive maps: each element moved by those before it."""

from __future__ import annotations

import math

import numpy as np

import graphad as ga
from graphad.errors import ShapeError
from graphad.flows.bijector import Bijector
from graphad.flows.bijectors.coupling import grouped
from graphad.flows.conditioner import MaskedMLP
from graphad.flows.context import MAY
from graphad.flows.shapes import as_shape
from graphad.flows.transformers import AffineTransformer, SplineTransformer

MOST_IN_TURN = 32  # elements that are written out one after another


class MaskedAutoregressive(Bijector):
    """y_i = transformer(x_i; conditioner(y_0 ... y_{i-1})): MAF; its inverse is one pass.

    Papamakarios, Pavlakou and Murray 2017. The forward direction, which sampling takes, goes
    element by element: with a `MaskedMLP` and up to 32 elements each hidden unit is computed once,
    as soon as what it sees is there; otherwise it is d passes of the network. `Invert` of it is IAF
    (Kingma et al. 2016), which samples in one pass.

    Args:
        event_shape: of the values.
        order: of the elements, as places in C order; as they are when None.
        spline: rational-quadratic splines (with `bins` and `interval`) instead of (x - t) / s.
        conditioner: gives (..., count * d), result i of each group from inputs before i alone; a
            `MaskedMLP` when None.
        bound: 1 / s is at most exp(bound).

    >>> import graphad as ga, numpy as np
    >>> flow = ga.flows.MaskedAutoregressive((3,), key=ga.random.key(0))
    >>> bool(np.allclose(flow.inverse(flow.forward(np.ones(3))), 1.0))
    True
    """

    children = ("conditioner",)
    settings = ("_event", "transformer")

    def __init__(self, event_shape, conditioner=None, spline=False, key=None, hidden=(64, 64),
                 activation="relu", context=0, dtype="float64", bound=5.0, bins=8,
                 interval=5.0, order=None):  # fmt: skip
        event = as_shape("MaskedAutoregressive", event_shape)
        transformer = SplineTransformer(bins, interval) if spline else AffineTransformer(bound)
        if conditioner is None:
            if key is None:
                raise ShapeError("MaskedAutoregressive", "the conditioner's weights are drawn at "
                                 "random", expected="key= or conditioner=", got="neither",
                                 fix="key=ga.random.key(0)")  # fmt: skip
            conditioner = MaskedMLP(key, math.prod(event), hidden, transformer.count, context,
                                    activation, dtype, order)  # fmt: skip
        self._set(conditioner=conditioner, _event=event, transformer=transformer)

    def context_needs(self):
        """What the network's side input takes."""
        if not isinstance(self.conditioner, MaskedMLP):
            return frozenset([MAY])
        side = self.conditioner.side
        return frozenset([] if side is None else [side.shape[0]])

    def _flat(self, x):
        return np.reshape(x, (*tuple(x.shape)[: len(x.shape) - len(self._event)],
                              math.prod(self._event)))  # fmt: skip

    def _raw(self, y, context):
        found = self.conditioner(y, context) if context is not None else self.conditioner(y)
        return grouped("MaskedAutoregressive", found, tuple(y.shape[:-1]), self.transformer.count,
                       y.shape[-1])  # fmt: skip

    def _forward(self, x, context):
        shape, x = tuple(x.shape), self._flat(x)
        size = x.shape[-1]
        if isinstance(self.conditioner, MaskedMLP) and size <= MOST_IN_TURN:
            y, log_slope = self.conditioner.in_turn(x, self.transformer.forward, context)
            return np.reshape(y, shape), log_slope.sum(-1)

        def step(_, y):
            return self.transformer.forward(x, self._raw(y, context))[0]

        # After pass k the first k elements are right, whatever the others were.
        y = ga.fori_loop(0, size - 1, step, np.zeros_like(x))
        y, log_slope = self.transformer.forward(x, self._raw(y, context))
        return np.reshape(y, shape), log_slope.sum(-1)

    def _inverse(self, y, context):
        shape, y = tuple(y.shape), self._flat(y)
        x, log_slope = self.transformer.inverse(y, self._raw(y, context))
        return np.reshape(x, shape), log_slope.sum(-1)

    @property
    def log_det_cost(self):
        """The Jacobian is triangular."""
        return "triangular, a sum over the event, O(d)"
