"""Indexing as NumPy does it, in terms of slice, reshape, transpose and gather; and `x.at[i]`."""

from __future__ import annotations

import operator as operators
from typing import Any

import numpy as np

from graphad.errors import GraphIndexError, TraceError
from graphad.ops.array import (
    cut,
    embed,
    gather,
    iota,
    scatter_add,
    scatter_set,
    transpose,
)
from graphad.ops.value import (
    Value,
    apply,
    broadcast_to,
    const,
    convert,
    full,
    lift,
    promoted,
    reshape,
    select,
)
from graphad.spec import Dim, Spec, broadcast_shapes, is_static, size_of


def is_advanced(k) -> bool:
    """Whether an index is an array (numbers, slices, None and ... are basic)."""
    if isinstance(k, Value):
        return True
    return isinstance(k, (list, np.ndarray)) or (isinstance(k, np.generic) and k.dtype == bool)


def expanded(x: Value, key) -> list[Any]:
    """The key as a list with the ellipsis spelled out and one entry for each axis or newaxis."""
    keys: list[Any] = []
    for k in key if isinstance(key, tuple) else (key,):
        if isinstance(k, range):
            k = np.arange(k.start, k.stop, k.step)
        if isinstance(k, list) and not _has_values(k):
            k = np.asarray(k, dtype=None if k else np.int64)
        if isinstance(k, np.ndarray) and k.dtype == bool:
            if k.ndim > 1 or k.ndim == 0 or k.size:
                keys.extend(np.nonzero(k))
            continue
        if isinstance(k, Value) and k.dtype.kind == "b":
            raise TraceError(
                "indexing",
                "a traced mask selects a number of elements known only at run time",
                expected="integers, slices, or a mask that is a NumPy array",
                got=f"a traced mask of shape {k.shape}",
                fix="np.where(mask, x, 0), or index with integers",
            )
        if isinstance(k, (float, np.floating)) or (isinstance(k, Value) and k.dtype.kind == "f"):
            raise GraphIndexError(
                "indexing", "an index must be an integer", expected="an integer",
                got="a float", fix="i.astype('int64')",
            )  # fmt: skip
        keys.append(k)
    if sum(k is Ellipsis for k in keys) > 1:
        raise GraphIndexError("indexing", "more than one ...", expected="a single ...",
                              got=str(key)[:60], fix="leave one of them out")  # fmt: skip
    used = sum(k is not None and k is not Ellipsis for k in keys)
    if used > x.ndim:
        raise GraphIndexError(
            "indexing",
            "too many indices",
            expected=f"at most {x.ndim}, for shape {x.shape}",
            got=f"{used}",
            fix="drop an index, or add an axis to the array",
        )
    rest = [slice(None)] * (x.ndim - used)
    at = next((i for i, k in enumerate(keys) if k is Ellipsis), None)
    if at is None:
        return keys + rest
    return keys[:at] + rest + [k for k in keys[at + 1 :] if k is not Ellipsis]


def _has_values(k):
    return any(isinstance(i, Value) or (isinstance(i, list) and _has_values(i)) for i in k)


def index(x: Value, key) -> Value:
    """x[key]."""
    keys = expanded(x, key)
    if any(is_advanced(k) for k in keys):
        return _advanced(x, keys)
    return _basic(x, keys)


def along(x: Value, axis: int, key) -> Value:
    """x indexed by the key at one axis, whole at the others."""
    return index(x, (slice(None),) * axis + (key,))


def _basic(x, keys):
    start, step, sizes, shape = [], [], [], []
    axis = 0
    for k in keys:
        if k is None:
            shape.append(1)
            continue
        first, stride, size = _bounds(k, x.shape[axis], axis)
        start.append(first)
        step.append(stride)
        sizes.append(size)
        if isinstance(k, slice):
            shape.append(size)
        axis += 1
    return reshape(cut(x, start, sizes, step), shape)


def _bounds(k, dim, axis):
    """(start, step, size) of one basic index."""
    if isinstance(k, slice):
        if isinstance(dim, int):
            parts = [None if p is None else operators.index(p) for p in (k.start, k.stop, k.step)]
            first, stop, step = slice(*parts).indices(dim)
            size = len(range(first, stop, step))
            return (first if size else 0), step, size
        return _symbolic_bounds(k, dim)
    try:
        i = operators.index(k)
    except TypeError:
        raise GraphIndexError(
            "indexing", "an index must be an integer, slice, None, ... or integer array",
            expected="an integer", got=f"{k!r}", fix="int(i)",
        ) from None  # fmt: skip
    if isinstance(dim, int) and not -dim <= i < dim:
        raise GraphIndexError(
            "indexing",
            f"index {i} is out of bounds",
            expected=f"{-dim} <= i < {dim} at axis {axis}",
            got=str(i),
            fix="check the shape, or the loop's range",
        )
    return (i if i >= 0 else dim + i), 1, 1


def _symbolic_bounds(k, dim):
    """Bounds on a symbolic axis: in-range numbers are assumed and checked at run time."""
    step = 1 if k.step is None else operators.index(k.step)
    if step not in (1, -1):
        from graphad.spec import _needs_number

        raise _needs_number(dim, f"the slice step {step}")

    def place(p, default):
        if p is None:
            return default
        if isinstance(p, Dim):
            return p
        return p if operators.index(p) >= 0 else dim + operators.index(p)

    if step == 1:
        first = place(k.start, 0)
        return first, 1, place(k.stop, dim) - first
    first = place(k.start, dim - 1)
    stop = place(k.stop, -1) if k.stop is not None else -1
    return first, -1, first - stop


def _advanced(x, keys):
    # Basic parts first; then all array indices at once over axes moved to the front.
    basic, arrays, places = [], [], []
    for position, k in enumerate(keys):
        if k is not None and not isinstance(k, slice):
            arrays.append(_index_array(x, k, position, len(basic), keys))
            places.append(position)
            basic.append(slice(None))
        else:
            basic.append(k)
    x = _basic(x, basic)
    shape = broadcast_shapes("indexing", *[a.shape for a in arrays])
    arrays = [broadcast_to(a, shape, "indexing") for a in arrays]
    others = [a for a in range(x.ndim) if a not in places]
    out = gather(transpose(x, places + others), arrays)
    together = places == list(range(places[0], places[0] + len(places)))
    if not together or places[0] == 0:
        return out
    rank = len(shape)
    before = places[0]
    perm = [*range(rank, rank + before), *range(rank), *range(rank + before, out.ndim)]
    return transpose(out, perm)


def _index_array(x, k, position, axis, keys):
    if isinstance(k, Value) or _is_sequence_of_values(k):
        return convert(lift(x, k, "indexing"), "i8")
    array = np.asarray(k)
    if array.dtype.kind not in "iu":
        raise GraphIndexError(
            "indexing", "an index array must hold integers", expected="integers",
            got=str(array.dtype), fix="i.astype('int64')",
        )  # fmt: skip
    dim = x.shape[sum(q is not None for q in keys[:position])]
    if isinstance(dim, int) and array.size and not (-dim <= array.min() and array.max() < dim):
        raise GraphIndexError(
            "indexing",
            "an index is out of bounds",
            expected=f"{-dim} <= i < {dim} at axis {axis}",
            got=f"values from {array.min()} to {array.max()}",
            fix="check the shape, or the indices",
        )
    if array.ndim == 0:
        return const(x, int(array), Spec((), np.dtype("i8")))
    return convert(lift(x, array, "indexing"), "i8")


def _is_sequence_of_values(k):
    return isinstance(k, list) or (isinstance(k, np.ndarray) and k.dtype == object)


class At:
    """`x.at[key]`: `set`, `add`, `multiply`, `max` and `min` return a changed copy of x."""

    def __init__(self, x: Value, key=None):
        self._x, self._key = x, key

    def __getitem__(self, key):
        return At(self._x, key)

    def _placed(self):
        """The flat position of each selected element, or None where the key is basic."""
        keys = expanded(self._x, self._key)
        if not any(is_advanced(k) for k in keys):
            return None
        x = self._x
        if is_static(x.shape) and not any(
            isinstance(k, Value) or _is_sequence_of_values(k) for k in keys
        ):
            flat = np.arange(size_of(x.shape)).reshape(x.shape)[tuple(keys)]
            return lift(x, np.asarray(flat), "at")
        size = size_of(x.shape)
        return index(reshape(iota(x, (size,), 0), x.shape), self._key)

    def _values(self, v, shape):
        v = convert(lift(self._x, v, "at"), self._x.dtype)
        return broadcast_to(v, shape, "at")

    def _region(self, v):
        """For a basic key: (a mask of the region, v put there and zero elsewhere)."""
        keys = expanded(self._x, self._key)
        x, axis = self._x, 0
        start, step, sizes = [], [], []
        for k in keys:
            if k is not None:
                first, stride, size = _bounds(k, x.shape[axis], axis)
                start.append(first)
                step.append(stride)
                sizes.append(size)
                axis += 1
        v = reshape(self._values(v, _basic(x, keys).shape), sizes)
        ones = full(x, 1, sizes, "f8")
        mask = embed(ones, start, step, x.shape) != 0.0
        return mask, embed(v, start, step, x.shape)

    def set(self, v):
        """x with v at the key; of equal indices the last wins.

        >>> import numpy as np, graphad as ga
        >>> ga.function(lambda x: x.at[1].set(5.0))(np.zeros(3))
        array([0., 5., 0.])
        """
        where = self._placed()
        if where is None:
            mask, placed = self._region(v)
            return select(mask, placed, self._x)
        return self._scatter(scatter_set, v, where)

    def _scatter(self, how, v, where):
        x = self._x
        size = size_of(where.shape)
        values = reshape(self._values(v, where.shape), (size,))
        flat = reshape(x, (size_of(x.shape),))
        return reshape(how(flat, values, reshape(where, (size,))), x.shape)

    def add(self, v):
        """x with v added at the key; equal indices add up."""
        where = self._placed()
        if where is None:
            return self._x + self._region(v)[1]
        return self._scatter(lambda x, v, i: x + scatter_add(v, [i], x.shape), v, where)

    def _combine(self, name, v):
        where = self._placed()
        if where is not None:
            self._require_unique(where, name)
        old = index(self._x, self._key)
        a, b = promoted(name, [old, v])
        return self.set(apply(name, a, b))

    def _require_unique(self, where, name):
        builder = where.builder
        node = builder.nodes[where.id]
        flat = builder.captured[node.param("index")] if node.op.name == "captured" else None
        if flat is None or np.unique(flat).size != flat.size:
            raise TraceError(
                f"at[...].{name}",
                "equal or traced indices would be combined in an unstated order",
                expected="slices, or integer arrays without repeats",
                got="indices that repeat or are traced",
                fix="at[...].add for sums, or make the indices unique",
            )

    def multiply(self, v):
        """x with the elements at the key multiplied by v."""
        return self._combine("mul", v)

    def max(self, v):
        """x with the larger of itself and v at the key."""
        return self._combine("maximum", v)

    def min(self, v):
        """x with the smaller of itself and v at the key."""
        return self._combine("minimum", v)
