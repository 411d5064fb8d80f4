"""One program within an image: where its buffers are, and its steps."""

from __future__ import annotations

from typing import Any

from graphad.emit.kernel import Kernel
from graphad.lower.program import Program
from graphad.run import executor as x
from graphad.run import layout, product_tables
from graphad.run.image_writer import StepAt, Writer
from graphad.run.places import Place, later, room
from graphad.spec import size_of


class Scope:
    """One program within an image: where its buffers are, and its steps."""

    def __init__(self, writer: Writer, program: Program, kernels: list, keep: bool):
        self.writer, self.program, self.kernels, self.keep = writer, program, kernels, keep
        self.places: dict[int, Place] = {}
        self.group = len(writer.groups)
        writer.groups.append([])
        writer.checks += program.checks

    def arena(self, start: Any) -> Any:
        """Places of the temporaries, then of scratch memory that kernels use in turn, from
        `start`; where they end."""
        program, own = self.program, self.writer.relocations
        for b, offset in program.offsets.items():
            self.places[b] = Place(layout.ARENA, start + offset, own)
        total = start + program.arena_bytes
        for size, buffers in program.slots:
            for b in buffers:
                self.places[b] = Place(layout.ARENA, total, own)
            total = total + room(size)
        for k, size in enumerate(scratch_of(self.kernels)):
            self.places[-1 - k] = Place(layout.ARENA, total, own)
            total = total + room(size)
        self.end = total
        return total

    def steps(self) -> None:
        """Every region as steps of this program's group."""
        for region, kernel in zip(self.program.regions, self.kernels, strict=True):
            if isinstance(kernel, Kernel):
                self._add(kernel.source, kernel.pointers, kernel.integers, region, kernel.stop,
                          kernel.work, kernel.grain, kernel.address, kernel.blas)  # fmt: skip
                for total in kernel.totals:
                    self._add(total.source, total.pointers, total.integers, region)
            else:
                getattr(self, f"_{type(region).__name__.lower()}")(region, kernel)

    def step(self, source, table, region, stop: Any = 0, work: Any = 0, grain=1, address=0):
        address = address or self.writer.address_of(source, self.keep)
        step = StepAt(address, table, stop, work, grain, region)
        self.writer.groups[self.group].append(step)

    def _add(
        self, source, pointers, integers, region, stop: Any = 0, work: Any = 0, grain=1, address=0,
        blas=None,
    ):  # fmt: skip
        table = len(self.writer.data)
        for buffer, offset in pointers:
            size = self.program.buffers[buffer].spec.dtype.itemsize if buffer >= 0 else 0
            self.writer.follow(self.places[buffer], offset * size)
        for value in integers:
            self.writer.put(value)
        if blas is not None:
            address = address or self.writer.address_of(source, self.keep)
            address, table = product_tables.held(self, address, table, blas)
        self.step(source, table, region, stop, work, grain, address)

    def _fill(self, region, kernel):
        size = self.program.buffers[region.buffer].bytes
        self._add(x.FILL_SOURCE, ((region.buffer, 0),), (size,), region)

    def _product(self, region, kernel):
        product_tables.product(self, region)

    def _strips(self, region, kernel):
        product_tables.strips(self, region, kernel)

    # -- control flow ----------------------------------------------------------------------------
    def _inside(self, program: Program, kernels: list, start) -> Scope:
        """A program within this one, whose memory is from `start`."""
        scope = Scope(self.writer, program, kernels, self.keep)
        scope.arena(start)
        return scope

    def _finish(self, scope: Scope) -> None:
        scope.steps()
        self.writer.arena_bytes = later(self.writer.arena_bytes, scope.end)

    def _choice(self, region, kernel):
        scopes = []
        for program, kernels in zip(region.branches, kernel.programs, strict=True):
            scope = self._inside(program, kernels, self.end)
            for b, outer in zip(program.inputs, region.operands, strict=True):
                scope.places[b] = self.places[outer]
            for b, outer in zip(program.outputs, region.results, strict=True):
                scope.places[b] = self.places[outer]
            self._finish(scope)
            scopes.append(scope)
        w = self.writer
        index = w.follow(self.places[region.index])
        table = len(w.data)
        w.follow(Place(layout.SELF, 0, w.relocations))
        w.put(index)
        w.put(len(scopes))
        for scope in scopes:
            w.group_at(scope.group)
        self.step(x.CHOICE_SOURCE, table, region)

    def _repeat(self, region, kernel):
        w, moved = self.writer, []
        buffers = self.program.buffers
        start = self.end
        index = w.put(0)
        at_index = Place(layout.SELF, 8 * index, w.relocations)
        places, carries = [at_index], []
        for first, last in zip(region.starts, region.lasts, strict=True):
            size = buffers[last].bytes
            spare = Place(layout.ARENA, start, w.relocations)
            start = start + room(size)
            cursors = w.put(0), w.put(0)
            ends = [w.follow(p) for p in (self.places[last], spare, self.places[first])]
            carries.append((*cursors, *ends, size))
            places.append(Place(cursors[0], 0, moved))
        outs = [Place(c[1], 0, moved) for c in carries]
        places += [self.places[b] for b in region.constants]
        rows = []
        given = [(b, size, places) for b, size in zip(region.xs, region.rows, strict=True)]
        given += [(b, size_of(buffers[b].spec.shape[1:]), outs) for b in region.ys]
        for b, size, group in given:
            step = size * buffers[b].spec.dtype.itemsize
            cursor = w.put(0)
            rows.append((cursor, w.follow(self.places[b]), step))
            group.append(Place(cursor, 0, moved))
        scopes = []
        for program, kernels in zip(region.inner, kernel.programs, strict=True):
            scope = self._inside(program, kernels, start)
            given = places[: len(program.inputs)]
            scope.places.update(zip(program.inputs, given, strict=True))
            if program is region.body:
                scope.places.update(zip(program.outputs, outs, strict=True))
            else:
                answer = w.put(0)
                place = Place(layout.SELF, 8 * answer, w.relocations)
                scope.places[program.outputs[0]] = place
            self._finish(scope)
            scopes.append(scope)
        w.arena_bytes = later(w.arena_bytes, start)
        count = w.follow(self.places[region.count]) if region.count >= 0 else 0
        taken = w.follow(self.places[region.taken]) if region.taken >= 0 else 0
        answer_at = w.follow(place) if len(scopes) > 1 else 0
        lists = []
        for entries in (rows, carries, moved):
            lists.append((len(w.data), len(entries)))
            for value in (v for entry in entries for v in entry):
                w.put(value)
        table = len(w.data)
        w.follow(Place(layout.SELF, 0, w.relocations))
        for value in (region.length, count, int(region.reverse), index):
            w.put(value)
        w.group_at(scopes[0].group)
        if len(scopes) > 1:
            w.group_at(scopes[1].group)
        else:
            w.data += [0, 0]
        for value in (answer_at, taken, *[v for pair in lists for v in pair]):
            w.put(value)
        self.step(x.REPEAT_SOURCE, table, region)


def scratch_of(kernels) -> list:
    """Bytes of the parts of the k-th total of any kernel, for each k."""
    sizes: list[Any] = []
    for kernel in kernels:
        for k, total in enumerate(kernel.totals if isinstance(kernel, Kernel) else ()):
            if k == len(sizes):
                sizes.append(total.bytes)
            elif isinstance(sizes[k], int) and isinstance(total.bytes, int):
                sizes[k] = max(sizes[k], total.bytes)
            else:
                sizes[k] = sizes[k] + total.bytes
    return sizes
