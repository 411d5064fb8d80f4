"""A bijector of vectors from its forward function alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import graphad as ga
from graphad.errors import TraceError
from graphad.flows.bijector import Bijector
from graphad.flows.monotone import solved
from graphad.flows.part import as_parameter
from graphad.flows.shapes import as_shape

MOST_DENSE = 64  # elements of an event whose whole Jacobian is looked at


class FromForward(Bijector):
    """y = f(x) for one event x, f invertible: the log-det and the inverse are derived from f.

    The graph of f tells whether its Jacobian is diagonal, triangular (in some order of rows and
    columns) or block triangular. The log-det is then a sum, or a few small `slogdet`s, mostly from
    one forward pass; only what has no structure goes to `slogdet` as a whole. `explain()` says
    which. The inverse of a triangular map goes from level to level, each by a bracketed Newton
    iteration; that of others by Newton's method on all elements, nan where it does not converge.
    Both have derivatives of every order by the implicit function theorem.

    Args:
        f: NumPy code, x of shape event_shape (and *params) -> an array of as many elements.
        event_shape: of x.
        params: arrays (or pytrees of them) that f takes after x: the parameters of the bijector.
        inverse: the inverse of f, where it is known: (y, *params) -> x.

    Zeros that f shows count: masks, `np.tril`, slices. Arrays that f captures are taken as
    they are, so what changes belongs into params.

    Raises TraceError where f is not invertible on points that are tried, and says where.

    >>> import graphad as ga, numpy as np
    >>> def f(x, scale):
    ...     return np.concatenate([x[:1], x[1:] * np.exp(scale * np.tanh(x[0]))])
    >>> bend = ga.flows.FromForward(f, (3,), params=[np.array(0.5)])
    >>> print(bend.explain())
    FromForward  event (3,)  1 parameters  log-det: triangular, a sum over the event, O(d); 1 \
forward pass
    >>> bool(np.allclose(bend.inverse(bend.forward(np.ones(3))), 1.0))
    True
    """

    children = ("parameters",)
    settings = ("f", "_event", "given_inverse", "_out", "structure")
    derived = ("_out", "structure")

    def __init__(self, f: Callable, event_shape, params=(), inverse=None):
        made = tuple(_parameters(p) for p in params)
        self._set(f=f, _event=as_shape("FromForward", event_shape), parameters=made,
                  given_inverse=inverse)  # fmt: skip
        self._loaded()
        self._check()

    def _loaded(self):
        x = np.zeros(self._event)
        structure = ga.primitives.structure_of(self.f)(x, *self.parameters)
        out = ga.function(self.f).lower(x, *self.parameters).graph
        self._set(structure=structure, _out=tuple(out[out.outputs[0]].spec.shape))

    @property
    def event_shape_out(self):
        """What f gives."""
        return self._out

    @property
    def log_det_cost(self):
        """The structure that was found."""
        return str(self.structure)

    def _rows(self, f, x, event):
        """f for each event of (..., *event)."""
        lead = tuple(x.shape)[: len(x.shape) - len(event)]
        if not lead:
            return f(x, *self.parameters), lead
        x = x.reshape((math.prod(lead), *event))
        axes = (0, *[None] * len(self.parameters))
        return ga.vmap(f, in_axes=axes)(x, *self.parameters), lead

    def _forward(self, x, context):
        (y, log_det), lead = self._rows(ga.primitives.value_and_log_det(self.f), x, self._event)
        return y.reshape((*lead, *self._out)), log_det.reshape(lead)

    def _inverse(self, y, context):
        if self.given_inverse is not None:
            x, lead = self._rows(self.given_inverse, y, self._out)
        elif self.structure.largest == 1:
            lead = tuple(y.shape)[: len(y.shape) - len(self._out)]
            x = self._by_levels(y.reshape((math.prod(lead), self.structure.size)))
        else:
            x, lead = self._rows(self._newton, y, self._out)
        x = x.reshape((*lead, *self._event))
        return x, -self._forward(x, context)[1]

    def _newton(self, y, *params):
        """The solution for one event, by Newton's method on all of its elements."""

        def gap(x: Any):
            return self.f(x, *params).reshape(y.shape) - y

        found: Any = ga.root(
            gap, y.reshape(self._event), tolerance=8 * float(np.finfo(y.dtype).eps)
        )
        return found.astype(y.dtype)

    def _by_levels(self, y):
        """Solutions of rows y: elements of one level together, once those they need are there."""
        s = self.structure
        row_of = np.argsort(s.match)
        levels = np.array(s.level)[row_of]
        masks = (levels == np.arange(max(s.level) + 1)[:, None]).astype(y.dtype)
        events = ga.vmap(lambda v, params: self.f(v.reshape(self._event), *params).reshape(-1),
                         in_axes=(0, None))  # fmt: skip
        target = y[:, row_of]

        def own(v, x, mask, params):
            """Each element of a level as a function of its own number; the others are as asked."""
            here = mask > 0
            return np.where(here, events(np.where(here, v, x), params)[:, row_of], v)

        def step(x, mask):
            goal = np.where(mask > 0, target, 0.0)
            found = solved(own, goal, (x, mask, self.parameters))
            return np.where(mask > 0, found, x), None

        return ga.scan(step, np.zeros_like(y), masks)[0]

    def _check(self):
        """Raise where a diagonal entry (or the determinant) is 0 or changes its sign."""
        rng = np.random.default_rng(0)
        size = self.structure.size
        if size > MOST_DENSE:
            return
        scales = np.repeat([0.1, 1.0, 3.0, 10.0], 64)[:, None]
        x = (scales * rng.normal(size=(256, size))).reshape(256, *self._event)
        axes = (0, *[None] * len(self.parameters))
        j = ga.vmap(ga.jacobian(self.f), in_axes=axes)(x, *self.parameters)
        j = j.reshape(256, size, size)
        if self.structure.largest == 1:
            values = j[:, np.arange(size), np.array(self.structure.match)]
            names = [f"d y[{i}] / d x[{m}]" for i, m in enumerate(self.structure.match)]
        else:
            values, names = np.linalg.slogdet(j)[0][:, None], ["the sign of det J"]
        for k, name in enumerate(names):
            known = np.isfinite(values[:, k])
            rising = np.median(np.sign(values[known, k])) >= 0
            wrong = known & ((values[:, k] < 0) if rising else (values[:, k] > 0))
            if wrong.any():
                at = int(np.argmax(wrong))
                raise TraceError(
                    "FromForward", "f cannot be inverted everywhere",
                    expected=f"{name} {'>' if rising else '<'} 0",
                    got=f"{values[at, k]:.6g} at x = {np.array2string(x[at], precision=4)}"[:200],
                    fix="a map that is monotone in each element, such as x + 0.5 tanh(x)",
                )  # fmt: skip


def _parameters(value) -> Any:
    """Arrays of floats, in dicts, tuples and lists."""
    if isinstance(value, dict):
        return {k: _parameters(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(_parameters(v) for v in value)
    return as_parameter("FromForward", value)
