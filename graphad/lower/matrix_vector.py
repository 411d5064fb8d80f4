"""Loops that do nothing but the sums of a product of a matrix and a vector, which are one call."""

from __future__ import annotations

from graphad.lower.program import Loop, Statement


def matrix_and_vector(loop: Loop) -> tuple[Statement, Statement] | None:
    """What a loop multiplies that does nothing but sums of products of the rows of one array with
    one row of another; None where it is anything else."""
    rows, last = len(loop.space) - 2, len(loop.space) - 1
    if rows < 0 or len(loop.stores) != 1 or len(loop.body) > 3:
        return None
    store, found = loop.stores[0], {s.id: s for s in loop.body}
    product = found[store.value]
    if store.reduce != "sum" or store.axes != (last,) or store.in_turn:
        return None
    if product.op != "mul" or product.dtype.kind != "f":
        return None
    x, y = (found[a] for a in product.args)
    if any(s.op != "load" or s.at is None or s.at.strides[-1] != 1 for s in (x, y)):
        return None
    for one, other in ((x, y), (y, x)):
        if other.at is not None and other.at.strides[rows] == 0:
            return one, other
    return None


def columns_of(loop: Loop) -> list[Statement] | None:
    """What a loop adds up that does nothing but sums of rows, each times a number if it is two
    loads; None where it is anything else."""
    rows = len(loop.space) - 2
    if rows < 0 or len(loop.stores) != 1 or len(loop.body) > 3:
        return None
    store, found = loop.stores[0], {s.id: s for s in loop.body}
    value = found[store.value]
    if store.reduce != "sum" or store.axes != (rows,) or value.dtype.kind != "f":
        return None
    if store.at.strides[-1] != 1 or store.in_turn:
        return None
    sides = [value] if value.op == "load" else [found[a] for a in value.args]
    if value.op not in ("load", "mul") or any(s.op != "load" or not s.at for s in sides):
        return None
    sides.sort(key=lambda s: s.at.strides[-1] != 1)  # type: ignore[union-attr]
    inner = [s.at.strides[-1] for s in sides if s.at]
    return sides if inner in ([1], [1, 0]) else None
