"""Couplings: what is kept decides how the rest is moved."""

from __future__ import annotations

from typing import Any

from graphad.errors import ShapeError
from graphad.flows.bijector import Bijector
from graphad.flows.conditioner import MLP, ConvNet, widths
from graphad.flows.context import MAY, spread
from graphad.flows.masks import Mask, mask_of
from graphad.flows.shapes import as_shape, over


class Coupling(Bijector):
    """y_kept = x_kept, y_moved = transformer(x_moved; conditioner(x_kept)), elementwise.

    The Jacobian is triangular, and the log-det the sum of the moved elements' log-derivatives.
    Use `AffineCoupling` or `SplineCoupling`.
    """

    children = ("conditioner",)
    settings = ("_event", "mask", "transformer")

    def __init__(self, event_shape, transformer, conditioner=None, mask: Any = "half", flip=False,
                 key=None, hidden=(64, 64), activation="relu", context=0,
                 dtype="float64"):  # fmt: skip
        event = as_shape(type(self).__name__, event_shape)
        mask = mask if isinstance(mask, Mask) else mask_of(event, mask, flip)
        if conditioner is None:
            if key is None:
                raise ShapeError(type(self).__name__, "the conditioner's weights are random",
                                 expected="key= or conditioner=", got="neither",
                                 fix="key=ga.random.key(0)")  # fmt: skip
            sizes = (len(mask.kept) + context, *widths(hidden), transformer.count * len(mask.moved))
            conditioner = MLP(key, sizes, activation, dtype)
        self._set(conditioner=conditioner, _event=event, mask=mask, transformer=transformer)

    def context_needs(self):
        """What of the network's inputs are not the kept elements."""
        net, kept = self.conditioner, len(self.mask.kept)
        if not isinstance(net, (MLP, ConvNet)):
            return frozenset([MAY])
        taps = 9 if isinstance(net, ConvNet) else 1  # of a convolution
        more = net.layers[0]["weight"].shape[0] // taps - kept
        return frozenset([more] if more > 0 else [])

    def _raw(self, kept, context):
        """The transformer's raw parameters, each of the moved elements' shape."""
        if isinstance(self.conditioner, MLP):
            context = spread(context, self.mask.axes - 1)
        found = self.conditioner(kept, context) if context is not None else self.conditioner(kept)
        return grouped(type(self).__name__, found, tuple(kept.shape[:-1]), self.transformer.count,
                       len(self.mask.moved))  # fmt: skip

    def _apply(self, x, context, direction):
        kept, moved = self.mask.split(x)
        moved, log_slope = direction(moved, self._raw(kept, context))
        return self.mask.join(kept, moved), over(log_slope, self.mask.axes)

    def _forward(self, x, context):
        return self._apply(x, context, self.transformer.forward)

    def _inverse(self, y, context):
        return self._apply(y, context, self.transformer.inverse)

    @property
    def log_det_cost(self):
        """The Jacobian is triangular."""
        return f"triangular, a sum over the {len(self.mask.moved)} moved, O(d)"


def grouped(operation: str, found, lead, count: int, size: int) -> list:
    """A conditioner's result (*lead, count * size) as `count` arrays (*lead, size)."""
    want = (*lead, count * size)
    if tuple(found.shape) != want:
        raise ShapeError(f"{operation}.conditioner", "its result has another shape",
                         expected=f"{want}: {count} groups of {size}",
                         got=str(tuple(found.shape)),
                         fix=f"an output layer of {count * size}")  # fmt: skip
    return [found[..., k * size : (k + 1) * size] for k in range(count)]
