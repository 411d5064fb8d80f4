"""Slices of what was put together, and sums of what was padded: without going through the whole.

The zeros of `embed` are padding: adding them changes nothing, not even the sign of a zero.
"""

from __future__ import annotations

from typing import Any

from graphad.ops.array import cut, embed
from graphad.ops.value import Value, add, const
from graphad.spec import Spec


def _source(x: Value):
    return x.builder.nodes[x.id]


def _args(x: Value) -> list[Value]:
    return [Value(x.builder, a) for a in _source(x).args]


def _static(*groups) -> bool:
    return all(isinstance(d, int) for group in groups for d in group)


def taken(x: Value, start, step, shape) -> Value | None:
    """The elements start + step * i of x where x is joined, padded, cut or constant; None where it
    is anything else."""
    node = _source(x)
    name = node.op.name
    if name == "const":
        return const(x, node.param("value"), Spec(shape, x.dtype))
    if not _static(start, step, shape, x.shape) or 0 in shape:
        return None
    if name == "slice":
        (inner,) = _args(x)
        first, by = node.param("start"), node.param("step")
        if not _static(first, by):
            return None
        return cut(inner, [a + b * s for a, b, s in zip(first, by, start, strict=True)], shape,
                   [b * s for b, s in zip(by, step, strict=True)])  # fmt: skip
    if name == "concatenate":
        return _of_joined(x, node, start, step, shape)
    if name == "embed":
        return _of_padded(x, node, start, step, shape)
    if name == "add":
        return _of_sum(x, start, step, shape)
    return None


def _of_joined(x: Value, node, start, step, shape) -> Value | None:
    axis, low = node.param("axis"), 0
    first, last = start[axis], start[axis] + step[axis] * (shape[axis] - 1)
    for piece in _args(x):
        high = low + piece.shape[axis]
        if low <= min(first, last) and max(first, last) < high:
            moved = [s - low if a == axis else s for a, s in enumerate(start)]
            inner = taken(piece, moved, step, shape)
            return cut(piece, moved, shape, step) if inner is None else inner
        low = high
    return None


def _of_padded(x: Value, node, start, step, shape) -> Value | None:
    """Of an array within zeros: a part of it, or zeros."""
    (inner,) = _args(x)
    begin = node.param("start")
    if any(s != 1 for s in node.param("step")) or not _static(begin, inner.shape):
        return None
    moved = []
    for s, by, n, b, size in zip(start, step, shape, begin, inner.shape, strict=True):
        first, last = s - b, s - b + by * (n - 1)
        low, high = min(first, last), max(first, last)
        if high < 0 or low >= size:
            return const(x, 0.0 if x.dtype.kind == "f" else 0, Spec(shape, x.dtype))
        if low < 0 or high >= size:
            return None
        moved.append(first)
    deeper = taken(inner, moved, step, shape)
    return cut(inner, moved, shape, step) if deeper is None else deeper


def _of_sum(x: Value, start, step, shape) -> Value | None:
    """Of a sum in which one side is padding there: of the other side alone."""
    sides = _args(x)
    for side, other in (sides, sides[::-1]):
        if _source(side).op.name not in ("embed", "add"):
            continue
        found = taken(side, start, step, shape)
        if found is not None and _is_padding(found):
            rest = taken(other, start, step, shape)
            return cut(other, start, shape, step) if rest is None else rest
    return None


def _is_padding(x: Value) -> bool:
    node = _source(x)
    return node.op.name == "const" and node.param("value") == 0


def joined(a: Value, b: Value) -> Value | None:
    """The sum of two padded arrays that are neighbours along one axis: them, one after the other,
    padded where they do not fill it."""
    nodes = [_source(v) for v in (a, b)]
    if any(n.op.name != "embed" or any(s != 1 for s in n.param("step")) for n in nodes):
        return None
    inner: list[Any] = [_args(v)[0] for v in (a, b)]
    starts = [n.param("start") for n in nodes]
    if not _static(a.shape, *starts, *[v.shape for v in inner]):
        return None
    if inner[0].dtype != inner[1].dtype or 0 in (inner[0].size, inner[1].size):
        return None
    differ = [ax for ax in range(a.ndim) if starts[0][ax] != starts[1][ax]]
    if len(differ) != 1:
        return None
    axis = differ[0]
    if any(inner[0].shape[k] != inner[1].shape[k] for k in range(a.ndim) if k != axis):
        return None
    order = sorted((0, 1), key=lambda k: starts[k][axis])
    first, second = (inner[k] for k in order)
    if starts[order[0]][axis] + first.shape[axis] != starts[order[1]][axis]:
        return None
    pieces = [piece for v in (first, second) for piece in _pieces(v, axis)]
    whole = add(first, "concatenate", pieces, axis=axis)
    return embed(whole, starts[order[0]], (1,) * a.ndim, a.shape)


def _pieces(x: Value, axis: int) -> list[Value]:
    """What x is joined from along an axis."""
    node = _source(x)
    return _args(x) if node.op.name == "concatenate" and node.param("axis") == axis else [x]
