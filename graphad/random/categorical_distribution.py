"""The categorical distribution as a value: prepared once, drawn from and evaluated many times."""

from __future__ import annotations

import numpy as np

import graphad as ga
from graphad import primitives
from graphad.errors import DTypeError, ShapeError
from graphad.random.categorical import as_logits, log_of, table_of
from graphad.random.draws import shape_of


class Categorical:
    """Indices 0 ... K - 1 with log-weights `logits` of shape (..., K), or weights `probs`.

    A frozen pytree. The batch shape is that of the axes before the last. The first draw makes the
    alias table, which further ones share.

    >>> import numpy as np, graphad as ga
    >>> d = ga.random.Categorical(probs=[0.25, 0.75])
    >>> float(d.log_prob(1).round(12))
    -0.287682072452
    >>> d.sample(ga.random.key(0), (4,)).shape
    (4,)
    """

    __slots__ = ("_table", "logits")

    def __init__(self, logits=None, *, probs=None):
        if (logits is None) == (probs is None):
            raise ShapeError("Categorical", "weights are given in one way", fix="Categorical(l)",
                             expected="logits= or probs=",
                             got="both" if logits is not None else "neither")  # fmt: skip
        if probs is not None:
            logits = log_of("Categorical", probs)
        object.__setattr__(self, "logits", as_logits("Categorical", logits))
        object.__setattr__(self, "_table", None)

    def __setattr__(self, name, value):
        raise AttributeError(f"a Categorical does not change; make another for another {name}")

    def __reduce__(self):
        return (Categorical, (self.logits,))

    def __repr__(self):
        return f"Categorical(logits of shape {tuple(self.logits.shape)})"

    @property
    def batch_shape(self) -> tuple:
        """Shape of one draw."""
        return tuple(self.logits.shape[:-1])

    def sample(self, key, sample_shape=()):
        """Draws of shape (*sample_shape, *batch_shape), by the alias table."""
        shape = shape_of("Categorical.sample", sample_shape)
        count = int(np.prod(shape))
        table = self._table
        if table is None:
            table = table_of(self.logits)
            if not hasattr(table, "spec"):
                object.__setattr__(self, "_table", table)
        if count == 0:
            return np.zeros((*shape, *self.batch_shape), np.int64)
        drawn = primitives.alias_draw(table, key, 0, count)
        return np.reshape(np.moveaxis(drawn, -1, 0), (*shape, *self.batch_shape))

    def log_prob(self, value):
        """log p(value), of integers that broadcast with the batch shape; -inf outside 0 ... K-1."""
        value = value if hasattr(value, "astype") else np.asarray(value)
        if value.dtype.kind not in "iub":
            raise DTypeError("Categorical.log_prob", "categories are integers", expected="int64",
                             got=str(value.dtype), fix="value.astype(int)")  # fmt: skip
        return _log_prob(self.logits, value)

    @property
    def probs(self):
        """Probabilities, (..., K)."""
        return ga.special.softmax(self.logits, axis=-1)

    @property
    def mean(self):
        """The mean of the draw as a one-hot vector: its probabilities."""
        return self.probs

    def entropy(self):
        """-sum p log p, in nats, with 0 log 0 = 0."""
        return _entropy(self.logits)

    def kl(self, other: Categorical):
        """The Kullback-Leibler divergence sum p log(p / q) from self to other, in nats."""
        return _kl(self.logits, other.logits)


@ga.function
def _log_prob(logits, value):
    total = ga.special.logsumexp(logits, axis=-1)
    size = logits.shape[-1]
    inside = (value >= 0) & (value < size)
    shape = np.broadcast_shapes(value.shape, total.shape)
    at = np.broadcast_to(np.where(inside, value, 0), shape)
    rows = np.broadcast_to(logits, (*shape, size))
    found = np.take_along_axis(rows, at[..., None], axis=-1)[..., 0]
    return np.where(inside, found - total, -np.inf)


@ga.function
def _entropy(logits):
    return np.sum(ga.special.entr(ga.special.softmax(logits, axis=-1)), axis=-1)


@ga.function
def _kl(logits, others):
    p, q = (ga.special.softmax(x, axis=-1) for x in (logits, others))
    return np.sum(ga.special.rel_entr(p, q), axis=-1)


def _rebuilt(extra, children):
    made = object.__new__(Categorical)
    object.__setattr__(made, "logits", children[0])
    object.__setattr__(made, "_table", None)
    return made


ga.register_pytree(Categorical, lambda d: ((d.logits,), None), _rebuilt)
