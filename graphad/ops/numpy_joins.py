"""NumPy's ways to join, split and lay out arrays, composed from the primitives."""

from __future__ import annotations

import numpy as np

from graphad.ops.array import require_static
from graphad.ops.numpy_products import matmul
from graphad.ops.numpy_shape import concatenate, expand_dims, ravel, split, value
from graphad.ops.value import Value, _first_value, apply, broadcast_to, lift, public, reshape


def _all(arrays) -> list[Value]:
    """The arrays of a list as Values."""
    arrays = list(arrays)
    like = _first_value(arrays)
    return [lift(like, a) for a in arrays]


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
    return concatenate([_at_least(a, 2) for a in _all(tup)], axis=0)


@public(np.hstack, examples=["f([A3, A4])", "f([A34, A34])"])
def hstack(tup, *, dtype=None, casting="same_kind"):
    """As np.hstack."""
    arrays = [_at_least(a, 1) for a in _all(tup)]
    return concatenate(arrays, axis=0 if arrays[0].ndim == 1 else 1)


@public(np.dstack, examples=["f([A34, A34])", "f([A4, A4])"])
def dstack(tup):
    """As np.dstack."""
    return concatenate([_at_least(a, 3) for a in _all(tup)], axis=2)


@public(np.column_stack, examples=["f([A3, A34, A3])"])
def column_stack(tup):
    """As np.column_stack."""
    arrays = _all(tup)
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
    arrays = [ravel(a) for a in _all(xi)]
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
    x, y = _all([a, b])
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
    x, y = _all([a, b])
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
