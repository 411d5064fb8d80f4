"""Cotangents added up: what comes from many parts of one array is put side by side at once.

One after another, n parts would be joined n times.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

from graphad.ops.array import embed
from graphad.ops.value import Value, add
from graphad.spec import is_static

MANY = 16  # fewer are added one by one, and rewriting joins those that are neighbours
Part = tuple[tuple[int, ...], Value]  # where in the array it starts


def added(parts: Sequence[Value]) -> Value:
    """The sum of these values."""
    if len(parts) > MANY:
        parts = _side_by_side(parts)
    return functools.reduce(operator.add, parts)


def _side_by_side(values: Sequence[Value]) -> list[Value]:
    """Fewer values of the same sum: padded parts that are neighbours are joined, axis by axis."""
    rest: list[Value] = []
    parts: list[Part] = []
    for value in values:
        node = value.builder.nodes[value.id]
        if node.op.name == "embed" and _plain(value, node):
            parts.append((node.param("start"), type(value)(value.builder, node.args[0])))
        else:
            rest.append(value)
    shape = values[0].shape
    for axis in reversed(range(len(shape))):
        parts = _joined(parts, axis)
    return rest + [embed(x, start, (1,) * len(shape), shape) for start, x in parts]


def _plain(value: Value, node) -> bool:
    """Whether a padded array lies in one piece, at a place that is known."""
    inner = value.builder.nodes[node.args[0]].spec
    known = is_static(node.param("start")) and is_static(inner.shape) and is_static(value.shape)
    return known and all(s == 1 for s in node.param("step")) and 0 not in inner.shape


def _joined(parts: Sequence[Part], axis: int) -> list[Part]:
    """Parts of the same elements added up, and neighbours along an axis joined."""
    lines: dict[tuple, dict[tuple[int, int], Value]] = {}
    for start, x in parts:
        others = tuple((s, d) for a, (s, d) in enumerate(zip(start, x.shape, strict=True))
                       if a != axis)  # fmt: skip
        line = lines.setdefault(others, {})
        place = (start[axis], start[axis] + x.shape[axis])
        line[place] = line[place] + x if place in line else x
    found: list[Part] = []
    for others, line in lines.items():
        runs: list[tuple[int, list[Value]]] = []
        end = None
        for (low, high), x in sorted(line.items(), key=lambda item: item[0]):
            if low != end:
                runs.append((low, []))
            runs[-1][1].append(x)
            end = high
        for low, run in runs:
            start = [s for s, _ in others]
            start.insert(axis, low)
            whole = run[0] if len(run) == 1 else add(run[0], "concatenate", run, axis=axis)
            found.append((tuple(start), whole))
    return found
