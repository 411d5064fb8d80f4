"""Loops over steps whose bodies are a few small loops become nests: one kernel for all steps.

A carry stays in one place, that of its last value. The next value goes there at once where nothing
reads the old one any more, else by a copy at the end of the step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from graphad.lower.nest import MOST_LOOPS
from graphad.lower.program import (
    Affine,
    Buffer,
    Loop,
    Nest,
    Program,
    Repeat,
    Statement,
    Store,
    unit,
)
from graphad.spec import is_static, size_of

MOST_WORK = 1_000_000  # additions of a loop in a step; threads may share longer ones


def steps(program: Program) -> Program:
    """The program with such loops as nests."""
    buffers, regions = list(program.buffers), []
    for region in program.regions:
        if isinstance(region, Repeat) and _fits(region, buffers):
            regions += _Steps(region, buffers).regions()
        else:
            regions.append(region)
    return replace(program, regions=tuple(regions), buffers=tuple(buffers))


def _fits(region: Repeat, buffers: list[Buffer]) -> bool:
    """Whether a loop has a fixed number of steps, each a few loops that need not be shared."""
    body = region.body
    if region.may_stop or not isinstance(region.length, int) or region.length < 2:
        return False
    if len(body.regions) > MOST_LOOPS or not all(isinstance(r, Loop) for r in body.regions):
        return False
    touched = {*region.reads(), *region.writes()}
    sizes = [buffers[b].spec.shape for b in touched] + [b.spec.shape for b in body.buffers]
    if not all(map(is_static, sizes)) or any(b.kind == "captured" for b in body.buffers):
        return False
    return all(map(_is_plain, body.regions))


def _is_plain(loop: Loop) -> bool:
    """Whether a loop may be one of a nest."""
    if loop.sequential >= 0 or any(s.indices or s.in_turn for s in loop.stores):
        return False
    if any(s.op in ("gather", "dim") for s in loop.body):
        return False
    return size_of(loop.space) * max(loop.cost, 1) <= MOST_WORK


class _Steps:
    """One loop over steps as a nest."""

    def __init__(self, region: Repeat, buffers: list[Buffer]):
        self.region, self.buffers = region, buffers
        self.body: Program = region.body
        inputs, outputs, c = self.body.inputs, self.body.outputs, len(region.starts)
        self.index, self.carries = inputs[0], inputs[1 : 1 + c]
        self.nexts = outputs[:c]
        k = 1 + c + len(region.constants)
        first = [r for r in self.body.regions if self._copies_input(r)]
        self.loops = first + [r for r in self.body.regions if r not in first]
        # Of each buffer of the body: which it is outside, and elements from step to step.
        self.places: dict[int, tuple[int, int]] = {}
        self.places |= {b: (o, 0) for b, o in zip(self.carries, region.lasts, strict=True)}
        self.places |= {b: (o, 0) for b, o in zip(inputs[1 + c : k], region.constants, strict=True)}
        self.places |= {b: (o, size) for b, o, size in
                        zip(inputs[k:], region.xs, region.rows, strict=True)}  # fmt: skip
        self.places |= {b: (o, self.body.buffers[b].spec.size) for b, o in
                        zip(outputs[c:], region.ys, strict=True)}  # fmt: skip
        self.copies: list[Loop] = []

    def regions(self) -> list[Any]:
        """The first values put in place, and the nest."""
        region = self.region
        for carry, new, last in zip(self.carries, self.nexts, region.lasts, strict=True):
            if self._at_once(carry, new):
                self.places[new] = last, 0
            else:
                held = self._held(new)
                self.copies.append(self._copy((region.length,), held, last))
        starts = [self._copy((), a, b) for a, b in zip(region.starts, region.lasts, strict=True)
                  if a != b]  # fmt: skip
        loops = [self._moved(loop) for loop in self.loops]
        return [*starts, Nest((*loops, *self.copies), in_steps=True)]

    def _copies_input(self, loop: Loop) -> bool:
        """Whether a loop only copies what the step is given."""
        (load, *more), (store, *others) = loop.body, loop.stores
        plain = not more and not others and load.op == "load" and store.reduce is None
        return plain and load.buffer in self.body.inputs

    def _at_once(self, carry: int, new: int) -> bool:
        """Whether the next value may take the place of the old: nothing reads that later."""
        writers = [k for k, loop in enumerate(self.loops) if new in loop.writes()]
        if len(writers) != 1:
            return False
        (k,) = writers
        stores = [s for s in self.loops[k].stores if s.buffer == new]
        if len(stores) != 1 or stores[0].reduce is not None:
            return False
        if any(carry in loop.reads() for loop in self.loops[k + 1 :]):
            return False
        reads = [s.at for s in self.loops[k].body if s.op == "load" and s.buffer == carry]
        return all(at == stores[0].at for at in reads)

    def _held(self, b: int) -> int:
        """The buffer outside for what a step makes."""
        if b not in self.places:
            inner = self.body.buffers[b]
            self.buffers.append(Buffer(len(self.buffers), inner.spec, "temporary", -1, inner.where))
            self.places[b] = len(self.buffers) - 1, 0
        return self.places[b][0]

    def _copy(self, before: tuple[int, ...], source: int, to: int) -> Loop:
        """A loop that copies a buffer, in each of the steps if there are any."""
        spec, where = self.buffers[to].spec, self.region.where
        at = unit(len(before), len(before) + 1)
        load = Statement(0, "load", (), spec.dtype, where, buffer=source, at=at)
        return Loop((*before, spec.size), (load,), (Store(0, to, at),), where)

    def _moved(self, loop: Loop) -> Loop:
        """A loop of the body with the steps as its outermost axis."""
        body = tuple(self._statement(s) for s in loop.body)
        stores = tuple(
            replace(s, buffer=self._held(s.buffer), at=self._at(s.at, s.buffer),
                    axes=tuple(a + 1 for a in s.axes))
            for s in loop.stores
        )  # fmt: skip
        space = (self.region.length, *loop.space)
        return Loop(space, body, stores, loop.where)

    def _statement(self, s: Statement) -> Statement:
        if s.op == "load" and s.buffer == self.index:
            assert s.at is not None
            at = self._along(Affine(0, tuple(0 for _ in s.at.strides)), 1)
            return Statement(s.id, "index", (), s.dtype, s.where, at=at)
        if s.at is None:
            return s
        if s.buffer < 0:
            return replace(s, at=self._along(s.at, 0))
        return replace(s, buffer=self._held(s.buffer), at=self._at(s.at, s.buffer))

    def _at(self, at: Affine, buffer: int) -> Affine:
        return self._along(at, self.places[buffer][1])

    def _along(self, at: Affine, step: int) -> Affine:
        """A position that moves by so much from step to step."""
        if not self.region.reverse:
            return Affine(at.offset, (step, *at.strides))
        return Affine(at.offset + (self.region.length - 1) * step, (-step, *at.strides))
