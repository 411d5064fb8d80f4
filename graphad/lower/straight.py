"""The small regime: a graph of few scalars becomes one region of straight-line code.

A graph that does so for each of many examples becomes a loop over such code, and a loop with a
small body becomes steps of it, whose carries are variables.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphad.errors import NOWHERE, Where
from graphad.graph import Builder, Graph, Node
from graphad.lower.program import Buffer, Program, Repeat, Routine
from graphad.lower.scalar_linalg import takes_matrix
from graphad.lower.scalar_linalg import work_of as matrix_work
from graphad.lower.scalars import Given, Put, Scalar, Straightener, Term, needed, objects
from graphad.lower.unbatch import Unbatched, unbatched
from graphad.ops.calls import picks
from graphad.ops.value import Value
from graphad.ops.work import LONG
from graphad.spec import Spec, is_static, size_of

MOST_ELEMENTS = 128
MOST_WORK = 400
MOST_SPARSE = 10  # times as much work as that, if most of it is with zeros
MOST_WORK_EACH, MOST_ELEMENTS_EACH = 600, 36  # for each of many examples
MOST_DEAR = 32  # elements that long arithmetic makes
DEAR_VECTOR = 16  # elements from which on long code is better a loop, whose vectors take turns
MIXING = ("reduce", "contract", "place", "scan", "routine")
COVERED = (
    "view",
    "loop",
    "reduce",
    "contract",
    "place",
    "scan",
    "const",
    "iota",
    "input",
    "captured",
)
MOST_WORK_STEP = 1500


def takes(graph: Graph, most: int = MOST_WORK, each: bool = False) -> bool:
    """Whether the graph is small enough for straight-line code, and has only what it covers.

    `each`: for each of many examples, which vectors then go across.
    """
    work = 0
    sparse = any(n.op.name == "embed" for n in graph.nodes)
    bound = MOST_SPARSE * most if sparse else most
    if len(graph.nodes) > 8 * MOST_WORK:
        return False
    for node in graph.nodes:
        spec = node.spec
        if node.op.lowering == "routine" or node.op.name == "pick":
            if not takes_matrix(graph, node):
                return False
            work += matrix_work(graph, node)
            continue
        if not isinstance(spec, Spec) or not is_static(spec.shape):
            return False
        if spec.size > MOST_ELEMENTS or node.op.lowering not in COVERED:
            return False
        dear = node.op.lowering == "loop" and node.op.cost >= LONG
        if dear and spec.size >= DEAR_VECTOR and not each:
            return False
        work += work_of(graph, node)
        if work > bound:
            return False
    return work <= most or statements_of(graph) <= most


def work_of(graph: Graph, node: Node) -> int:
    """How many scalar operations a node is."""
    if node.op.lowering == "reduce":
        return graph.nodes[node.args[0]].spec.size
    if node.op.lowering == "contract":
        left, right = node.param("left"), node.param("right")
        shape = graph.nodes[node.args[1]].spec.shape
        free = [d for c, d in zip(right, shape, strict=True) if c not in left]
        return 2 * graph.nodes[node.args[0]].spec.size * size_of(free)
    return node.spec.size if node.op.lowering == "loop" else 0


def statements_of(graph: Graph) -> int:
    """How many statements straight-line code has, where structural zeros leave little to do: the
    tangents of each element of an array, say."""
    s = Straightener(graph)
    s.buffer_of = {n.id: -1 for n in graph.nodes if n.op.lowering in ("input", "captured")}
    s.run()
    return len(needed(s.scalars, [v for o in graph.outputs for v in np.ravel(s.values[o])]))


def takes_each(graph: Graph) -> bool:
    """Whether the graph does something small for each of many examples."""
    one = unbatched(graph)
    if one is None or not takes(one.graph, MOST_WORK_EACH, each=True):
        return False
    nodes = [n for n in one.graph.nodes if isinstance(n.spec, Spec)]
    mixes = any(n.op.lowering in MIXING or n.op.name in ("slice", "transpose") for n in nodes)
    return mixes and is_brief(nodes)  # else the usual loops are as good and shorter


def is_brief(nodes: Iterable[Node]) -> bool:
    """Whether code for each of many examples or steps is short: small values, few long bodies."""
    nodes = [n for n in nodes if isinstance(n.spec, Spec)]
    dear = sum(n.spec.size for n in nodes if n.op.lowering == "loop" and n.op.cost >= LONG)
    return dear <= MOST_DEAR and all(n.spec.size <= MOST_ELEMENTS_EACH for n in nodes)


@dataclass(frozen=True)
class Straight:
    """Scalars computed one after another, and what is stored of them.

    `pointers`: (buffer, first element) that loads and stores name by number. `checks`: terms that
    must not hold, with the status where one does. `count`: of the examples; 0 if there is but one.
    `part`: whether it is one of many pieces.
    """

    scalars: tuple[Scalar, ...]
    stores: tuple[Put, ...]
    checks: tuple[tuple[Term, int], ...]
    pointers: tuple[tuple[int, int], ...]
    count: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    where: Where = NOWHERE
    part: bool = False

    @property
    def brief(self) -> bool:
        """Whether it is so short that other Python threads may wait."""
        return self.count == 0 and not self.part

    def reads(self) -> set[int]:
        """Buffers that are loaded from."""
        return set(self.inputs)

    def writes(self) -> set[int]:
        """Buffers that are stored to."""
        return set(self.outputs)

    def __str__(self):
        each = f" for each of {self.count}" if self.count != 0 else ""
        pointers = ", ".join(f"p{k} = b{b}" + (f" + {first}" if first else "")
                             for k, (b, first) in enumerate(self.pointers))  # fmt: skip
        lines = [*self.scalars, *(f"{c} gives {status}" for c, status in self.checks), *self.stores]
        return f"straight-line{each}, {pointers}\n" + "\n".join(f"    {s}" for s in lines)


def straight(graph: Graph) -> Program:
    """The program of a small graph: one straight-line region."""
    return _program(graph, Unbatched(graph, 0))


def straight_each(graph: Graph) -> Program:
    """The program of a batch of small graphs: a loop over straight-line code."""
    one = unbatched(graph)
    assert one is not None
    return _program(graph, one)


def _program(graph: Graph, one: Unbatched) -> Program:
    s = Straightener(one.graph, one.batched)
    many = one.count != 0
    buffers: list[Buffer] = []

    def buffer(node: Node, kind, index):
        buffers.append(Buffer(len(buffers), node.spec, kind, index, node.where))
        return len(buffers) - 1

    whole = {n: graph.nodes[i] for n, i in zip(one.graph.inputs, graph.inputs, strict=True)}
    for k, n in enumerate(one.graph.inputs):
        s.buffer_of[n] = buffer(whole[n], "input", k)
    for node in one.graph.nodes:
        if node.op.name == "captured":
            source = one.source[node.id] if many else node
            s.buffer_of[node.id] = buffer(source, "captured", source.param("index"))
    reads = tuple(range(len(buffers)))
    outputs = tuple(buffer(graph.nodes[o], "output", k) for k, o in enumerate(graph.outputs))
    region = _region(s, one, reads, outputs, NOWHERE)
    inputs = tuple(range(len(graph.inputs)))
    return Program((region,), tuple(buffers), inputs, outputs, captured=graph.captured)


def _region(s: Straightener, one: Unbatched, inputs, outputs, where: Where) -> Straight:
    """The region of a graph whose inputs are in buffers, as are its outputs."""
    s.run()
    stores = []
    for b, o in zip(outputs, one.graph.outputs, strict=True):
        spec, p = one.graph.nodes[o].spec, len(s.pointers)
        s.pointers.append(b)
        row = spec.size if one.count != 0 else 0
        stores += [Put(p, row, i, s.term(v, spec.dtype), spec.dtype, where)
                   for i, v in enumerate(s.values[o].ravel())]  # fmt: skip
    checks = tuple(dict.fromkeys(s.checks))
    kept = needed(s.scalars, [*(c for c, _ in checks), *(p.value for p in stores)])
    pointers = tuple((b, 0) for b in s.pointers)
    return Straight(kept, tuple(stores), checks, pointers, one.count, tuple(inputs),
                    tuple(outputs), where)  # fmt: skip


def matrices_each(region: Routine) -> Straight:
    """A factorisation or solve of many small matrices as a loop over code written out."""
    builder = Builder()
    kept = 2 if region.name != "lu" else 1
    inputs = [builder.input(Spec(x.shape[-kept - (kept == 1) :], x.dtype), "a")
              for x in region.inputs]  # fmt: skip
    node = builder.add(region.name, inputs, None, **dict(region.params))
    outs = picks(Value(builder, node), node) if len(region.results) > 1 else [Value(builder, node)]
    graph = builder.finish(o.id for o in outs)
    s = Straightener(graph, frozenset(graph.inputs))
    s.buffer_of.update(zip(graph.inputs, region.operands, strict=True))
    one = Unbatched(graph, size_of(region.inputs[0].shape[:-2]))
    return _region(s, one, region.operands, region.results, region.where)


# -- loops of small steps --------------------------------------------------------------------------
@dataclass(frozen=True)
class Step:
    """The scalars of a step, the terms that it comes to (one list an output), and its checks."""

    scalars: tuple[Scalar, ...]
    results: tuple[tuple[Term, ...], ...]
    checks: tuple[tuple[Term, int], ...] = ()

    def __str__(self):
        lines = [*self.scalars, *(f"{c} gives {status}" for c, status in self.checks)]
        lines += [f"gives {', '.join(map(str, r))}" for r in self.results]
        return "\n".join(f"    {s}" for s in lines)


@dataclass(frozen=True)
class StraightLoop:
    """A loop over steps that are straight-line code: the carries are variables, so that a step
    costs no more than its arithmetic.

    `loop`: what it runs over. Variables: `i` the step, `c0_1` element 1 of carry 0, `k0_1` of
    constant 0; pointer k is of the xs. `step` gives the next carries, then rows of the ys; `test`
    whether there is one more.
    """

    loop: Repeat
    step: Step
    test: Step | None

    brief = False

    @property
    def where(self) -> Where:
        """That of the loop."""
        return self.loop.where

    def reads(self) -> set[int]:
        """Buffers that are loaded from."""
        return self.loop.reads()

    def writes(self) -> set[int]:
        """Buffers that are stored to."""
        return self.loop.writes()

    def __str__(self):
        order = "backward " if self.loop.reverse else ""
        until = "" if self.test is None else f"\n  while\n{self.test}"
        return f"straight-line {order}{self.loop.length} times{until}\n  do\n{self.step}"


class _Stepping(Straightener):
    """A body or condition whose inputs are variables, or rows behind pointers."""

    def __init__(self, graph: Graph, given: list[list[Term]]):
        super().__init__(graph)
        self.given = dict(zip(graph.inputs, given, strict=False))
        self.rows = {i: k for k, i in enumerate(graph.inputs[len(given) :])}

    def _loads(self, node: Node):
        if node.id in self.rows:
            return self.loaded(node, self.rows[node.id], node.spec.size)
        return objects(self.given[node.id], node.spec.shape)

    def step(self) -> Step:
        """What it comes to."""
        for i in self.rows:  # rows are loaded first, in order
            self.loaded(self.graph.nodes[i], self.rows[i], self.graph.nodes[i].spec.size)
        self.run()
        nodes = self.graph.nodes
        results = [tuple(self.term(v, nodes[o].spec.dtype) for v in self.values[o].ravel())
                   for o in self.graph.outputs]  # fmt: skip
        checks = tuple(dict.fromkeys(self.checks))
        wanted = [*(c for c, _ in checks), *(v for r in results for v in r)]
        return Step(needed(self.scalars, wanted), tuple(results), checks)


def takes_loop(region: Repeat) -> bool:
    """Whether the steps of a loop are small enough for straight-line code."""
    graphs = [g for g in (region.body, region.condition) if g is not None]
    if not all(takes(g, MOST_WORK_STEP) for g in graphs):
        return False
    return is_brief(n for g in graphs for n in g.nodes)


def straight_loop(region: Repeat, buffers: tuple[Buffer, ...]) -> StraightLoop:
    """The region of a loop with a small body."""

    def variables(found: tuple[int, ...], letter: str) -> list[list[Term]]:
        return [[Given(f"{letter}{k}_{e}") for e in range(buffers[b].spec.size)]
                for k, b in enumerate(found)]  # fmt: skip

    given = [[Given("i")], *variables(region.starts, "c"), *variables(region.constants, "k")]
    test = region.condition and _Stepping(region.condition, given).step()
    return StraightLoop(region, _Stepping(region.body, given).step(), test)
