"""Couplings: some elements stay, and say how the others are moved."""

from __future__ import annotations

from graphad.errors import ShapeError
from graphad.flows.bijector import Bijector
from graphad.flows.conditioner import MLP
from graphad.flows.masks import Mask, mask_of
from graphad.flows.shapes import as_shape, over
from graphad.flows.transformers import AffineTransformer, ShiftTransformer, SplineTransformer


class Coupling(Bijector):
    """y_kept = x_kept, y_moved = transformer(x_moved; conditioner(x_kept)), elementwise.

    The Jacobian is triangular, and the log-det the sum of the moved elements' log-derivatives.
    Use `AffineCoupling` or `SplineCoupling`.
    """

    children = ("conditioner",)
    settings = ("_event", "mask", "transformer")

    def __init__(self, event_shape, transformer, conditioner=None, mask="half", flip=False,
                 key=None, hidden=(64, 64), activation="relu", context=0,
                 dtype="float64"):  # fmt: skip
        event = as_shape(type(self).__name__, event_shape)
        mask = mask if isinstance(mask, Mask) else mask_of(event, mask, flip)
        if conditioner is None:
            if key is None:
                raise ShapeError(type(self).__name__, "the conditioner's weights are random",
                                 expected="key= or conditioner=", got="neither",
                                 fix="key=ga.random.key(0)")  # fmt: skip
            sizes = (len(mask.kept) + context, *hidden, transformer.count * len(mask.moved))
            conditioner = MLP(key, sizes, activation, dtype)
        self._set(conditioner=conditioner, _event=event, mask=mask, transformer=transformer)

    @property
    def event_shape(self):
        """As given."""
        return self._event

    def _raw(self, kept, context):
        """The transformer's raw parameters, each of the moved elements' shape."""
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


class AffineCoupling(Coupling):
    """y_moved = t + exp(s) x_moved, (t, s) = conditioner(x_kept): RealNVP's layer.

    Dinh, Sohl-Dickstein and Bengio 2017, equations 7 and 8.

    Args:
        event_shape: of the values.
        conditioner: a function of the kept elements (and the context) that gives t and then s for
            each moved element, (..., 2 m); an MLP when None.
        mask: see `graphad.flows.masks.mask_of`; `flip` swaps what is kept and moved.
        key, hidden, activation, context, dtype: of the MLP; context is its number of features.
        bound: log-scales are bound tanh(s / bound), or unbounded where None.
        volume_preserving: t alone and log-det 0 (NICE).

    >>> import graphad as ga, numpy as np
    >>> layer = ga.flows.AffineCoupling((4,), key=ga.random.key(0))
    >>> y, log_det = layer.forward_and_log_det(np.ones(4))
    >>> bool(np.allclose(layer.inverse(y), 1.0))
    True
    """

    def __init__(self, event_shape, conditioner=None, mask="half", flip=False, key=None,
                 hidden=(64, 64), activation="relu", context=0, dtype="float64", bound=5.0,
                 volume_preserving=False):  # fmt: skip
        transformer = ShiftTransformer() if volume_preserving else AffineTransformer(bound)
        super().__init__(event_shape, transformer, conditioner, mask, flip, key, hidden, activation,
                         context, dtype)  # fmt: skip


class SplineCoupling(Coupling):
    """y_moved = a monotone rational-quadratic spline of x_moved, its knots from the conditioner.

    Durkan, Bekasov, Murray and Papamakarios 2019.

    Args:
        bins, interval: pieces of the spline, on [-interval, interval]; the identity outside.
        others: as for `AffineCoupling`; the conditioner gives (..., (3 bins - 1) m).

    >>> import graphad as ga, numpy as np
    >>> layer = ga.flows.SplineCoupling((4,), key=ga.random.key(0))
    >>> bool(np.allclose(layer.inverse(layer.forward(np.ones(4))), 1.0))
    True
    """

    def __init__(self, event_shape, conditioner=None, mask="half", flip=False, key=None,
                 hidden=(64, 64), activation="relu", context=0, dtype="float64", bins=8,
                 interval=5.0):  # fmt: skip
        super().__init__(event_shape, SplineTransformer(bins, interval), conditioner, mask, flip,
                         key, hidden, activation, context, dtype)  # fmt: skip


def grouped(operation: str, found, lead, count: int, size: int) -> list:
    """A conditioner's result (*lead, count * size) as `count` arrays (*lead, size)."""
    want = (*lead, count * size)
    if tuple(found.shape) != want:
        raise ShapeError(f"{operation}.conditioner", "its result has another shape",
                         expected=f"{want}: {count} groups of {size}",
                         got=str(tuple(found.shape)),
                         fix=f"an output layer of {count * size}")  # fmt: skip
    return [found[..., k * size : (k + 1) * size] for k in range(count)]
