"""A loop region to the source of one kernel for a CPU, `kernel(table, start, stop) -> status`.

The source has no positions, sizes or strides in it but those that shape the code (a unit or zero
stride of the innermost loop), so that equal bodies share one kernel at every size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from graphad.emit.kernel import (
    SPLIT_WORK,
    Kernel,
    Total,
    code_of,
    combine,
    finished,
    identity,
)
from graphad.emit.loops import (
    has_long,
    in_registers,
    lanes_of,
    levels,
    simplified,
    tiled,
    unrolled,
)
from graphad.emit.source import quick
from graphad.emit.target import Target
from graphad.emit.writer import LoopWriter
from graphad.errors import NOWHERE
from graphad.lower.matrix_vector import columns_of, matrix_and_vector
from graphad.lower.order import BLOCK
from graphad.lower.program import CHUNKED, Buffer, Loop, Statement, Store
from graphad.ops.work import cost_of_moving
from graphad.spec import size_of
from graphad.status import BAD_INDEX

if TYPE_CHECKING:
    from graphad.emit.nests import CpuNest

LONGEST_KNOWN = 64  # points of an innermost loop whose number is in the source
WIDE = 512  # points of an innermost loop that threads may share


def work_of(loop: Loop):
    """Estimated work in additions: the costs of the table, and what loads and stores move."""
    sizes = {s.id: s.dtype.itemsize for s in loop.body}
    moved = sum(s.dtype.itemsize for s in loop.body if s.buffer >= 0)
    moved += sum(sizes[s.value] for s in loop.stores)
    return size_of(loop.space or (1,)) * (loop.cost + int(cost_of_moving(moved)))


def _accumulated(loop: Loop) -> set[int]:
    """The buffers that a loop adds to, each by one address."""
    stored = [s.buffer for s in loop.stores]
    return {s.buffer for s in loop.stores
            if s.reduce in CHUNKED and s.axes and stored.count(s.buffer) == 1}  # fmt: skip


class CpuWriter(LoopWriter):
    """Writes the source of one loop region, or of one loop of a nest."""

    nest: CpuNest | None

    def __init__(self, loop: Loop, buffers: tuple[Buffer, ...], target: Target,
                 nest: CpuNest | None = None, by_rows: bool = False):  # fmt: skip
        self.target = target
        merged = simplified(loop, nest is not None)
        merged = merged if nest else tiled(merged, keep=int(by_rows))
        work = work_of(merged)
        short = not nest and isinstance(work, int) and work < 2 * SPLIT_WORK
        super().__init__(unrolled(merged, keep=2 if nest else 1, totals=short), buffers, nest)
        self.levels = levels(self.loop)
        self.accumulated = _accumulated(self.loop)
        self.split = 0 if nest else self._split_axis()
        self.parts = self.split < 0 and self._by_parts()

    def _in_parts(self, s: Store) -> bool:
        """Whether a reduction is left in parts for a kernel that combines them in order."""
        if self.nest:
            return s.reduce in CHUNKED and s.axes == tuple(range(self.rank))
        return self.parts

    def word(self, name: str, buffer: int, code: str) -> str:
        """A load or store. What is both written and read is outside the promise that loads and
        stores touch different memory; where one address reaches it, that promises the same."""
        if buffer in (self.nest.own if self.nest else self.accumulated):
            name = {"load": "read", "peek": "read", "store": "write", "keep": "write"}[name]
        elif self.nest and buffer in self.nest.shared:
            name = {"load": "peek", "store": "keep"}.get(name, name)
        return f"{name}_{code}"

    def _split_axis(self) -> int:
        """The outermost loop that threads may share; -1 if there is none."""
        reduced = {a for s in self.loop.stores for a in s.axes} | {self.loop.sequential}
        if any(s.reduce and s.reduce.startswith("scatter") for s in self.loop.stores):
            return -1
        axis = next((a for a in range(self.rank) if a not in reduced), -1)
        size = self.space[axis]
        short = axis > 0 and axis == self.rank - 1 and isinstance(size, int) and size < WIDE
        return -1 if short else axis

    def _by_parts(self) -> bool:
        """Whether every reduction is over all loops, and long enough to be shared by threads."""
        everything = tuple(range(self.rank))
        reductions = [s for s in self.loop.stores if s.reduce is not None]
        if not all(s.reduce in CHUNKED and s.axes == everything for s in reductions):
            return False
        if any(s.in_turn for s in reductions):
            return False
        work = self._work()
        return self.loop.sequential < 0 and not (isinstance(work, int) and work < 2 * SPLIT_WORK)

    def write(self, depth: int = 1) -> list[Store]:
        """Append the loops; the reductions that are left in parts."""
        loop = self.loop
        inner = [s for s in loop.stores if s.reduce in CHUNKED and self._inner(s)]
        calls = not self.nest or self.rank == 3  # of all rows of a matrix
        sides = matrix_and_vector(loop) if calls else None
        if sides is not None:
            self._rows(depth, *sides)
            return []
        columns = columns_of(loop) if calls else None
        if columns is not None:
            self._columns(depth, columns)
            return []
        self._initialise(depth, loop.stores)
        if self.nest:
            self._places(depth, 0)
        for axis in range(1 if self.nest else 0, self.rank - 1):
            self.line(depth, f"for i{axis} in range({self._range(axis)}):")
            depth += 1
            self._places(depth, axis)
        if inner:
            self._chunked(depth, inner)
        else:
            self._plain(depth, [self.rank - 1])
        return [s for s in inner if self._in_parts(s)]

    def _columns(self, depth: int, sides: list[Statement]):
        """The sums of rows, by one call."""
        store, rows, last = self.loop.stores[0], self.rank - 2, self.rank - 1
        for axis in range(1 if self.nest else 0, rows):
            self.line(depth, f"for i{axis} in range({self._range(axis)}):")
            depth += 1
        shared = self.split == last
        self.line(depth, f"i{last} = {'start' if shared else 0}")
        parts = []
        for s in (*sides, store):
            assert s.at is not None
            at = replace(s.at, strides=(*s.at.strides[:rows], 0, s.at.strides[last]))
            parts.append(self.place(s.buffer, at))
            if s is store:
                parts.insert(-1, self.integer(self.space[rows], f"d{rows}"))
            else:
                parts.append(self.integer(s.at.strides[rows], f"s{rows}"))
        name = "columns" if len(sides) == 1 else "weighted_columns"
        count = "stop - start" if shared else self._range(last)
        code, where = code_of(sides[0].dtype), self.loop.body[-1].where
        size = self.space[last]
        if not shared and isinstance(size, int) and in_registers(size, sides[0].dtype, self.target):
            name = f"{name}_{size}"
        self.line(depth, f"{name}_{code}({', '.join([*parts, count])})", where)

    def _rows(self, depth: int, x: Statement, y: Statement):
        """The sums of products of many rows of x with a row of y, by one call."""
        store, rows = self.loop.stores[0], self.rank - 2
        for axis in range(1 if self.nest else 0, rows):
            self.line(depth, f"for i{axis} in range({self._range(axis)}):")
            depth += 1
        shared = self.split == rows
        self.line(depth, f"i{rows} = {'start' if shared else 0}")
        count = "stop - start" if shared else self._range(rows)
        sides = []
        for s in (x, y, store):
            at = replace(s.at, strides=(*s.at.strides[:-1], 0)) if s.at else s.at
            step = self.integer(s.at.strides[rows], f"s{rows}") if s.at else ""
            sides.append((self.place(s.buffer, at), step))  # type: ignore[arg-type]
        (a, a_step), (b, _), (c, c_step) = sides
        size, where = self.space[self.rank - 1], self.loop.body[-1].where
        known = isinstance(size, int) and size <= BLOCK
        word = f"rows_{size}_{code_of(x.dtype)}" if known else f"rows_{code_of(x.dtype)}"
        size = size if known else self.integer(size, "size")
        self.line(depth, f"{word}({a}, {a_step}, {b}, {size}, {c}, {c_step}, {count})", where)

    def kernel(self) -> Kernel:
        """The finished kernel."""
        parts = self.write()
        lines = [(text, NOWHERE) for text in self.operands.head()] + self.lines
        work = self._work() if self.split >= 0 or self.parts else 0
        grain = BLOCK if self.parts and self.rank == 1 else 1
        totals = tuple(self._total(k, s) for k, s in enumerate(parts))
        return finished(lines, self.operands, self.space[max(self.split, 0)], work, grain, totals)

    def _total(self, k: int, s: Store) -> Total:
        """The kernel that combines the parts of a reduction, and what it is given."""
        code, reduce = code_of(self.dtypes[s.value]), s.reduce or ""
        outer = size_of(self.space[:-1]) if self.rank > 1 else self.space[0]
        count = (
            "integer(table, 2)"
            if self.rank > 1
            else f"(integer(table, 2) + {BLOCK - 1}) // {BLOCK}"
        )
        source = (
            f"def kernel(table, start, stop):\n    p0 = integer(table, 0)\n"
            f"    a = {identity(reduce, self.dtypes[s.value])}\n    for k in range({count}):\n"
            f"        b = peek_{code}(p0, k)\n        a = {combine(reduce, 'a', 'b')}\n"
            f"    keep_{code}(integer(table, 1), 0, a)\n    return 0\n"
        )
        each = self.dtypes[s.value].itemsize
        if self.rank > 1:
            size = outer * each
        elif isinstance(outer, int):
            size = (outer + BLOCK - 1) // BLOCK * each
        else:
            size = outer + each  # an affine bound of the same
        return Total(quick(source), size, ((-1 - k, 0), (s.buffer, s.at.offset)), (outer,))

    def _work(self):
        return work_of(self.loop)

    def _range(self, axis) -> str:
        if axis == max(self.split, 0) and not self.nest:
            return "start, stop"
        size = self.space[axis]
        if self.nest and size == 1:
            return "1"
        short = axis == self.rank - 1 and isinstance(size, int) and size <= LONGEST_KNOWN
        lanes = lanes_of(self.loop)
        # Known to LLVM, it needs no loop for what is left over. Of less than half a vector it would
        # make narrow ones, of which the words of mathematics have no forms.
        if short and (size >= lanes or (has_long(self.loop) and 2 * size > lanes)):
            return str(size)
        return self.integer(size, f"d{axis}")

    def _inner(self, store: Store) -> bool:
        return self.rank - 1 in store.axes

    def _outer(self, store: Store) -> bool:
        return any(a < self.rank - 1 for a in store.axes)

    def _initialise(self, first_depth: int, stores):
        """Set the results that outer loops add to."""
        for store in stores:
            if store.reduce not in CHUNKED or not self._outer(store) or self._in_parts(store):
                continue
            dtype = self.buffers[store.buffer].spec.dtype
            depth = first_depth
            for axis in range(1 if self.nest else 0, self.rank):
                if axis not in store.axes:
                    self.line(depth, f"for i{axis} in range({self._range(axis)}):")
                    depth += 1
            where = self.place(store.buffer, store.at)
            word = self.word("keep", store.buffer, code_of(dtype))
            self.line(depth, f"{word}({where}, {identity(store.reduce, dtype)})")

    def _chunked(self, depth: int, inner: list[Store]):
        """Reductions over the innermost loop: blocks of values, each summed in lanes."""
        last = self.rank - 1
        codes = [code_of(self.dtypes[s.value]) for s in inner]
        starts = [identity(s.reduce or "", self.dtypes[s.value]) for s in inner]
        by_block = self.parts and last == 0
        for k, code in enumerate(codes):
            self.lines.insert(0, (f"    t{k} = block_{code}()", NOWHERE))
            if inner[k].in_turn and self._outer(inner[k]):
                at = self.place(inner[k].buffer, inner[k].at)
                self.line(depth, f"a{k} = {self.word('peek', inner[k].buffer, code)}({at})")
            elif not by_block:
                self.line(depth, f"a{k} = {starts[k]}")
        size = self._range(last)
        first, stop = ("start", "stop") if last == 0 else ("0", size)
        known = stop.isdigit()  # then there is one block
        after, many = (depth, stop) if known else (depth + 1, "m")
        if not known:
            self.line(depth, f"for c in range({first}, {stop}, BLOCK):")
            self.line(after, f"m = min(BLOCK, {stop} - c)")
        self.line(after, f"for k in range({many}):")
        self.line(after + 1, f"i{last} = {'' if known else 'c + '}k")
        self._body(after + 1)
        for store in self.loop.stores:
            if store in inner:
                k = inner.index(store)
                self.line(after + 1, f"keep_{codes[k]}(t{k}, k, v{store.value})")
            else:
                self._store(after + 1, store)
        for k, (s, code) in enumerate(zip(inner, codes, strict=True)):
            if s.in_turn:
                self.line(after, f"a{k} = chain_{s.reduce}_{code}(a{k}, t{k}, {many})")
                continue
            self.line(after, f"r{k} = {s.reduce}_{code}({starts[k]}, t{k}, {many})")
            if by_block:
                self.line(after, f"keep_{code}({self._parts_of(s)}, c // BLOCK, r{k})")
            else:
                self.line(after, f"a{k} = {combine(s.reduce or '', f'a{k}', f'r{k}')}")
        for k, (s, code) in enumerate(zip(inner, codes, strict=True)):
            if not by_block:
                self._keep(depth, s, code, f"a{k}")

    def _keep(self, depth: int, s: Store, code: str, value: str):
        """Store what a reduction over the innermost loop came to."""
        if self._in_parts(s):
            place = "i0"
            for axis in range(1, self.rank - 1):
                size = self.integer(self.space[axis], f"d{axis}")
                place = f"({place}) * {size} + i{axis}"
            self.line(depth, f"keep_{code}({self._parts_of(s)}, {place}, {value})")
            return
        at = self.place(s.buffer, s.at)
        if self._outer(s) and not s.in_turn:
            before = self.word("peek", s.buffer, code)
            value = combine(s.reduce or "", f"{before}({at})", value)
        self.line(depth, f"{self.word('store', s.buffer, code)}({at}, {value})")

    def _parts_of(self, s: Store) -> str:
        """The address of a reduction's parts."""
        totals = self.nest.totals if self.nest else [t for t in self.loop.stores if t.axes]
        if s not in totals:
            totals.append(s)
        return self.operands.pointer(-1 - totals.index(s), 0)[0]

    def _body(self, depth: int):
        self._places(depth, self.rank - 1)
        for s in self.loop.body:
            if s.id not in self.levels:
                self._statement(depth, s)

    def _places(self, depth: int, axis: int):
        """What finds places in memory by index, in the outermost loop that it can be in."""
        for s in self.loop.body:
            if self.levels.get(s.id) == axis:
                self._statement(depth, s)
            if s.op == "gather" and self._level_of(s.args) == axis:
                self._checked(depth, f"v{s.id}", s.args, s.bounds)
        for s in self.loop.stores:
            if s.indices and self._level_of(s.indices) == axis:
                self._checked(depth, f"w{s.value}", s.indices, s.bounds)

    def _level_of(self, indices) -> int:
        return max([0, *(self.levels[i] for i in indices)])

    def _refuse(self, depth: int, index: str):
        """What is done about an index out of bounds."""
        self.operands.fails = True
        self.line(depth, f"return {BAD_INDEX}")


def write_loop(
    loop: Loop, buffers: tuple[Buffer, ...], target: Target, by_rows: bool = False
) -> Kernel:
    """The kernel of a loop region; `by_rows`: one that is given some of its rows at a time."""
    return CpuWriter(loop, buffers, target, by_rows=by_rows).kernel()
