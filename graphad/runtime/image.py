"""Program to image: the array of integers that the executor walks (see executor.py)."""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import os
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from graphad.emit.kernel import CONTROL, SPLIT_WORK, Kernel
from graphad.lower.memory import ALIGNMENT, aligned
from graphad.lower.program import Program
from graphad.runtime import executor as x
from graphad.runtime.build import build, cores, kernel_address
from graphad.runtime.team import TEAM_SOURCES, team_address
from graphad.spec import Dim


@lru_cache(maxsize=1)
def _addresses() -> tuple[int, int, int]:
    return (
        kernel_address(x.PREPARE_SOURCE),
        kernel_address(x.EXECUTE_SOURCE),
        kernel_address(x.FINISH_SOURCE),
    )


def _cython_blas() -> Any:
    """SciPy's BLAS, without the rest of scipy.linalg, which takes a tenth of a second to import."""
    package = importlib.util.find_spec("scipy")
    folder = Path((package and package.origin) or "").parent / "linalg"
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        if (folder / f"cython_blas{suffix}").exists():
            place = str(folder / f"cython_blas{suffix}")
            spec = importlib.util.spec_from_file_location("scipy.linalg.cython_blas", place)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return importlib.import_module("scipy.linalg.cython_blas")


@lru_cache(maxsize=2)
def _gemm(code: str) -> int:
    name = {"f8": "dgemm", "f4": "sgemm"}[code]
    capsule = _cython_blas().__pyx_capi__[name]
    python = ctypes.pythonapi
    python.PyCapsule_GetName.restype = ctypes.c_char_p
    python.PyCapsule_GetName.argtypes = [ctypes.py_object]
    python.PyCapsule_GetPointer.restype = ctypes.c_void_p
    python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return python.PyCapsule_GetPointer(capsule, python.PyCapsule_GetName(capsule))


_free = ctypes.CDLL(None).free
_free.argtypes = [ctypes.c_void_p]


@dataclass
class Step:
    """One kernel call: what its table holds, and the range of its outermost loop."""

    source: str
    pointers: tuple
    integers: tuple
    stop: Any


@dataclass
class Image:
    """The finished image; it keeps alive what its addresses point to."""

    data: np.ndarray
    inputs_at: list[int]
    outputs_at: list[int]
    alive: tuple = ()
    layout: str = ""
    releases: bool = True  # whether calls are long enough to let other Python threads run
    regions: list[int] = field(default_factory=list)  # of each step

    @property
    def address(self) -> int:
        """Where the image is in memory."""
        return self.data.ctypes.data

    def __del__(self):
        pool = int(self.data[x.POOL])
        if pool:
            _free(pool)


class Writer:
    """Grows an image; values that are Dims are written by a layout kernel at the call."""

    def __init__(self, program: Program):
        self.program = program
        self.data: list[int] = [0] * x.HEADER
        self.computed: list[tuple[int, Any]] = []
        self.base_slot: dict[int, int] = {}
        self.base_offset: dict[int, Any] = {}
        self.relocations: list[tuple[int, int, Any]] = []
        self.symbols = {s: i for i, s in enumerate(program.symbols)}

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

    def inputs(self) -> list[int]:
        """The records of the inputs."""
        places, known = [], set()
        self.data[x.INPUTS_AT] = len(self.data)
        self.data[x.INPUTS] = len(self.program.inputs)
        for b in self.program.inputs:
            spec = self.program.buffers[b].spec
            places.append(self.put(0))
            self.base_slot[b] = places[-1]
            self.base_offset[b] = 0
            for value in (spec.ndim, spec.dtype.itemsize, 0, *[0] * (2 * spec.ndim)):
                self.put(value)
            checks = [self._check(d, known) for d in spec.shape]
            for kind, _ in checks:
                self.put(kind)
            for _, value in checks:
                self.put(value)
        return places

    def _check(self, dim, known):
        if not isinstance(dim, Dim):
            return x.EQUAL, dim
        name = dim.terms[0][0][0] if dim.terms[0][0] else ""
        if dim == Dim.symbol(name):
            kind = x.SAME if name in known else x.BIND
            known.add(name)
            return kind, self.symbols[name]
        return x.EQUAL, dim

    def outputs(self) -> list[int]:
        """The records of the outputs: address, rank, item size, bits, then the shape."""
        places = []
        for b in self.program.outputs:
            spec = self.program.buffers[b].spec
            places.append(self.put(0))
            self.base_slot[b] = places[-1]
            self.base_offset[b] = 0
            for value in (spec.ndim, spec.dtype.itemsize, 0, *spec.shape):
                self.put(value)
        return places

    def arena(self, scratch: list):
        """Places of the temporaries, then of scratch memory that kernels use in turn."""
        program = self.program
        self.base_slot.update({b: x.ARENA for b in program.offsets})
        self.base_offset.update(program.offsets)
        total: Any = program.arena_bytes
        for size, buffers in program.slots:
            for b in buffers:
                self.base_slot[b], self.base_offset[b] = x.ARENA, total
            total = total + (aligned(size) if isinstance(size, int) else size + ALIGNMENT)
        for k, size in enumerate(scratch):
            self.base_slot[-1 - k], self.base_offset[-1 - k] = x.ARENA, total
            total = total + (aligned(size) if isinstance(size, int) else size + ALIGNMENT)
        self.set(x.ARENA_BYTES, total)

    def captured(self, arrays) -> tuple:
        """Addresses of captured arrays, which are read at each call."""
        kept = []
        self.data[x.CAPTURED_AT] = len(self.data)
        for b in self.program.buffers:
            if b.kind == "captured":
                array = arrays[b.index]
                kept.append(array)
                self.base_slot[b.id] = self.put(array.ctypes.data)
                self.base_offset[b.id] = 0
                for value in (array.ndim, array.itemsize, 0, *array.shape, *array.strides):
                    self.put(value)
                self.data += [0] * (2 * array.ndim)
        self.data[x.CAPTURED] = len(kept)
        return tuple(kept)

    def table(self, step: Step) -> int:
        """The table of one kernel call; its slot."""
        at = len(self.data)
        for buffer, offset in step.pointers:
            slot = self.put(0)
            place = self.base_offset[buffer]
            if buffer >= 0:
                place = place + offset * self.program.buffers[buffer].spec.dtype.itemsize
            self.relocations.append((slot, self.base_slot[buffer], place))
        for value in step.integers:
            self.put(value)
        return at

    def product(self, region) -> int:
        """The table of a matrix product (see PRODUCT_SOURCE)."""
        dtype = self.program.buffers[region.c].spec.dtype
        n, m, k = region.n, region.m, region.k
        one = _bits(1.0, dtype)
        rows = (ord("T" if region.b_turned else "N"), ord("T" if region.a_turned else "N"))
        a_lead, b_lead, c_lead = region.leads
        values = [*rows, n, m, k, one, b_lead, a_lead, _bits(0.0, dtype), c_lead]
        stored = [self.put(v) for v in values]
        at = len(self.data)
        scalars = iter(stored)
        operands = {6: region.b, 8: region.a, 11: region.c}
        for k_slot in range(13):
            slot = self.put(0)
            if k_slot in operands:
                b = operands[k_slot]
                self.relocations.append((slot, self.base_slot[b], self.base_offset[b]))
            else:
                self.relocations.append((slot, x.SELF, 8 * next(scalars)))
        a_step, b_step, c_step = (s * dtype.itemsize for s in region.steps)
        for value in (_gemm(f"f{dtype.itemsize}"), region.batch, b_step, a_step, c_step):
            self.put(value)
        return at


def _bits(value: float, dtype) -> int:
    if dtype.itemsize == 8:
        return struct.unpack("<q", struct.pack("<d", value))[0]
    return struct.unpack("<i", struct.pack("<f", value))[0]


def threads_for(parallel) -> int:
    """How many threads one kernel may use: GRAPHAD_NUM_THREADS, or the cores of this process."""
    if parallel is False:
        return 1
    chosen = os.environ.get("GRAPHAD_NUM_THREADS", "")
    if chosen.isdigit():
        return max(1, int(chosen))
    return cores()


def shareable(kernel: Kernel) -> bool:
    """Whether a kernel may be long enough for several threads."""
    return not isinstance(kernel.work, int) or kernel.work >= 2 * SPLIT_WORK


def make_image(
    program: Program, kernels: list, captured, keep: bool = True, parallel: bool | str = "auto"
) -> Image:
    """The image of a planned program. `kernels[i]` is a Kernel, or None for a library region.

    `keep`: whether what is compiled for it goes to disk.
    """
    ours = [k for k in kernels if isinstance(k, Kernel)]
    threads = threads_for(parallel)
    shared = threads > 1 and any(map(shareable, ours))
    # The longest first: what is translated later overlaps with its compilation.
    sources = sorted((k.source for k in ours), key=len, reverse=True)
    sources += [t.source for k in ours for t in k.totals] + x.ALWAYS
    build([*sources, *(TEAM_SOURCES if shared else ())], keep)
    w = Writer(program)
    if shared:
        w.data[x.THREADS], w.data[x.TEAM] = threads, team_address()
    inputs_at, outputs_at = w.inputs(), w.outputs()
    w.data[x.SYMBOLS_AT] = len(w.data)
    w.data += [0] * len(w.symbols)
    w.arena(scratch_of(kernels))
    alive = w.captured(captured)
    steps: list[tuple] = []

    def add(source, pointers, integers, stop: Any = 0, work: Any = 0, grain=1):
        table = w.table(Step(source, tuple(pointers), tuple(integers), stop))
        steps.append((kernel_address(source, keep), table, stop, work, grain))

    regions: list[int] = []
    for k, (region, kernel) in enumerate(zip(program.regions, kernels, strict=True)):
        if isinstance(kernel, Kernel):
            add(kernel.source, kernel.pointers, kernel.integers, kernel.stop, kernel.work,
                kernel.grain)  # fmt: skip
            for total in kernel.totals:
                add(total.source, total.pointers, total.integers)
        elif type(region).__name__ == "Product":
            steps.append((kernel_address(x.PRODUCT_SOURCE), w.product(region), 0, 0, 1))
        else:
            size = program.buffers[region.buffer].bytes
            add(x.FILL_SOURCE, ((region.buffer, 0),), (size,))
        regions += [k] * (len(steps) - len(regions))
    image = _finish(w, steps, inputs_at, outputs_at, alive, keep)
    image.regions = regions
    return image


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


def _finish(w: Writer, steps, inputs_at, outputs_at, alive, keep) -> Image:
    w.data[x.STEPS_AT], w.data[x.STEPS] = len(w.data), len(steps)
    for address, at, stop, work, grain in steps:
        for value in (address, at, 0, stop, work, grain):
            w.put(value)
    w.data[x.RELOCATIONS_AT], w.data[x.RELOCATIONS] = len(w.data), len(w.relocations)
    for entry in w.relocations:
        for value in entry:
            w.put(value)
    w.data[x.PREPARE], w.data[x.EXECUTE], finish = _addresses()
    layout = ""
    if w.computed or w.program.checks:
        layout = layout_source(w)
        w.data[x.LAYOUT] = kernel_address(layout, keep)
    w.data[x.LENGTH] = len(w.data)
    w.data[x.FINISH] = finish
    data = np.array(w.data, np.int64)
    data[x.IMAGE] = data.ctypes.data
    return Image(data, inputs_at, outputs_at, alive, layout)


def layout_source(w: Writer) -> str:
    """The kernel that writes what depends on symbolic dims into a frame."""
    first = w.data[x.SYMBOLS_AT]
    names = {s: f"d{i}" for s, i in w.symbols.items()}
    lines = [CONTROL + "def kernel(table, start, stop):"]
    lines += [f"    {names[s]} = integer(table, {first + i})" for s, i in w.symbols.items()]
    checks = dict.fromkeys((need, size) for need, size, _ in w.program.checks)
    for need, size in checks:
        a, b = dim_source(need, names), dim_source(size, names)
        lines.append(f"    if ({b} < 0) | (({a} < 0) & ({b} > 0)):")
        lines.append(f"        return {x.BAD_SLICE}")
    for at, dim in w.computed:
        lines.append(f"    put(table, {at}, {dim_source(dim, names)})")
    return "\n".join(lines) + "\n    return 0\n"


def dim_source(dim, names) -> str:
    """A dim as integer arithmetic on the layout kernel's variables."""
    if not isinstance(dim, Dim):
        return str(dim)
    return " + ".join("*".join([str(v), *(names[s] for s in k)]) for k, v in dim.terms)
