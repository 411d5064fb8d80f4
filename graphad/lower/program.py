"""Program: regions in the order they run, and the buffers they read and write.

A `Loop` region is a nest over a space of dims with a scalar body; a `Product` is a matrix
product by BLAS; a `Fill` zeroes a buffer. Indices are affine in the loop variables.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphad.errors import NOWHERE, CheckError, Where
from graphad.op import find
from graphad.spec import Dim, Spec, size_of

STEP = "combine "  # then a reduction: the op of a statement that is one step of it
CHUNKED = ("sum", "prod", "max", "min")  # reductions that go in blocks


@dataclass(frozen=True)
class Affine:
    """offset + sum of strides[a] * (loop variable a)."""

    offset: Any
    strides: tuple

    def __add__(self, other: Affine) -> Affine:
        return Affine(
            self.offset + other.offset,
            tuple(a + b for a, b in zip(self.strides, other.strides, strict=True)),
        )

    def times(self, factor) -> Affine:
        """Every part times a dim."""
        return Affine(self.offset * factor, tuple(s * factor for s in self.strides))

    def __str__(self):
        parts = [f"{'' if s == 1 else f'({s})*'}i{a}" for a, s in enumerate(self.strides) if s != 0]
        if self.offset != 0 or not parts:
            parts.append(str(self.offset))
        return " + ".join(parts)


def unit(axis: int, rank: int) -> Affine:
    """The loop variable of one axis."""
    return Affine(0, tuple(int(a == axis) for a in range(rank)))


def fixed(value, rank: int) -> Affine:
    """A constant index."""
    return Affine(value, (0,) * rank)


@dataclass(frozen=True)
class Buffer:
    """Memory for one array, in C order. `kind`: input, captured, output or temporary."""

    id: int
    spec: Spec
    kind: str
    index: int = -1
    where: Where = NOWHERE

    @property
    def bytes(self):
        """Size in bytes, a Dim when symbolic."""
        return size_of(self.spec.shape) * self.spec.dtype.itemsize

    def __str__(self):
        return f"b{self.id}: {self.spec} ({self.kind}{'' if self.index < 0 else f' {self.index}'})"


@dataclass(frozen=True)
class Statement:
    """One scalar step of a body: `op` of earlier statements, a load, a constant or an index.

    load: `buffer` at `at`.  gather: `buffer` at `at` plus index arguments, each wrapped and
    checked against (size, stride) in `bounds`.  index: the value of the affine `at`.
    """

    id: int
    op: str
    args: tuple[int, ...]
    dtype: np.dtype
    where: Where = NOWHERE
    value: Any = None
    buffer: int = -1
    at: Affine | None = None
    bounds: tuple = ()

    @property
    def cost(self) -> int:
        """Additions that it is worth, by the table; 0 for what only moves."""
        if not self.args or self.op == "gather":
            return 0
        return 1 if self.op.startswith(STEP) else find(self.op).cost

    def __str__(self):
        inside = ", ".join(f"v{a}" for a in self.args)
        if self.op == "load":
            inside = f"b{self.buffer}[{self.at}]"
        elif self.op == "gather":
            inside = f"b{self.buffer}[{self.at}; {inside}]"
        elif self.op == "const":
            inside = repr(self.value)
        elif self.op in ("index", "dim"):
            inside = str(self.at if self.op == "index" else self.value)
        return f"v{self.id} = {self.op}({inside})"


@dataclass(frozen=True)
class Store:
    """Write a statement's value. `reduce`: None, or how it is combined over `axes`.

    `indices`: for a scatter, index statements with (size, stride) each, added to `at`.
    """

    value: int
    buffer: int
    at: Affine
    reduce: str | None = None
    axes: tuple[int, ...] = ()
    indices: tuple[int, ...] = ()
    bounds: tuple = ()
    in_turn: bool = False  # along the innermost axis too, one after another instead of in lanes

    def __str__(self):
        how = "=" if self.reduce is None else f"{self.reduce}="
        extra = "".join(f"; v{i}" for i in self.indices)
        return f"b{self.buffer}[{self.at}{extra}] {how} v{self.value}"


@dataclass(frozen=True)
class Loop:
    """A loop nest: for every point of `space` run the body, then the stores."""

    space: tuple
    body: tuple[Statement, ...]
    stores: tuple[Store, ...]
    where: Where = NOWHERE
    sequential: int = -1  # for a running sum: the axis, whose order matters

    @property
    def cost(self) -> int:
        """Additions that a point is worth."""
        return sum(s.cost for s in self.body)

    def reads(self) -> set[int]:
        """Buffers that are loaded from."""
        return {s.buffer for s in self.body if s.buffer >= 0}

    def writes(self) -> set[int]:
        """Buffers that are stored to."""
        return {s.buffer for s in self.stores}

    def __str__(self):
        dims = ", ".join(f"i{a} < {d}" for a, d in enumerate(self.space))
        lines = [f"loop over ({dims})"] + [f"    {s}" for s in self.body]
        return "\n".join(lines + [f"    {s}" for s in self.stores])


@dataclass(frozen=True)
class Nest:
    """Loops over the same outermost dim that run row by row: all of them for i0 = 0, then 1, ...

    `rows`: buffers of which only the row at hand is kept, and the row's length. `in_steps`: a row
    needs what the one before it left.
    """

    loops: tuple[Loop, ...]
    rows: dict[int, int] = field(default_factory=dict, compare=False)
    in_steps: bool = False

    @property
    def where(self) -> Where:
        """That of the first loop."""
        return self.loops[0].where

    @property
    def body(self) -> tuple[Statement, ...]:
        """All statements."""
        return tuple(s for loop in self.loops for s in loop.body)

    def reads(self) -> set[int]:
        """Buffers that are loaded from and hold more than a row."""
        return {b for loop in self.loops for b in loop.reads()} - set(self.rows)

    def writes(self) -> set[int]:
        """Buffers that are stored to and hold more than a row."""
        return {b for loop in self.loops for b in loop.writes()} - set(self.rows)

    def __str__(self):
        kept = f", keeping a row of {', '.join(f'b{b}' for b in self.rows)}" if self.rows else ""
        how = "step by step" if self.in_steps else "row by row"
        lines = [f"{how} over (i0 < {self.loops[0].space[0]}){kept}"]
        for loop in self.loops:
            lines += [f"    {line}" for line in str(loop).split("\n")]
        return "\n".join(lines)


@dataclass(frozen=True)
class Product:
    """C[m, n] = A[m, k] B[k, n] for each of `batch`, row-major, by BLAS.

    `a_turned`: A is stored as [k, m]; likewise `b_turned`. `leads`: elements from one stored row to
    the next of A, B and C; `steps`: from one of the batch to the next.
    """

    a: int
    b: int
    c: int
    m: Any
    n: Any
    k: Any
    a_turned: bool
    b_turned: bool
    leads: tuple
    batch: Any = 1
    steps: tuple = (0, 0, 0)
    where: Where = NOWHERE

    def reads(self) -> set[int]:
        """Buffers that are loaded from."""
        return {self.a, self.b}

    def writes(self) -> set[int]:
        """Buffers that are stored to."""
        return {self.c}

    def __str__(self):
        a, b = f"b{self.a}{'ᵀ' * self.a_turned}", f"b{self.b}{'ᵀ' * self.b_turned}"
        many = "" if self.batch == 1 else f" for each of {self.batch}"
        return f"product b{self.c} = {a} @ {b} ({self.m} x {self.k} x {self.n}){many}"


@dataclass(frozen=True)
class Strips:
    """Regions over the same rows, run strip by strip: all of them on the first rows, then on the
    next. Threads share the rows.

    `program` holds the regions; its offsets are places of buffers that only they touch, of which
    each thread has memory for one strip. `row_of`: elements from one row of these to the next.
    Sums over the rows are taken for each `chunk` of rows, which one thread runs over, and then
    added in order.
    """

    program: Program
    rows: int
    strip: int
    chunk: int
    row_of: dict[int, int] = field(default_factory=dict, compare=False)

    @property
    def where(self) -> Where:
        """That of the first region."""
        return self.program.regions[0].where

    @property
    def body(self) -> tuple[Statement, ...]:
        """All statements."""
        return tuple(s for r in self.program.regions for s in getattr(r, "body", ()))

    @property
    def inner(self) -> tuple:
        """The program inside."""
        return (self.program,)

    def reads(self) -> set[int]:
        """Buffers that are loaded from and outlive a strip."""
        return {b for r in self.program.regions for b in r.reads()} - set(self.row_of)

    def writes(self) -> set[int]:
        """Buffers that are stored to and outlive a strip."""
        return {b for r in self.program.regions for b in r.writes()} - set(self.row_of)

    def __str__(self):
        inside = "\n".join(_indented(r) for r in self.program.regions)
        return f"{self.rows} rows, {self.strip} at a time\n{inside}"


@dataclass(frozen=True)
class Fill:
    """Zero a buffer."""

    buffer: int
    where: Where = NOWHERE

    def reads(self) -> set[int]:
        """None."""
        return set()

    def writes(self) -> set[int]:
        """The buffer."""
        return {self.buffer}

    def __str__(self):
        return f"zero b{self.buffer}"


@dataclass(frozen=True)
class Repeat:
    """A loop over steps: `body` (a Graph, then a Program) of the index, the carries, the constants
    and this step's rows of the xs gives the next carries and rows of the ys.

    `count`: a buffer with the number of steps, if that is not `length`. `condition`: asked before
    each step, of the index, the carries and the constants. `taken`: where the number of steps goes.
    """

    body: Any
    condition: Any
    length: Any
    reverse: bool
    starts: tuple[int, ...]
    constants: tuple[int, ...]
    xs: tuple[int, ...]
    lasts: tuple[int, ...]
    ys: tuple[int, ...]
    count: int = -1
    taken: int = -1
    rows: tuple = ()  # elements of a row of each of the xs
    where: Where = NOWHERE

    def reads(self) -> set[int]:
        """Buffers that are loaded from."""
        return {*self.starts, *self.constants, *self.xs, self.count} - {-1}

    def writes(self) -> set[int]:
        """Buffers that are stored to."""
        return {*self.lasts, *self.ys, self.taken} - {-1}

    @property
    def inner(self) -> tuple:
        """The programs inside."""
        return (self.body,) if self.condition is None else (self.body, self.condition)

    @property
    def may_stop(self) -> bool:
        """Whether there may be fewer steps than the length says."""
        return self.count >= 0 or self.condition is not None

    def __str__(self):
        order = "backward " if self.reverse else ""
        until = "" if self.condition is None else "\n  while\n" + _indented(self.condition)
        return f"repeat {order}{self.length} times{until}\n  do\n{_indented(self.body)}"


@dataclass(frozen=True)
class Choice:
    """One of several branches (Graphs, then Programs), by the number in the buffer `index`."""

    branches: tuple
    index: int
    operands: tuple[int, ...]
    results: tuple[int, ...]
    where: Where = NOWHERE

    def reads(self) -> set[int]:
        """Buffers that are loaded from."""
        return {self.index, *self.operands}

    def writes(self) -> set[int]:
        """Buffers that are stored to."""
        return set(self.results)

    @property
    def inner(self) -> tuple:
        """The programs inside."""
        return self.branches

    def __str__(self):
        cases = [f"  case {k}\n{_indented(b)}" for k, b in enumerate(self.branches)]
        return "\n".join([f"choose by b{self.index}", *cases])


@dataclass(frozen=True)
class Routine:
    """An operation by a kernel written by hand (emit/routines.py), with memory to work in."""

    name: str
    operands: tuple[int, ...]
    results: tuple[int, ...]
    scratch: tuple[int, ...]
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    params: tuple[tuple[str, Any], ...]
    where: Where = NOWHERE

    def param(self, name: str) -> Any:
        """The value of one parameter."""
        return dict(self.params)[name]

    def reads(self) -> set[int]:
        """Buffers that are loaded from."""
        return set(self.operands)

    def writes(self) -> set[int]:
        """Buffers that are stored to."""
        return {*self.results, *self.scratch}

    def __str__(self):
        outs = ", ".join(f"b{b}" for b in self.results)
        inside = [f"b{b}" for b in self.operands] + [f"{k}={v!r}" for k, v in self.params]
        return f"{outs} = {self.name}({', '.join(inside)})"


def _indented(stage) -> str:
    return "\n".join(f"    {line}" for line in str(stage).split("\n"))


@dataclass(frozen=True)
class Program:
    """Regions in order, and their buffers. `outputs[i]` is the buffer of output i.

    `captured[i]` is the array behind the buffer of kind captured and index i, read at each call.
    After memory planning `offsets` has the place of each temporary in the arena and
    `arena_bytes` its size; for symbolic dims `slots` says which temporaries share a slot.
    """

    regions: tuple
    buffers: tuple[Buffer, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    checks: tuple = ()
    captured: tuple = field(default=(), compare=False)
    offsets: dict[int, int] = field(default_factory=dict, compare=False)
    arena_bytes: int = 0
    slots: tuple = ()

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the symbolic dims, sorted."""
        dims = [d for b in self.buffers for d in b.spec.shape if isinstance(d, Dim)]
        return tuple(sorted({s for d in dims for s in d.symbols()}))

    def __str__(self):
        lines = [str(b) for b in self.buffers]
        return "\n".join(lines + [str(r) for r in self.regions])


def loops_of(region) -> tuple[Loop, ...]:
    """The loops of a loop or nest."""
    return region.loops if isinstance(region, Nest) else (region,)


def check_program(program: Program) -> Program:
    """Assert that what is read has been written and that statements are in order."""
    ready = {b.id for b in program.buffers if b.kind in ("input", "captured")}
    for region in program.regions:
        made = region.writes() if isinstance(region, (Nest, Strips)) else set()
        missing = region.reads() - ready - made
        if missing:
            raise CheckError(
                "check", f"{region} reads {missing} before it is written", where=NOWHERE
            )
        for loop in loops_of(region):
            seen: set[int] = set()
            for s in loop.body if isinstance(loop, Loop) else ():
                if not seen.issuperset(s.args):
                    raise CheckError("check", f"{s} comes before its arguments", where=s.where)
                seen.add(s.id)
        ready |= region.writes()
    missing = set(program.outputs) - ready
    if missing:
        raise CheckError("check", f"outputs {missing} are never written", where=NOWHERE)
    return program


def steps_of(shape) -> tuple:
    """C-order strides in elements."""
    strides, total = [], 1
    for d in reversed(shape):
        strides.append(total)
        total = total * d
    return tuple(reversed(strides))
