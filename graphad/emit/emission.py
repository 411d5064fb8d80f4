"""A lowered program to its kernels: one a region, by what the region is and for which target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from graphad.emit import lapack, sampling  # noqa: F401 - declare their routines
from graphad.emit.cpu import write_loop
from graphad.emit.gpu import write_device_loop
from graphad.emit.gpu_nests import write_device_nest
from graphad.emit.kernel import Inner, Kernel
from graphad.emit.nests import write_nest
from graphad.emit.routines import routine
from graphad.emit.small import write_straight
from graphad.emit.small_loop import write_straight_loop
from graphad.emit.target import Target
from graphad.lower.program import Loop, Nest, Program, Routine, Strips
from graphad.lower.scalar_linalg import NAMES as WRITTEN_OUT
from graphad.lower.straight import Straight, StraightLoop, matrices_each
from graphad.ops.factor import is_small

Kernels = list[Kernel | Inner | None]


def _loop(region: Loop, program: Program, target: Target, by_rows: bool) -> Kernel:
    if target.cuda:
        return write_device_loop(region, program.buffers)
    return write_loop(region, program.buffers, target, by_rows)


def _nest(region: Nest, program: Program, target: Target, by_rows: bool) -> Kernel:
    if target.cuda:
        return write_device_nest(region, program.buffers)
    return write_nest(region, program.buffers, target)


def _routine(region: Routine, program: Program, target: Target, by_rows: bool) -> Kernel:
    if region.name in WRITTEN_OUT and is_small(region.inputs[0], region.inputs[-1]):
        return write_straight(matrices_each(region))
    return routine(region)


WRITERS: dict[type, Callable[[Any, Program, Target, bool], Kernel]] = {
    Loop: _loop,
    Nest: _nest,
    Routine: _routine,
    Straight: lambda region, program, *_: write_straight(region),
    StraightLoop: lambda region, program, *_: write_straight_loop(region, program.buffers),
}


def kernels_of(
    program: Program, target: Target, fastmath: bool = False, by_rows: bool = False
) -> Kernels:
    """The kernel of each region, those of its programs if it has some; None for library calls.

    `by_rows`: the regions are given some of their rows at a time.
    """
    found: Kernels = []
    written: dict[tuple[int, ...], Kernel] = {}  # pieces of straight-line code, by what they hold
    for region in program.regions:
        kernel: Kernel | Inner | None = None
        write = WRITERS.get(type(region))
        if write is not None:
            piece = isinstance(region, Straight) and region.part
            key = (id(region.scalars), id(region.stores), id(region.checks)) if piece else ()
            if key in written:
                found.append(replace(written[key], pointers=region.pointers))
                continue
            kernel = write(region, program, target, by_rows)
            if fastmath:
                kernel = replace(kernel, source=kernel.source.with_facts(fastmath=True))
            if piece:
                written[key] = kernel
        elif hasattr(region, "inner"):
            rows = isinstance(region, Strips)
            kernel = Inner(tuple(kernels_of(p, target, fastmath, rows) for p in region.inner))
        found.append(kernel)
    return found
