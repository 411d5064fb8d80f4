"""NumPy's ways to join, split and lay out arrays, composed from the primitives."""

from __future__ import annotations

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from graphad.errors import ShapeError
from graphad.ops.array import require_static
from graphad.ops.indexing import index
from graphad.ops.numpy_products import matmul
from graphad.ops.numpy_shape import (
    concatenate,
    diag,
    expand_dims,
    flip,
    moveaxis,
    ravel,
    split,
    swapaxes,
    take,
    value,
)
from graphad.ops.value import (
    Value,
    _first_value,
    apply,
    arrays_of,
    broadcast_to,
    convert,
    lift,
    public,
    reshape,
)
from graphad.spec import broadcast_shapes


def _at_least(x: Value, rank: int) -> Value:
    if x.ndim >= rank:
        return x
    if rank == 3:
        return expand_dims(_at_least(x, 2), 2 if x.ndim == 2 else -1)
    return reshape(x, (1,) * (rank - x.ndim) + x.shape)


def _one_or_more(arrays, rank):
    if len(arrays) == 1:
        return _at_least(value(arrays[0]), rank)
    like = _first_value(arrays)
    return tuple(_at_least(lift(like, a), rank) for a in arrays)


@public(np.atleast_2d, examples=["f(A4)", "f(A34)"])
def atleast_2d(*arrays):
    """As np.atleast_2d."""
    return _one_or_more(arrays, 2)


@public(np.atleast_3d, examples=["f(A4)", "f(A34)", "f(A234)"])
def atleast_3d(*arrays):
    """As np.atleast_3d."""
    return _one_or_more(arrays, 3)


@public(np.vstack, examples=["f([A4, A34])"])
def vstack(tup, *, dtype=None, casting="same_kind"):
    """As np.vstack."""
    return concatenate([_at_least(a, 2) for a in arrays_of(tup)], axis=0)


@public(np.hstack, examples=["f([A3, A4])", "f([A34, A34])"])
def hstack(tup, *, dtype=None, casting="same_kind"):
    """As np.hstack."""
    arrays = [_at_least(a, 1) for a in arrays_of(tup)]
    return concatenate(arrays, axis=0 if arrays[0].ndim == 1 else 1)


@public(np.dstack, examples=["f([A34, A34])", "f([A4, A4])"])
def dstack(tup):
    """As np.dstack."""
    return concatenate([_at_least(a, 3) for a in arrays_of(tup)], axis=2)


@public(np.column_stack, examples=["f([A3, A34, A3])"])
def column_stack(tup):
    """As np.column_stack."""
    arrays = arrays_of(tup)
    return concatenate([reshape(a, (a.size, 1)) if a.ndim < 2 else a for a in arrays], axis=1)


@public(np.array_split, examples=["f(A34, 3, axis=1)[1]", "f(A234, 3)[2]"])
def array_split(ary, indices_or_sections, axis=0):
    """As np.array_split: the first pieces are one longer where it does not divide."""
    x = value(ary)
    if not isinstance(indices_or_sections, (int, np.integer)):
        return split(x, indices_or_sections, axis)
    require_static("array_split", (x.shape[axis],))
    each, more = divmod(x.shape[axis], int(indices_or_sections))
    sizes = [each + 1] * more + [each] * (int(indices_or_sections) - more)
    return split(x, np.cumsum(sizes)[:-1].tolist(), axis)


@public(
    np.meshgrid,
    examples=["f(A3, A4)[0]", "f(A3, A4, indexing='ij')[1]", "f(A3, A4, sparse=True)[0]"],
)
def meshgrid(*xi, copy=True, sparse=False, indexing="xy"):
    """As np.meshgrid."""
    arrays = [ravel(a) for a in arrays_of(xi)]
    n = len(arrays)
    order = list(range(n))
    if indexing == "xy" and n > 1:
        order[:2] = [1, 0]
    shape = [arrays[order[a]].shape[0] for a in range(n)]
    out = []
    for k, x in enumerate(arrays):
        at = order.index(k)
        grown = reshape(x, [x.shape[0] if a == at else 1 for a in range(n)])
        out.append(grown if sparse else broadcast_to(grown, shape, "meshgrid"))
    return tuple(out)


@public(np.kron, examples=["f(A34, A43)", "f(A3, A34)"])
def kron(a, b):
    """As np.kron."""
    x, y = arrays_of([a, b])
    rank = max(x.ndim, y.ndim)
    x, y = _at_least_by_reshape(x, rank), _at_least_by_reshape(y, rank)
    wide = reshape(x, [d for s in x.shape for d in (s, 1)])
    tall = reshape(y, [d for s in y.shape for d in (1, s)])
    product = apply("mul", wide, tall)
    return reshape(product, [p * q for p, q in zip(x.shape, y.shape, strict=True)])


def _at_least_by_reshape(x: Value, rank: int) -> Value:
    return reshape(x, (1,) * (rank - x.ndim) + x.shape)


@public(np.vdot, examples=["f(A34, A34)", "f(A4, A4 * 2)"])
def vdot(a, b):
    """As np.vdot: the sum of products of all elements."""
    x, y = arrays_of([a, b])
    return matmul(ravel(x), ravel(y))


@public(np.tril_indices_from)
def tril_indices_from(arr, k=0):
    """As np.tril_indices_from."""
    x = value(arr)
    require_static("tril_indices_from", x.shape)
    return np.tril_indices(x.shape[-2], k, x.shape[-1])


@public(np.triu_indices_from)
def triu_indices_from(arr, k=0):
    """As np.triu_indices_from."""
    x = value(arr)
    require_static("triu_indices_from", x.shape)
    return np.triu_indices(x.shape[-2], k, x.shape[-1])


@public(np.append, examples=["f(A4, A3)", "f(A34, A34, axis=1)", "f(A34, 2.0)"])
def append(arr, values, axis=None):
    """As np.append."""
    x, more = arrays_of([arr, values])
    if axis is None:
        x, more, axis = ravel(x), ravel(more), 0
    return concatenate([x, more], axis)


@public(np.block, examples=["f([[A34, A34], [A34, A34 * 2]])", "f([A4, A3])"])
def block(arrays):
    """As np.block."""
    rank = max(_depth(arrays), max(np.ndim(a) for a in _leaves(arrays)))
    return _joined(arrays, _depth(arrays), rank, _first_value(list(_leaves(arrays))))


def _depth(nested) -> int:
    return 1 + _depth(nested[0]) if isinstance(nested, list) else 0


def _leaves(nested):
    if isinstance(nested, list):
        for part in nested:
            yield from _leaves(part)
    else:
        yield nested


def _joined(nested, depth: int, rank: int, like: Value) -> Value:
    if not isinstance(nested, list):
        return _at_least_by_reshape(lift(like, nested), rank)
    return concatenate([_joined(part, depth - 1, rank, like) for part in nested], axis=-depth)


for _split, _axis in ((np.vsplit, 0), (np.dsplit, 2)):
    public(_split)(lambda ary, pieces, _axis=_axis: split(ary, pieces, _axis))


@public(np.hsplit, examples=["f(A34, 2)[1]", "f(A4, [1, 3])[1]"])
def hsplit(ary, indices_or_sections):
    """As np.hsplit."""
    x = value(ary)
    return split(x, indices_or_sections, 1 if x.ndim > 1 else 0)


@public(np.broadcast_arrays, examples=["f(A34, A4)[1]", "f(A3[:, None], A4)[0]"])
def broadcast_arrays(*args, subok=False):
    """As np.broadcast_arrays."""
    arrays = arrays_of(args)
    shape = broadcast_shapes("broadcast_arrays", *[a.shape for a in arrays])
    return tuple(broadcast_to(a, shape, "broadcast_arrays") for a in arrays)


@public(np.rot90, examples=["f(A34)", "f(A34, 2)", "f(A34, -1)", "f(A234, 1, (1, 2))"])
def rot90(m, k=1, axes=(0, 1)):
    """As np.rot90."""
    x, turns = value(m), k % 4
    if x.ndim < 2:
        raise ShapeError("np.rot90", "takes two axes", expected="2 axes or more", got=f"{x.ndim}",
                         fix="np.flip")  # fmt: skip
    if turns in (2, 3):
        x = flip(flip(x, axes[0]), axes[1])
    return swapaxes(flip(x, axes[1]), *axes) if turns in (1, 3) else x


@public(np.diagflat, examples=["f(A4)", "f(A34, 1)"])
def diagflat(v, k=0):
    """As np.diagflat."""
    return diag(ravel(v), k)


@public(np.rollaxis, examples=["f(A234, 2)", "f(A234, 0, 3)"])
def rollaxis(a, axis, start=0):
    """As np.rollaxis."""
    x = value(a)
    axis = normalize_axis_index(axis, x.ndim)
    start = start + x.ndim if start < 0 else start
    return moveaxis(x, axis, start - 1 if axis < start else start)


def unstack(x, /, *, axis=0):
    """As np.unstack."""
    x = moveaxis(value(x), axis, 0)
    return tuple(index(x, k) for k in range(x.shape[0]))


if hasattr(np, "unstack"):  # NumPy 2.1
    public(np.unstack, examples=["f(A34)[1]", "f(A34, axis=1)[2]"])(unstack)


@public(np.delete, examples=["f(A4, 1)", "f(A34, [0, 2], axis=1)", "f(A4, slice(1, 3))"])
def delete(arr, obj, axis=None):
    """As np.delete; places are known while tracing."""
    x = value(arr)
    x, axis = (ravel(x), 0) if axis is None else (x, axis)
    require_static("delete", (x.shape[axis],))
    return take(x, np.delete(np.arange(x.shape[axis]), obj), axis)


@public(np.insert, examples=["f(A4, 1, 2.0)", "f(A34, 1, A3, axis=1)", "f(A4, [0, 2], A3[:2])"])
def insert(arr, obj, values, axis=None):
    """As np.insert; places are known while tracing."""
    x, new = arrays_of([arr, values])
    x, axis = (ravel(x), 0) if axis is None else (x, normalize_axis_index(axis, x.ndim))
    require_static("insert", (x.shape[axis],))
    new = convert(new, x.dtype)
    if np.ndim(obj) == 0 and new.ndim > 0 and x.ndim > 1:
        new = moveaxis(_at_least_by_reshape(new, x.ndim), 0, axis)
    if np.ndim(obj) == 0 and not isinstance(obj, slice) and new.ndim == x.ndim:
        obj = [obj] * new.shape[axis]  # as many as there are values
    places = np.insert(np.arange(x.shape[axis]), obj, -1)
    shape = (*x.shape[:axis], int(np.sum(places < 0)), *x.shape[axis + 1 :])
    whole = concatenate([x, broadcast_to(new, shape, "insert")], axis)
    order = np.where(places < 0, x.shape[axis] + np.cumsum(places < 0) - 1, places)
    return take(whole, order, axis)
