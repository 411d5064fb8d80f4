"""Affine couplings: RealNVP, and NICE."""

from __future__ import annotations

from typing import Any

from graphad.flows.bijectors.coupling import Coupling
from graphad.flows.transformers import AffineTransformer, ShiftTransformer


class AffineCoupling(Coupling):
    """y_moved = (x_moved - t) / s, (t, a) = conditioner(x_kept): RealNVP's layer.

    Dinh, Sohl-Dickstein and Bengio 2017, equations 7 and 8, from data to base; their exp(s) is
    s = exp(-bound) + softplus(a + c) here, with c so that a = 0 changes nothing.

    Args:
        event_shape: of the values.
        conditioner: a function of the kept elements (and the context) that gives t and then a for
            each moved element, (..., 2 m); an MLP when None.
        mask: see `graphad.flows.masks.mask_of`; `flip` swaps what is kept and moved.
        key, hidden, activation, context, dtype: of the MLP; context is its number of features.
        bound: 1 / s is at most exp(bound); unbounded where None.
        volume_preserving: t alone and log-det 0 (NICE).

    >>> import graphad as ga, numpy as np
    >>> layer = ga.flows.AffineCoupling((4,), key=ga.random.key(0))
    >>> y, log_det = layer.forward_and_log_det(np.ones(4))
    >>> bool(np.allclose(layer.inverse(y), 1.0))
    True
    """

    def __init__(self, event_shape, conditioner=None, mask: Any = "half", flip=False, key=None,
                 hidden=(64, 64), activation="relu", context=0, dtype="float64", bound=5.0,
                 volume_preserving=False):  # fmt: skip
        transformer = ShiftTransformer() if volume_preserving else AffineTransformer(bound)
        super().__init__(event_shape, transformer, conditioner, mask, flip, key, hidden, activation,
                         context, dtype)  # fmt: skip
