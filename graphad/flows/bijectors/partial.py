"""A bijector on part of the event."""

from __future__ import annotations

import numpy as np

from graphad.errors import ShapeError
from graphad.flows.bijector import Bijector
from graphad.flows.shapes import nothing


class Partial(Bijector):
    """A bijector on elements start ... stop of the last axis; the others stay as they are.

    With it, a flow of several scales leaves half of its channels alone after each
    (Dinh, Sohl-Dickstein and Bengio 2017, section 3.6).

    >>> import graphad as ga, numpy as np
    >>> half = ga.flows.Partial(ga.flows.Affine(np.ones(1)), (2,), 1, 2)
    >>> half.forward(np.zeros(2))
    array([0., 1.])
    """

    children = ("inner",)
    settings = ("_event", "start", "stop")

    def __init__(self, inner: Bijector, event_shape, start: int, stop: int):
        event = tuple(event_shape)
        part = (*event[:-1], stop - start)
        if not 0 <= start < stop <= event[-1] or tuple(inner.event_shape) != part:
            raise ShapeError("Partial", "the inner bijector does not fit", expected=f"event shape "
                             f"{part}", got=str(tuple(inner.event_shape)),
                             fix="a bijector of the part's shape")  # fmt: skip
        self._set(inner=inner, _event=event, start=start, stop=stop)

    def _joined(self, x, y):
        pieces = [x[..., : self.start], y, x[..., self.stop :]]
        kept = [p for p in pieces if p.shape[-1]]
        return kept[0] if len(kept) == 1 else np.concatenate(kept, axis=-1)

    def _apply(self, x, run, context):
        y, log_det = run(x[..., self.start : self.stop], context)
        return self._joined(x, y), log_det + nothing(x, self._event)

    def _forward(self, x, context):
        return self._apply(x, self.inner._forward, context)

    def _inverse(self, y, context):
        return self._apply(y, self.inner._inverse, context)

    def _density_inverse(self, y, context):
        x, log_det, inside = self.inner._density_inverse(y[..., self.start : self.stop], context)
        return self._joined(y, x), log_det + nothing(y, self._event), inside

    def initialised(self, x, context=None):
        """The inner one set from its part of the data."""
        inner, y = self.inner.initialised(x[..., self.start : self.stop], context)
        made = self if inner is self.inner else Partial(inner, self._event, self.start, self.stop)
        return made, self._joined(x, y)

    def _lines(self, indent):
        return [f"{indent}Partial {self.start}:{self.stop}", *self.inner._lines(indent + "  ")]
