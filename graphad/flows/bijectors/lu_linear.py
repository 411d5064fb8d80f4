"""A linear map by its LU factors, so that the determinant is cheap."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import graphad as ga
from graphad.errors import ShapeError
from graphad.flows.axes import inverse_of, taken
from graphad.flows.bijector import Bijector
from graphad.flows.shapes import as_shape, nothing


class LULinear(Bijector):
    """y = P L U x + bias on the last axis: log-det sum log_diagonal, O(d).

    P is a permutation and no parameter, L has ones on its diagonal, U has exp(log_diagonal) on its
    own. Kingma and Dhariwal 2018, section 3.2 (with positive diagonal).

    Args:
        event_shape: (..., d); axes before the last share the map.
        key: draws a rotation to start with; the identity when None.

    >>> import graphad as ga, numpy as np
    >>> ga.flows.LULinear((3,)).forward(np.arange(3.0))
    array([0., 1., 2.])
    """

    children = ("lower", "upper", "log_diagonal", "bias")
    settings = ("order", "_event")

    def __init__(self, event_shape, key=None, bias=True, dtype="float64"):
        event = as_shape("LULinear", event_shape)
        if not event:
            raise ShapeError("LULinear", "a linear map needs an axis", expected="(..., d)",
                             got="()", fix="Affine for numbers")  # fmt: skip
        d = event[-1]
        order, lower, upper, diagonal = (
            tuple(range(d)),
            np.zeros((d, d)),
            np.zeros((d, d)),
            np.zeros(d),
        )
        if key is not None:
            order, lower, upper, diagonal = rotation(key, d)
        self._set(
            lower=lower.astype(dtype), upper=upper.astype(dtype),
            log_diagonal=diagonal.astype(dtype),
            bias=np.zeros(d, dtype) if bias else None, order=order, _event=event,
        )  # fmt: skip

    def _factors(self):
        d = self._event[-1]
        unit = np.tril(self.lower, -1) + np.eye(d, dtype=self.lower.dtype)
        diagonal = np.exp(self.log_diagonal)
        return unit, np.triu(self.upper, 1) + np.diag(diagonal)

    def _log_det(self, x):
        places = math.prod(self._event[:-1])
        return nothing(x, self._event) + places * self.log_diagonal.sum()

    def _forward(self, x, context):
        unit, upper = self._factors()
        matrix = taken(unit @ upper, self.order, -2)
        y = x @ matrix.T
        return (y if self.bias is None else y + self.bias), self._log_det(x)

    def _inverse(self, y, context):
        shape = tuple(y.shape)
        y = y if self.bias is None else y - self.bias
        unit, upper = self._factors()
        columns = taken(y, inverse_of(self.order)).reshape((math.prod(shape[:-1]), shape[-1])).T
        half = ga.linalg.solve_triangular(unit, columns, lower=True, unit_diagonal=True)
        x = ga.linalg.solve_triangular(upper, half).T.reshape(shape)
        return x, -self._log_det(y)

    @property
    def log_det_cost(self):
        """A sum of the diagonal."""
        return "diagonal of a triangular factor, O(d)"


def rotation(key, d: int):
    """(order, lower, upper, log_diagonal) of a random rotation."""
    import scipy.linalg

    q, r = np.linalg.qr(ga.random.normal(key, (d, d)))
    q = q * np.sign(np.diagonal(r))
    factors: Any = scipy.linalg.lu(q)
    p, lower, upper = factors
    # A negative pivot is a row of the other sign: still orthogonal, and with a positive diagonal.
    signs = np.sign(np.diagonal(upper))
    lower, upper = lower * signs * signs[:, None], upper * signs[:, None]
    order = tuple(int(k) for k in np.argmax(p, axis=1))
    return order, np.tril(lower, -1), np.triu(upper, 1), np.log(np.diagonal(upper))
