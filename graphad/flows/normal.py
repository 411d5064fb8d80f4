"""Normal distributions: of numbers, of vectors with a diagonal or a triangular scale."""

from __future__ import annotations

import math

import numpy as np

import graphad as ga
from graphad.errors import ShapeError
from graphad.flows.constraints import POSITIVE, POSITIVE_DIAGONAL
from graphad.flows.distribution import Distribution, OfNumbers
from graphad.flows.part import as_parameter, positive
from graphad.flows.shapes import as_shape, over, together

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def shape_together(operation: str, **parameters) -> tuple[int, ...]:
    """The shape that parameters broadcast to."""
    shapes = {n: tuple(p.shape) for n, p in parameters.items()}
    try:
        return together(*shapes.values())
    except ValueError:
        got = ", ".join(f"{n}: {s}" for n, s in shapes.items())
        raise ShapeError(operation, "the parameters do not broadcast", expected="equal "
                         "shapes, or sizes of 1", got=got, fix="one shape") from None  # fmt: skip


class StandardNormal(Distribution):
    """Independent standard normals, as one event: log p = -(|x|² + d log 2π) / 2.

    Has no parameters; the usual base of a flow.

    >>> import graphad as ga, numpy as np
    >>> d = ga.flows.StandardNormal((2,))
    >>> float(d.log_prob(np.zeros(2)).round(6))
    -1.837877
    """

    settings = ("_event", "_dtype")

    def __init__(self, event_shape=(), dtype="float64"):
        self._set(_event=as_shape("StandardNormal", event_shape), _dtype=np.dtype(dtype).name)

    def __repr__(self):
        return f"StandardNormal({self._event}, {self._dtype!r})"

    @property
    def event_shape(self):
        """Shape of one outcome."""
        return self._event

    @property
    def dtype(self):
        """The dtype of draws."""
        return np.dtype(self._dtype)

    def _log_prob(self, x, context):
        return -0.5 * over(x * x, len(self._event)) - HALF_LOG_2PI * math.prod(self._event)

    def _sample(self, key, shape, context):
        return ga.random.normal(key, (*shape, *self._event), self._dtype)

    def _entropy(self):
        return np.full((), (0.5 + HALF_LOG_2PI) * math.prod(self._event))


class Located(OfNumbers):
    """Numbers with a place and a scale."""

    children = ("loc", "scale")
    constraints = {"scale": POSITIVE}

    def __init__(self, loc=0.0, scale=1.0, dtype=None):
        name = type(self).__name__
        loc, scale = (as_parameter(name, p, dtype) for p in (loc, scale))
        shape_together(name, loc=loc, scale=scale)
        positive(name, scale=scale)
        self._set(loc=loc, scale=scale)


class Normal(Located):
    """Normals N(loc, scale²) of single numbers: log p = -z²/2 - log scale - log(2π)/2.

    z = (x - loc) / scale. The event is one number; the batch shape is that of loc and scale.

    >>> import graphad as ga
    >>> float(ga.flows.Normal(1.0, 2.0).log_prob(1.0).round(6))
    -1.612086
    """

    def _log_prob(self, x, context):
        z = (x - self.loc) / self.scale
        return -0.5 * z * z - np.log(self.scale) - HALF_LOG_2PI

    def _sample(self, key, shape, context):
        return self.loc + self.scale * ga.random.normal(key, shape, self.dtype)

    def _entropy(self):
        return np.broadcast_to(0.5 + HALF_LOG_2PI + np.log(self.scale), self.batch_shape)

    def _kl(self, other):
        if not isinstance(other, Normal):
            return super()._kl(other)
        return _kl(self, other)


def _kl(p, q):
    """KL of two normals, elementwise."""
    ratio = p.scale / q.scale
    return 0.5 * (ratio**2 + ((p.loc - q.loc) / q.scale) ** 2 - 1.0) - np.log(ratio)


class MultivariateNormalDiag(Distribution):
    """Normal vectors with independent elements: the event is (d,), log p is summed over it.

    Args:
        loc, scale: (..., d); the axes before the last are the batch shape.

    >>> import graphad as ga, numpy as np
    >>> d = ga.flows.MultivariateNormalDiag(np.zeros(3), np.ones(3))
    >>> d.event_shape, d.batch_shape, d.log_prob(np.zeros((5, 3))).shape
    ((3,), (), (5,))
    """

    children = ("loc", "scale")
    constraints = {"scale": POSITIVE}

    def __init__(self, loc, scale=1.0, dtype=None):
        name = "MultivariateNormalDiag"
        loc, scale = (as_parameter(name, p, dtype) for p in (loc, scale))
        if len(shape_together(name, loc=loc, scale=scale)) == 0:
            raise ShapeError(name, "a vector needs an axis", expected="loc of shape (..., d)",
                             got="shape ()", fix="np.zeros(d), or Normal")  # fmt: skip
        positive(name, scale=scale)
        self._set(loc=loc, scale=scale)

    @property
    def event_shape(self):
        """(d,)."""
        return together(self.loc.shape, self.scale.shape)[-1:]

    @property
    def batch_shape(self):
        """The axes of loc and scale before the last."""
        return together(self.loc.shape, self.scale.shape)[:-1]

    def _log_prob(self, x, context):
        z = (x - self.loc) / self.scale
        return (-0.5 * z * z - np.log(self.scale) - HALF_LOG_2PI).sum(-1)

    def _sample(self, key, shape, context):
        z = ga.random.normal(key, (*shape, *self.event_shape), self.dtype)
        return self.loc + self.scale * z

    def _entropy(self):
        whole = np.broadcast_to(np.log(self.scale), (*self.batch_shape, *self.event_shape))
        return (whole + (0.5 + HALF_LOG_2PI)).sum(-1)

    def _kl(self, other):
        if not isinstance(other, MultivariateNormalDiag):
            return super()._kl(other)
        return _kl(self, other).sum(-1)


class MultivariateNormalTril(Distribution):
    """Normal vectors loc + L z: log p = -|L⁻¹(x - loc)|²/2 - sum log L_ii - d log(2π)/2.

    Args:
        loc: (..., d).
        scale_tril: (..., d, d), lower triangular with a positive diagonal; the Cholesky factor
            of the covariance. What is above the diagonal is not read.

    >>> import graphad as ga, numpy as np
    >>> d = ga.flows.MultivariateNormalTril(np.zeros(2), np.array([[1.0, 0.0], [1.0, 1.0]]))
    >>> float(d.entropy().round(6))
    2.837877
    """

    children = ("loc", "scale_tril")
    constraints = {"scale_tril": POSITIVE_DIAGONAL}

    def __init__(self, loc, scale_tril, dtype=None):
        name = "MultivariateNormalTril"
        loc, scale_tril = (as_parameter(name, p, dtype) for p in (loc, scale_tril))
        shape = tuple(scale_tril.shape)
        if len(shape) < 2 or shape[-1] != shape[-2] or tuple(loc.shape[-1:]) != shape[-1:]:
            raise ShapeError(name, "loc and scale_tril do not fit", fix="loc of d elements",
                             expected="loc (..., d) and scale_tril (..., d, d)",
                             got=f"{tuple(loc.shape)} and {shape}")  # fmt: skip
        if not hasattr(scale_tril, "spec"):
            positive(name, diagonal=np.diagonal(scale_tril, axis1=-2, axis2=-1))
        self._set(loc=loc, scale_tril=scale_tril)

    @property
    def event_shape(self):
        """(d,)."""
        return tuple(self.loc.shape[-1:])

    @property
    def batch_shape(self):
        """The axes of loc before the last, and of scale_tril before its last two."""
        return together(self.loc.shape[:-1], self.scale_tril.shape[:-2])

    def _log_scale(self):
        return np.log(np.diagonal(self.scale_tril, axis1=-2, axis2=-1)).sum(-1)

    def _solve(self, vectors):
        """L⁻¹ of each vector, by forward substitution."""
        lead = together(vectors.shape[:-1], self.scale_tril.shape[:-2])
        d = vectors.shape[-1]
        if len(self.scale_tril.shape) == 2:  # one factor for all: they are its right-hand sides
            rows = np.broadcast_to(vectors, (*lead, d)).reshape((math.prod(lead), d))
            solved = ga.linalg.solve_triangular(self.scale_tril, rows.T, lower=True)
            return solved.T.reshape((*lead, d))
        factors = np.broadcast_to(self.scale_tril, (*lead, d, d))
        columns = np.broadcast_to(vectors, (*lead, d))[..., None]
        return ga.linalg.solve_triangular(factors, columns, lower=True)[..., 0]

    def _log_prob(self, x, context):
        z = self._solve(x - self.loc)
        return -0.5 * (z * z).sum(-1) - self._log_scale() - self.event_shape[0] * HALF_LOG_2PI

    def _sample(self, key, shape, context):
        z = ga.random.normal(key, (*shape, *self.event_shape), self.dtype)
        return self.loc + np.einsum("...ij,...j->...i", np.tril(self.scale_tril), z)

    def _entropy(self):
        whole = self._log_scale() + self.event_shape[0] * (0.5 + HALF_LOG_2PI)
        return np.broadcast_to(whole, self.batch_shape)

    def _kl(self, other):
        if not isinstance(other, MultivariateNormalTril):
            return super()._kl(other)
        d = self.event_shape[0]
        lead = together(self.batch_shape, other.batch_shape)
        theirs = np.broadcast_to(other.scale_tril, (*lead, d, d))
        ours = np.broadcast_to(np.tril(self.scale_tril), (*lead, d, d))
        ratio = ga.linalg.solve_triangular(theirs, ours, lower=True)
        z = other._solve(np.broadcast_to(self.loc - other.loc, (*lead, d)))
        squares = (ratio * ratio).sum((-2, -1)) + (z * z).sum(-1)
        return 0.5 * (squares - d) + other._log_scale() - self._log_scale()
