"""What the writers of loops for a CPU and for a GPU share: the loop, its statements, its places.

A dialect (cpu.py, gpu.py) says which word loads and stores, what a loop runs over, and what is
done about an index out of bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphad.emit.kernel import (
    Operands,
    code_of,
    combine,
    expression,
    identity,
    literal,
)
from graphad.emit.loops import ARGS, LONGEST_UNROLLED
from graphad.errors import NOWHERE, Where
from graphad.lower.program import CHUNKED, STEP, Affine, Buffer, Loop, Statement, Store

if TYPE_CHECKING:
    from graphad.emit.nests import NestWriter


class LoopWriter:
    """Writes the source of one loop, alone or in a nest."""

    def __init__(self, loop: Loop, buffers: tuple[Buffer, ...], nest: NestWriter | None = None):
        self.loop, self.buffers, self.nest = loop, buffers, nest
        self.space = loop.space or (1,)
        self.rank = len(self.space)
        self.operands = nest.operands if nest else Operands()
        self.lines: list[tuple[str, Where]] = []
        self.dtypes = {s.id: s.dtype for s in loop.body}

    # -- the dialect -----------------------------------------------------------------------------
    def word(self, name: str, buffer: int, code: str) -> str:
        """A load or store of a buffer."""
        raise NotImplementedError

    def _range(self, axis: int) -> str:
        raise NotImplementedError

    def _body(self, depth: int):
        raise NotImplementedError

    def _refuse(self, depth: int, index: str):
        """What is done about an index out of bounds."""
        raise NotImplementedError

    # -- lines -----------------------------------------------------------------------------------
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
