"""Densities of one and two dimensions as pictures."""

from __future__ import annotations

import math

import numpy as np

from graphad.errors import NotCoveredError


def plot(flow, limits=None, points=200, data=None, context=None, ax=None, key=None):
    """Draw the density of a flow of 1 or 2 dimensions, by matplotlib; returns the axes.

    Args:
        limits: (low, high), or ((low, high), (low, high)); where its draws (or data) lie when None.
        points: of the grid along each axis.
        data: (n, *event_shape), drawn over it.
        context: one context.
        ax: matplotlib axes to draw on.
        key: for the draws that find the limits.

    Raises ImportError without matplotlib (extra `plot`), NotCoveredError for more dimensions.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as missing:
        raise ImportError("flow.plot needs matplotlib: pip install 'graphad[plot]'") from missing
    import graphad as ga

    size = math.prod(flow.event_shape)
    if size > 2:
        raise NotCoveredError("flow.plot", "only 1 and 2 dimensions are drawn", expected="1 or 2",
                              got=f"{size}, of event shape {tuple(flow.event_shape)}",
                              fix="a flow of two of the columns")  # fmt: skip
    if limits is None:
        seen = data
        if seen is None:
            seen = flow.sample(key if key is not None else ga.random.key(0), (2000,), context)
        seen = np.asarray(seen).reshape(-1, size)
        low, high = np.quantile(seen, 0.005, axis=0), np.quantile(seen, 0.995, axis=0)
        room = 0.25 * (high - low) + 1e-6
        limits = list(zip(low - room, high + room, strict=True))
    elif np.ndim(limits) == 1:
        limits = [limits] * size
    grids = [np.linspace(a, b, points, dtype=flow.dtype) for a, b in limits]
    ax = ax if ax is not None else plt.subplots()[1]
    where = np.stack(np.meshgrid(*grids, indexing="ij"), -1)
    density = np.exp(flow.log_prob(where.reshape((*where.shape[:-1], *flow.event_shape)), context))
    if size == 1:
        ax.plot(grids[0], density.reshape(points))
        ax.set_ylabel("density")
        if data is not None:
            ax.hist(np.asarray(data).reshape(-1), bins=60, density=True, alpha=0.4)
    else:
        ax.pcolormesh(grids[0], grids[1], density.T, shading="auto")
        if data is not None:
            ax.plot(*np.asarray(data).reshape(-1, 2).T, ",", color="white", alpha=0.5)
    return ax
