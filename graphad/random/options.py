"""One of several options by weight: tensors are picked, of functions only the drawn one runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import graphad as ga
from graphad.errors import ShapeError
from graphad.random.categorical import categorical
from graphad.random.draws import picked
from graphad.trace import pytree


def select(key, logits, options, num_samples=None, operands: Sequence = ()):
    """Options drawn with probability exp(logits[k]) / sum(exp(logits)).

    Args:
        key: one random key.
        logits: log-weights (K,), or (..., K) where the options are tensors; -inf is never drawn.
        options: K tensors, stacked along the first axis or in a list, picked as by `np.take`; or
            K functions of `operands`, with results alike, of which only the drawn one runs, also
            for each of `num_samples` and for each element under `ga.vmap`.
        num_samples: None for one, n for n along a new axis (the first, for functions).

    Gradients flow to the option that was drawn; for the log-weights see `score_function`.

    >>> import numpy as np, graphad as ga
    >>> ga.random.select(ga.random.key(0), np.array([-np.inf, 0.0]), np.array([[1.0], [2.0]]))
    array([2.])
    >>> ga.random.select(ga.random.key(0), np.array([0.0, -np.inf]), [np.sin, np.cos],
    ...                  operands=(0.0,))
    np.float64(0.0)
    """
    functions = isinstance(options, (list, tuple)) and any(map(callable, options))
    count = len(options) if isinstance(options, (list, tuple)) else options.shape[0]
    logits = logits if hasattr(logits, "shape") else np.asarray(logits)
    if len(logits.shape) == 0 or logits.shape[-1] != count:
        raise ShapeError("random.select", "each option needs one log-weight",
                         expected=f"log-weights of shape (..., {count})",
                         got=f"shape {tuple(logits.shape)}",
                         fix="as many log-weights as options")  # fmt: skip
    if functions and len(logits.shape) != 1:
        raise ShapeError("random.select", "functions are drawn by one row of log-weights",
                         expected=f"shape ({count},)", got=f"shape {tuple(logits.shape)}",
                         fix="ga.vmap over the rows, each with a key of its own")  # fmt: skip
    at = categorical(key, logits, num_samples)
    if not functions:
        stacked = np.stack(list(options)) if isinstance(options, (list, tuple)) else options
        return picked(stacked, at, 0)
    if num_samples is None:
        return ga.switch(at, list(options), *operands)
    if hasattr(at, "spec"):
        return ga.vmap(lambda k: ga.switch(k, list(options), *operands))(at)
    made = [pytree.flatten(options[k](*operands)) for k in at]
    leaves = [np.stack(column) for column in zip(*[leaves for leaves, _ in made], strict=True)]
    return pytree.unflatten(made[0][1], leaves)
