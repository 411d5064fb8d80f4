"""Loops for a GPU: a thread, or a block of threads, for each point of what is not summed.

A kernel runs one step: `kernel(table, start, stop)` with `stop = start + 1`. Where a sum runs along
the elements that lie side by side, the threads of a block share the step (a team); otherwise each
thread has a step of its own, so that neighbours read neighbours. Long sums of few results are taken
in chunks, whose parts a second kernel adds in order: no order depends on how the GPU schedules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from graphad.emit.kernel import Kernel, code_of, combine, identity
from graphad.emit.loops import ARGS, simplified
from graphad.emit.source import Facts, KernelSource
from graphad.emit.writer import LoopWriter
from graphad.errors import NOWHERE
from graphad.lower.program import CHUNKED, Affine, Buffer, Loop, Statement, Store
from graphad.spec import size_of
from graphad.status import BAD_INDEX

if TYPE_CHECKING:
    from graphad.emit.nests import NestWriter

WARP, LARGEST_TEAM = 32, 256
NO_PROMISE = {"load": "peek", "peek": "peek", "store": "keep", "keep": "keep"}
STEPS = {True: 1024, False: 1 << 16}  # that fill a GPU: of teams, and of single threads
CHUNK = {True: 2048, False: 32}  # at least so many points are summed by one of them


@dataclass(frozen=True)
class Launch(Kernel):
    """A kernel for a GPU. `team`: threads that share a step; `scratch`: bytes of the parts of its
    sums, buffer -1 - k the k-th; `then`: the kernels that add them up."""

    team: int = 1
    scratch: tuple[Any, ...] = ()
    then: tuple[Launch, ...] = ()

    @property
    def sources(self) -> list[KernelSource]:
        """Of the kernel, and of those that follow it."""
        return [self.source, *(k.source for k in self.then)]


def join_summed(loop: Loop, summed: set[int]) -> tuple[Loop, set[int]]:
    """The loop with neighbouring axes of its sums as one where every index allows; these axes."""
    for a in sorted(summed):
        if a + 1 not in summed:
            continue
        size = loop.space[a + 1]
        found = [s.at for s in (*loop.body, *loop.stores) if s.at is not None]
        if not all(at.strides[a] == at.strides[a + 1] * size for at in found):
            continue

        def moved(at, a=a):
            return at and Affine(at.offset, at.strides[:a] + at.strides[a + 1 :])

        def fewer(axes, a=a):
            return {b - (b > a) for b in axes}

        space = (*loop.space[:a], loop.space[a] * size, *loop.space[a + 2 :])
        body = tuple(replace(s, at=moved(s.at)) for s in loop.body)
        stores = tuple(replace(s, at=moved(s.at), axes=tuple(sorted(fewer(s.axes))))
                       for s in loop.stores)  # fmt: skip
        return join_summed(replace(loop, space=space, body=body, stores=stores), fewer(summed))
    return loop, summed


def team_for(points) -> int:
    """Threads for so many points: a power of two, each with some four of them."""
    few = points // 4 if isinstance(points, int) else LARGEST_TEAM
    return max(WARP, min(LARGEST_TEAM, 1 << max(few, 1).bit_length() - 1))


def launched(lines, memory, operands, steps, team, scratch, then) -> Launch:
    """A kernel from its lines; `memory` are those that come first."""
    noted = operands.fails
    head = ["def kernel(table, start, stop):", *operands.reads(), *memory]
    head += ["    bad = 0"] if noted else []
    tail = "    return bad" if noted else "    return 0"
    whole = [(text, NOWHERE) for text in head] + lines + [(tail, NOWHERE)]
    code = "\n".join(text for text, _ in whole) + "\n"
    source = KernelSource(code, Facts(fails=noted, team=team > 1))
    wheres = tuple(where for _, where in whole)
    pointers, integers = tuple(operands.pointers), tuple(operands.integers)
    return Launch(source, pointers, integers, steps, wheres, team=team, scratch=scratch, then=then)


class DeviceWriter(LoopWriter):
    """Writes the kernel of one loop for a GPU."""

    def __init__(self, loop: Loop, buffers: tuple[Buffer, ...], nest: NestWriter | None = None,
                 whole: bool = False):  # fmt: skip
        merged, outer = simplified(loop, rows=nest is not None), int(nest is not None)
        # In a nest, sums over the rows are left in parts.
        summed = {a for s in merged.stores if s.reduce in CHUNKED for a in s.axes if a >= outer}
        joined, self.summed = join_summed(merged, summed)
        super().__init__(joined, buffers, nest)
        # Over axes of size 1, which are gone, there is nothing to sum.
        self.sums = [s for s in self.loop.stores if s.reduce in CHUNKED and s.axes]
        self.serial = self._serial()
        inside = self.summed | self.serial
        self.kept = [a for a in range(self.rank) if a not in inside]
        self.team = self._team()
        self.chunk = 0 if whole else self._chunk()

    # -- who does what ---------------------------------------------------------------------------
    def _serial(self) -> set[int]:
        """The axes that one thread has to go along in order."""
        running = {a for s in self.loop.stores if s.reduce in (*ARGS, "scan") for a in s.axes}
        running |= {self.loop.sequential} - {-1}
        scattered = [s for s in self.loop.stores if s.indices]
        if not scattered:
            return running
        free = set(range(self.rank)) - running
        for s in scattered:
            free &= self._apart(s)
        return set(range(self.rank)) - free

    def _apart(self, s: Store) -> set[int]:
        """The axes along which no two points are scattered to the same place, whatever the indices:
        these do not depend on them, and jump over or stay within what the axes reach."""
        depends: dict[int, set[int]] = {}
        for b in self.loop.body:
            own = {a for a, step in enumerate(b.at.strides) if step != 0} if b.at else set()
            depends[b.id] = own.union(*(depends[a] for a in b.args))
        used = set().union(*(depends[i] for i in s.indices))
        axes = [a for a, step in enumerate(s.at.strides) if a not in used and step != 0]
        numbers = [n for a in axes for n in (s.at.strides[a], self.space[a])]
        numbers += [n for bound in s.bounds for n in bound]
        if not axes or not all(isinstance(n, int) for n in numbers):
            return set()
        reach = 0
        steps = sorted((abs(s.at.strides[a]), self.space[a]) for a in axes)
        for step, size in steps:
            if step <= reach:
                return set()
            reach += step * (size - 1)
        safe = all(by > reach or steps[0][0] >= by * n for n, by in s.bounds)
        return set(axes) if safe else set()

    def _points(self, axes) -> Any:
        return size_of([self.space[a] for a in axes])

    def _team(self) -> int:
        """How many threads share a step."""
        if not self.summed:
            return 1
        size = self._points(self.summed)
        if isinstance(size, int) and size < WARP:
            return 1
        loads = [s.at for s in self.loop.body if s.op == "load" and s.at is not None]
        along = sum(any(at.strides[a] in (1, -1) for a in self.summed) for at in loads)
        across = sum(any(at.strides[a] in (1, -1) for a in self.kept) for at in loads)
        if across > along:
            return 1
        return team_for(size)

    def _chunk(self) -> Any:
        """Points of the sums that a step takes; 0 for all."""
        steps, points = self._points(self.kept), self._points(self.summed)
        if not (self.summed and isinstance(steps, int) and isinstance(points, int)):
            return 0
        team = self.team > 1
        wanted = STEPS[team] // max(steps, 1)
        size = max(CHUNK[team], math.ceil(points / max(wanted, 1)))
        return size if 2 * size <= points else 0

    # -- the source ------------------------------------------------------------------------------
    def launch(self) -> Launch:
        """The finished kernel, and those that add up what it leaves in parts."""
        self._find("start", self.kept, chunked=bool(self.chunk))
        if self.summed:
            self._sums()
        elif self.serial:
            self._plain(1, sorted(self.serial))
        else:
            self._point(1)
        steps = self._points(self.kept) * (self._chunks() if self.chunk else 1)
        parts = self.sums if self.chunk else []
        scratch = tuple(steps * self.dtypes[s.value].itemsize for s in parts)
        then = tuple(map(self._then, range(len(parts)), parts))
        return launched(self.lines, [], self.operands, steps, self.team, scratch, then)

    def _chunks(self) -> int:
        return math.ceil(self._points(self.summed) / self.chunk)

    def _find(self, what: str, axes: list[int], depth: int = 1, chunked: bool = False):
        """The loop variables of some axes from the number of a point, the last axis fastest."""
        if chunked and not axes:
            self.line(depth, f"chunk = {what}")
        elif chunked:
            size = self._points(axes)
            self.line(depth, f"chunk = {self._over(what, size)}")
            self.line(depth, f"kept = {what} - chunk * {self.integer(size, 'points')}")
            what = "kept"
        for n, a in enumerate(reversed(axes)):
            if n == len(axes) - 1:
                self.line(depth, f"i{a} = {what}")
                return
            rest = f"q{a}"
            self.line(depth, f"{rest} = {self._over(what, self.space[a])}")
            self.line(depth, f"i{a} = {what} - {rest} * {self.integer(self.space[a], 'points')}")
            what = rest

    def _over(self, what: str, size) -> str:
        """The whole quotient by a size: of numbers below 2**31 in 32 bits, which is much faster."""
        name = self.integer(size, "points")
        points = size_of(self.space)
        short = isinstance(points, int) and points < 2**31
        return f"over({what}, {name})" if short else f"{what} // {name}"

    def _sums(self):
        self._start(1)
        points = self.integer(self._points(self.summed), "summed")
        first, stop = "0", points
        if self.chunk:
            size = self.integer(self.chunk, "chunk")
            self.line(1, f"first = chunk * {size}")
            self.line(1, f"last = min(first + {size}, {points})")
            first, stop = "first", "last"
        if self.team > 1:
            first = "lane()" if first == "0" else f"{first} + lane()"
        step = ", lanes()" if self.team > 1 else ""
        self.line(1, f"for point in range({first}, {stop}{step}):")
        self._find("point", sorted(self.summed), 2)
        self._point(2)
        self._finish(1, self.team > 1)

    def _start(self, depth: int):
        for k, s in enumerate(self.sums):
            self.line(depth, f"a{k} = {identity(s.reduce or '', self.dtypes[s.value])}")

    def _point(self, depth: int):
        """The body at one point: its sums add to their running values, the rest is stored."""
        self._body(depth)
        for s in self.loop.stores:
            if s in self.sums:
                name = f"a{self.sums.index(s)}"
                self.line(depth, f"{name} = {combine(s.reduce or '', name, f'v{s.value}')}")
            else:
                self._store(depth, s)

    def _finish(self, depth: int, together: bool):
        """Store what the sums came to, in one thread or in those of a team together."""
        for k, s in enumerate(self.sums):
            code = code_of(self.dtypes[s.value])
            if together:
                self.line(depth, f"a{k} = team_{s.reduce}_{code}(a{k})")
            self.line(depth, f"keep_{code}({self._result(k, s)}, a{k})")

    def _result(self, k: int, s: Store) -> str:
        """The address and index of what the k-th sum comes to."""
        if self.chunk:
            return f"{self.operands.pointer(-1 - k, 0)[0]}, start"
        return self.place(s.buffer, s.at)

    def _body(self, depth: int):
        for s in self.loop.body:
            if s.op == "gather":
                self._checked(depth, f"v{s.id}", s.args, s.bounds)
            self._statement(depth, s)
        for s in self.loop.stores:
            if s.indices:
                self._checked(depth, f"w{s.value}", s.indices, s.bounds)

    def _range(self, axis: int) -> str:
        return self.integer(self.space[axis], f"d{axis}")

    def _refuse(self, depth: int, index: str):
        """A thread cannot leave the others: it notes the error and goes on."""
        self.operands.fails = True
        self.line(depth, f"bad = {BAD_INDEX}")
        self.line(depth, f"{index} = 0")

    def word(self, name: str, buffer: int, code: str) -> str:
        """A load or store; the promise that they touch different memory is for what is only read
        or only written."""
        apart = buffer not in self.loop.reads() & self.loop.writes()
        return f"{name if apart else NO_PROMISE[name]}_{code}"

    def _then(self, k: int, s: Store) -> Launch:
        """The kernel that adds up the parts of one sum: those of the chunks, one after another."""
        points, chunks = self._points(self.kept), self._chunks()
        steps = [self._points(self.kept[n + 1 :]) for n in range(len(self.kept))]
        space = (*[self.space[a] for a in self.kept], chunks)
        return self.adding(k, s, space, (*steps, points), [s.at.strides[a] for a in self.kept])

    def adding(self, k: int, s: Store, space, strides, kept) -> Launch:
        """The kernel that adds up parts that lie in memory by these strides, over the last axis."""
        load = Statement(0, "load", (), self.dtypes[s.value], buffer=-1 - k, at=Affine(0, strides))
        at = Affine(s.at.offset, (*kept, 0))
        total = Store(0, s.buffer, at, s.reduce, (len(kept),))
        loop = Loop(space, (load,), (total,), self.loop.where)
        return DeviceWriter(loop, self.buffers, whole=True).launch()


def write_device_loop(loop: Loop, buffers: tuple[Buffer, ...]) -> Launch:
    """The kernel of a loop region for a GPU."""
    return DeviceWriter(loop, buffers).launch()
