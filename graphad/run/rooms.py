"""What a program works in: temporaries, scratch memory of kernels, and what loops' bodies, branches
and strips work in. The same sums as `scope.py` makes places of, known without compiling."""

from __future__ import annotations

from typing import Any, NamedTuple

from graphad.emit.gpu import Launch
from graphad.emit.kernel import Inner, Kernel
from graphad.lower.memory import lives
from graphad.lower.program import Program, Repeat, Strips
from graphad.run.places import later, room
from graphad.run.product_tables import strip_bytes, strips_memory
from graphad.run.scope import scratch_of


class Rooms(NamedTuple):
    """Bytes of the arena, and what they would be if nothing shared a place with anything."""

    shared: Any
    apart: Any
    temporaries: int


def rooms_of(program: Program, kernels: list, threads: int) -> Rooms:
    """The memory of a planned program for calls from so many threads."""
    life = lives(program)
    slots = [room(size) for size, _ in program.slots]
    on_device = [room(size) for k in kernels if isinstance(k, Launch) for size in k.scratch]
    shared = sum([*slots, *map(room, scratch_of(kernels)), *on_device], program.arena_bytes)
    parts = [t.bytes for k in kernels if isinstance(k, Kernel) for t in k.totals]
    each = [*(program.buffers[b].bytes for b in life), *parts]
    apart = sum([*map(room, each), *on_device], 0)
    temporaries, largest = len(life), 0
    for region, kernel in zip(program.regions, kernels, strict=True):
        if isinstance(kernel, Inner):
            of = _of_strips if isinstance(region, Strips) else _of_bodies
            inner = of(program, region, kernel, threads)
            largest = later(largest, inner.shared)  # one region runs at a time
            apart += inner.apart
            temporaries += inner.temporaries
    return Rooms(shared + largest, apart, temporaries)


def _of_bodies(program: Program, region, kernel: Inner, threads: int) -> Rooms:
    """A loop's body and condition, or the branches of a choice."""
    # Carries have two places that change roles, one of them beside the result.
    carries = region.lasts if isinstance(region, Repeat) else ()
    spare = sum([room(program.buffers[b].bytes) for b in carries], 0)
    shared, apart, temporaries = spare, spare, len(carries)
    for one, its in zip(region.inner, kernel.programs, strict=True):
        inner = rooms_of(one, its, threads)
        shared = later(shared, spare + inner.shared)
        apart += inner.apart
        temporaries += inner.temporaries
    return Rooms(shared, apart, temporaries)


def _of_strips(program: Program, region: Strips, kernel: Inner, threads: int) -> Rooms:
    """The chunks of sums over rows, and for each thread its tables and its strip of each buffer."""
    one, chunks = region.program, strips_memory(region)[-1]
    rows = [width * one.buffers[b].spec.dtype.itemsize for b, width in region.row_of.items()]
    apart = sum([room(region.strip * row) for row in rows], 0)
    tables = strip_bytes(region, kernel)
    return Rooms(
        chunks + threads * (tables + one.arena_bytes),
        chunks + threads * (tables + apart),
        len(rows),
    )
