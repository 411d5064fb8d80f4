"""Strip by strip: products and loops over the same rows run on some rows at a time, all of them,
before they go on to the next rows.

What one region leaves is read by the next while it is in the cache, memory that only they touch is
that of a strip, and threads share the rows once instead of in every region. What cannot follow (a
sum over the rows, say) waits until all rows are done, as long as not much memory has to wait too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from graphad.lower.memory import aligned, pack
from graphad.lower.nest import by_rows, reads_own_row, within
from graphad.lower.program import CHUNKED, Loop, Nest, Product, Program, Statement, Strips, loops_of

FEWEST_ROWS = 512
STRIP_BYTES = 1024 * 1024  # what a strip of all operands of one region should take
MOST_LOCAL = 1024 * 1024  # bytes of the buffers of a strip
SHORTEST, LONGEST = 64, 512  # rows of a strip
MOST_WEIGHTS = 512 * 1024  # bytes of a matrix that is read again for each strip
MOST_SUMMED = 16 * 1024  # bytes of a sum over rows
MOST_CHUNKS = 8  # of the rows, for sums over them
MOST_WAITING = 16 * 1024 * 1024  # bytes of temporaries that are kept for what waits


def strips(program: Program) -> Program:
    """The program with runs of regions over the same rows made strips."""
    if not any(isinstance(r, Product) for r in program.regions):
        return program
    walk = _Walk(program)
    for region in program.regions:
        for part in _without_sums(region):
            walk.take(part)
    while walk.group:
        walk.close()
    return _with_locals(replace(program, regions=tuple(walk.done)))


class _Walk:
    """Goes through the regions with a group that grows, and others that wait for its end."""

    def __init__(self, program: Program):
        self.buffers = program.buffers
        self.done: list[Any] = []
        self.group: list[Any] = []
        self.waiting: list[Any] = []
        self.rows: dict[int, int] = {}  # of what the group has written: elements a row
        self.touched: set[int] = set()  # by the group
        self.written_before: set[int] = set()  # by the group, when the first began to wait
        self.read_later: set[int] = set()
        self.written_later: set[int] = set()

    def take(self, region) -> None:
        """Put a region into the group, before it, or behind it."""
        count = rows_of(region, self.buffers)
        if not self.group:
            self._start(region, count)
            return
        reads, writes = region.reads(), region.writes()
        clear = not (reads & self.written_later or writes & (self.read_later | self.written_later))
        fits = count == self._count and self._fits(region)
        if clear and (fits or (sums_rows(region, self._count) and self._sums_own(region))):
            self._join(region)
        elif clear and not (reads & set(self.rows) or writes & self.touched):
            self.done.append(region)
        elif self._may_wait(region):
            self.waiting.append(region)
            self.read_later |= reads
            self.written_later |= writes
        else:
            self.close()
            self.take(region)

    def _start(self, region, count):
        if count:
            self._count = count
            self._join(region)
        else:
            self.done.append(region)

    def _join(self, region):
        self.group.append(region)
        self.touched |= region.reads() | region.writes()
        self.rows.update(_written(region))

    def _may_wait(self, region) -> bool:
        """Whether little memory has to wait with it: of what was written since the first waits."""
        if not self.waiting:
            self.written_before = set(self.rows)
        later = (self.read_later | region.reads()) & set(self.rows) - self.written_before
        held = [self.buffers[b].bytes for b in later if self.buffers[b].kind == "temporary"]
        return all(isinstance(size, int) for size in held) and sum(held) <= MOST_WAITING

    def _fits(self, region) -> bool:
        """Whether it reads only its own rows of what the group wrote, and writes nothing of it."""
        for b, row in _written(region).items():
            if b in self.touched and self.rows.get(b) != row:  # parts of one array are fine
                return False
        if isinstance(region, Product):
            lead = region.leads[0]
            return region.b not in self.rows and self.rows.get(region.a, lead) == lead
        return all(reads_own_row(s, loop, self.rows[s.buffer])
                   for loop in loops_of(region) for s in loop.body
                   if s.buffer in self.rows)  # fmt: skip

    def _sums_own(self, region) -> bool:
        """Whether a sum over the rows reads rows of the group, each its own, and of nothing else
        that is still being made."""
        if region.writes() & self.touched:
            return False
        if isinstance(region, Product):
            sides = ((region.a, region.leads[0]), (region.b, region.leads[1]))
            return all(self.rows.get(b, lead) == lead for b, lead in sides)
        return self._fits(region)

    def close(self) -> None:
        """The group as strips if it is worth it, then what waited for it."""
        products = [r for r in self.group if isinstance(r, Product)]
        if len(self.group) > 1 and any(not sums_rows(r, self._count) for r in products):
            inner = Program(tuple(self.group), self.buffers, (), ())
            self.done.append(Strips(inner, self._count, *self._sizes()))
        else:
            self.done += self.group
        waiting = self.waiting
        self.group, self.waiting = [], []
        self.rows, self.touched = {}, set()
        self.read_later, self.written_later = set(), set()
        for region in waiting:
            self.take(region)

    def _sizes(self) -> tuple[int, int]:
        """(rows of a strip, rows of a chunk): strips that stay in the cache, and as many chunks as
        leave the memory of their sums small beside that of the rows."""
        widest, sums = 1, 1
        for region in self.group:
            if sums_rows(region, self._count):
                sums += sum(self.buffers[b].bytes for b in region.writes())
            sizes = [self.buffers[b].bytes for b in region.reads() | region.writes()
                     if b != getattr(region, "b", None)]  # fmt: skip
            widest = max(widest, sum(s for s in sizes if isinstance(s, int)) // self._count)
        strip = SHORTEST
        while strip < LONGEST and 2 * strip * widest <= STRIP_BYTES:
            strip *= 2
        chunks = min(max(self._count * widest // (4 * sums), 2), MOST_CHUNKS)
        return strip, -(-self._count // (chunks * strip)) * strip


def _without_sums(region) -> list[Any]:
    """A loop apart from the sums over its rows that it also makes, if those can do without it."""
    if not isinstance(region, Loop) or len(region.space) < 2 or region.sequential >= 0:
        return [region]
    if not isinstance(region.space[0], int) or region.space[0] < FEWEST_ROWS:
        return [region]
    sums = [s for s in region.stores if s.reduce in CHUNKED and s.axes == (0,)]
    rest = [s for s in region.stores if s not in sums]
    if not sums or len(region.stores) == 1 or any(0 in s.axes or s.indices for s in rest):
        return [region]
    stored = {s.value: s for s in rest if s.reduce is None}
    found = {s.id: s for s in region.body}
    loads = {}
    for s in sums:
        value = found[s.value]
        if s.value in stored:
            place = stored[s.value]
            value = Statement(s.value, "load", (), value.dtype, value.where,
                              buffer=place.buffer, at=place.at)  # fmt: skip
        elif value.op != "load":
            return [region]
        loads[s.value] = value
    needed = {s.value for s in rest}
    for statement in reversed(region.body):
        if statement.id in needed:
            needed.update(statement.args)
    body = tuple(s for s in region.body if s.id in needed)
    alone = [replace(region, body=(loads[s.value],), stores=(s,)) for s in sums]
    return [replace(region, body=body, stores=tuple(rest)), *alone] if rest else alone


def sums_rows(region, rows: int) -> bool:
    """Whether a region is a sum over so many rows that can be taken strip by strip: a product of
    a transposed array with another, or a sum of the rows of one."""
    if isinstance(region, Product):
        known = all(isinstance(d, int) for d in (region.m, region.n, region.k, *region.leads))
        plain = region.a_turned and not region.b_turned and region.batch == 1
        return known and plain and region.k == rows and region.leads[2] == region.n
    if not isinstance(region, Loop) or len(region.body) != 1 or len(region.stores) != 1:
        return False
    (load,), (store,) = region.body, region.stores
    if load.op != "load" or load.at is None or load.dtype.kind != "f" or len(region.space) != 2:
        return False
    row, size = load.at.strides[0], region.space[1]
    plain = store.reduce == "sum" and store.axes == (0,) and not store.in_turn and not store.indices
    plain = plain and store.at.strides[1] == load.at.strides[1] == 1 and store.at.offset == 0
    if not plain or region.space[0] != rows or not isinstance(row, int):
        return False
    small = isinstance(size, int) and size * load.dtype.itemsize <= MOST_SUMMED
    return small and row > 0 and within(load.at, region, row)


def rows_of(region, buffers) -> int:
    """How many rows a region runs over that are independent of each other; 0 where it does not."""
    if isinstance(region, Product):
        rows, lead = region.m, region.leads[2]
        known = all(isinstance(d, int) for d in (region.m, region.n, region.k, *region.leads))
        good = known and region.batch == 1 and not region.a_turned and lead >= region.n
        good = good and buffers[region.b].bytes <= MOST_WEIGHTS and region.k > 0 and region.n > 0
    elif isinstance(region, (Loop, Nest)):
        loops = loops_of(region)
        rows = loops[0].space[0] if loops[0].space else 0
        good = all(by_rows(loop) and _apart(loop) for loop in loops)
    else:
        return 0
    return rows if good and isinstance(rows, int) and rows >= FEWEST_ROWS else 0


def _apart(loop: Loop) -> bool:
    """Whether every store is to the loop's own row, and none is a sum over the rows."""
    for s in loop.stores:
        row = s.at.strides[0]
        if 0 in s.axes or not isinstance(row, int) or row <= 0 or not within(s.at, loop, row):
            return False
    return True


def _written(region) -> dict[int, int]:
    """What a region writes: elements from one row to the next, -1 where there are no rows."""
    if isinstance(region, Product):
        return {region.c: -1 if region.a_turned else region.leads[2]}
    stores = [s for loop in loops_of(region) for s in loop.stores]
    return {s.buffer: -1 if 0 in s.axes else s.at.strides[0] for s in stores}


def _with_locals(program: Program) -> Program:
    """Give buffers that only one group touches memory for a strip, in place of all rows."""
    users: dict[int, set[int]] = {}
    for k, region in enumerate(program.regions):
        for b in region.reads() | region.writes():
            users.setdefault(b, set()).add(k)
    buffers, regions = list(program.buffers), list(program.regions)
    for k, region in enumerate(regions):
        if not isinstance(region, Strips):
            continue
        row_of: dict[int, int] = {}
        life: dict[int, tuple[int, int]] = {}
        for step, inner in enumerate(region.program.regions):
            for b, row in _written(inner).items():
                if row > 0 and buffers[b].kind == "temporary" and users[b] == {k}:
                    row_of[b] = row
            for b in inner.reads() | inner.writes():
                life[b] = (life.get(b, (step, step))[0], step)
        strip, widths = region.strip, {b: row * buffers[b].spec.dtype.itemsize
                                       for b, row in row_of.items()}  # fmt: skip
        while True:
            sizes = {b: aligned(width * strip) for b, width in widths.items()}
            offsets, total = pack({b: life[b] for b in row_of}, sizes)
            if total <= MOST_LOCAL or strip <= SHORTEST:
                break
            strip //= 2
        for b in row_of:
            buffers[b] = replace(buffers[b], kind="row")
        inner = replace(region.program, offsets=offsets, arena_bytes=total)
        regions[k] = replace(region, program=inner, row_of=row_of, strip=strip)
    made = tuple(
        replace(r, program=replace(r.program, buffers=tuple(buffers)))
        if isinstance(r, Strips) else r for r in regions
    )  # fmt: skip
    return replace(program, regions=made, buffers=tuple(buffers))
