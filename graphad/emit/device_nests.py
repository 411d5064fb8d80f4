"""Nests for a GPU: a block of threads for each row, whose rows are in the memory of the block."""

from __future__ import annotations

from graphad.emit.device import NO_PROMISE, TEAM, WARP, DeviceWriter, Launch, team_for
from graphad.emit.kernel import Operands, code_of
from graphad.emit.loops import simplified
from graphad.emit.nests import OWN
from graphad.errors import NOWHERE
from graphad.lower.program import Buffer, Loop, Nest, Store
from graphad.spec import size_of


class RowWriter(DeviceWriter):
    """Writes one loop of a nest, for the row i0."""

    def __init__(self, loop: Loop, nest: DeviceNest):
        self.nest, self.operands = nest, nest.operands
        self._look(simplified(loop, rows=True), nest.buffers, outer=1)
        self.chunk = 0

    def word(self, name: str, buffer: int, code: str) -> str:
        """A load or store; what one loop writes and another reads is outside the promise."""
        if buffer in self.nest.shared:
            return f"{NO_PROMISE[name]}_{code}"
        return super().word(name, buffer, code)

    def row(self) -> list[Store]:
        """The lines of the row i0 for a block; the sums over everything, left in parts."""
        inner = [a for a in self.kept if a != 0]
        sums = self.sums
        if self.summed and inner:
            self._sums_by_thread(inner, sums)
        else:
            self._start(1, sums)
            many = self.integer(self._points(self.summed or inner), "points")
            self.line(1, f"for point in range(lane(), {many}, lanes()):")
            self._find("point", sorted(self.summed) or inner, 2)
            self._point(2, sums)
            for k, s in enumerate(sums):
                code = code_of(self.dtypes[s.value])
                self.line(1, f"a{k} = team_{s.reduce}_{code}(a{k})")
                self._finish(1, k, s, f"a{k}")
        self.line(1, "barrier()")
        return [s for s in sums if 0 in s.axes]

    def _sums_by_thread(self, inner: list[int], sums: list[Store]):
        """Sums over some axes of a row: a thread for each."""
        groups, points = (self.integer(self._points(a), "points") for a in (inner, self.summed))
        self.line(1, f"for group in range(lane(), {groups}, lanes()):")
        self._find("group", inner, 2)
        self._start(2, sums)
        self.line(2, f"for point in range({points}):")
        self._find("point", sorted(self.summed), 3)
        self._point(3, sums)
        for k, s in enumerate(sums):
            self._finish(2, k, s, f"a{k}")

    def _finish(self, depth: int, k: int, s: Store, value: str):
        if 0 not in s.axes:
            super()._finish(depth, k, s, value)
            return
        code = code_of(self.dtypes[s.value])
        self.line(depth, f"keep_{code}({self.nest.part(s)}, i0, {value})")

    def over_rows(self, k: int, s: Store, rows) -> Launch:
        """The kernel that adds up what the rows of a nest leave of a sum over everything."""
        return self.adding(k, s, (rows,), (1,), [])


class DeviceNest:
    """Writes loops that run row by row: a block for each row, whose rows are in its memory."""

    def __init__(self, nest: Nest, buffers: tuple[Buffer, ...]):
        self.loops, self.buffers, self.rows = nest.loops, buffers, nest.rows
        self.operands = Operands()
        self.own: set[int] = set()
        written = {b for loop in nest.loops for b in loop.writes()}
        self.shared = written & {b for loop in nest.loops for b in loop.reads()}
        self.kept: list[int] = []
        self.totals: list[Store] = []

    def row(self, buffer: int) -> str:
        """The address of the row at hand of a buffer of which no more is kept."""
        if buffer not in self.kept:
            self.kept.append(buffer)
        return f"y{self.kept.index(buffer)}"

    def part(self, s: Store) -> str:
        """The address of what the rows leave of a sum over everything."""
        self.totals.append(s)
        return self.operands.pointer(-len(self.totals), 0)[0]

    def launch(self) -> Launch:
        """The finished kernel, and those that add up the totals."""
        lines, then, team = [("    i0 = start", NOWHERE)], [], WARP
        rows, places = self.loops[0].space[0], False
        for n, loop in enumerate(self.loops):
            writer = RowWriter(loop, self)
            for s in writer.row():
                then.append(writer.over_rows(self.totals.index(s), s, rows))
            team = max(team, team_for(size_of(loop.space[1:])))
            places = places or any(s.bounds for s in (*loop.body, *loop.stores))
            # Each loop has variables of its own, also of other dtypes.
            lines += [(OWN.sub(rf"\g<1>{n}_\2", text), where) for text, where in writer.lines]
        head = self.operands.head()
        head.remove("    wide_vectors()")
        for k, b in enumerate(self.kept):
            size = self.rows[b] * self.buffers[b].spec.dtype.itemsize
            head.append(f"    y{k} = own_{k}_{size}()")
        head += ["    bad = 0"] if places else []
        tail = "    return bad" if places else "    return 0"
        lines = [(text, NOWHERE) for text in (TEAM.rstrip(), *head)] + lines + [(tail, NOWHERE)]
        scratch = tuple(rows * self.buffers[s.buffer].spec.dtype.itemsize for s in self.totals)
        return Launch(
            "\n".join(text for text, _ in lines) + "\n", tuple(self.operands.pointers),
            tuple(self.operands.integers), rows, tuple(where for _, where in lines),
            team=team, scratch=scratch, then=tuple(then),
        )  # fmt: skip


def write_device_nest(nest: Nest, buffers: tuple[Buffer, ...]) -> Launch:
    """The kernel of a nest for a GPU."""
    return DeviceNest(nest, buffers).launch()
