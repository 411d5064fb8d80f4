"""Program to image: the array of integers that the executor walks (see executor.py)."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from graphad.compile.build import build, cores, kernel_address
from graphad.emit.kernel import SPLIT_WORK, Inner, Kernel
from graphad.emit.source import KernelSource
from graphad.emit.target import host
from graphad.lower.program import Choice, Fill, Product, Program, Repeat, Strips
from graphad.run import executor as x
from graphad.run import layout
from graphad.run.image_writer import Writer
from graphad.run.scope import Scope
from graphad.run.sizes import sizes_source
from graphad.run.team import TEAM_SOURCES, team_address

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
