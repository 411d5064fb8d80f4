"""Slices of what was put together, and sums of what was padded: without going through the whole.

The zeros of `embed` are padding: adding them changes nothing, not even the sign of a zero.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Generator
from typing import Any, NamedTuple

from graphad.ops.array import cut, embed
from graphad.ops.value import Value, add, const
from graphad.spec import Spec

MOST_JOINED = 128  # pieces that are joined one after another: each time all of them
MOST_ASKED = 100  # nodes that one question may lead to, so that work is linear in the graph


class Question(NamedTuple):
    """What the elements start + step * i of a node are."""

    node: int
    start: tuple
    step: tuple
    shape: tuple


Looking = Generator[Question, Value | None, Value | None]


def _source(x: Value):
    return x.builder.nodes[x.id]


def _args(x: Value) -> list[Value]:
    return [Value(x.builder, a) for a in _source(x).args]


def _static(*groups) -> bool:
    return all(isinstance(d, int) for group in groups for d in group)


def taken(x: Value, start, step, shape) -> Value | None:
    """The elements start + step * i of x where x is joined, padded, cut or constant; None where it
    is anything else."""
    answers = x.builder.answers
    first = Question(x.id, tuple(start), tuple(step), tuple(shape))
    if first in answers:
        return answers[first]
    stack = [(first, _looked(x.builder, type(x), first))]
    asked, value = 0, None
    while stack:
        question, looking = stack[-1]
        try:
            wish = looking.send(value)
        except StopIteration as done:
            value = answers[question] = done.value
            stack.pop()
            continue
        value = answers.get(wish)
        if value is None and wish not in answers and asked < MOST_ASKED:
            asked += 1
            stack.append((wish, _looked(x.builder, type(x), wish)))
    return value


def _looked(builder, kind: type[Value], question: Question) -> Looking:
    """The answer to a question, which may ask others."""
    node, start, step, shape = question
    x = kind(builder, node)
    name = builder.nodes[node].op.name
    if name == "const":
        return const(x, builder.nodes[node].param("value"), Spec(shape, x.dtype))
    if not _static(start, step, shape, x.shape) or 0 in shape:
        return None
    if name == "slice":
        return _of_part(x, start, step, shape)
    if name not in RULES:
        return None
    return (yield from RULES[name](x, start, step, shape))


def _deeper(x: Value, start, step, shape) -> Looking:
    """A part of x, from what it is made of if that can be told."""
    found = yield Question(x.id, tuple(start), step, shape)
    return cut(x, start, shape, step) if found is None else found


def _of_part(x: Value, start, step, shape) -> Value | None:
    (inner,) = _args(x)
    first, by = _source(x).param("start"), _source(x).param("step")
    if not _static(first, by):
        return None
    return cut(inner, [a + b * s for a, b, s in zip(first, by, start, strict=True)], shape,
               [b * s for b, s in zip(by, step, strict=True)])  # fmt: skip


def _of_joined(x: Value, start, step, shape) -> Looking:
    node = _source(x)
    axis, ends = node.param("axis"), _ends(x)
    one, other = start[axis], start[axis] + step[axis] * (shape[axis] - 1)
    k = bisect.bisect_right(ends, min(one, other))
    if k == len(ends) or max(one, other) >= ends[k]:
        return None
    low = ends[k - 1] if k else 0
    moved = [s - low if a == axis else s for a, s in enumerate(start)]
    return (yield from _deeper(type(x)(x.builder, node.args[k]), moved, step, shape))


def _ends(x: Value) -> list[int]:
    """Where each piece of a joined array ends."""
    known = x.builder.answers
    key = ("ends", x.id)
    if key not in known:
        node, nodes = _source(x), x.builder.nodes
        sizes = (nodes[a].spec.shape[node.param("axis")] for a in node.args)
        known[key] = list(itertools.accumulate(sizes))
    return known[key]


def _of_padded(x: Value, start, step, shape) -> Looking:
    """Of an array within zeros: a part of it, or zeros."""
    (inner,) = _args(x)
    begin = _source(x).param("start")
    if any(s != 1 for s in _source(x).param("step")) or not _static(begin, inner.shape):
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
    return (yield from _deeper(inner, moved, step, shape))


def _of_sum(x: Value, start, step, shape) -> Looking:
    """Of a sum in which one side is padding there: of the other side alone."""
    sides = _args(x)
    for side, other in (sides, sides[::-1]):
        if _source(side).op.name not in ("embed", "add"):
            continue
        found = yield Question(side.id, start, step, shape)
        if found is not None and _is_padding(found):
            return (yield from _deeper(other, start, step, shape))
    return None


RULES = {"concatenate": _of_joined, "embed": _of_padded, "add": _of_sum}


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
    if len(pieces) > MOST_JOINED:
        return None
    whole = add(first, "concatenate", pieces, axis=axis)
    return embed(whole, starts[order[0]], (1,) * a.ndim, a.shape)


def _pieces(x: Value, axis: int) -> list[Value]:
    """What x is joined from along an axis."""
    node = _source(x)
    return _args(x) if node.op.name == "concatenate" and node.param("axis") == axis else [x]
