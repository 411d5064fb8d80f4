"""What every distribution has: shapes, log_prob, sample, and the compiled functions behind them."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphad as ga
from graphad.errors import NotCoveredError
from graphad.flows.context import beside, checked, lead_with, without
from graphad.flows.part import Part
from graphad.flows.shapes import fit, fitted, together
from graphad.random.draws import shape_of


class Distribution(Part):
    """A frozen value with `event_shape` and `batch_shape`, and a pytree of parameters.

    A subclass has `_log_prob(x, context)` and `_sample(key, shape, context)`, of checked shapes;
    `shape` is that of the draws without the event.
    """

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one outcome, which log_prob turns into one number."""
        raise NotImplementedError

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the distributions side by side."""
        return ()

    @property
    def dtype(self) -> np.dtype:
        """The dtype of draws."""
        leaves = [np.dtype(p.dtype) for p in self.params.values()]
        return np.result_type(*leaves) if leaves else np.dtype("f8")

    def _log_prob(self, x, context) -> Any:
        raise NotImplementedError

    def _sample(self, key, shape, context) -> Any:
        raise NotImplementedError

    def _sample_and_log_prob(self, key, shape, context) -> tuple[Any, Any]:
        x = self._sample(key, shape, context)
        return x, self._log_prob(x, context)

    def log_prob(self, x, context=None):
        """log p(x) in nats, one number for each event.

        Args:
            x: (*sample shape, *batch shape, *event_shape).
            context: what the density is conditioned on, (..., features), for flows that take one;
                its axes before the last broadcast with those of x before the event.

        Returns (*sample shape, *batch shape), together with the context's axes. Raises ShapeError
        where the last axes of x are not the event shape, and where a context is missing, is not
        taken, or has other features or axes that do not broadcast.
        """
        x = fitted(self, "log_prob", x)
        if context is None:
            without(self, "log_prob")
            return bound(self, _log_prob_alone)(x)
        return _log_prob(self, x, checked(self, "log_prob", context))

    def sample(self, key, sample_shape=(), context=None):
        """Draws of shape (*sample_shape, *batch_shape, *event_shape), a function of the key.

        The axes of a context before its last broadcast with those before the event; each context
        has draws of its own. n draws of each of m contexts: sample(key, (n, 1), context=c).
        """
        shape = shape_of(self._name("sample"), sample_shape)
        return _sample(self, key, shape, checked(self, "sample", context))

    def sample_and_log_prob(self, key, sample_shape=(), context=None):
        """(draws, their log_prob), in one pass where the distribution has one."""
        shape = shape_of(self._name("sample_and_log_prob"), sample_shape)
        context = checked(self, "sample_and_log_prob", context)
        return _sample_and_log_prob(self, key, shape, context)

    def prob(self, x, context=None):
        """The density exp(log_prob(x))."""
        return np.exp(self.log_prob(x, context))

    def entropy(self):
        """-E[log p], in nats, of shape batch_shape; where it has a closed form."""
        return _entropy(self)

    def _entropy(self) -> Any:
        raise NotCoveredError(
            self._name("entropy"), "it has no closed form", expected="a closed form",
            got=type(self).__name__,
            fix="-d.sample_and_log_prob(key, 10_000)[1].mean(0)",
        )  # fmt: skip

    def kl(self, other: Distribution):
        """KL(self || other) = E[log p - log q], in nats; where it has a closed form."""
        if tuple(self.event_shape) != tuple(other.event_shape):
            fit(self._name("kl"), np.zeros(other.event_shape), self.event_shape)
        return _kl(self, other)

    def _kl(self, other) -> Any:
        raise NotCoveredError(
            self._name("kl"), "it has no closed form",
            expected="two distributions of one kind, such as Normal",
            got=f"{type(self).__name__} and {type(other).__name__}",
            fix="x, p = d.sample_and_log_prob(key, 10_000); (p - other.log_prob(x)).mean(0)",
        )  # fmt: skip

    def fit(self, x, **options) -> tuple[Any, Any]:
        """Train by maximum likelihood: see `graphad.flows.training.fit`."""
        from graphad.flows.training import fit

        return fit(self, x, **options)

    def initialised(self, x, context=None):
        """With the parameters that are set from a batch of data; itself, where there are none."""
        return self

    def _name(self, method: str) -> str:
        return f"{type(self).__name__}.{method}"


class OfNumbers(Distribution):
    """Distributions of single numbers, whose batch shape is that of the parameters together."""

    @property
    def event_shape(self):
        """One number."""
        return ()

    @property
    def batch_shape(self):
        """Shape of the parameters together."""
        return together(*[p.shape for p in self.params.values()])


def bound(part: Part, function):
    """The function of a part with the part in place, taken apart once."""
    kept = part.__dict__.setdefault("_bound", {})
    found = kept.get(function)
    if found is None:
        found = kept[function] = function.bind(part)
    return found


@ga.function
def _log_prob_alone(distribution, x):
    return distribution._log_prob(x, None)


@ga.function
def _log_prob(distribution, x, context):
    name, axes = distribution._name("log_prob"), len(distribution.event_shape)
    return distribution._log_prob(beside(name, x, axes, context), context)


@ga.function(static="shape")
def _sample(distribution, key, shape, context):
    return distribution._sample(key, _lead(distribution, "sample", shape, context), context)


@ga.function(static="shape")
def _sample_and_log_prob(distribution, key, shape, context):
    lead = _lead(distribution, "sample_and_log_prob", shape, context)
    return distribution._sample_and_log_prob(key, lead, context)


def _lead(distribution, method, shape, context):
    """Shape of the draws before the event: each context has draws of its own."""
    whole = (*shape, *distribution.batch_shape)
    return lead_with(distribution._name(method), whole, context)


@ga.function
def _entropy(distribution):
    return distribution._entropy()


@ga.function
def _kl(distribution, other):
    return distribution._kl(other)
