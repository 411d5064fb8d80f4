"""A monotone function of one number, from its forward expression alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import graphad as ga
from graphad.errors import TraceError
from graphad.flows.bijector import Bijector
from graphad.flows.monotone import points, slope_of, solved
from graphad.flows.part import as_parameter
from graphad.flows.shapes import together


class Elementwise(Bijector):
    """y = f(x) for each number, f strictly monotone: the rest is derived from f.

    The log-derivative is that of the differentiated expression, brought to a form that does not
    overflow where one is known. The inverse is a branch that sympy solves for, where there is one;
    else a bracketed Newton iteration, differentiated by the implicit function theorem.

    Args:
        f: a function of NumPy code, f(x) or f(x, *params); or a sympy expression of one symbol.
        params: arrays that f takes after x; they broadcast with x and are parameters of the flow.
        domain: the interval on which f is monotone and values lie.
        inverse: the inverse of f, where it is known: y or (y, *params) -> x.

    Raises TraceError where f is not monotone on the domain, and says where.

    >>> import graphad as ga, numpy as np
    >>> bend = ga.flows.Elementwise(lambda v: v + 0.5 * np.tanh(v))
    >>> float(bend.inverse(bend.forward(0.7)).round(12))
    0.7
    >>> print(ga.flows.Elementwise(np.exp).explain())
    Elementwise  event ()  0 parameters  log-det: log|f'(x)| = x; inverse log(y)
    """

    children = ("parameters",)
    settings = ("f", "domain", "given_inverse", "meaning")

    def __init__(self, f: Any, params=(), domain=(-math.inf, math.inf), inverse=None):
        from graphad.flows import symbolic  # brings sympy

        first, last = (float(d) for d in domain)
        meaning = symbolic.meaning_of(f, params, (first, last), inverse)
        if hasattr(f, "free_symbols"):
            f = meaning.forward
        self._set(f=f, domain=(first, last), given_inverse=inverse, meaning=meaning,
                  parameters=tuple(as_parameter("Elementwise", p) for p in params))  # fmt: skip
        check_monotone(f, self.parameters, self.domain)

    @property
    def event_shape(self):
        """One number: each element is mapped."""
        return ()

    @property
    def batch_shape(self):
        """That of the parameters."""
        return together(*[tuple(p.shape) for p in self.parameters])

    def _log_slope(self, x):
        if self.meaning.log_slope is not None:
            return self.meaning.log_slope(x)
        return np.log(np.abs(slope_of(self.f, x, self.parameters)[1]))

    def _forward(self, x, context):
        return self.f(x, *self.parameters), self._log_slope(x)

    def _inverse(self, y, context):
        if self.meaning.inverse is not None:
            x = self.meaning.inverse(y, *self.parameters)
        else:
            y = np.broadcast_to(y, together(tuple(y.shape), self.batch_shape))
            y = y.astype(np.result_type(y.dtype, *[p.dtype for p in self.parameters]))
            x = solved(self.f, y, self.parameters, self.domain)
        return x, -self._log_slope(x)

    def _density_inverse(self, y, context):
        held, inside = self._held_in_image(y)
        return (*self._inverse(held, context), inside)

    def _held_in_domain(self, x):
        first, last = self.domain
        if first == -math.inf and last == math.inf:
            return x, None
        after = x > first if self._endless(first, x.dtype) else x >= first
        before = x < last if self._endless(last, x.dtype) else x <= last
        inside = after & before | np.isnan(x)
        return np.where(inside, x, middle_of(self.domain)), inside

    def _endless(self, end: float, dtype) -> bool:
        """Whether f is known to be infinite at an end of its domain."""
        value = self._at(end, dtype)
        return not hasattr(value, "spec") and bool(np.isinf(value).all())

    def _held_in_image(self, y):
        """(y with another where it is no value of f, where it is one or None for everywhere)."""
        first, last = self.domain
        a, b = (self._limit(e, y.dtype) for e in self.domain)
        after = y >= a if math.isfinite(first) else y > a
        before = y <= b if math.isfinite(last) else y < b
        below = y <= a if math.isfinite(first) else y < a
        above = y >= b if math.isfinite(last) else y > b
        inside = np.where(a <= b, after & before, below & above)
        inside = inside & (np.abs(y) < math.inf) | np.isnan(y) | np.isnan(a) | np.isnan(b)
        middle = self._at(middle_of(self.domain), y.dtype)
        return np.where(inside, y, middle), inside

    def _limit(self, end: float, dtype):
        """f at an end of its domain; far out where it has no value there."""
        value = self._at(end, dtype)
        if math.isinf(end):
            far = math.copysign(float(np.finfo(dtype).max) ** 0.5, end)
            value = np.where(np.isnan(value), self._at(far, dtype), value)
        return value

    def _at(self, point: float, dtype):
        with np.errstate(all="ignore"):
            return self.f(np.full((), point, dtype), *self.parameters)

    @property
    def log_det_cost(self):
        """The derivative and the inverse that were found."""
        return self.meaning.text


def middle_of(domain) -> float:
    """A point inside a domain."""
    first, last = domain
    if math.isfinite(first) and math.isfinite(last):
        return 0.5 * first + 0.5 * last
    return first + 1.0 if math.isfinite(first) else last - 1.0 if math.isfinite(last) else 0.0


def check_monotone(f: Callable, parameters, domain) -> None:
    """Raise where f does not keep one direction on points all over its domain."""
    x = points(domain)
    values, slopes = _probe(f, x, parameters)
    values, slopes = (np.asarray(v, float).reshape(-1, len(x)) for v in (values, slopes))
    for value, slope in zip(values, slopes, strict=True):
        known = np.isfinite(value) & np.isfinite(slope) & (np.abs(value) < 1e300)
        v, s, at = value[known], slope[known], x[known]
        falls = np.diff(v)
        rising = np.sum(falls > 0) >= np.sum(falls < 0)
        wrong = s < 0 if rising else s > 0
        turned = falls < 0 if rising else falls > 0
        if wrong.any() or turned.any():
            k = int(np.argmax(wrong)) if wrong.any() else int(np.argmax(turned))
            raise TraceError(
                "Elementwise", "f is not monotone on its domain",
                expected=f"f' {'>' if rising else '<'} 0 on {domain}",
                got=f"f'({at[k]:.6g}) = {s[k]:.6g}, where f is {v[k]:.6g}",
                fix="domain=(a, b) where f is monotone, or another f",
            )  # fmt: skip


def _probe(f, x, parameters):
    """f and its slope at the points, for each element of the parameters."""
    column = [np.asarray(p)[..., None] for p in parameters]

    def run(x, *column):
        shape = together(x.shape, *[c.shape for c in column])
        return slope_of(f, np.broadcast_to(x, shape), column)

    try:
        return ga.function(run)(x, *column)
    except Exception as problem:
        what = str(problem).split("\n")[0]
        raise TraceError("Elementwise", "f cannot be evaluated on arrays", got=what,
                         expected="a function of NumPy code, for arrays of any shape",
                         fix="np.tanh in place of math.tanh") from problem  # fmt: skip
