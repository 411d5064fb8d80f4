"""For a GPU: loops with one set of summed axes each, and nests where a block can run a row.

On the CPU one sweep adds up rows and columns; there threads would add to the same columns. A nest
is kept where the threads of a block share a row and there are rows for all blocks; its rows then
are in the memory that a block shares.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from graphad.lower.nest import row_points
from graphad.lower.program import CHUNKED, Loop, Nest, Program, Store

FEWEST_ROWS, SHORTEST_ROW = 64, 64
MOST_SHARED = 40 * 1024  # bytes of rows; a block has 48 KiB without asking


def apart(program: Program) -> Program:
    """The program with loops and nests as a GPU takes them."""
    buffers = list(program.buffers)
    regions: list[Any] = []
    for region in program.regions:
        if isinstance(region, Loop):
            regions += _one_each(region)
        elif isinstance(region, Nest):
            suits = _suits(region)
            rows = _shared_rows(region, buffers) if suits else {}
            for b in set(region.rows) - set(rows):
                buffers[b] = replace(buffers[b], kind="temporary")
            loops = tuple(one for loop in region.loops for one in _one_each(loop))
            regions += [replace(region, loops=loops, rows=rows)] if suits else loops
        else:
            regions.append(region)
    return replace(program, regions=tuple(regions), buffers=tuple(buffers))


def _suits(nest: Nest) -> bool:
    count = nest.loops[0].space[0]
    long = max(map(row_points, nest.loops)) >= SHORTEST_ROW
    known = all(s.reduce is None or s.reduce in CHUNKED for g in nest.loops for s in g.stores)
    return isinstance(count, int) and count >= FEWEST_ROWS and long and known


def _shared_rows(nest: Nest, buffers) -> dict[int, int]:
    """The rows that a block keeps, as many as it has room for."""
    rows: dict[int, int] = {}
    room = MOST_SHARED
    for b, row in nest.rows.items():
        size = -(-row * buffers[b].spec.dtype.itemsize // 16) * 16
        if size <= room:
            room -= size
            rows[b] = row
    return rows


def _one_each(loop: Loop) -> list[Loop]:
    """A loop for each set of axes that it sums over."""
    groups: dict[Any, list[Store]] = {}
    for s in loop.stores:
        groups.setdefault(s.axes if s.reduce in CHUNKED else (s.reduce, s.axes), []).append(s)
    plain = groups.pop((None, ()), [])
    parts = [[*plain, *stores] if k == 0 else stores
             for k, stores in enumerate(groups.values())] or [plain]  # fmt: skip
    return [loop] if len(parts) == 1 else [_with_stores(loop, stores) for stores in parts]


def _with_stores(loop: Loop, stores: list[Store]) -> Loop:
    """The loop with some of its stores, and what they need."""
    needed = {i for s in stores for i in (s.value, *s.indices)}
    for s in reversed(loop.body):
        if s.id in needed:
            needed.update(s.args)
    body = tuple(s for s in loop.body if s.id in needed)
    return replace(loop, body=body, stores=tuple(stores))
