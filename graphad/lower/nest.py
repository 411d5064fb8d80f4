"""Row by row: loops over the same rows, each of which needs only its own row of the others,
become one nest, so that a row stays in the cache from the first loop to the last.

What only the nest itself reads is kept for one row at a time, beside the loops, not in memory.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from graphad.lower.matrix_vector import matrix_and_vector
from graphad.lower.program import CHUNKED, Affine, Loop, Nest, Program, Statement
from graphad.ops.work import LONG
from graphad.spec import size_of

SHORTEST_ROW = 32  # points; shorter rows are better off without the scalar work between them,
LONG_ROW = 1000  # unless they are so many additions
LEAST_BYTES = 16 * 1024  # of the largest array: smaller ones are in the cache anyway
MOST_LOOPS = 24  # of a nest: LLVM takes more than twice as long for twice the code
MOST_LOCAL = 64 * 1024  # bytes of the rows that are kept


def nest(program: Program) -> Program:
    """The program with adjacent loops over the same rows joined."""
    regions: list[Any] = []
    group: list[Loop] = []

    def close():
        alone = _tail(group)
        del group[len(group) - len(alone) :]
        long = any(row_points(g) >= SHORTEST_ROW for g in group)
        long = long or sum(map(_row_work, group)) >= LONG_ROW
        if len(group) > 1 and long and _largest(group, program) > LEAST_BYTES:
            regions.append(Nest(tuple(group)))
        else:
            regions.extend(group)
        regions.extend(alone)
        group.clear()

    for region in program.regions:
        if not (isinstance(region, Loop) and by_rows(region)) or across(region) or one_call(region):
            close()
            regions.append(region)
            continue
        if group and (len(group) >= MOST_LOOPS or not fits(region, group)):
            close()
        group.append(region)
    close()
    return _with_locals(replace(program, regions=tuple(regions)))


def one_call(loop: Loop) -> bool:
    """Whether all rows together are faster: products with one vector, which stays in registers."""
    return len(loop.space) == 2 and matrix_and_vector(loop) is not None


def _row_work(loop: Loop) -> int:
    """Additions that a row is worth."""
    return row_points(loop) * loop.cost


def _largest(group: list[Loop], program: Program) -> Any:
    """Bytes of the largest array that a group touches; without end where that is not known."""
    touched = {b for loop in group for b in loop.reads() | loop.writes()}
    sizes = [program.buffers[b].bytes for b in touched]
    return max(sizes) if all(isinstance(s, int) for s in sizes) else math.inf


def row_points(loop: Loop) -> int:
    """How many points a row has; 0 where that is not known."""
    size = size_of(loop.space[1:])
    return size if isinstance(size, int) else 0


def _tail(group: list[Loop]) -> list[Loop]:
    """The last loops, if they have one point a row and long arithmetic: better vectorised."""
    short = len(group)
    while short > 1 and size_of(group[short - 1].space[1:]) == 1:
        short -= 1
    tail = group[short:]
    dear = any(s.cost >= LONG for loop in tail for s in loop.body)
    return tail if dear else []


def by_rows(loop: Loop) -> bool:
    """Whether the rows of a loop are independent but for sums over everything."""
    if not loop.space or loop.sequential >= 0 or loop.space[0] == 1:
        return False
    everything = tuple(range(len(loop.space)))
    for s in loop.stores:
        total = s.reduce in CHUNKED and s.axes == everything and len(everything) > 1
        if s.indices or (0 in s.axes and not total):
            return False
    return isinstance(size_of(loop.space[1:]), int)


def across(loop: Loop) -> bool:
    """Whether a loop reads along columns, as a transpose does: better in tiles than row by row."""
    if row_points(loop) < SHORTEST_ROW:
        return False
    for s in loop.body:
        if s.op == "load" and s.at is not None and s.at.strides[0] == 1:
            inner = s.at.strides[-1]
            if isinstance(inner, int) and inner >= SHORTEST_ROW // 2:
                return True
    return False


def fits(loop: Loop, group: list[Loop]) -> bool:
    """Whether a loop can follow row by row: it reads only its own row of what the group made."""
    if loop.space[0] != group[0].space[0]:
        return False
    written = {s.buffer: (g, s) for g in group for s in g.stores}
    touched = set(written) | {b for g in group for b in g.reads()}
    if any(s.buffer in touched for s in loop.stores):
        return False
    for s in loop.body:
        if s.buffer not in written:
            continue
        writer, store = written[s.buffer]
        if store.axes == tuple(range(len(writer.space))):
            return False
        row = store.at.strides[0]
        if not (reads_own_row(s, loop, row) and within(store.at, writer, row)):
            return False
    return True


def reads_own_row(s: Statement, loop: Loop, row: Any) -> bool:
    """Whether a statement loads from the loop's own row of a buffer with rows of so many."""
    if s.op != "load" or s.at is None or not isinstance(row, int) or row <= 0:
        return False
    return s.at.strides[0] == row and within(s.at, loop, row)


def within(at: Affine, loop: Loop, row: int) -> bool:
    """Whether an index stays in its row."""
    low = high = at.offset
    if not isinstance(low, int):
        return False
    for step, dim in zip(at.strides[1:], loop.space[1:], strict=True):
        if not isinstance(step, int) or not isinstance(dim, int):
            return False
        low, high = low + min(0, step * (dim - 1)), high + max(0, step * (dim - 1))
    return low >= 0 and high < row


def _with_locals(program: Program) -> Program:
    """Mark the buffers that only one nest touches, as far as they fit beside its loops."""
    users: dict[int, list[int]] = {}
    for k, region in enumerate(program.regions):
        for b in region.reads() | region.writes():
            users.setdefault(b, []).append(k)
    buffers = list(program.buffers)
    regions = list(program.regions)
    for k, region in enumerate(regions):
        if not isinstance(region, Nest):
            continue
        rows: dict[int, int] = {}
        room = MOST_LOCAL
        for loop in region.loops:
            for s in loop.stores:
                row = s.at.strides[0]
                alone = users[s.buffer] == [k] and buffers[s.buffer].kind == "temporary"
                if not (alone and isinstance(row, int) and row > 0):
                    continue
                size = row * buffers[s.buffer].spec.dtype.itemsize
                if size <= room:
                    room -= size
                    rows[s.buffer] = row
                    buffers[s.buffer] = replace(buffers[s.buffer], kind="row")
        regions[k] = replace(region, rows=rows)
    return replace(program, regions=tuple(regions), buffers=tuple(buffers))
