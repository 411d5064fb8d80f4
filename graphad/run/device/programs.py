"""Programs on the GPU: memory that stays there between calls, and a launch for each region.

Arguments are NumPy's, and copied, or already on the GPU (anything with `__cuda_array_interface__`:
Numba, CuPy, PyTorch), and then so are the results, as Numba's device arrays.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphad.compile.cuda import check_words, require_device, simulated
from graphad.emit import cuda_words
from graphad.emit.gpu import Launch
from graphad.emit.kernel import Kernel
from graphad.emit.source import KernelSource
from graphad.errors import NotCoveredError, ShapeError
from graphad.lower.memory import aligned
from graphad.lower.program import Fill, Product
from graphad.run.described import Described
from graphad.run.failures import error_of

THREADS = 128  # of a block whose threads have steps of their own
MOST_BLOCKS = 4096  # then each takes several steps: what it needs for all of them is read once
MARK = 256  # a status, plus so much for each step before it
MOST_BOUND = 16  # sets of addresses that a table and launches are kept for


def backend(name: str) -> Any:
    """The GPU at hand, or what simulates it."""
    require_device(name)
    if simulated():
        from graphad.run.device.simulator import Simulator

        return Simulator()
    from graphad.run.device.driver import gpu

    return gpu()


@dataclass(frozen=True)
class Step:
    """One launch: `operands` are (buffer, offset in elements); parts of sums are buffers < 0.
    Zeroing needs no source, and cuBLAS none of a product."""

    source: KernelSource | None
    operands: tuple[tuple[int, int], ...]
    integers: tuple[int, ...]
    stop: int
    grain: int
    team: int
    region: Any

    @property
    def steps(self) -> int:
        """How many times the kernel runs."""
        return -(-self.stop // max(self.grain, 1))

    @property
    def shape(self) -> tuple[int, int]:
        """Blocks, and threads of each."""
        if self.team > 1:
            return min(self.steps, MOST_BLOCKS), self.team
        return min(-(-self.steps // THREADS), MOST_BLOCKS), min(THREADS, self.steps)


class Schedule:
    """The launches of a program in order, and where the parts of their sums are."""

    def __init__(self, program, kernels):
        self.program = program
        self.steps: list[Step] = []
        self.places: dict[int, int] = dict(program.offsets)  # in the arena, in bytes
        self.bytes = int(program.arena_bytes)
        for region, kernel in zip(program.regions, kernels, strict=True):
            self._add(region, kernel)

    def _add(self, region, kernel):
        if isinstance(region, Fill):
            self._step(None, [(region.buffer, 0)], (), 1, region)
        elif isinstance(region, Product):
            dtype = self.program.buffers[region.c].spec.dtype
            source = cuda_words.product_source(dtype.itemsize)
            operands = [(b, 0) for b in (region.a, region.b, region.c)]
            count = region.batch * region.m * region.n
            self._step(source, operands, cuda_words.product_sizes(region), count, region)
        elif isinstance(kernel, Launch):
            self._launch(kernel, region)
        else:
            shared = kernel.work != 0
            stop = max(int(kernel.stop), 0 if shared else 1)
            grain = kernel.grain if shared else stop
            self._step(kernel.source, kernel.pointers, kernel.integers, stop, region, grain)

    def _launch(self, kernel: Launch, region):
        first = -1 - sum(b < 0 for b in self.places)
        for k, size in enumerate(kernel.scratch):
            self.places[first - k] = self.bytes
            self.bytes += aligned(size)
        for part in (kernel, *kernel.then):
            operands = [(b if b >= 0 else first + 1 + b, at) for b, at in part.pointers]
            self._step(part.source, operands, part.integers, part.stop, region, 1, part.team)

    def _step(self, source, operands, integers, stop, region, grain=1, team=1):
        operands = tuple((b, int(at)) for b, at in operands)
        step = Step(
            source, operands, tuple(map(int, integers)), int(stop), int(grain), team, region
        )
        if step.steps > 0:
            self.steps.append(step)


@dataclass(frozen=True)
class Bound:
    """A program with addresses: the launches, and the table that they read, which has to live."""

    launches: tuple
    table: Any


class Memory:
    """What one call works in: the arena, room for arguments and results of the host."""

    def __init__(self, at, schedule: Schedule):
        self.at, self.schedule = at, schedule
        self.buffers = schedule.program.buffers
        self.arena = at.memory(schedule.bytes)
        self.failed = at.memory(8)
        at.put(self.failed.address, np.zeros(1, np.int64))
        self.held: dict[int, Any] = {}
        self.places = {b: self.arena.address + at for b, at in schedule.places.items()}
        self.bound: dict[tuple, Bound] = {}

    def own(self, b: int) -> int:
        """The address of memory of our own for an argument or a result."""
        if b not in self.held:
            self.held[b] = self.at.memory(self.buffers[b].bytes)
        return self.held[b].address

    def with_addresses(self, addresses: dict[int, int]) -> Bound:
        """The program where arguments and results are at these addresses."""
        key = tuple(addresses.items())
        found = self.bound.get(key)
        if found is None:
            if len(self.bound) >= MOST_BOUND:
                self.bound.clear()
            found = self.bound[key] = self._bind(self.places | addresses)
        return found

    def _bind(self, places: dict[int, int]) -> Bound:
        words: list[int] = []
        starts = []
        for step in self.schedule.steps:
            starts.append(len(words))
            words += [self._address(b, more, places) for b, more in step.operands]
            words += step.integers
        table = self.at.memory(8 * len(words))
        self.at.put(table.address, np.array(words, np.int64))
        launches = [self._launch(k, step, table.address + 8 * start, places)
                    for k, (step, start) in enumerate(
                        zip(self.schedule.steps, starts, strict=True))]  # fmt: skip
        return Bound(tuple(launches), table)

    def _address(self, b: int, more: int, places: dict[int, int]) -> int:
        return places[b] + (more * self.buffers[b].spec.dtype.itemsize if b >= 0 else 0)

    def _launch(self, k: int, step: Step, table: int, places: dict[int, int]):
        if isinstance(step.region, Fill):
            b = step.region.buffer
            return self.at.zeroing(places[b], self.buffers[b].bytes)
        if isinstance(step.region, Product):
            a, b, c = (places[b] for b, _ in step.operands)
            item = self.buffers[step.region.c].spec.dtype.itemsize
            made = self.at.product(step.region, a, b, c, item)
            if made is not None:
                return made
        words = (table, step.steps, step.grain, step.stop, self.failed.address, MARK * k)
        return self.at.launcher(step.source, *step.shape, words)


class DeviceProgram:
    """A program on the GPU."""

    may_refuse = False  # once results are written; they are copied after the call

    def __init__(self, lowered):
        self.lowered, self.program, self.name = lowered, lowered.program, lowered.name
        self.at = backend(self.name)
        for region, kernel in zip(self.program.regions, lowered.kernels, strict=True):
            if not isinstance(region, (Product, Fill)) and not isinstance(kernel, Kernel):
                raise NotCoveredError(
                    type(region).__name__.lower(), "this is not covered on a GPU yet",
                    where=region.where, expected="loops, products and straight-line code",
                    got=str(region).split("\n")[0], fix="leave out device='cuda'",
                )  # fmt: skip
        self.schedule = Schedule(self.program, lowered.kernels)
        sources = [(s.source, s.region.where) for s in self.schedule.steps if s.source is not None]
        for source, where in sources:
            check_words(source, where)
        self.may_fail = any(source.facts.fails for source, _ in sources)
        self.arguments = [b for b in self.program.buffers if b.kind in ("input", "captured")]
        self.outputs = tuple(self.program.buffers[b].spec for b in self.program.outputs)
        self._free: list[Memory] = []

    @contextmanager
    def _memory(self):
        """Memory for one call, kept for the next."""
        try:
            memory = self._free.pop()
        except IndexError:
            memory = Memory(self.at, self.schedule)
        yield memory
        self._free.append(memory)

    def call(self, leaves, given=()) -> list[Any]:
        """Run on arrays of the host or the device; results are where the arguments are."""
        self.at.ready()
        there = any(isinstance(x, Described) for x in leaves)
        with self._memory() as memory:
            addresses = {b.id: self._take(b, leaves, memory) for b in self.arguments}
            results = []
            for b in self.program.outputs:
                spec = self.program.buffers[b].spec
                array, address = None, 0
                if there:
                    array, address = self.at.result(spec.shape, spec.dtype)
                addresses[b] = address or memory.own(b)
                results.append(array)
            for launch in memory.with_addresses(addresses).launches:
                launch()
            self._check(memory, leaves)
            if there:
                return results
            results = [self._to_host(b, memory) for b in self.program.outputs]
        for array, result in zip(given, [r for r in results if np.ndim(r)], strict=False):
            array[...] = result
        return results

    def _take(self, buffer, leaves, memory: Memory) -> int:
        """The address of an argument, once it is on the device."""
        x = leaves[buffer.index] if buffer.kind == "input" else self.program.captured[buffer.index]
        if buffer.bytes == 0:  # an index out of bounds, taken for 0, finds something there
            return memory.own(buffer.id)
        if isinstance(x, Described):
            return self._address(x)
        address = memory.own(buffer.id)
        self.at.put(address, np.asarray(x, buffer.spec.dtype))
        return address

    def _address(self, x: Described) -> int:
        """The address of an array that is on the device already, once what makes it is in line."""
        if not x.contiguous:
            raise ShapeError(
                self.name, "an array on the GPU is not contiguous", expected="C order",
                got=f"strides {x.strides} of {x.dtype}{x.shape}",
                fix="copy it before: cupy.ascontiguousarray(x), or x.contiguous()",
            )  # fmt: skip
        self.at.wait_for(x.stream)
        return x.address

    def _to_host(self, b: int, memory: Memory):
        spec = self.program.buffers[b].spec
        out = self.at.get(memory.own(b), spec.shape, spec.dtype)
        return out if spec.ndim else out[()]

    def _check(self, memory: Memory, leaves):
        """Raise the error of a step that failed."""
        if not self.may_fail:
            return
        noted = int(self.at.get(memory.failed.address, 1, np.int64)[0])
        if noted:
            self.at.put(memory.failed.address, np.zeros(1, np.int64))
            region = self.schedule.steps[noted // MARK].region
            raise error_of(noted % MARK, region, self.lowered, leaves)


def ptx_of_all(kernels) -> str:
    """The PTX of all kernels of a program."""
    from graphad.compile.nvvm import ptx_of

    sources: dict[KernelSource, None] = {}
    for kernel in kernels:
        if isinstance(kernel, Kernel):
            sources |= dict.fromkeys(getattr(kernel, "sources", [kernel.source]))
    return "\n".join(map(ptx_of, sources))
