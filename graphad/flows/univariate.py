"""Distributions of single numbers: uniform, logistic, Student's t."""

from __future__ import annotations

import math

import numpy as np

import graphad as ga
from graphad.errors import ParameterError
from graphad.flows.constraints import POSITIVE
from graphad.flows.distribution import OfNumbers
from graphad.flows.normal import Located, shape_together
from graphad.flows.part import as_parameter, positive


class Uniform(OfNumbers):
    """Uniform on [low, high]: log p = -log(high - low) inside, -inf outside; draws are below high.

    >>> import graphad as ga
    >>> ga.flows.Uniform(0.0, 2.0).log_prob(3.0)
    np.float64(-inf)
    """

    children = ("low", "high")

    def __init__(self, low=0.0, high=1.0, dtype=None):
        low, high = (as_parameter("Uniform", p, dtype) for p in (low, high))
        shape_together("Uniform", low=low, high=high)
        if not (hasattr(low, "spec") or hasattr(high, "spec") or np.all(low < high)):
            raise ParameterError("Uniform", "low is not below high", expected="low < high",
                                 got=f"low={low}, high={high}"[:120],
                                 fix="Uniform(high, low)")  # fmt: skip
        self._set(low=low, high=high)

    def _log_prob(self, x, context):
        inside = (x >= self.low) & (x <= self.high)
        inside_or_nan = inside | np.isnan(x)
        return np.where(inside_or_nan, x * 0.0 - np.log(self.high - self.low), -math.inf)

    def _sample(self, key, shape, context):
        return ga.random.uniform(key, shape, self.dtype, self.low, self.high)

    def _entropy(self):
        return np.broadcast_to(np.log(self.high - self.low), self.batch_shape)

    def _kl(self, other):
        if not isinstance(other, Uniform):
            return super()._kl(other)
        within = (other.low <= self.low) & (self.high <= other.high)
        ratio = (other.high - other.low) / (self.high - self.low)
        return np.where(within, np.log(ratio), math.inf)


class Logistic(Located):
    """Logistic numbers: log p = -z - 2 log(1 + exp(-z)) - log scale, z = (x - loc) / scale.

    >>> import graphad as ga
    >>> float(ga.flows.Logistic().log_prob(0.0).round(6))
    -1.386294
    """

    def _log_prob(self, x, context):
        z = np.abs((x - self.loc) / self.scale)  # the density is even
        return -z - 2.0 * np.log1p(np.exp(-z)) - np.log(self.scale)

    def _sample(self, key, shape, context):
        # log(u / (1 - u)) as the difference of two exponentials' logarithms is exact in both tails.
        one, two = ga.random.split(key, 2)
        g, h = (ga.random.gumbel(k, shape, self.dtype) for k in (one, two))
        return self.loc + self.scale * (g - h)

    def _entropy(self):
        return np.broadcast_to(np.log(self.scale) + 2.0, self.batch_shape)


class StudentT(OfNumbers):
    """Student's t with df degrees of freedom, moved by loc and stretched by scale.

    log p = lgamma((v+1)/2) - lgamma(v/2) - log(v π)/2 - log scale - (v+1)/2 log(1 + z²/v).

    >>> import graphad as ga
    >>> float(ga.flows.StudentT(1.0).log_prob(0.0).round(6))  # Cauchy: -log π
    -1.14473
    """

    children = ("df", "loc", "scale")
    constraints = {"df": POSITIVE, "scale": POSITIVE}

    def __init__(self, df, loc=0.0, scale=1.0, dtype=None):
        df, loc, scale = (as_parameter("StudentT", p, dtype) for p in (df, loc, scale))
        shape_together("StudentT", df=df, loc=loc, scale=scale)
        positive("StudentT", df=df, scale=scale)
        self._set(df=df, loc=loc, scale=scale)

    def _normaliser(self):
        half = 0.5 * self.df
        gamma = ga.special.gammaln(half + 0.5) - ga.special.gammaln(half)
        return gamma - 0.5 * np.log(self.df * math.pi) - np.log(self.scale)

    def _log_prob(self, x, context):
        z = (x - self.loc) / self.scale
        # log(1 + z²/v) without squaring what may overflow.
        ratio = np.abs(z) / np.sqrt(self.df)
        big = ratio > 1e4
        small = np.where(big, 1.0, ratio)
        large = np.where(big, ratio, 1.0)
        log = np.where(big, 2.0 * np.log(large) + 1.0 / large / large, np.log1p(small * small))
        return self._normaliser() - 0.5 * (self.df + 1.0) * log

    def _sample(self, key, shape, context):
        # One coordinate of a bivariate t, whose radius has a closed quantile (Bailey 1994).
        one, two = ga.random.split(key, 2)
        e = ga.random.exponential(one, shape, self.dtype)
        radius = np.sqrt(self.df * np.expm1(2.0 * e / self.df))
        angle = ga.random.uniform(two, shape, self.dtype, 0.0, 2.0 * math.pi)
        return self.loc + self.scale * radius * np.cos(angle)

    def _entropy(self):
        half = 0.5 * self.df
        inner = ga.special.digamma(half + 0.5) - ga.special.digamma(half)
        whole = (half + 0.5) * inner - self._normaliser()
        return np.broadcast_to(whole, self.batch_shape)
