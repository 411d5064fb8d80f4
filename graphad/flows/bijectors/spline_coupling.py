"""Couplings by rational-quadratic splines."""

from __future__ import annotations

from typing import Any

from graphad.flows.bijectors.coupling import Coupling
from graphad.flows.transformers import SplineTransformer


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

    def __init__(self, event_shape, conditioner=None, mask: Any = "half", flip=False, key=None,
                 hidden=(64, 64), activation="relu", context=0, dtype="float64", bins=8,
                 interval=5.0):  # fmt: skip
        super().__init__(event_shape, SplineTransformer(bins, interval), conditioner, mask, flip,
                         key, hidden, activation, context, dtype)  # fmt: skip
