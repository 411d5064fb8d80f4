"""What every bijector has: shapes, both directions with their log-dets, and the compiled functions.

y = forward(x); log_det = log |det dy/dx|, one number for each event. The density of y is
log p(x) - log_det, and that of x = inverse(y) has the log-det of the inverse, its opposite.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import graphad as ga
from graphad.flows.context import beside, checked, without
from graphad.flows.distribution import bound
from graphad.flows.part import Part
from graphad.flows.shapes import fitted, over, together


class Bijector(Part):
    """A frozen invertible map with `event_shape`, `event_shape_out` and `batch_shape`.

    A subclass has `_forward(x, context)` and `_inverse(y, context)`, each giving the value and the
    log-det; what nobody asks for is not computed.
    """

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of what goes in, as given; () for a function of one number, of each element."""
        return self._event

    @property
    def event_shape_out(self) -> tuple[int, ...]:
        """Shape of what comes out."""
        return self.event_shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the bijectors side by side, from parameters with more axes than the event."""
        return ()

    def _forward(self, x, context) -> tuple[Any, Any]:
        raise NotImplementedError

    def _inverse(self, y, context) -> tuple[Any, Any]:
        raise NotImplementedError

    def _density_inverse(self, y, context) -> tuple[Any, Any, Any]:
        """(x, log-det, where y is in the image of f), the last None for everywhere.

        Outside, x and the log-det are those of another y, so that gradients are finite.
        """
        return (*self._inverse(y, context), None)

    def _held_in_domain(self, x) -> tuple[Any, Any]:
        """(x with another where f has no value, where it has one or None for everywhere)."""
        return x, None

    def forward(self, x, context=None):
        """y = f(x), for x of shape (..., *event_shape)."""
        return self._call("forward", _forward, x, "event_shape", context)

    def inverse(self, y, context=None):
        """x with f(x) = y, for y of shape (..., *event_shape_out)."""
        return self._call("inverse", _inverse, y, "event_shape_out", context)

    def forward_and_log_det(self, x, context=None):
        """(f(x), log |det f'(x)|); the log-det has the shape of x without the event."""
        return self._call("forward_and_log_det", _forward_and_log_det, x, "event_shape", context)

    def inverse_and_log_det(self, y, context=None):
        """(x, log |det dx/dy|), of x with f(x) = y."""
        name = "inverse_and_log_det"
        return self._call(name, _inverse_and_log_det, y, "event_shape_out", context)

    def _call(self, method, function, x, event, context):
        x = fitted(self, method, x, event)
        if context is None:
            without(self, method)
            return bound(self, function)(x)
        context = checked(self, method, context)
        axes = len(getattr(self, event))
        return function(self, x, context, f"{type(self).__name__}.{method}", axes)

    def initialised(self, x, context=None) -> tuple[Bijector, Any]:
        """(the bijector with parameters set from data where it has such, x mapped backward).

        x is a batch of data, as the inverse takes it. Only `ActNorm` sets itself so.
        """
        return self, inverse_of(self, x, context)

    def explain(self) -> str:
        """What it is made of, and how its log-det is had."""
        return "\n".join(self._lines(""))

    def _lines(self, indent) -> list[str]:
        count = sum(int(np.prod(p.shape)) for p in self.params.values())
        return [f"{indent}{type(self).__name__}  event {tuple(self.event_shape)}  "
                f"{count} parameters  log-det: {self.log_det_cost}"]  # fmt: skip

    @property
    def log_det_cost(self) -> str:
        """How the log-determinant is computed, in words."""
        return "sum over the event, O(d)"


def _compiled(method: str, run) -> Any:
    """A method of a bijector as a compiled function, of values repeated for each context."""

    def call(bijector, x, context=None, name="", axes=0):
        return run(bijector, beside(name, x, axes, context), context)

    call.__name__ = call.__qualname__ = method
    return ga.function(call, static=("name", "axes"))


_forward = _compiled("forward", lambda b, x, context: b._forward(x, context)[0])
_inverse = inverse_of = _compiled("inverse", lambda b, y, context: b._inverse(y, context)[0])
_forward_and_log_det = _compiled(
    "forward_and_log_det", lambda b, x, context: b._forward(x, context)
)
_inverse_and_log_det = inverse_with_log_det = _compiled(
    "inverse_and_log_det", lambda b, y, context: b._inverse(y, context)
)


def all_over(inside, axes: int):
    """Whether all are inside, over the last `axes` axes."""
    return inside.all(axis=tuple(range(-axes, 0))) if axes else inside


def event_log_det(log_det, bijector: Bijector, x, event_axes: int):
    """The log-det of a bijector that maps smaller events, over `event_axes` axes of x.

    A log-det that does not depend on x has the shape of no batch, and is repeated.
    """
    inner = len(bijector.event_shape)
    shape = tuple(x.shape)[: len(x.shape) - inner]
    if tuple(log_det.shape) != shape:
        log_det = np.broadcast_to(log_det, together(tuple(log_det.shape), shape))
    return over(log_det, event_axes - inner)
