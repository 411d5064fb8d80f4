"""Memory plan: temporaries whose lives do not overlap share a place in one arena.

Static sizes are packed largest first, each at the lowest place that is free for its whole life;
very many of them in the order of their use.
With symbolic dims, temporaries of equal size share slots, whose places are computed at the call.
"""

from __future__ import annotations

import bisect
import heapq
from dataclasses import dataclass, replace
from typing import Any

from graphad.lower.program import Program

ALIGNMENT = 64


def lives(program: Program) -> dict[int, tuple[int, int]]:
    """For each temporary the first and last region that touch it."""
    found: dict[int, tuple[int, int]] = {}
    temporary = {b.id for b in program.buffers if b.kind == "temporary"}
    for step, region in enumerate(program.regions):
        for b in (region.reads() | region.writes()) & temporary:
            found[b] = (found.get(b, (step, step))[0], step)
    return found


def aligned(size):
    """Rounded up to the alignment of the arena."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def plan(program: Program) -> Program:
    """The program with a place for every temporary."""
    life = lives(program)
    sizes = {b: program.buffers[b].bytes for b in life}
    if all(isinstance(s, int) for s in sizes.values()):
        offsets, total = pack(life, {b: aligned(s) for b, s in sizes.items()})
        return replace(program, offsets=offsets, arena_bytes=total)
    return replace(program, slots=_share(life, sizes))


MANY = 400  # buffers beyond which packing goes by time, not by size


def pack(life, sizes) -> tuple[dict[int, int], int]:
    """Places so that what lives at the same time is apart, and the bytes that they take."""
    if len(sizes) > MANY:
        return _pack_in_time(life, sizes)
    placed: list[tuple[int, int, int, int]] = []  # (offset, end, first, last)
    offsets: dict[int, int] = {}
    for b in sorted(sizes, key=lambda b: (-sizes[b], life[b])):
        first, last = life[b]
        at = 0
        for offset, end, _, _ in sorted(p for p in placed if p[2] <= last and first <= p[3]):
            if at + sizes[b] <= offset:
                break
            at = max(at, end)
        offsets[b] = at
        placed.append((at, at + sizes[b], first, last))
    return offsets, max((end for _, end, _, _ in placed), default=0)


def _pack_in_time(life, sizes) -> tuple[dict[int, int], int]:
    """Places in order of first use, each in the smallest hole that fits."""
    holes: dict[int, int] = {}  # offset -> size
    by_size: list[tuple[int, int]] = []  # (size, offset) of the holes, sorted
    ends: dict[int, int] = {}  # end of a hole -> its offset
    leaving: list[tuple[int, int]] = []  # (last step, buffer)
    offsets: dict[int, int] = {}
    total = 0

    def closed(offset):
        size = holes.pop(offset)
        del ends[offset + size], by_size[bisect.bisect_left(by_size, (size, offset))]
        return size

    def opened(offset, size):
        holes[offset], ends[offset + size] = size, offset
        bisect.insort(by_size, (size, offset))

    def free(offset, size):
        nonlocal total
        if offset in ends:
            start = ends[offset]
            size += closed(start)
            offset = start
        if offset + size in holes:
            size += closed(offset + size)
        if offset + size == total:
            total = offset
        else:
            opened(offset, size)

    peak = 0
    for b in sorted(life, key=lambda b: (life[b][0], -sizes[b])):
        first, last = life[b]
        if not sizes[b]:
            offsets[b] = 0
            continue
        while leaving and leaving[0][0] < first:
            _, gone = heapq.heappop(leaving)
            free(offsets[gone], sizes[gone])
        fits = bisect.bisect_left(by_size, (sizes[b], 0))
        if fits < len(by_size):
            size, offset = by_size[fits]
            closed(offset)
            if size > sizes[b]:
                opened(offset + sizes[b], size - sizes[b])
        else:
            offset, total = total, total + sizes[b]
        offsets[b] = offset
        peak = max(peak, total)
        heapq.heappush(leaving, (last, b))
    return offsets, peak


def _share(life, sizes) -> tuple:
    """((size, buffers that share the slot), ...) in order of first use."""
    slots: list[list[Any]] = []  # size, buffers, free from step
    for b in sorted(life, key=lambda b: life[b]):
        first, last = life[b]
        slot = next((s for s in slots if s[0] == sizes[b] and s[2] < first), None)
        if slot is None:
            slot = [sizes[b], [], -1]
            slots.append(slot)
        slot[1].append(b)
        slot[2] = last
    return tuple((size, tuple(buffers)) for size, buffers, _ in slots)


@dataclass(frozen=True)
class Memory:
    """What a program needs beside its arguments; `str` reads well."""

    arena: Any
    outputs: Any
    inputs: Any
    captured: Any
    temporaries: int
    unshared: Any
    live: tuple[int, ...]

    @property
    def peak(self):
        """Arena and outputs together, in bytes."""
        return self.arena + self.outputs

    def __str__(self):
        def show(n):
            return f"{n:,} bytes" if isinstance(n, int) else f"{n} bytes"

        shared = f"{self.temporaries} temporaries, {show(self.unshared)} if none shared a place"
        return "\n".join(
            [
                f"peak      {show(self.peak)} (arena and outputs)",
                f"arena     {show(self.arena)}: {shared}",
                f"outputs   {show(self.outputs)}",
                f"inputs    {show(self.inputs)}, captured {show(self.captured)}",
            ]
        )


def memory_of(program: Program, arena: Any, unshared: Any, temporaries: int) -> Memory:
    """The memory of a planned program, known before it runs; what it works in, counted."""

    def total(kind):
        return sum((b.bytes for b in program.buffers if b.kind == kind), 0)

    life = lives(program)
    live = tuple(
        sum(
            program.buffers[b].bytes
            for b, (first, last) in life.items()
            if first <= step <= last and isinstance(program.buffers[b].bytes, int)
        )
        for step in range(len(program.regions) if len(program.regions) < 500 else 0)
    )
    return Memory(
        arena, total("output"), total("input"), total("captured"), temporaries, unshared, live
    )
