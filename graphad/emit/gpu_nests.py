"""Nests for a GPU: a block of threads for each row, whose rows are in the memory of the block."""

from __future__ import annotations

from graphad.emit.gpu import NO_PROMISE, WARP, DeviceWriter, Launch, launched, team_for
from graphad.emit.nests import OWN, NestWriter
from graphad.errors import NOWHERE
from graphad.lower.program import Buffer, Loop, Nest, Store
from graphad.spec import size_of


class RowWriter(DeviceWriter):
    """Writes one loop of a nest, for the row i0."""

    nest: DeviceNest

    def __init__(self, loop: Loop, nest: DeviceNest):
        super().__init__(loop, nest.buffers, nest, whole=True)

    def word(self, name: str, buffer: int, code: str) -> str:
        """A load or store; what one loop writes and another reads is outside the promise."""
        if buffer in self.nest.shared:
            return f"{NO_PROMISE[name]}_{code}"
        return super().word(name, buffer, code)

    def row(self) -> list[Store]:
        """The lines of the row i0 for a block; the sums over everything, left in parts."""
        inner = [a for a in self.kept if a != 0]
        by_thread = bool(self.summed and inner)  # sums over some axes of a row
        if by_thread:
            groups = self.integer(self._points(inner), "points")
            self.line(1, f"for group in range(lane(), {groups}, lanes()):")
            self._find("group", inner, 2)
        depth = 1 + by_thread
        self._start(depth)
        points = self.integer(self._points(self.summed or inner), "points")
        each = f"range({points})" if by_thread else f"range(lane(), {points}, lanes())"
        self.line(depth, f"for point in {each}:")
        self._find("point", sorted(self.summed) or inner, depth + 1)
        self._point(depth + 1)
        self._finish(depth, not by_thread)
        self.line(1, "barrier()")
        return [s for s in self.sums if 0 in s.axes]

    def _result(self, k: int, s: Store) -> str:
        return f"{self.nest.part(s)}, i0" if 0 in s.axes else super()._result(k, s)

    def over_rows(self, k: int, s: Store, rows) -> Launch:
        """The kernel that adds up what the rows of a nest leave of a sum over everything."""
        return self.adding(k, s, (rows,), (1,), [])


class DeviceNest(NestWriter):
    """Writes loops that run row by row: a block for each row, whose rows are in its memory."""

    def part(self, s: Store) -> str:
        """The address of what the rows leave of a sum over everything."""
        self.totals.append(s)
        return self.operands.pointer(-len(self.totals), 0)[0]

    def launch(self) -> Launch:
        """The finished kernel, and those that add up the totals."""
        lines, then, team = [("    i0 = start", NOWHERE)], [], WARP
        rows = self.loops[0].space[0]
        for n, loop in enumerate(self.loops):
            writer = RowWriter(loop, self)
            for s in writer.row():
                then.append(writer.over_rows(self.totals.index(s), s, rows))
            team = max(team, team_for(size_of(loop.space[1:])))
            # Each loop has variables of its own, also of other dtypes.
            lines += [(OWN.sub(rf"\g<1>{n}_\2", text), where) for text, where in writer.lines]
        memory = []
        for k, b in enumerate(self.kept):
            memory.append(f"    y{k} = own_{k}_{self.bytes_of_row(b)}()")
        scratch = tuple(rows * self.buffers[s.buffer].spec.dtype.itemsize for s in self.totals)
        return launched(lines, memory, self.operands, rows, team, scratch, tuple(then))


def write_device_nest(nest: Nest, buffers: tuple[Buffer, ...]) -> Launch:
    """The kernel of a nest for a GPU."""
    return DeviceNest(nest, buffers).launch()
