"""Sorting, searching and correlation: work by routines of their own, see emit/routines.py.

`sort(x)` gives the sorted elements of the last axis and their order; equal elements keep theirs,
nan comes last. The derivative follows the order. `correlate(a, v)` is the one bilinear operation
behind convolutions: out[i] = sum over k of a[i + k] v[k], along the last axis.
"""

from __future__ import annotations

import numpy as np

from graphad.op import Op, register
from graphad.ops.array import embed, gather, iota, transpose
from graphad.ops.calls import picks
from graphad.ops.value import Value, add, batch_by_repeating
from graphad.spec import Spec, same_dim, size_of

I8 = np.dtype("i8")


# -- sort ----------------------------------------------------------------------------------------
def _infer_sort(specs, params):
    x = specs[0]
    return Spec(x.shape, x.dtype), Spec(x.shape, I8)


def _sort_reference(arrays, params, spec):
    order = np.argsort(arrays[0], axis=-1, kind="stable")
    return [np.take_along_axis(arrays[0], order, -1), order]


def along_last(x: Value, index: Value) -> Value:
    """x[..., index] with an index of x's rank for the last axis."""
    where = [iota(x, index.shape, a) for a in range(x.ndim - 1)]
    return gather(x, [*where, index])


def _sort_jvp(tangents, args, outs, params):
    return [along_last(tangents[0], outs[1]), None]


def _sort_batch(args, batched, size, params):
    return sort(args[0])


def _sort_scratch(specs, params):
    """Keys and order, twice: a merge goes from one to the other."""
    shape = specs[0].shape
    return [Spec(shape, I8)] * 3


register(
    Op("sort", "linearised", _infer_sort, _sort_reference, arity=1, jvp=_sort_jvp,
       batch=_sort_batch, lowering="routine", scratch=_sort_scratch, cost=400)
)  # fmt: skip


def sort(x: Value) -> list[Value]:
    """The sorted elements along the last axis, and their order."""
    return picks(x, x.builder.add("sort", [x.id]))


# -- searchsorted --------------------------------------------------------------------------------
def _search_reference(arrays, params, spec):
    a, v = arrays
    flat_a, flat_v = a.reshape(-1, a.shape[-1]), v.reshape(size_of(a.shape[:-1]), -1)
    out = [np.searchsorted(p, q, params["side"]) for p, q in zip(flat_a, flat_v, strict=True)]
    return np.asarray(out, I8).reshape(v.shape)


# a: (batch..., n), sorted; v: (batch..., anything).
register(
    Op("searchsorted", "opaque", lambda specs, params: Spec(specs[1].shape, I8), _search_reference,
       arity=2, batch=batch_by_repeating("searchsorted"), lowering="routine", cost=100)
)  # fmt: skip


# -- correlate -----------------------------------------------------------------------------------
def _infer_correlate(specs, params):
    a, v = specs
    assert len(a.shape) == len(v.shape) and all(map(same_dim, a.shape[:-1], v.shape[:-1]))
    return Spec((*a.shape[:-1], a.shape[-1] - v.shape[-1] + 1), a.dtype)


def _correlate_reference(arrays, params, spec):
    a, v = arrays
    out = np.zeros(spec.shape, spec.dtype)
    for k in range(v.shape[-1]):
        out += a[..., k : k + spec.shape[-1]] * v[..., k : k + 1]
    return out


def correlate(a: Value, v: Value) -> Value:
    """out[..., i] = sum over k of a[..., i + k] v[..., k]; a is at least as long as v."""
    return add(a, "correlate", [a, v])


def padded(x: Value, before, after) -> Value:
    """x with zeros at both ends of the last axis."""
    n = x.shape[-1]
    start = (0,) * (x.ndim - 1) + (before,)
    return embed(x, start, (1,) * x.ndim, (*x.shape[:-1], n + before + after))


def reversed_last(x: Value) -> Value:
    """x backward along the last axis."""
    n = x.shape[-1]
    return add(x, "slice", [x], start=(0,) * (x.ndim - 1) + (n - 1,), shape=x.shape,
               step=(1,) * (x.ndim - 1) + (-1,))  # fmt: skip


def _correlate_transpose(ct, i, args, specs, params):
    if i == 1:
        return correlate(args[0], ct)
    m = specs[1].shape[-1]
    return correlate(padded(ct, m - 1, m - 1), reversed_last(args[1]))


register(
    Op("correlate", "bilinear", _infer_correlate, _correlate_reference, arity=2,
       transpose=_correlate_transpose, batch=batch_by_repeating("correlate"),
       lowering="routine", cost=20)
)  # fmt: skip


def last(x: Value, axis: int) -> Value:
    """x with one axis moved to the end."""
    return transpose(x, [*[a for a in range(x.ndim) if a != axis], axis])


def back_from_last(x: Value, axis: int) -> Value:
    """x with the last axis moved to a place."""
    order = list(range(x.ndim - 1))
    order.insert(axis, x.ndim - 1)
    return transpose(x, order)
