"""The words of an image as it grows: records of arrays, addresses, what only the call knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphad.compile.address import Address
from graphad.compile.build import code_of
from graphad.emit.source import KernelSource
from graphad.process.holding import holds, watched
from graphad.run import layout
from graphad.run.places import Place
from graphad.spec import Dim

if TYPE_CHECKING:
    from graphad.run.scope import Scope


class StepAt(NamedTuple):
    """One kernel call: the function, the slot of its operands, the range of its outermost loop."""

    address: int
    table: int
    stop: Any
    work: Any
    grain: int
    region: Any


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
