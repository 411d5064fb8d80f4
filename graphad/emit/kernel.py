"""A loop region to the source of one kernel, `kernel(table, start, stop) -> status`.

The source has no positions, sizes or strides in it but those that shape the code (a unit or zero
stride of the innermost loop), so that equal bodies share one kernel at every size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graphad.emit.loops import (
    ARGS,
    BLOCK,
    LONGEST_UNROLLED,
    has_long,
    in_registers,
    lanes_of,
    levels,
    simplified,
    start_of,
    tiled,
    unrolled,
)
from graphad.errors import NOWHERE, Where
from graphad.lower.program import CHUNKED, STEP, Affine, Buffer, Loop, Statement, Store
from graphad.lower.sums import columns_of, matrix_and_vector
from graphad.op import find
from graphad.ops.cost import cost_of_moving
from graphad.spec import size_of

if TYPE_CHECKING:
    from graphad.emit.nests import NestWriter

CONTROL = "# control: no loop worth vectorising\n"  # first line of sources to compile quickly
BUSY = "# runs at every step: registers are worth their while\n"  # second line of some of them
CLOSE = LONGEST_UNROLLED  # elements between operands that share an address
LONGEST_KNOWN = 64  # points of an innermost loop whose number is in the source
WIDE = 512  # points of an innermost loop that threads may share
SPLIT_WORK = 1_500_000  # of a thread, see runtime/executor.py
BAD_INDEX = 1  # a status, likewise


@dataclass(frozen=True)
class Kernel:
    """A kernel's source and what its table holds: addresses, then integers.

    `pointers`: (buffer id, offset in elements). `integers`: dims and strides. The kernel runs
    from 0 to `stop` over the loop that threads may share. `lines`: the user's line of each source
    line. `work`: about how many tenths of a nanosecond it takes; 0 when it must not be split.
    `grain`: splits fall on multiples of it. `totals`: sums over everything, of which the kernel
    leaves parts to be combined in order, so that threads change no bit; buffer -1 - k is the
    scratch memory for the parts of the k-th. `address`: a function compiled elsewhere. `blas`: the
    rows of the largest matrix that it gives to BLAS or LAPACK, if it does.
    """

    source: str
    pointers: tuple[tuple[int, Any], ...]
    integers: tuple[Any, ...]
    stop: Any
    lines: tuple[Where, ...] = ()
    work: Any = 0
    grain: int = 1
    totals: tuple[Total, ...] = ()
    address: int = 0  # of a function compiled elsewhere, in place of the source
    blas: Any = None


@dataclass(frozen=True)
class Total:
    """A reduction whose parts are combined by a kernel of its own."""

    source: str
    bytes: Any  # of the parts
    pointers: tuple[tuple[int, Any], ...]
    integers: tuple[Any, ...]


@dataclass(frozen=True)
class Inner:
    """The kernels of the programs in a region, one list each."""

    programs: tuple[list, ...]


def code_of(dtype: np.dtype) -> str:
    """The two-letter name of a dtype in kernel sources."""
    return "b1" if dtype.kind == "b" else f"{dtype.kind}{dtype.itemsize}"


def literal(value, dtype) -> str:
    """A constant of a dtype as source."""
    code = code_of(dtype)
    if code == "b1":
        return str(bool(value))
    if dtype.kind == "f":
        value = float(value)
    if dtype.kind == "f" and not math.isfinite(value):
        text = "np.nan" if math.isnan(value) else "np.inf" if value > 0 else "-np.inf"
        return f"{code}({text})"
    return f"{code}({value!r})"


def identity(reduce: str, dtype) -> str:
    """The start of a reduction, as source."""
    return literal(start_of(reduce, dtype), dtype)


def combine(reduce: str, a: str, b: str) -> str:
    """One step of a reduction: a is the running value."""
    if reduce in ("sum", "scan"):
        return f"{a} + {b}"
    if reduce == "prod":
        return f"{a} * {b}"
    order = ">" if reduce == "max" else "<"
    return f"({b} if (({b} {order} {a}) | ({b} != {b})) else {a})"


def expression(op_name: str, arguments: list[str], operand: np.dtype, result: np.dtype) -> str:
    """The source of one elementwise operation."""
    op = find(op_name)
    body = op.body if isinstance(op.body, str) else op.body[operand.kind]  # type: ignore
    number = 0.0 if operand.kind == "f" else 0
    one = 1.0 if operand.kind == "f" else 1
    text = body.format(
        *arguments,
        zero=literal(number, operand),
        one=literal(one, operand),
        log2=literal(math.log(2), operand) if operand.kind == "f" else "",
        cast=code_of(result),
        code=code_of(operand),
        bits=8 * operand.itemsize,
    )
    return f"{code_of(result)}({text})" if result.kind in "iu" and result.itemsize < 8 else text


def work_of(loop: Loop):
    """Estimated work in additions: the costs of the table, and what loads and stores move."""
    sizes = {s.id: s.dtype.itemsize for s in loop.body}
    moved = sum(s.dtype.itemsize for s in loop.body if s.buffer >= 0)
    moved += sum(sizes[s.value] for s in loop.stores)
    return size_of(loop.space or (1,)) * (loop.cost + int(cost_of_moving(moved)))


class Operands:
    """What a kernel's table holds, as its source comes to need it."""

    def __init__(self):
        self.pointers: list[tuple[int, Any]] = []
        self.integers: list[Any] = []
        self.integer_names: dict[Any, str] = {}

    def pointer(self, buffer: int, offset) -> tuple[str, int]:
        """The name of an operand's address, and what is left of the offset.

        Close neighbours share an address, so that LLVM sees that they are neighbours.
        """
        for k, (known, base) in enumerate(self.pointers):
            if known != buffer:
                continue
            if base == offset:
                return f"p{k}", 0
            if isinstance(base, int) and isinstance(offset, int) and abs(offset - base) <= CLOSE:
                return f"p{k}", offset - base
        self.pointers.append((buffer, offset))
        return f"p{len(self.pointers) - 1}", 0

    def integer(self, value, use: str) -> str:
        """The name of a dim or stride that the table holds; `use` keeps different roles apart."""
        key = (use, value)
        if key not in self.integer_names:
            self.integer_names[key] = f"n{len(self.integers)}"
            self.integers.append(value)
        return self.integer_names[key]

    def head(self) -> list[str]:
        """The first lines of a kernel."""
        return ["def kernel(table, start, stop):", "    wide_vectors()", *self.reads()]

    def reads(self) -> list[str]:
        """The lines that read the table."""
        first = len(self.pointers)
        head = [f"    p{k} = integer(table, {k})" for k in range(first)]
        return head + [f"    n{k} = integer(table, {first + k})" for k in range(len(self.integers))]


def _accumulated(loop: Loop) -> set[int]:
    """The buffers that a loop adds to, each by one address."""
    stored = [s.buffer for s in loop.stores]
    return {s.buffer for s in loop.stores
            if s.reduce in CHUNKED and s.axes and stored.count(s.buffer) == 1}  # fmt: skip


class Writer:
    """Writes the source of one loop region, or of one loop of a nest."""

    def __init__(self, loop: Loop, buffers: tuple[Buffer, ...], nest: NestWriter | None = None,
                 by_rows: bool = False):  # fmt: skip
        self.nest = nest
        merged = simplified(loop, nest is not None)
        merged = merged if nest else tiled(merged, keep=int(by_rows))
        work = work_of(merged)
        short = not nest and isinstance(work, int) and work < 2 * SPLIT_WORK
        self.loop = unrolled(merged, keep=2 if nest else 1, totals=short)
        self.levels = levels(self.loop)
        self.buffers = buffers
        self.space = self.loop.space or (1,)
        self.rank = len(self.space)
        self.operands = nest.operands if nest else Operands()
        self.lines: list[tuple[str, Where]] = []
        self.dtypes = {s.id: s.dtype for s in self.loop.body}
        self.accumulated = _accumulated(self.loop)
        self.split = 0 if nest else self._split_axis()
        self.parts = self.split < 0 and self._by_parts()

    def _in_parts(self, s: Store) -> bool:
        """Whether a reduction is left in parts for a kernel that combines them in order."""
        if self.nest:
            return s.reduce in CHUNKED and s.axes == tuple(range(self.rank))
        return self.parts

    def place(self, buffer: int, at: Affine, position: str = "") -> str:
        """Address and index of an operand; `position` is added to the index."""
        if self.nest and buffer in self.nest.rows:
            name, left = self.nest.row(buffer), at.offset
        elif self.nest and buffer in self.nest.own:
            name, left = self.operands.pointer(buffer, 0)[0], at.offset
        else:
            name, left = self.operands.pointer(buffer, at.offset)
        parts = [p for p in (position, self.index(at, buffer)) if p not in ("", "0")]
        text = " + ".join(parts)
        if left:
            text = f"{text} {'+' if left > 0 else '-'} {abs(left)}" if text else str(left)
        return f"{name}, {text or '0'}"

    def integer(self, value, use: str) -> str:
        """The name of a dim or stride that the table holds."""
        return self.operands.integer(value, use)

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

    def line(self, depth: int, text: str, where: Where = NOWHERE):
        """Append one line."""
        self.lines.append(("    " * depth + text, where))

    def index(self, at: Affine, buffer: int = -1) -> str:
        """An affine index without its offset, which the address has."""
        parts = []
        by_row = self.nest is not None and buffer in self.nest.rows
        for axis, step in enumerate(at.strides):
            if (isinstance(step, int) and step == 0) or (by_row and axis == 0):
                continue
            if axis == self.rank - 1 and isinstance(step, int) and step in (1, -1):
                parts.append(f"i{axis}" if step == 1 else f"-i{axis}")
            elif axis == self.rank - 1 and isinstance(step, int) and 1 < step <= LONGEST_UNROLLED:
                parts.append(f"i{axis} * {step}")  # known to LLVM, which then loads whole vectors
            else:
                parts.append(f"i{axis} * {self.integer(step, f's{axis}')}")
        return " + ".join(parts) or "0"

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
        if not shared and isinstance(size, int) and in_registers(size, sides[0].dtype):
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
            f"{CONTROL}def kernel(table, start, stop):\n    p0 = integer(table, 0)\n"
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
        return Total(source, size, ((-1 - k, 0), (s.buffer, s.at.offset)), (outer,))

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

    def _plain(self, depth: int, axes: list[int]):
        """Loops with no reduction but running or arg ones, over the last of these axes."""
        running = [s for s in self.loop.stores if s.reduce in ARGS or s.reduce == "scan"]
        for k, s in enumerate(running):
            dtype = self.dtypes[s.value]
            self.line(depth, f"a{k} = {identity(s.reduce or '', dtype)}")
            if s.reduce in ARGS:
                self.line(depth, f"j{k} = -1")
        for axis in axes:
            self.line(depth, f"for i{axis} in range({self._range(axis)}):")
            depth += 1
        self._body(depth)
        for store in self.loop.stores:
            if store in running:
                self._running(depth - 1, store, running.index(store))
            else:
                self._store(depth, store)

    def _running(self, depth, s: Store, k: int):
        last = self.rank - 1
        place = self.place(s.buffer, s.at)
        if s.reduce == "scan":
            dtype = self.dtypes[s.value]
            self.line(depth + 1, f"a{k} = {code_of(dtype)}(a{k} + v{s.value})")
            word = self.word("store", s.buffer, code_of(dtype))
            self.line(depth + 1, f"{word}({place}, a{k})")
            return
        order = ">" if s.reduce == "argmax" else "<"
        v = f"v{s.value}"
        better = f"({v} {order} a{k}) | (({v} != {v}) & (a{k} == a{k})) | (j{k} < 0)"
        self.line(depth + 1, f"if {better}:")
        self.line(depth + 2, f"a{k} = {v}")
        self.line(depth + 2, f"j{k} = i{last}")
        word = self.word("store", s.buffer, "i8")
        self.line(depth, f"{word}({place}, j{k})")

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

    def _statement(self, depth: int, s: Statement):
        code = code_of(s.dtype)
        name = f"v{s.id}"
        if s.op == "load":
            assert s.at is not None
            at = self.place(s.buffer, s.at)
            self.line(depth, f"{name} = {self.word('load', s.buffer, code)}({at})", s.where)
        elif s.op == "const":
            self.line(depth, f"{name} = {literal(s.value, s.dtype)}", s.where)
        elif s.op == "dim":
            self.line(depth, f"{name} = {self.integer(s.value, 'value')}", s.where)
        elif s.op == "index":
            assert s.at is not None
            text = self.index(s.at)
            if s.at.offset != 0:
                text += f" + {self.integer(s.at.offset, 'value')}"
            self.line(depth, f"{name} = {code}({text})", s.where)
        elif s.op == "gather":
            self._gather(depth, s, name, code)
        elif s.op.startswith(STEP):
            text = combine(s.op.removeprefix(STEP), *[f"v{a}" for a in s.args])
            self.line(depth, f"{name} = {text}", s.where)
        else:
            operand = self.dtypes[s.args[-1]] if s.args else s.dtype
            text = expression(s.op, [f"v{a}" for a in s.args], operand, s.dtype)
            self.line(depth, f"{name} = {text}", s.where)

    def _checked(self, depth: int, prefix: str, indices, bounds):
        """Wrap negative indices, refuse one out of bounds; keep the flat position."""
        parts = []
        for k, (i, (size, step)) in enumerate(zip(indices, bounds, strict=True)):
            name, n = f"{prefix}_{k}", self.integer(size, "size")
            self.line(depth, f"{name} = v{i} + {n} if v{i} < 0 else v{i}")
            self.line(depth, f"if ({name} < 0) | ({name} >= {n}):")
            self._refuse(depth + 1, name)
            parts.append(f"{name} * {self.integer(step, 'step')}")
        self.line(depth, f"{prefix}_at = {' + '.join(parts)}")

    def _refuse(self, depth: int, index: str):
        """What is done about an index out of bounds."""
        self.line(depth, f"return {BAD_INDEX}")

    def _gather(self, depth: int, s: Statement, name: str, code: str):
        assert s.at is not None
        at = self.place(s.buffer, s.at, f"{name}_at")
        self.line(depth, f"{name} = load_{code}({at})", s.where)

    def _store(self, depth: int, s: Store):
        code = code_of(self.buffers[s.buffer].spec.dtype)
        value, word = f"v{s.value}", self.word("store", s.buffer, code)
        if s.reduce is not None and s.reduce not in CHUNKED:
            name = f"w{s.value}"
            place = self.place(s.buffer, s.at, f"{name}_at")
            if s.reduce == "scatter_add":
                value = f"{code}(peek_{code}({place}) + {value})"
            self.line(depth, f"keep_{code}({place}, {value})")
            return
        place = self.place(s.buffer, s.at)
        if s.reduce in CHUNKED and s.axes:
            value = combine(s.reduce, f"{self.word('peek', s.buffer, code)}({place})", value)
        self.line(depth, f"{word}({place}, {value})")


def finished(lines, operands: Operands, stop, work, grain=1, totals=()) -> Kernel:
    """A kernel from its lines and operands."""
    source = "\n".join(text for text, _ in lines) + "\n    return 0\n"
    wheres = (*[where for _, where in lines], NOWHERE)
    pointers, integers = tuple(operands.pointers), tuple(operands.integers)
    return Kernel(source, pointers, integers, stop, wheres, work, grain, totals)


def write_loop(loop: Loop, buffers: tuple[Buffer, ...], by_rows: bool = False) -> Kernel:
    """The kernel of a loop region; `by_rows`: one that is given some of its rows at a time."""
    return Writer(loop, buffers, by_rows=by_rows).kernel()
