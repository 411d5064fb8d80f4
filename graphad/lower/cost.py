"""What a call costs, region by region: additions of the table, and bytes to and from memory.

The same numbers decide what is computed again in place of being stored (`regions.py`) and how a
loop is shared among threads: an addition is the unit, a byte is worth `ops.cost.MOVING` of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from graphad.errors import NOWHERE, Where
from graphad.lower.program import Choice, Loop, Nest, Product, Program, Repeat, Routine, loops_of
from graphad.lower.straight import Straight, StraightLoop
from graphad.op import TABLE
from graphad.ops.work import cost_of_moving
from graphad.spec import size_of


@dataclass(frozen=True)
class RegionCost:
    """The work of one region."""

    what: str
    where: Where
    operations: Any
    bytes_moved: Any

    @property
    def bound_by(self) -> str:
        """Whether arithmetic or memory takes longer, as far as sizes are known."""
        if not all(isinstance(n, int) for n in (self.operations, self.bytes_moved)):
            return ""
        return "arithmetic" if self.operations > cost_of_moving(self.bytes_moved) else "memory"


@dataclass(frozen=True)
class Cost:
    """Estimated work of one call: `operations` by the table's costs, in additions; `bytes_moved` by
    the regions, which are in `regions` one by one."""

    operations: Any
    regions: tuple[RegionCost, ...]

    @property
    def bytes_moved(self) -> Any:
        """Bytes that regions read and write."""
        return sum((r.bytes_moved for r in self.regions), 0)

    def __str__(self):
        lines = [f"operations {_shown(self.operations)}", f"bytes      {_shown(self.bytes_moved)}",
                 f"regions    {len(self.regions)}"]  # fmt: skip
        for k, r in enumerate(self.regions):
            file, line = r.where
            at = "" if r.where == NOWHERE else f"{file.rsplit('/', 1)[-1]}:{line}"
            work, moved = _shown(r.operations), _shown(r.bytes_moved)
            row = f"{k:>4} {r.what:<14}{work:>14} operations{moved:>14} bytes"
            lines.append(f"{row}  {r.bound_by:<11}{at}".rstrip())
        return "\n".join(lines)


def _shown(n) -> str:
    return f"{n:,}" if isinstance(n, int) else str(n)


def cost_of(program: Program, total: Any) -> Cost:
    """The cost of a program, of whose graph the operations are known."""
    return Cost(total, tuple(_region_costs(program, total)))


def _region_costs(program: Program, total: Any) -> Iterator[RegionCost]:
    found = [operations_of(r) for r in program.regions]
    rest = total - sum((n for n in found if n is not None), 0)  # for what is straight-line code
    for region, known in zip(program.regions, found, strict=True):
        moved: Any = 0
        for b in region.reads() | region.writes():
            moved = moved + program.buffers[b].bytes
        work = rest if known is None else total if len(found) == 1 else known
        what = getattr(region, "name", "") or type(region).__name__.lower()
        what = "straight" if isinstance(region, StraightLoop) else what
        yield RegionCost(what, region.where, work, moved)


def operations_of(region) -> Any:
    """The additions that a region is worth; None for straight-line code, which its graph tells."""
    if isinstance(region, (Straight, StraightLoop)):
        return None
    if isinstance(region, Product):
        return 2 * region.m * region.n * region.k * region.batch
    if isinstance(region, (Loop, Nest)):
        return sum((_of_loop(loop) for loop in loops_of(region)), 0)
    if isinstance(region, Routine):
        return TABLE.ops[region.name].cost * size_of(region.outputs[0].shape)
    inside = [_of_program(p) for p in getattr(region, "inner", ()) if isinstance(p, Program)]
    if None in inside:
        return None
    if isinstance(region, Choice):
        return max(inside, default=0)
    return sum(inside, 0) * (region.length if isinstance(region, Repeat) else 1)


def _of_program(program: Program) -> Any:
    found = [operations_of(r) for r in program.regions]
    return None if None in found else sum(found, 0)


def _of_loop(loop: Loop) -> Any:
    steps = sum(s.reduce is not None for s in loop.stores)
    return size_of(loop.space or (1,)) * (loop.cost + steps)
