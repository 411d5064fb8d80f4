"""A rotation as a product of reflections."""

from __future__ import annotations

import numpy as np

import graphad as ga
from graphad.errors import ShapeError
from graphad.flows.bijector import Bijector
from graphad.flows.part import as_parameter
from graphad.flows.shapes import as_shape, nothing


class Householder(Bijector):
    """A rotation as a product of reflections x - 2 v (v·x) / (v·v), on the last axis; log-det 0.

    Tomczak and Welling 2016.

    Args:
        vectors: (k, d), of any length but zero; or a number k of them with key=.

    >>> import graphad as ga, numpy as np
    >>> ga.flows.Householder(np.array([[1.0, 0.0]])).forward(np.array([2.0, 3.0]))
    array([-2.,  3.])
    """

    children = ("vectors",)
    settings = ("_event",)

    def __init__(self, vectors, event_shape=None, key=None, dtype=None):
        if isinstance(vectors, int):
            event = as_shape("Householder", event_shape if event_shape is not None else ())
            if key is None or not event:
                raise ShapeError("Householder", "reflections are drawn at random",
                                 expected="event_shape= and key=", got="one of them is missing",
                                 fix="Householder(4, event_shape=(8,), key=key)")  # fmt: skip
            vectors = ga.random.normal(key, (vectors, event[-1]), dtype or "float64")
        vectors = as_parameter("Householder", vectors, dtype)
        if len(vectors.shape) != 2:
            raise ShapeError("Householder", "the vectors are rows", expected="shape (k, d)",
                             got=str(tuple(vectors.shape)), fix="v[None]")  # fmt: skip
        event = as_shape("Householder", event_shape if event_shape is not None
                         else vectors.shape[-1:])  # fmt: skip
        self._set(vectors=vectors, _event=event)

    def _matrix(self):
        """The rotation; its rows are what multiplies x."""
        d = self._event[-1]
        matrix = np.eye(d, dtype=self.vectors.dtype)
        for k in range(self.vectors.shape[0]):
            v = self.vectors[k]
            matrix = matrix - (2.0 / (v @ v)) * v[:, None] * (v @ matrix)
        return matrix

    def _forward(self, x, context):
        return x @ self._matrix().T, nothing(x, self._event)

    def _inverse(self, y, context):
        return y @ self._matrix(), nothing(y, self._event)

    @property
    def log_det_cost(self):
        """Rotations keep volumes."""
        return "0"
