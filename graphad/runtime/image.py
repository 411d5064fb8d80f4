"""Program to image: the array of integers that the executor walks (see executor.py)."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from graphad import status
from graphad.emit.kernel import SPLIT_WORK, Inner, Kernel
from graphad.emit.source import KernelSource, quick
from graphad.emit.target import host
from graphad.holding import holds, watched
from graphad.lower.program import Choice, Fill, Product, Program, Repeat, Strips
from graphad.runtime import executor as x
from graphad.runtime import layout, products
from graphad.runtime.build import build, code_of, cores, kernel_address
from graphad.runtime.places import Address, Place, later, room
from graphad.runtime.products import strips_memory
from graphad.runtime.team import TEAM_SOURCES, team_address
from graphad.spec import Dim, size_of

NO_STEP = 1 << 40  # until one has failed
EXECUTORS = (layout.PREPARE, layout.EXECUTE, layout.RUN, layout.FINISH)


@lru_cache(maxsize=1)
def _addresses() -> tuple[int, int, int, int]:
    return (
        kernel_address(x.PREPARE_SOURCE),
        kernel_address(x.EXECUTE_SOURCE),
        kernel_address(x.RUN_SOURCE),
        kernel_address(x.FINISH_SOURCE),
    )


_free = ctypes.CDLL(None).free
_free.argtypes = [ctypes.c_void_p]


@dataclass
class Image:
    """The finished image; it keeps alive what its addresses point to."""

    data: np.ndarray
    inputs_at: list[int]
    outputs_at: list[int]
    alive: tuple = ()
    sizes: KernelSource | None = None  # the kernel that writes what depends on symbolic dims
    releases: bool = True  # whether calls are long enough to let other Python threads run
    refuses: bool = False  # whether a call may fail by its arguments' values after it wrote results
    regions: list[Any] = field(default_factory=list)  # of each step
    written: tuple[Writer, int] | None = None  # what wrote it, words but for those that are watched

    @property
    def address(self) -> int:
        """Where the image is in memory."""
        return self.data.ctypes.data

    def __del__(self, pool_at=layout.POOL, free=_free):  # the module's names may be gone
        pool = int(self.data[pool_at])
        if pool:
            free(pool)


class Writer:
    """Grows an image; values that are Dims are written by a kernel at the call."""

    def __init__(self, symbols: Sequence[str] = (), most_threads: int = 1):
        self.most_threads = most_threads
        self.team: bool | None = None  # of threads, if there is one: whether it calls BLAS
        self.addresses: dict[int, tuple[str, Any]] = {}  # slots of them, and what is there
        self.captured_at: dict[int, np.ndarray] = {}  # slots of their records
        self.watching: list[tuple[np.ndarray, tuple]] = []  # captured arrays that must stay
        self.foreign = False  # whether there are addresses that we know no name of
        self.data: list[int] = [0] * layout.HEADER
        self.computed: list[tuple[int, Any]] = []
        self.relocations: list[tuple[int, int, Any]] = []
        self.symbols = {s: i for i, s in enumerate(symbols)}
        self.checks: list[tuple] = []
        self.groups: list[list[StepAt]] = []  # steps that run one after another
        self.group_ends: list[tuple[int, int]] = []  # slots that say where a group starts and ends
        self.alive: list[Any] = []
        self.arena_bytes: Any = 0

    def put(self, value) -> int:
        """Append a value and return its slot."""
        self.data.append(0)
        self.set(len(self.data) - 1, value)
        return len(self.data) - 1

    def set(self, slot: int, value):
        """Give a slot its value, at once or at the call."""
        if isinstance(value, Dim):
            self.computed.append((slot, value))
        else:
            self.data[slot] = int(value)
            if isinstance(value, Address):
                self.addresses[slot] = value.origin

    def _check(self, dim, known):
        if not isinstance(dim, Dim):
            return layout.EQUAL, dim
        name = dim.terms[0][0][0] if dim.terms[0][0] else ""
        if dim == Dim.symbol(name):
            kind = layout.SAME if name in known else layout.BIND
            known.add(name)
            return kind, self.symbols[name]
        return layout.EQUAL, dim

    def inputs(self, scope: Scope) -> list[int]:
        """The records of the inputs."""
        places, known = [], set()
        self.data[layout.INPUTS_AT] = len(self.data)
        self.data[layout.INPUTS] = len(scope.program.inputs)
        for b in scope.program.inputs:
            spec = scope.program.buffers[b].spec
            places.append(self.put(0))
            scope.places[b] = Place(places[-1], 0, self.relocations)
            for value in (spec.ndim, spec.dtype.itemsize, 0, *[0] * (2 * spec.ndim)):
                self.put(value)
            checks = [self._check(d, known) for d in spec.shape]
            for kind, _ in checks:
                self.put(kind)
            for _, value in checks:
                self.put(value)
        return places

    def outputs(self, scope: Scope) -> list[int]:
        """The records of the outputs: address, rank, item size, bits, then the shape."""
        places = []
        for b in scope.program.outputs:
            spec = scope.program.buffers[b].spec
            places.append(self.put(0))
            scope.places[b] = Place(places[-1], 0, self.relocations)
            for value in (spec.ndim, spec.dtype.itemsize, 0, *spec.shape):
                self.put(value)
        return places

    def captured(self, scope: Scope) -> None:
        """Addresses of captured arrays, which are read at each call."""
        self.data[layout.CAPTURED_AT] = len(self.data)
        for b in scope.program.buffers:
            if b.kind == "captured":
                array = scope.program.captured[b.index]
                slot = len(self.data)
                self.data += [0] * layout.input_words(array.ndim)
                self.capture(array, slot)
                self.watching.append((array, b.spec.shape))
                scope.places[b.id] = Place(slot, 0, self.relocations)
                self.data[layout.CAPTURED] += 1

    def capture(self, array: np.ndarray, slot: int) -> None:
        """The record of a captured array."""
        self.alive += holds(array)
        self.captured_at[slot] = array
        record = (array.ctypes.data, array.ndim, array.itemsize, 0, *array.shape, *array.strides)
        self.data[slot : slot + len(record)] = record

    def watch(self) -> None:
        """What shows, before each call, that captured arrays are where they were."""
        found = [pair for array, shape in self.watching for pair in watched(array, shape)]
        self.data[layout.WATCHED_AT], self.data[layout.WATCHED] = len(self.data), len(found)
        self.data += [word for pair in found for word in pair]

    def address_of(self, source: KernelSource, keep: bool) -> int:
        """Where a kernel is, as long as the image is there."""
        code = code_of(source, keep)
        self.alive.append(code)
        return Address(code.address, "kernel", source)

    def follow(self, place: Place, more=0) -> int:
        """A new slot with an address in a buffer."""
        slot = self.put(0)
        place.moved.append((slot, place.slot, place.offset + more))
        return slot

    def group_at(self, group: int) -> None:
        """Two slots that say where a group of steps starts and ends."""
        self.group_ends.append((self.put(0), group))
        self.put(0)


class StepAt(NamedTuple):
    """One kernel call: the function, the slot of its operands, the range of its outermost loop."""

    address: int
    table: int
    stop: Any
    work: Any
    grain: int
    region: Any


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
            address, table = products.held(self, address, table, blas)
        self.step(source, table, region, stop, work, grain, address)

    def _fill(self, region, kernel):
        size = self.program.buffers[region.buffer].bytes
        self._add(x.FILL_SOURCE, ((region.buffer, 0),), (size,), region)

    def _product(self, region, kernel):
        products.product(self, region)

    def _strips(self, region, kernel):
        products.strips(self, region, kernel)

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


def threads_for(parallel) -> int:
    """How many threads one kernel may use: GRAPHAD_NUM_THREADS, or the cores of this process."""
    if parallel is False or not host().threads:
        return 1
    chosen = os.environ.get("GRAPHAD_NUM_THREADS", "")
    if chosen.isdigit():
        return max(1, int(chosen))
    return cores()


def shareable(kernel: Kernel) -> bool:
    """Whether a kernel may be long enough for several threads."""
    return not isinstance(kernel.work, int) or kernel.work >= 2 * SPLIT_WORK


def all_kernels(kernels: list) -> list[Kernel]:
    """Every kernel, those of inner programs too."""
    found: list[Kernel] = []
    for k in kernels:
        if isinstance(k, Kernel):
            found.append(k)
        elif isinstance(k, Inner):
            found += [inner for program in k.programs for inner in all_kernels(program)]
    return found


def all_regions(program: Program) -> Iterator[Any]:
    """Every region, those of inner programs too."""
    for region in program.regions:
        yield region
        for inner in getattr(region, "inner", ()):
            if isinstance(inner, Program):
                yield from all_regions(inner)


# What regions of a kind need beside their own kernels.
OF_REGIONS = {
    Fill: x.FILL_SOURCE, Product: x.PRODUCT_SOURCE, Choice: x.CHOICE_SOURCE,
    Repeat: x.REPEAT_SOURCE, Strips: x.STRIPS_SOURCE,
}  # fmt: skip


def make_image(
    program: Program, kernels: list, keep: bool = True, parallel: bool | str = "auto"
) -> Image:
    """The image of a planned program. `kernels[i]` is a Kernel, the Inner kernels of a region
    that holds programs, or None for a library region.

    `keep`: whether what is compiled for it goes to disk.
    """
    ours = [k for k in all_kernels(kernels) if not k.address]
    threads = threads_for(parallel)
    products = any(isinstance(r, (Product, Strips)) for r in all_regions(program))
    shared = threads > 1 and (products or any(map(shareable, ours)))
    # The longest first: what is translated later overlaps with its compilation.
    sources = sorted((k.source for k in ours), key=lambda s: len(s.code), reverse=True)
    sources += [t.source for k in ours for t in k.totals] + x.ALWAYS
    kinds = {type(region) for region in all_regions(program)}
    sources += [source for kind, source in OF_REGIONS.items() if kind in kinds]
    held = [x.HELD_SOURCE] if any(k.blas is not None for k in ours) else []
    built = build([*sources, *held, *(TEAM_SOURCES if shared else ())], keep)
    w = Writer(program.symbols, threads)
    w.foreign = len(ours) < len(all_kernels(kernels))
    w.alive += built
    if shared:
        w.data[layout.THREADS], w.team = threads, products
    scope = Scope(w, program, kernels, keep)
    inputs_at, outputs_at = w.inputs(scope), w.outputs(scope)
    w.data[layout.SYMBOLS_AT] = len(w.data)
    w.data += [0] * len(w.symbols)
    w.arena_bytes = scope.arena(0)
    w.captured(scope)
    scope.steps()
    w.set(layout.ARENA_BYTES, w.arena_bytes)
    return _finish(w, inputs_at, outputs_at, keep)


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


def rooms_of(program: Program, kernels: list) -> list:
    """Bytes beside the plan: scratch memory of kernels, and the largest inner program."""
    inner: Any = 0
    for region, kernel in zip(program.regions, kernels, strict=True):
        if isinstance(kernel, Inner):
            spare: Any = 0
            for b in getattr(region, "lasts", ()):
                spare = spare + room(program.buffers[b].bytes)
            for one, its in zip(region.inner, kernel.programs, strict=True):
                sizes = [room(size) for size, _ in one.slots] + [one.arena_bytes, spare]
                if isinstance(region, Strips):  # strips of each thread, and sums of chunks
                    sizes.append(strips_memory(region)[-1] + (cores() - 1) * one.arena_bytes)
                inner = later(inner, sum([*sizes, *rooms_of(one, its)], 0))
    return [*map(room, scratch_of(kernels)), inner]


def _finish(w: Writer, inputs_at, outputs_at, keep) -> Image:
    w.data[layout.STEPS_AT], w.data[layout.STEPS] = len(w.data), len(w.groups[0])
    w.data[layout.FAILED] = NO_STEP
    starts, regions = [], []
    for group in w.groups:
        starts.append(len(regions))
        regions += [step.region for step in group]
        for step in group:
            for value in (step.address, step.table, 0, step.stop, step.work, step.grain):
                w.put(value)
    for slot, group in w.group_ends:
        w.data[slot], w.data[slot + 1] = starts[group], starts[group] + len(w.groups[group])
    w.data[layout.RELOCATIONS_AT], w.data[layout.RELOCATIONS] = len(w.data), len(w.relocations)
    for entry in w.relocations:
        for value in entry:
            w.put(value)
    sizes = None
    if w.computed or w.checks:
        sizes = sizes_source(w)
        w.data[layout.LAYOUT] = w.address_of(sizes, keep)
    return finished(w, inputs_at, outputs_at, sizes, regions)


def finished(w: Writer, inputs_at, outputs_at, sizes=None, regions=()) -> Image:
    """The image of what has been written."""
    for at, address in zip(EXECUTORS, _addresses(), strict=True):
        w.data[at] = address
    if w.team is not None:
        w.data[layout.TEAM] = team_address(w.team)
    words = len(w.data)
    w.watch()
    w.data[layout.LENGTH] = len(w.data)
    data = np.array(w.data, np.int64)
    data[layout.IMAGE] = data.ctypes.data
    made = Image(data, inputs_at, outputs_at, tuple(w.alive), sizes, regions=list(regions))
    made.written = w, words
    return made


def sizes_source(w: Writer) -> KernelSource:
    """The kernel that writes what depends on symbolic dims into a frame."""
    first = w.data[layout.SYMBOLS_AT]
    names = {s: f"d{i}" for s, i in w.symbols.items()}
    lines = ["def kernel(table, start, stop):"]
    lines += [f"    {names[s]} = integer(table, {first + i})" for s, i in w.symbols.items()]
    checks = dict.fromkeys((need, size) for need, size, _ in w.checks)
    for need, size in checks:
        a, b = dim_source(need, names), dim_source(size, names)
        lines.append(f"    if ({b} < 0) | (({a} < 0) & ({b} > 0)):")
        lines.append(f"        return {status.BAD_SLICE}")
    for at, dim in w.computed:
        lines.append(f"    put(table, {at}, {dim_source(dim, names)})")
    return quick("\n".join(lines) + "\n    return 0\n")


def dim_source(dim, names) -> str:
    """A dim as integer arithmetic on the variables of `sizes_source`."""
    if not isinstance(dim, Dim):
        return str(dim)
    return " + ".join("*".join([str(v), *(names[s] for s in k)]) for k, v in dim.terms)
