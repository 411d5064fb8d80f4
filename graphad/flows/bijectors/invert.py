"""A bijector the other way round."""

from __future__ import annotations

from graphad.flows.bijector import Bijector


class Invert(Bijector):
    """A bijector the other way round: forward is its inverse.

    >>> import graphad as ga
    >>> ga.flows.Invert(ga.flows.Affine(1.0, 2.0)).forward(7.0)
    np.float64(3.0)
    """

    children = ("inner",)

    def __init__(self, inner: Bijector):
        self._set(inner=inner)

    @property
    def event_shape(self):
        """What the inner one gives."""
        return self.inner.event_shape_out

    @property
    def event_shape_out(self):
        """What goes into the inner one."""
        return self.inner.event_shape

    @property
    def batch_shape(self):
        """That of the inner one."""
        return self.inner.batch_shape

    def _forward(self, x, context):
        return self.inner._inverse(x, context)

    def _inverse(self, y, context):
        return self.inner._forward(y, context)

    def _density_inverse(self, y, context):
        held, inside = self.inner._held_in_domain(y)
        return (*self.inner._forward(held, context), inside)

    def _lines(self, indent):
        return [f"{indent}Invert", *self.inner._lines(indent + "  ")]
