"""Kernels of nests: loops that run row by row, for a CPU inside one loop over the rows."""

from __future__ import annotations

import re

from graphad.emit.cpu import CpuWriter
from graphad.emit.kernel import Kernel, Operands, finished
from graphad.emit.target import Target
from graphad.errors import NOWHERE
from graphad.lower.program import Buffer, Nest, Store

OWN = re.compile(r"\b([ajrtvw]|i(?=[1-9]))(\d)(?!\w*\()")  # variables; `i8(` is a conversion


class NestWriter:
    """Writes loops that run row by row, for a CPU or a GPU: what the loops have in common."""

    def __init__(self, nest: Nest, buffers: tuple[Buffer, ...]):
        self.loops, self.buffers, self.rows = nest.loops, buffers, nest.rows
        self.operands = Operands()
        self.totals: list[Store] = []
        self.kept: list[int] = []
        self.own: set[int] = set()
        written = {b for loop in nest.loops for b in loop.writes()}
        self.shared = written & {b for loop in nest.loops for b in loop.reads()}

    def row(self, buffer: int) -> str:
        """The address of the row at hand of a buffer of which no more is kept."""
        if buffer not in self.kept:
            self.kept.append(buffer)
        return f"y{self.kept.index(buffer)}"

    def bytes_of_row(self, buffer: int) -> int:
        """Of a buffer of which no more is kept."""
        return self.rows[buffer] * self.buffers[buffer].spec.dtype.itemsize


class CpuNest(NestWriter):
    """One loop over the rows with the others inside."""

    def __init__(self, nest: Nest, buffers: tuple[Buffer, ...], target: Target):
        super().__init__(nest, buffers)
        self.in_steps, self.target = nest.in_steps, target
        self.own = self._own()

    def _own(self) -> set[int]:
        """What is written and read, or added to, and can be reached from one address."""
        found = {s.buffer for loop in self.loops for s in loop.stores if s.reduce is not None}
        found |= self.shared
        places = [s for loop in self.loops for s in (*loop.body, *loop.stores)]
        far = {s.buffer for s in places if s.at is not None and not isinstance(s.at.offset, int)}
        return found - far - set(self.rows)

    def kernel(self) -> Kernel:
        """The finished kernel."""
        lines, blocks, totals, work = [], [], [], 0
        for n, loop in enumerate(self.loops):
            writer = CpuWriter(loop, self.buffers, self.target, self)
            parts = writer.write(2)
            totals += [writer._total(self.totals.index(s), s) for s in parts]
            work = work + writer._work()
            # Each loop has variables of its own: one that is set in two is no plain value.
            own = [(OWN.sub(rf"\g<1>{n}_\2", t), w) for t, w in writer.lines]
            blocks += [line for line in own if " = block_" in line[0]]
            lines += [line for line in own if " = block_" not in line[0]]
        head = [(text, NOWHERE) for text in self.operands.head()]
        for k, buffer in enumerate(self.kept):
            head.append((f"    y{k} = stack({self.bytes_of_row(buffer)})", NOWHERE))
        rows = [*head, *blocks, ("    for i0 in range(start, stop):", NOWHERE), *lines]
        work = 0 if self.in_steps else work
        return finished(rows, self.operands, self.loops[0].space[0], work, 1, tuple(totals))


def write_nest(nest: Nest, buffers: tuple[Buffer, ...], target: Target) -> Kernel:
    """The kernel of a nest."""
    return CpuNest(nest, buffers, target).kernel()
