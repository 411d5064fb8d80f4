"""NumPy's shape functions, composed from the structural primitives."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from graphad.errors import DTypeError, ShapeError
from graphad.ops import array, indexing
from graphad.ops.array import cut, embed, iota, require_static, transpose
from graphad.ops.value import (
    Value,
    _first_value,
    add,
    broadcast,
    convert,
    full,
    lift,
    promoted,
    public,
    select,
)
from graphad.ops.value import broadcast_to as broadcast_value
from graphad.ops.value import reshape as reshape_value
from graphad.spec import Dim, size_of


def value(x, *others) -> Value:
    """x as a Value, its builder found among all of the arguments."""
    return lift(_first_value([x, *others]), x)


def shape_of(shape) -> tuple:
    """A shape argument as a tuple."""
    return tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)


@public(np.reshape, examples=["f(A34, (4, 3))", "f(A34, (2, -1))", "f(A34, -1)"])
def reshape(x, shape, order="C", copy=None):
    """As np.reshape, in C order."""
    x, shape = value(x), shape_of(shape)
    if order not in ("C", "A"):
        axes = tuple(reversed(range(x.ndim)))
        flipped = reshape_value(transpose(x, axes), _resolved(x, shape)[::-1])
        return transpose(flipped, tuple(reversed(range(flipped.ndim))))
    return reshape_value(x, _resolved(x, shape))


def _resolved(x, shape):
    unknown = sum(isinstance(d, int) and d == -1 for d in shape)
    if not unknown:
        return shape
    if unknown > 1:
        raise ShapeError("reshape", "two sizes are unknown", expected="one -1", got=str(shape),
                         fix="write the others")  # fmt: skip
    known: Any = size_of([d for d in shape if isinstance(d, Dim) or d != -1])
    if isinstance(known, int) and isinstance(x.size, int) and (known == 0 or x.size % known):
        raise ShapeError(
            "reshape", "the elements do not divide into this shape",
            expected=f"sizes whose product divides {x.size}", got=str(shape),
            fix="check the sizes beside -1",
        )  # fmt: skip
    return tuple(x.size // known if isinstance(d, int) and d == -1 else d for d in shape)


@public(np.ravel, examples=["f(A34)"])
def ravel(x, order="C"):
    """As np.ravel."""
    return reshape(x, -1, order)


@public(np.transpose, np.permute_dims, examples=["f(A34)", "f(A234, (1, 2, 0))"])
def permute(x, axes=None):
    """As np.transpose."""
    x = value(x)
    axes = range(x.ndim)[::-1] if axes is None else normalize_axis_tuple(axes, x.ndim)
    return transpose(x, axes)


@public(np.matrix_transpose, examples=["f(A234)"])
def matrix_transpose(x):
    """The last two axes swapped."""
    return swapaxes(x, -1, -2)


@public(np.swapaxes, examples=["f(A234, 0, 2)"])
def swapaxes(x, axis1, axis2):
    """As np.swapaxes."""
    x = value(x)
    axes = list(range(x.ndim))
    a, b = normalize_axis_index(axis1, x.ndim), normalize_axis_index(axis2, x.ndim)
    axes[a], axes[b] = axes[b], axes[a]
    return transpose(x, axes)


@public(np.moveaxis, examples=["f(A234, 0, -1)", "f(A234, (0, 1), (2, 0))"])
def moveaxis(x, source, destination):
    """As np.moveaxis."""
    x = value(x)
    src = normalize_axis_tuple(source, x.ndim)
    dst = normalize_axis_tuple(destination, x.ndim)
    order = [a for a in range(x.ndim) if a not in src]
    for d, s in sorted(zip(dst, src, strict=True)):
        order.insert(d, s)
    return transpose(x, order)


@public(np.expand_dims, examples=["f(A34, 1)", "f(A34, (0, -1))"])
def expand_dims(x, axis):
    """As np.expand_dims."""
    x = value(x)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = normalize_axis_tuple(axes, x.ndim + len(axes))
    kept = iter(x.shape)
    return reshape_value(x, [1 if a in axes else next(kept) for a in range(x.ndim + len(axes))])


@public(np.squeeze, examples=["f(A34[:1])", "f(A34[:, :1], axis=1)"])
def squeeze(x, axis=None):
    """As np.squeeze."""
    x = value(x)
    if axis is None:
        return reshape_value(x, [d for d in x.shape if not (isinstance(d, int) and d == 1)])
    axes = normalize_axis_tuple(axis, x.ndim)
    for a in axes:
        if x.shape[a] != 1:
            raise ShapeError(
                "squeeze", f"axis {a} is not of size 1", expected="1", got=str(x.shape[a]),
                fix="squeeze only axes of size 1",
            )  # fmt: skip
    return reshape_value(x, array.without(x.shape, axes))


@public(np.broadcast_to, examples=["f(A4, (3, 4))", "f(A34[:, :1], (3, 5))"])
def broadcast_to(x, shape, subok=False):
    """As np.broadcast_to."""
    return broadcast_value(value(x), shape_of(shape))


@public(
    np.concatenate,
    examples=["f([A34, A34 * 2])", "f([A34, A34], axis=1)", "f((A4, A4), axis=None)"],
)
def concatenate(arrays, axis=0, out=None):
    """As np.concatenate."""
    like = _first_value(list(arrays))
    values = promoted("concatenate", [lift(like, a, "concatenate") for a in arrays])
    if axis is None:
        values, axis = [ravel(v) for v in values], 0
    if values[0].ndim == 0:
        raise ShapeError(
            "concatenate", "zero-dimensional arrays cannot be joined", expected="1 axis or more",
            got="a scalar", fix="np.stack",
        )  # fmt: skip
    axis = normalize_axis_index(axis, values[0].ndim)
    return values[0] if len(values) == 1 else add(like, "concatenate", values, axis=axis)


@public(np.stack, examples=["f([A34, A34 * 2])", "f([A34, A34], axis=-1)"])
def stack(arrays, axis=0, out=None):
    """As np.stack."""
    return array.stack(list(arrays), axis)


@public(np.split, examples=["f(A34, 2, axis=1)[1]", "f(A34, [1, 2])[1]"])
def split(x, indices_or_sections, axis=0):
    """As np.split: a list of pieces."""
    x = value(x)
    axis = normalize_axis_index(axis, x.ndim)
    require_static("split", (x.shape[axis],))
    n = x.shape[axis]
    if isinstance(indices_or_sections, (int, np.integer)):
        if n % indices_or_sections:
            raise ShapeError(
                "split", "the axis does not divide into equal pieces",
                expected=f"a divisor of {n}", got=str(indices_or_sections),
                fix="give the places to cut as a list",
            )  # fmt: skip
        step = n // indices_or_sections
        places = [step * k for k in range(1, indices_or_sections)]
    else:
        places = list(indices_or_sections)
    pieces = []
    for a, b in zip([0, *places], [*places, None], strict=True):
        pieces.append(indexing.along(x, axis, slice(a, b)))
    return pieces


@public(np.tile, examples=["f(A34, 2)", "f(A4, (3, 1, 2))"])
def tile(x, reps):
    """As np.tile."""
    x, reps = value(x), shape_of(reps)
    rank = max(len(reps), x.ndim)
    reps = (1,) * (rank - len(reps)) + tuple(reps)
    x = reshape_value(x, (1,) * (rank - x.ndim) + x.shape)
    pairs = [d for r, s in zip(reps, x.shape, strict=True) for d in (r, s)]
    grown = broadcast(x, pairs, range(1, 2 * rank, 2))
    return reshape_value(grown, [r * s for r, s in zip(reps, x.shape, strict=True)])


@public(np.repeat, examples=["f(A34, 2, axis=1)", "f(A34, 3)", "f(A4, [1, 0, 2, 1])"])
def repeat(x, repeats, axis=None):
    """As np.repeat; the counts are numbers."""
    x = value(x)
    if axis is None or (x.ndim == 0 and axis in (0, -1)):
        x, axis = ravel(x), 0
    axis = normalize_axis_index(axis, x.ndim)
    if isinstance(repeats, (int, np.integer)):
        shape = (*x.shape[: axis + 1], int(repeats), *x.shape[axis + 1 :])
        grown = broadcast(x, shape, [a for a in range(x.ndim + 1) if a != axis + 1])
        merged = (*x.shape[:axis], x.shape[axis] * int(repeats), *x.shape[axis + 1 :])
        return reshape_value(grown, merged)
    require_static("repeat", (x.shape[axis],))
    return take(x, np.repeat(np.arange(x.shape[axis]), repeats), axis)


@public(np.take, examples=["f(A34, K3, axis=0)", "f(A34, [[0, -1], [2, 1]], axis=1)", "f(A34, 5)"])
def take(x, indices, axis=None, out=None):
    """As np.take; indices out of bounds are an error."""
    x = value(x, indices)
    if axis is None:
        x, axis = ravel(x), 0
    axis = normalize_axis_index(axis, x.ndim)
    if not isinstance(indices, (Value, int, np.integer)):
        indices = np.asarray(indices)
    return indexing.along(x, axis, indices)


@public(np.roll, examples=["f(A34, 1)", "f(A34, -1, axis=1)", "f(A34, (1, 2), axis=(0, 1))"])
def roll(x, shift, axis=None):
    """As np.roll."""
    x = value(x)
    if axis is None:
        return reshape_value(roll(ravel(x), shift, 0), x.shape)
    axes = normalize_axis_tuple(axis, x.ndim, allow_duplicate=True)
    shifts = shape_of(shift) * (len(axes) if len(shape_of(shift)) == 1 else 1)
    for s, a in zip(shifts, axes, strict=True):
        require_static("roll", (x.shape[a],))
        n = x.shape[a]
        if n and s % n:
            key = (slice(None),) * a
            tail = indexing.index(x, (*key, slice(n - s % n, None)))
            x = concatenate([tail, indexing.index(x, (*key, slice(None, n - s % n)))], axis=a)
    return x


@public(np.flip, examples=["f(A34)", "f(A34, axis=1)"])
def flip(x, axis=None):
    """As np.flip."""
    x = value(x)
    axes = range(x.ndim) if axis is None else normalize_axis_tuple(axis, x.ndim)
    start = [d - 1 if a in axes else 0 for a, d in enumerate(x.shape)]
    if any(isinstance(d, int) and d == 0 for d in x.shape):
        return x
    return cut(x, start, x.shape, [-1 if a in axes else 1 for a in range(x.ndim)])


TABLE_FLIPS = {np.fliplr: 1, np.flipud: 0}
for _f, _axis in TABLE_FLIPS.items():
    public(_f)(lambda x, _axis=_axis: flip(x, _axis))


@public(
    np.pad,
    examples=[
        "f(A34, 1)", "f(A34, ((0, 1), (2, 0)), constant_values=3.0)", "f(A34, 1, mode='edge')",
        "f(A34, 1, mode='reflect')", "f(A34, ((1, 1), (0, 0)), 'wrap')",
    ],
)  # fmt: skip
def pad(x, pad_width, mode: Any = "constant", constant_values=0):
    """As np.pad with mode constant, edge, reflect, symmetric or wrap."""
    x = value(x)
    widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2)).tolist()
    if mode != "constant":
        require_static("pad", x.shape)
        for a, (low, high) in enumerate(widths):
            if low or high:
                x = take(x, np.pad(np.arange(x.shape[a]), (low, high), mode=mode), axis=a)
        return x
    shape = [low + d + high for d, (low, high) in zip(x.shape, widths, strict=True)]
    start, step = [low for low, _ in widths], (1,) * x.ndim
    if not isinstance(constant_values, (int, float)):
        sides = constant_values
        for a, (low, high) in enumerate(widths):
            fill = np.broadcast_to(np.asarray(sides), (x.ndim, 2))[a]
            ends = [
                full(x, f, x.shape[:a] + (n,) + x.shape[a + 1 :])
                for f, n in zip(fill.tolist(), (low, high), strict=True)
            ]
            x = concatenate([ends[0], x, ends[1]], axis=a)
        return x
    placed = embed(x, start, step, shape)
    if constant_values == 0:
        return placed
    inside = embed(full(x, 1, dtype="f8"), start, step, shape)
    return select(inside != 0.0, placed, full(x, constant_values, shape))


@public(np.diagonal, examples=["f(A34)", "f(A34, -1)", "f(A234, 0, 1, 2)"])
def diagonal(x, offset=0, axis1=0, axis2=1):
    """As np.diagonal."""
    x = moveaxis(value(x), (axis1, axis2), (-2, -1))
    n, m = x.shape[-2:]
    if offset >= 0:
        start, count = offset, _least(n, m - offset)
    else:
        start, count = -offset * m, _least(n + offset, m)
    flat = reshape_value(x, (*x.shape[:-2], n * m))
    none = [0] * (x.ndim - 2)
    if not isinstance(count, int) or count > 0:
        return cut(flat, [*none, start], [*x.shape[:-2], count], [*[1 for _ in none], m + 1])
    return cut(flat, [*none, 0], [*x.shape[:-2], 0], [1] * (len(none) + 1))


def _least(a, b):
    if a == b:
        return a
    require_static("diagonal", (a, b))
    return max(0, min(a, b))


@public(np.diag, examples=["f(A4)", "f(A4, 1)", "f(A34)", "f(A34, -1)"])
def diag(x, k=0):
    """As np.diag: a diagonal matrix of a vector, or the diagonal of a matrix."""
    x = value(x)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError("diag", "takes a vector or a matrix", expected="1 or 2 axes",
                         got=f"{x.ndim}", fix="np.diagonal with axis1 and axis2")  # fmt: skip
    n = x.shape[0] + abs(k)
    first = k if k >= 0 else -k * n
    return reshape_value(embed(x, (first,), (n + 1,), (n * n,)), (n, n))


def _triangle(x, k, keep):
    x = value(x)
    if x.ndim == 0:
        raise DTypeError("np.tril", "a number has no triangle", expected="1 axis or more",
                         got="a number", fix="np.tril of a matrix")  # fmt: skip
    if x.ndim == 1:
        x = broadcast(x, (x.shape[0], x.shape[0]), (1,))
    rows, columns = (iota(x, x.shape, x.ndim - 2), iota(x, x.shape, x.ndim - 1))
    return select(keep(columns - rows, k), x, full(x, 0))


@public(np.tril, examples=["f(A34)", "f(A34, -1)"])
def tril(m, k=0):
    """As np.tril."""
    return _triangle(m, k, lambda d, k: d <= k)


@public(np.triu, examples=["f(A34)", "f(A34, 1)"])
def triu(m, k=0):
    """As np.triu."""
    return _triangle(m, k, lambda d, k: d >= k)


@public(np.empty_like)
@public(np.zeros_like, examples=["f(A34)"])
def zeros_like(a, dtype=None, order="K", subok=True, shape=None):
    """As np.zeros_like."""
    return full(value(a), 0, shape, dtype)


@public(np.ones_like, examples=["f(A34)"])
def ones_like(a, dtype=None, order="K", subok=True, shape=None):
    """As np.ones_like."""
    return full(value(a), 1, shape, dtype)


@public(np.full_like, examples=["f(A34, 2.5)"])
def full_like(a, fill_value, dtype=None, order="K", subok=True, shape=None):
    """As np.full_like, also for a traced fill value."""
    like = _first_value([a, fill_value])
    shape = np.shape(a) if shape is None and not isinstance(a, Value) else shape
    shape = a.shape if shape is None else shape_of(shape)
    dtype = (a.dtype if isinstance(a, (Value, np.ndarray)) else None) if dtype is None else dtype
    return broadcast_value(convert(lift(like, fill_value), dtype or like.dtype), shape)


@public(np.linspace, examples=["f(A4[0], 2.0, 5)", "f(0.0, A4, 3)"])
def linspace(start, stop, num=50, endpoint=True, retstep=False, axis=0):
    """As np.linspace, for traced ends."""
    a, b = promoted("linspace", [start, stop], "float")
    parts = max(num - 1 if endpoint else num, 1)
    shape = broadcast_value(a, (a + b).shape).shape
    t = np.arange(num).reshape((num,) + (1,) * len(shape)) / parts
    a, b = broadcast_value(a, shape), broadcast_value(b, shape)
    out = a + convert(lift(a, t), a.dtype) * (b - a)
    out = out if axis == 0 else moveaxis(out, 0, axis)
    return (out, (b - a) / parts) if retstep else out


@public(np.atleast_1d)
def atleast_1d(x):
    """As np.atleast_1d of one array."""
    return reshape_value(value(x), (1,)) if value(x).ndim == 0 else value(x)


@public(np.copy)
def copy(a, order="K", subok=False):
    """As np.copy: values never change, so this is `a`."""
    return value(a)


@public(np.shape)
def shape(a):
    """The shape of a traced value."""
    return value(a).shape


@public(np.ndim)
def ndim(a):
    """The number of axes of a traced value."""
    return value(a).ndim


@public(np.size)
def size(a, axis=None):
    """The number of elements of a traced value."""
    return value(a).size if axis is None else value(a).shape[axis]


@public(np.result_type)
def result_type(*args):
    """The promoted dtype."""
    like = _first_value(args)
    from graphad.spec import Spec, promote

    return promote(
        *[
            Spec((), np.dtype(a)) if isinstance(a, (type, np.dtype, str)) else lift(like, a).spec
            for a in args
        ]
    )
