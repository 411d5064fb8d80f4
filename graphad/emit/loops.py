"""Loops made ready to be written: axes merged or dropped, short inner ones unrolled."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from graphad.emit.target import Target
from graphad.lower.order import in_order, start_of
from graphad.lower.program import CHUNKED, STEP, Affine, Loop, Statement, Store
from graphad.ops.work import LONG

ARGS = ("argmax", "argmin")
SHORTEST_UNROLLED, LONGEST_UNROLLED = 2, 16  # points of an inner axis
MOST_STATEMENTS = 400
VECTOR = 64  # bytes
MOST_LONG = 16  # times that long arithmetic may be written out
# Vectors that a sum of rows has at most to stay in registers, of 32 and of 16.
IN_REGISTERS = {512: 16, 256: 8, 128: 8}
TILES = (8, 10, 12, 5, 4)  # points of a tile, the first that divides
FEWEST_TILED = 4096


def simplified(loop: Loop, rows: bool = False) -> Loop:
    """The same nest without axes of size 1, adjacent axes merged where every index allows.

    `rows`: the outermost axis stays as it is, with at least one inside it.
    """
    indices = [s.at for s in loop.body if s.at is not None] + [s.at for s in loop.stores]
    kept_apart = {a for s in loop.stores for a in s.axes} | (
        {loop.sequential} if loop.sequential >= 0 else set()
    )
    ordered = {a for s in loop.stores if s.reduce in (*ARGS, "scan") for a in s.axes}
    groups: list[list[int]] = []
    for a, dim in enumerate(loop.space):
        kept = a in ordered or (rows and a == 0)
        if isinstance(dim, int) and dim == 1 and not kept:
            continue
        last = groups[-1][-1] if groups else None
        if (
            last is not None
            and last not in kept_apart
            and not (rows and last == 0)
            and a not in kept_apart
            and all(at.strides[last] == at.strides[a] * dim for at in indices)
        ):
            groups[-1].append(a)
        else:
            groups.append([a])
    groups.sort(key=lambda g: g[0] in ordered)  # a running axis goes innermost
    place = {a: i for i, g in enumerate(groups) for a in g}
    space = []
    for g in groups:
        size: Any = 1
        for a in g:
            size = size * loop.space[a]
        space.append(size)

    def moved(at: Affine | None):
        return None if at is None else Affine(at.offset, tuple(at.strides[g[-1]] for g in groups))

    body = tuple(replace(s, at=moved(s.at)) for s in loop.body)
    stores = tuple(
        replace(s, at=moved(s.at), axes=tuple(sorted({place[a] for a in s.axes if a in place})))
        for s in loop.stores
    )
    sequential = place.get(loop.sequential, -1)
    made = Loop(tuple(space), body, stores, loop.where, sequential)
    return _with_inner(made) if rows and len(space) == 1 else made


def _with_inner(loop: Loop) -> Loop:
    """A loop over one axis with an inner one of size 1."""

    def wider(at: Affine | None):
        return None if at is None else Affine(at.offset, (*at.strides, 0))

    body = tuple(replace(s, at=wider(s.at)) for s in loop.body)
    stores = tuple(replace(s, at=wider(s.at), axes=(0, 1) if s.axes else ()) for s in loop.stores)
    return Loop((*loop.space, 1), body, stores, loop.where)


def unrolled(loop: Loop, keep: int = 0, totals: bool = False) -> Loop:
    """The loop without its innermost axis, whose points are written out, where it is short.

    Then the axis before, of at least as many points, can be vectorised. A sum of so few goes in
    the same order. `keep`: axes that must stay. `totals`: whether to do so with sums over all axes,
    whose next axis then goes one after another.
    """
    rank = len(loop.space)
    if rank < max(2, keep + 1) or not _short(loop):
        return loop
    last = rank - 1
    if loop.space[last] >= lanes_of(loop) and (_along(loop, last) or _dear(loop)):
        return loop
    for s in loop.stores:
        alone = s.reduce in CHUNKED and s.axes == (last,)
        alone = alone or (totals and s.reduce in CHUNKED and s.axes == tuple(range(rank)))
        if s.indices or not (alone or s.reduce is None):
            return loop
    if any(s.op == "gather" for s in loop.body):
        return loop
    return _Unrolling(loop).loop()


def _along(loop: Loop, last: int) -> bool:
    """Whether an axis that nothing is reduced over is contiguous in all that a loop touches: short
    vectors along it are better than long ones across."""
    if any(last in s.axes for s in loop.stores):
        return False
    stored = all(s.at.strides[last] == 1 for s in loop.stores)
    return stored and all(
        s.at.strides[last] in (0, 1) for s in loop.body if s.op == "load" and s.at
    )


def _dear(loop: Loop) -> bool:
    """Whether long arithmetic would be written out more often than registers can hold."""
    return has_long(loop) * loop.space[-1] > MOST_LONG


def lanes_of(loop: Loop) -> int:
    """Points that fill a vector."""
    return VECTOR // max((s.dtype.itemsize for s in loop.body), default=8)


def has_long(loop: Loop) -> int:
    """How many statements are long arithmetic."""
    return sum(s.cost >= LONG for s in loop.body)


def _short(loop: Loop) -> bool:
    count, before = loop.space[-1], loop.space[-2]
    if not isinstance(count, int) or not SHORTEST_UNROLLED <= count <= LONGEST_UNROLLED:
        return False
    if isinstance(before, int) and before < 2 * count:
        return False
    return count * len(loop.body) <= MOST_STATEMENTS


class _Unrolling:
    """Copies of the statements, one for each point of the innermost axis that they depend on."""

    def __init__(self, loop: Loop):
        self.source = loop
        self.count = loop.space[-1]
        self.body: list[Statement] = []
        self.copies: dict[int, list[int]] = {}

    def loop(self) -> Loop:
        """The new loop."""
        for s in self.source.body:
            moves = s.at is not None and s.at.strides[-1] != 0
            moves = moves or any(len(self.copies[a]) > 1 for a in s.args)
            self.copies[s.id] = [self._copy(s, k) for k in range(self.count if moves else 1)]
        stores = [new for s in self.source.stores for new in self._store(s)]
        loop = self.source
        return Loop(loop.space[:-1], tuple(self.body), tuple(stores), loop.where, loop.sequential)

    def _of(self, statement: int, k: int) -> int:
        found = self.copies[statement]
        return found[k if len(found) > 1 else 0]

    def _at(self, at: Affine, k: int) -> Affine:
        return Affine(at.offset + at.strides[-1] * k, at.strides[:-1])

    def _copy(self, s: Statement, k: int) -> int:
        at = None if s.at is None else self._at(s.at, k)
        args = tuple(self._of(a, k) for a in s.args)
        return self._add(replace(s, id=len(self.body), args=args, at=at))

    def _add(self, s: Statement) -> int:
        self.body.append(s)
        return s.id

    def _store(self, s: Store):
        if s.reduce is None:
            for k in range(self.count if s.at.strides[-1] != 0 else 1):
                yield replace(s, value=self._of(s.value, k), at=self._at(s.at, k))
            return
        first = self.source.body[[t.id for t in self.source.body].index(s.value)]
        dtype = first.dtype
        reduce = s.reduce
        start = start_of(reduce, dtype)
        total = self._add(Statement(len(self.body), "const", (), dtype, first.where, value=start))

        def step(a, b):
            place = len(self.body)
            return self._add(Statement(place, STEP + reduce, (a, b), dtype, first.where))

        total = in_order([self._of(s.value, k) for k in range(self.count)], step, total)
        at = self._at(s.at, 0)
        if len(s.axes) > 1:
            yield replace(s, value=total, at=at, axes=s.axes[:-1], in_turn=True)
        else:
            yield replace(s, value=total, at=at, reduce=None, axes=())


def tiled(loop: Loop, keep: int = 0) -> Loop:
    """A loop that reads across the rows that it writes, as a transpose does, in tiles: some points
    of the axis along which it reads go innermost, so that a line of the cache is used whole.

    `keep`: outer axes that must stay whole.
    """
    known = all(isinstance(d, int) for d in loop.space)
    if len(loop.space) < 2 or loop.sequential >= 0 or not known:
        return loop
    if any(s.op == "gather" for s in loop.body) or math.prod(loop.space) < FEWEST_TILED:
        return loop
    last = len(loop.space) - 1
    if any(s.reduce is not None or s.indices or s.at.strides[last] != 1 for s in loop.stores):
        return loop
    for s in loop.body:
        if s.op != "load" or s.at is None or not isinstance(s.at.strides[last], int):
            continue
        along = [a for a in range(keep, last) if s.at.strides[a] == 1]
        if along and abs(s.at.strides[last]) > LONGEST_UNROLLED:
            size = next((t for t in TILES if loop.space[along[0]] % t == 0), 0)
            if size and loop.space[along[0]] > size:
                return _split(loop, along[0], size)
    return loop


def _split(loop: Loop, axis: int, size: int) -> Loop:
    """The loop with one axis in pieces of so many points, which go innermost."""

    def moved(at: Affine | None):
        if at is None:
            return None
        step = at.strides[axis]
        outer = tuple(s * size if a == axis else s for a, s in enumerate(at.strides))
        return Affine(at.offset, (*outer, step))

    space = tuple(d // size if a == axis else d for a, d in enumerate(loop.space))
    body = tuple(replace(s, at=moved(s.at)) for s in loop.body)
    stores = tuple(replace(s, at=moved(s.at)) for s in loop.stores)
    return Loop((*space, size), body, stores, loop.where)


def in_registers(count: int, dtype: np.dtype, target: Target) -> bool:
    """Whether sums of so many columns stay in registers."""
    size, bits = count * dtype.itemsize, target.bits
    return size % VECTOR == 0 and 0 < 8 * size // bits <= IN_REGISTERS[bits]


def levels(loop: Loop) -> dict[int, int]:
    """For each statement that finds a place in memory by index, the loop it can be computed in.

    Those are the index arguments of gathers and scatters and all that they need: checked in the
    innermost loop, they would keep it from being vectorised.
    """
    depth: dict[int, int] = {}
    for s in loop.body:
        own = [a for a, step in enumerate(s.at.strides) if step != 0] if s.at is not None else []
        depth[s.id] = max([-1, *own, *(depth[a] for a in s.args)])
    wanted = {a for s in loop.body if s.op == "gather" for a in s.args}
    wanted |= {i for s in loop.stores for i in s.indices}
    for s in reversed(loop.body):
        if s.id in wanted:
            wanted.update(s.args)
    return {i: max(depth[i], 0) for i in wanted}
