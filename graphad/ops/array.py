"""Structural operations: each moves or repeats elements, is linear, and declares its transpose.

`broadcast` and `sum` are each other's transpose; so are `slice` and `embed`, `gather` and
`scatter_add`. `reshape`, `transpose` and `cumsum` are transposed by themselves.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from graphad.errors import ShapeError
from graphad.op import Op, register
from graphad.ops.value import Value, add, broadcast, const, full, reshape, select
from graphad.spec import Spec, is_static, same_dim, size_of


def structural(name, infer, reference, transpose, batch, family="linear", **more):
    """Declare an operation that is linear in its first argument (or in those listed)."""
    return register(
        Op(
            name=name,
            family=family,
            infer=infer,
            reference=reference,
            transpose=transpose,
            batch=batch,
            **more,
        )
    )


def _with_shape(specs, params):
    return Spec(tuple(params["shape"]), specs[0].dtype, False)


# -- reshape, transpose, broadcast, sum ----------------------------------------------------------
structural(
    "reshape",
    lambda specs, params: Spec(tuple(params["shape"]), specs[0].dtype, specs[0].weak),
    lambda arrays, params, spec: np.reshape(arrays[0], spec.shape),
    lambda ct, i, args, specs, params: reshape(ct, specs[0].shape),
    lambda args, batched, size, params: reshape(args[0], (size, *params["shape"])),
    lowering="view",
)


def transpose(x: Value, perm) -> Value:
    """Axes of x in the order `perm`."""
    perm = tuple(perm)
    if perm == tuple(range(x.ndim)):
        return x
    return add(x, "transpose", [x], perm=perm)


def _infer_transpose(specs, params):
    shape = specs[0].shape
    return Spec(tuple(shape[p] for p in params["perm"]), specs[0].dtype, specs[0].weak)


structural(
    "transpose",
    _infer_transpose,
    lambda arrays, params, spec: np.transpose(arrays[0], params["perm"]),
    lambda ct, i, args, specs, params: transpose(ct, np.argsort(params["perm"]).tolist()),
    lambda args, batched, size, params: transpose(args[0], (0, *[p + 1 for p in params["perm"]])),
    lowering="view",
)


def _broadcast_reference(arrays, params, spec):
    shape = [1] * len(spec.shape)
    for a, d in zip(params["axes"], arrays[0].shape, strict=True):
        shape[a] = d
    return np.broadcast_to(np.reshape(arrays[0], shape), spec.shape).copy()


def _broadcast_transpose(ct, i, args, specs, params):
    kept = params["axes"]
    return total(ct, [a for a in range(ct.ndim) if a not in kept])


structural(
    "broadcast",
    lambda specs, params: Spec(tuple(params["shape"]), specs[0].dtype, specs[0].weak),
    _broadcast_reference,
    _broadcast_transpose,
    lambda args, batched, size, params: broadcast(
        args[0], (size, *params["shape"]), (0, *[a + 1 for a in params["axes"]])
    ),
    lowering="view",
)


def total(x: Value, axes) -> Value:
    """Sum over the given axes, which are dropped."""
    axes = tuple(sorted(axes))
    if not axes:
        return x
    return add(x, "sum", [x], axes=axes)


def without(shape, axes):
    """The shape with some axes dropped."""
    return tuple(d for a, d in enumerate(shape) if a not in axes)


def _infer_reduce(specs, params):
    return Spec(without(specs[0].shape, params["axes"]), specs[0].dtype)


def _batch_axes(name):
    return lambda args, batched, size, params: add(
        args[0], name, args, **{**params, "axes": tuple(a + 1 for a in params["axes"])}
    )


def back(x: Value, shape, axes) -> Value:
    """Undo the dropping of axes by repetition."""
    return broadcast(x, shape, [a for a in range(len(shape)) if a not in axes])


structural(
    "sum",
    _infer_reduce,
    lambda arrays, params, spec: np.asarray(
        np.sum(arrays[0], axis=params["axes"], dtype=spec.dtype)
    ),
    lambda ct, i, args, specs, params: back(ct, specs[0].shape, params["axes"]),
    _batch_axes("sum"),
    lowering="reduce",
)


# -- slice and embed -----------------------------------------------------------------------------
def cut(x: Value, start, shape, step=None) -> Value:
    """Elements start + step*i of each axis; `shape` is the result's."""
    step = (1,) * x.ndim if step is None else tuple(step)
    start, shape = tuple(start), tuple(shape)
    if shape == x.shape and all(s == 1 for s in step):
        return x
    if x.builder.nodes[x.id].op.name == "const":
        return const(x, x.builder.nodes[x.id].param("value"), Spec(shape, x.dtype))
    return add(x, "slice", [x], start=start, step=step, shape=shape)


def embed(x: Value, start, step, shape) -> Value:
    """Zeros of `shape` with x at start + step*i."""
    start, step, shape = tuple(start), tuple(step), tuple(shape)
    if shape == x.shape and all(s == 1 for s in step):
        return x
    return add(x, "embed", [x], start=start, step=step, shape=shape)


def positions(start, step, shape):
    """The NumPy index of the elements start + step*i."""
    return np.ix_(*[s + t * np.arange(n) for s, t, n in zip(start, step, shape, strict=True)])


def _embed_reference(arrays, params, spec):
    out = np.zeros(spec.shape, spec.dtype)
    out[positions(params["start"], params["step"], arrays[0].shape)] = arrays[0]
    return out


structural(
    "slice",
    _with_shape,
    lambda arrays, params, spec: arrays[0][positions(params["start"], params["step"], spec.shape)],
    lambda ct, i, args, specs, params: embed(ct, params["start"], params["step"], specs[0].shape),
    lambda args, batched, size, params: cut(
        args[0], (0, *params["start"]), (size, *params["shape"]), (1, *params["step"])
    ),
    lowering="view",
)
structural(
    "embed",
    _with_shape,
    _embed_reference,
    lambda ct, i, args, specs, params: cut(ct, params["start"], specs[0].shape, params["step"]),
    lambda args, batched, size, params: embed(
        args[0], (0, *params["start"]), (1, *params["step"]), (size, *params["shape"])
    ),
    lowering="place",
)


# -- concatenate ---------------------------------------------------------------------------------
def _infer_concatenate(specs, params):
    axis = params["axis"]
    for s in specs[1:]:
        if s.ndim != specs[0].ndim:
            raise ShapeError(
                "concatenate", "numbers of axes differ", expected=str(specs[0].shape),
                got=str(s.shape), fix="reshape the pieces first",
            )  # fmt: skip
    dim = sum((s.shape[axis] for s in specs[1:]), specs[0].shape[axis])
    for s in specs[1:]:
        fits = all(
            same_dim(a, b)
            for k, (a, b) in enumerate(zip(s.shape, specs[0].shape, strict=True))
            if k != axis
        )
        if not fits:
            raise ShapeError(
                "concatenate",
                "shapes differ off the joined axis",
                expected=f"{specs[0].shape} except at axis {axis}",
                got=str(s.shape),
                fix="reshape or broadcast the pieces first",
            )
    shape = specs[0].shape
    return Spec(shape[:axis] + (dim,) + shape[axis + 1 :], specs[0].dtype)


def taken_apart(ct: Value, which, specs, axis) -> list[Value]:
    """The parts of a joined array that its pieces (of these specs) became, of some of them."""
    starts: list[Any] = [0, *itertools.accumulate(s.shape[axis] for s in specs)]
    return [cut(ct, [starts[i] if a == axis else 0 for a in range(ct.ndim)], specs[i].shape)
            for i in which]  # fmt: skip


def _concatenate_batch(args, batched, size, params):
    whole = [
        a if b else broadcast(a, (size, *a.shape), range(1, a.ndim + 1))
        for a, b in zip(args, batched, strict=True)
    ]
    return add(args[0], "concatenate", whole, axis=params["axis"] + 1)


structural(
    "concatenate",
    _infer_concatenate,
    lambda arrays, params, spec: np.concatenate(arrays, axis=params["axis"]),
    lambda ct, i, args, specs, params: taken_apart(ct, [i], specs, params["axis"])[0],
    _concatenate_batch,
    lowering="place",
)


def stack(values, axis=0) -> Value:
    """Join along a new axis, with promotion and NumPy's check of equal shapes.

    Numbers are arrays of their own here, as in NumPy: 1.0 beside a float32 makes float64.
    """
    from graphad.ops.value import arrays_of, promoted

    values = promoted("stack", arrays_of(values, "stack"))
    first = values[0]
    for v in values:
        if len(v.shape) != len(first.shape) or not all(map(same_dim, v.shape, first.shape)):
            raise ShapeError(
                "stack", "shapes differ", expected=str(first.shape), got=str(v.shape),
                fix="make the shapes equal, e.g. by np.broadcast_to",
            )  # fmt: skip
    axis = normalize_axis_index(axis, first.ndim + 1)
    shape = first.shape[:axis] + (1,) + first.shape[axis:]
    return add(first, "concatenate", [reshape(v, shape) for v in values], axis=axis)


# -- cumulative sum ------------------------------------------------------------------------------
def cumsum(x: Value, axis: int, reverse=False) -> Value:
    """Running sum along one axis, from the end when `reverse`."""
    return add(x, "cumsum", [x], axis=axis, reverse=reverse)


def _cumsum_reference(arrays, params, spec):
    x, axis = arrays[0], params["axis"]
    if params["reverse"]:
        return np.flip(np.cumsum(np.flip(x, axis), axis, dtype=spec.dtype), axis)
    return np.cumsum(x, axis, dtype=spec.dtype)


structural(
    "cumsum",
    lambda specs, params: Spec(specs[0].shape, specs[0].dtype),
    _cumsum_reference,
    lambda ct, i, args, specs, params: cumsum(ct, params["axis"], not params["reverse"]),
    lambda args, batched, size, params: cumsum(args[0], params["axis"] + 1, params["reverse"]),
    lowering="scan",
)


# -- gather and scatter --------------------------------------------------------------------------
def gather(x: Value, indices) -> Value:
    """x[i0, i1, ...] for integer arrays of equal shape over the first axes; bounds are checked."""
    return add(x, "gather", [x, *indices])


def scatter_add(ct: Value, indices, shape) -> Value:
    """Zeros of `shape` to which ct is added at the indices; the transpose of `gather`."""
    return add(ct, "scatter_add", [ct, *indices], shape=tuple(shape))


def _infer_gather(specs, params):
    return Spec(specs[1].shape + specs[0].shape[len(specs) - 1 :], specs[0].dtype)


def _scatter_add_reference(arrays, params, spec):
    out = np.zeros(spec.shape, spec.dtype)
    np.add.at(out, tuple(arrays[1:]), arrays[0])
    return out


def iota(like: Value, shape, axis, dtype="i8") -> Value:
    """The index along one axis, as an array; along None, the number of the element."""
    node = like.builder.add("iota", (), Spec(tuple(shape), np.dtype(dtype)), axis=axis)
    return type(like)(like.builder, node)


def _repeat_first(x, size):
    return broadcast(x, (size, *x.shape), range(1, x.ndim + 1))


def _gather_batch(args, batched, size, params):
    x, *indices = args
    if not batched[0]:
        grown = [
            i if b else _repeat_first(i, size) for i, b in zip(indices, batched[1:], strict=True)
        ]
        return gather(x, grown)
    if not any(batched[1:]):
        k = len(indices)
        moved = transpose(x, (*range(1, k + 1), 0, *range(k + 1, x.ndim)))
        out = gather(moved, indices)
        n = indices[0].ndim
        return transpose(out, (n, *range(n), *range(n + 1, out.ndim)))
    grown = [i if b else _repeat_first(i, size) for i, b in zip(indices, batched[1:], strict=True)]
    return gather(x, [iota(x, grown[0].shape, 0), *grown])


def _scatter_add_batch(args, batched, size, params):
    ct, *indices = args
    ct = ct if batched[0] else _repeat_first(ct, size)
    grown = [i if b else _repeat_first(i, size) for i, b in zip(indices, batched[1:], strict=True)]
    return scatter_add(ct, [iota(ct, grown[0].shape, 0), *grown], (size, *params["shape"]))


structural(
    "gather",
    _infer_gather,
    lambda arrays, params, spec: np.asarray(arrays[0][tuple(arrays[1:])]),
    lambda ct, i, args, specs, params: scatter_add(ct, args[1:], specs[0].shape),
    _gather_batch,
    linear_args=(0,),
    lowering="gather",
)
structural(
    "scatter_add",
    _with_shape,
    _scatter_add_reference,
    lambda ct, i, args, specs, params: gather(ct, args[1:]),
    _scatter_add_batch,
    linear_args=(0,),
    lowering="scatter",
)


def _scatter_set_reference(arrays, params, spec):
    out = np.array(arrays[0])
    x, index = np.asarray(arrays[1]), np.asarray(arrays[2])
    for k in range(index.size):
        out[index[k]] = x[k]
    return out


def scatter_set(x: Value, v: Value, index: Value) -> Value:
    """A copy of the vector x with x[index] = v; of equal indices the last wins."""
    return add(x, "scatter_set", [x, v, index])


def _scatter_set_transpose(ct, i, args, specs, params):
    index = args[2]
    if i == 0:
        return scatter_set(ct, full(ct, 0, index.shape), index)
    order = iota(ct, index.shape, 0)
    written = scatter_set(full(ct, -1, ct.shape, "i8"), order, index)
    return select(gather(written, [index]) == order, gather(ct, [index]), 0.0)


def _scatter_set_batch(args, batched, size, params):
    x, v, index = [a if b else _repeat_first(a, size) for a, b in zip(args, batched, strict=True)]
    n = x.shape[1]
    wrapped = select(index < 0, index + n, index)
    flat = reshape(wrapped + iota(x, wrapped.shape, 0) * n, (size_of(wrapped.shape),))
    out = scatter_set(reshape(x, (size_of(x.shape),)), reshape(v, flat.shape), flat)
    return reshape(out, x.shape)


structural(
    "scatter_set",
    lambda specs, params: Spec(specs[0].shape, specs[0].dtype),
    _scatter_set_reference,
    _scatter_set_transpose,
    _scatter_set_batch,
    linear_args=(0, 1),
    lowering="scatter",
)

# -- sources -------------------------------------------------------------------------------------


def _const_reference(arrays, params, spec):
    return np.full(spec.shape, params["value"], spec.dtype)


def _iota_reference(arrays, params, spec):
    if params["axis"] is None:
        return np.arange(size_of(spec.shape), dtype=spec.dtype).reshape(spec.shape)
    index = np.arange(spec.shape[params["axis"]], dtype=spec.dtype)
    shape = [1] * len(spec.shape)
    shape[params["axis"]] = -1
    return np.broadcast_to(index.reshape(shape), spec.shape).copy()


for _name, _reference in (
    ("const", _const_reference),
    ("iota", _iota_reference),
    ("input", None),
    ("captured", None),
):
    register(
        Op(_name, "source", lambda specs, params: None, _reference, lowering=_name)  # type: ignore
    )


register(
    # A symbolic dim as a number; weak, as a Python integer is.
    Op("dim", "source", lambda specs, params: Spec((), np.dtype("i8"), True),
       lambda arrays, params, spec: np.asarray(params["value"]), lowering="dim")
)  # fmt: skip


def require_static(operation, shape):
    """An error when a shape has symbolic dims."""
    if not is_static(shape):
        from graphad.spec import _needs_number

        raise _needs_number(next(d for d in shape if not isinstance(d, int)), operation)
