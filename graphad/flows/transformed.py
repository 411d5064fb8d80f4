"""Distributions made of others: transformed, with batch axes as event axes, mixed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import graphad as ga
from graphad.errors import ShapeError
from graphad.flows.bijector import Bijector, all_over, event_log_det
from graphad.flows.context import spread
from graphad.flows.distribution import Distribution
from graphad.flows.part import as_parameter
from graphad.flows.refusal import logarithm_of, without_derivative
from graphad.flows.shapes import over, together
from graphad.random.categorical import log_of

FIX = ("ga.stop_gradient(logits), or the sum over components of weight times the mean of each; "
       "log_prob has a gradient in the weights")  # fmt: skip


class TransformedDistribution(Distribution):
    """The distribution of y = f(x), x drawn from a base: a normalizing flow.

    log p(y) = log p_base(x) + log |det dx/dy|, x = f⁻¹(y), and -inf where y is no value of f.

    Args:
        base: a distribution of x. Where its event is smaller than the bijector's, batch axes of
            the base become event axes; they must be there.
        bijector: f. One of a smaller event maps each part of the base's.

    >>> import graphad as ga
    >>> d = ga.flows.TransformedDistribution(ga.flows.Normal(), ga.flows.Elementwise(np.exp))
    >>> float(d.log_prob(1.0).round(6))  # log-normal
    -0.918939
    """

    children = ("base", "bijector")
    settings = ("_dtype",)

    def __init__(self, base: Distribution, bijector: Bijector, dtype=None):
        inner, want = tuple(base.event_shape), tuple(bijector.event_shape)
        if len(want) > len(inner):
            base = Independent(base, len(want) - len(inner))
            inner = tuple(base.event_shape)
        if want != inner[len(inner) - len(want) :]:
            raise ShapeError("TransformedDistribution", "the base does not fit the bijector",
                             expected=f"event shape {want}", got=f"event shape {inner}, batch "
                             f"shape {tuple(base.batch_shape)}",
                             fix=f"StandardNormal({want})")  # fmt: skip
        self._set(base=base, bijector=bijector,
                  _dtype=None if dtype is None else np.dtype(dtype).name)  # fmt: skip

    @property
    def event_shape(self):
        """What the bijector makes of the base's event."""
        inner, want = tuple(self.base.event_shape), tuple(self.bijector.event_shape)
        return (*inner[: len(inner) - len(want)], *self.bijector.event_shape_out)

    @property
    def batch_shape(self):
        """Those of the base and of the bijector together."""
        return together(tuple(self.base.batch_shape), tuple(self.bijector.batch_shape))

    @property
    def dtype(self):
        """The dtype of draws."""
        return np.dtype(self._dtype) if self._dtype else super().dtype

    def _log_prob(self, y, context):
        x, log_det, inside = self.bijector._density_inverse(y, self._spread(context))
        axes = len(self.base.event_shape)
        log_p = self.base._log_prob(x, context) - self._total(-log_det, x, axes)
        if inside is None:
            return log_p
        inside = all_over(inside, axes - len(self.bijector.event_shape))
        return np.where(inside, log_p, -math.inf)

    def _spread(self, context):
        """The context beside the bijector's events, which may be smaller than the base's."""
        return spread(context, len(self.base.event_shape) - len(self.bijector.event_shape))

    def _total(self, log_det, x, axes):
        """The forward log-det, summed over what of the base's event the bijector's lacks."""
        return event_log_det(log_det, self.bijector, x, axes)

    def _sample(self, key, shape, context):
        x = self.base._sample(key, shape, context)
        return self.bijector._forward(x, self._spread(context))[0]

    def _sample_and_log_prob(self, key, shape, context):
        x = self.base._sample(key, shape, context)
        y, log_det = self.bijector._forward(x, self._spread(context))
        axes = len(self.base.event_shape)
        return y, self.base._log_prob(x, context) - self._total(log_det, x, axes)

    def initialised(self, x, context=None) -> TransformedDistribution:
        """The flow with `ActNorm`s set from a batch of data."""
        bijector, _ = self.bijector.initialised(x, self._spread(context))
        return type(self)._made(self, bijector)

    def _made(self, bijector):
        made = object.__new__(type(self))
        made._set(**{**self.__getstate__(), "bijector": bijector})
        return made

    def explain(self) -> str:
        """Its parts, and how the log-det is had."""
        return f"base {self.base!r}\n" + self.bijector.explain()

    def plot(self, **options):
        """Draw the density of 1 or 2 dimensions: see `graphad.flows.picture.plot`."""
        from graphad.flows.picture import plot

        return plot(self, **options)


class Independent(Distribution):
    """The last `axes` batch axes as part of the event: log-densities are summed over them.

    >>> import graphad as ga, numpy as np
    >>> images = ga.flows.Independent(ga.flows.Normal(np.zeros((32, 32, 3))), 3)
    >>> images.event_shape, images.log_prob(np.zeros((5, 32, 32, 3))).shape
    ((32, 32, 3), (5,))
    """

    children = ("base",)
    settings = ("axes",)

    def __init__(self, base: Distribution, axes: int = 1):
        if not 0 <= axes <= len(base.batch_shape):
            raise ShapeError("Independent", "there are not so many batch axes",
                             expected=f"at most {len(base.batch_shape)}, of batch shape "
                             f"{tuple(base.batch_shape)}", got=str(axes),
                             fix="parameters of the whole shape, e.g. np.zeros(shape)")  # fmt: skip
        self._set(base=base, axes=axes)

    @property
    def event_shape(self):
        """Moved batch axes, and the base's event."""
        batch = tuple(self.base.batch_shape)
        return (*batch[len(batch) - self.axes :], *self.base.event_shape)

    @property
    def batch_shape(self):
        """What is left of the base's."""
        batch = tuple(self.base.batch_shape)
        return batch[: len(batch) - self.axes]

    @property
    def dtype(self):
        """The dtype of draws."""
        return self.base.dtype

    def _log_prob(self, x, context):
        return over(self.base._log_prob(x, spread(context, self.axes)), self.axes)

    def _sample(self, key, shape, context):
        batch = tuple(self.base.batch_shape)
        whole = (*shape, *batch[len(batch) - self.axes :])
        return self.base._sample(key, whole, spread(context, self.axes))

    def _entropy(self):
        return over(self.base._entropy(), self.axes)

    def _kl(self, other):
        if not isinstance(other, Independent) or other.axes != self.axes:
            return super()._kl(other)
        return over(self.base._kl(other.base), self.axes)


class Mixture(Distribution):
    """sum_k w_k p_k(x): components are the last batch axis of one distribution.

    log p(x) = logsumexp_k(log w_k + log p_k(x)). A draw picks its component by the compiled
    categorical sampler; it has derivatives in the components' parameters and none in the weights,
    which is a DerivativeError.

    Args:
        logits: (..., K), log-weights of any scale; or weights= instead.
        components: a distribution of batch shape (..., K).

    >>> import graphad as ga, numpy as np
    >>> d = ga.flows.Mixture(np.zeros(2), ga.flows.Normal(np.array([-1.0, 1.0])))
    >>> float(d.log_prob(0.0).round(6))
    -1.418939
    """

    children = ("logits", "components")

    def __init__(self, logits: Any = None, components: Distribution | None = None, weights=None):
        if components is None or (logits is None) == (weights is None):
            raise ShapeError("Mixture", "it needs weights and components",
                             expected="logits or weights=, and components",
                             got="one of them is missing",
                             fix="Mixture(np.zeros(3), Normal(np.arange(3.0)))")  # fmt: skip
        if weights is not None:
            weights = as_parameter("Mixture", weights)
            logits = log_of("Mixture", weights)
            logits = logits if hasattr(logits, "spec") else logits.astype(weights.dtype)
        logits = as_parameter("Mixture", logits)
        if tuple(logits.shape[-1:]) != tuple(components.batch_shape[-1:]) or not logits.shape:
            raise ShapeError("Mixture", "there is not one weight for each component",
                             expected=f"logits of shape {tuple(components.batch_shape)}",
                             got=f"{tuple(logits.shape)}",
                             fix="components whose last batch axis is K")  # fmt: skip
        self._set(logits=logits, components=components)

    @property
    def event_shape(self):
        """That of the components."""
        return self.components.event_shape

    @property
    def batch_shape(self):
        """That of the components without its last axis."""
        return together(tuple(self.components.batch_shape[:-1]),
                                   tuple(self.logits.shape[:-1]))  # fmt: skip

    @property
    def dtype(self):
        """The dtype of draws."""
        return self.components.dtype

    def _log_weights(self):
        return self.logits - ga.special.logsumexp(self.logits, axis=-1, keepdims=True)

    def _log_prob(self, x, context):
        n = len(self.event_shape)
        at = len(x.shape) - n
        spread_x = np.expand_dims(x, at)
        each = self.components._log_prob(spread_x, spread(context, 1))
        weights = logarithm_of(self.logits)
        if weights is not None:  # by the weights, which may be zero and then still have a slope
            total = np.log(weights.sum(-1))
            return ga.special.logsumexp(each, axis=-1, b=weights) - total
        return ga.special.logsumexp(self._log_weights() + each, axis=-1)

    def _sample(self, key, shape, context):
        which, draws = ga.random.split(key, 2)
        logits = np.broadcast_to(self.logits, (*shape, self.logits.shape[-1]))
        drawn = ga.random.categorical(which, logits)
        x = self.components._sample(draws, (*shape, self.logits.shape[-1]), spread(context, 1))
        n = len(self.event_shape)
        at = np.reshape(drawn, (*shape, *(1,) * (n + 1)))
        at = np.broadcast_to(at, (*shape, 1, *self.event_shape))
        x = np.take_along_axis(x, at, axis=len(shape)).reshape((*shape, *self.event_shape))
        return without_derivative(x, self.logits, "Mixture.sample", "the weights", FIX)
