"""Time to trace, differentiate and print graphs of growing size: it should grow linearly."""

from __future__ import annotations

import time

import numpy as np

import graphad as ga


def long_chain(steps: int):
    """A function whose graph has about `steps` nodes."""

    def f(x):
        y = x
        for k in range(steps // 2):
            y = np.sin(y) * (0.5 + 1e-9 * k)
        return y

    return f


def curve(sizes=(1_000, 10_000, 100_000)) -> list[tuple[int, int, float]]:
    """(nodes of the primal, nodes of the gradient, seconds) for each size."""
    found = []
    for size in sizes:
        start = time.perf_counter()
        graph = ga.grad(long_chain(size)).lower(1.0).graph
        str(graph)
        primal = ga.function(long_chain(size)).lower(1.0).traced
        found.append((len(primal.nodes), len(graph.nodes), time.perf_counter() - start))
    return found
