"""Optimisers as pairs of pure functions on pytrees; compiled with whatever calls them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from graphad.trace import pytree


class AdamState(NamedTuple):
    """Step count, and running means of the gradient and of its square."""

    count: Any
    mean: Any
    square: Any


class Adam(NamedTuple):
    """Adam with bias correction; made by `adam`."""

    learning_rate: Any  # a number, or a function of the steps taken before
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    def init(self, params) -> AdamState:
        """The state before the first step: zeros in the structure of params."""

        def zeros(p):
            p = p if hasattr(p, "dtype") else np.asarray(p, float)
            return np.zeros(p.shape, p.dtype)

        return AdamState(0, pytree.map_leaves(zeros, params), pytree.map_leaves(zeros, params))

    def update(self, grads, state: AdamState, params) -> tuple[Any, AdamState]:
        """One step: (params, state).

        m = b1 m + (1-b1) g,  v = b2 v + (1-b2) g²,
        params - learning_rate (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)
        """
        count = state.count + 1
        mean = pytree.map_leaves(lambda m, g: self.b1 * m + (1.0 - self.b1) * g, state.mean, grads)
        square = pytree.map_leaves(
            lambda v, g: self.b2 * v + (1.0 - self.b2) * (g * g), state.square, grads
        )

        rate = self.learning_rate
        if callable(rate):
            rate = rate(state.count)

        def step(p, m, v):
            one = np.ones((), getattr(p, "dtype", float))
            first = 1.0 - (self.b1 * one) ** count
            second = 1.0 - (self.b2 * one) ** count
            moved = p - rate * (m / first) / (np.sqrt(v / second) + self.eps)
            return moved.astype(p.dtype) if hasattr(p, "dtype") else moved

        return pytree.map_leaves(step, params, mean, square), AdamState(count, mean, square)


def adam(learning_rate: Any = 1e-3, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Adam:
    """Adam (Kingma and Ba 2015, algorithm 1): `.init(params)`, `.update(grads, state, params)`.

    `learning_rate` may be a function of the number of steps taken before: a schedule.

    >>> import numpy as np
    >>> opt = adam(0.1)
    >>> x = np.array([1.0])
    >>> x, state = opt.update(np.array([3.0]), opt.init(x), x)
    >>> x
    array([0.9])
    """
    return Adam(learning_rate, b1, b2, eps)


__all__ = ["Adam", "AdamState", "adam"]


def __dir__() -> list[str]:
    return sorted({*__all__, *(n for n in globals() if n.startswith("__"))})
