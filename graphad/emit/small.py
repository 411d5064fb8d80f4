"""The small regime: a graph of few scalars becomes one straight-line kernel.

The graph is run on arrays of scalar expressions, so structural operations cost nothing, exact
zeros of derivatives vanish and equal scalars are computed once. A graph that does so for each of
many examples becomes a loop over such code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphad.emit.kernel import (
    Kernel,
    code_of,
    combine,
    expression,
    identity,
    literal,
)
from graphad.emit.loops import BLOCK, in_order
from graphad.emit.small_linalg import takes_matrix, written
from graphad.emit.small_linalg import work_of as matrix_work
from graphad.emit.source import Facts, KernelSource
from graphad.errors import NOWHERE, Where
from graphad.graph import Builder, Graph, Node
from graphad.lower.program import Buffer, Program, Routine
from graphad.lower.unbatch import Unbatched, unbatched
from graphad.ops.control import picks
from graphad.ops.cost import LONG
from graphad.ops.value import Value
from graphad.spec import Spec, is_static, size_of

MOST_ELEMENTS = 128
MOST_WORK = 400
MOST_SPARSE = 10  # times as much work as that, if most of it is with zeros
MOST_WORK_EACH, MOST_ELEMENTS_EACH = 600, 36  # for each of many examples
MOST_DEAR = 32  # elements that long arithmetic makes
DEAR_VECTOR = 16  # elements from which on long code is better a loop, whose vectors take turns
VARIABLE = re.compile(r"\b[vu]\d+\b")
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
        if node.op.lowering == "reduce":
            work += graph.nodes[node.args[0]].spec.size
        elif node.op.lowering == "contract":
            left = graph.nodes[node.args[0]].spec.size
            free = [c for c in node.param("right") if c not in node.param("left")]
            shape = graph.nodes[node.args[1]].spec.shape
            for c in free:
                left *= shape[node.param("right").index(c)]
            work += 2 * left
        elif node.op.lowering == "loop":
            if node.op.cost >= LONG and spec.size >= DEAR_VECTOR and not each:
                return False
            work += spec.size
        if work > bound:
            return False
    return work <= most or statements_of(graph) <= most


def statements_of(graph: Graph) -> int:
    """How many statements straight-line code has, where structural zeros leave little to do: the
    tangents of each element of an array, say."""
    s = Straightener(graph)
    s.buffer_of = {n.id: -1 for n in graph.nodes if n.op.lowering in ("input", "captured")}
    s.run()
    results = {str(v) for o in graph.outputs for v in np.ravel(s.values[o])}
    return len(live(s.lines, results))


@dataclass(frozen=True)
class Straight:
    """A region that is one straight-line kernel."""

    kernel: Kernel
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    where: Where = NOWHERE
    statements: tuple[str, ...] = field(default=())
    brief: bool = True  # so short that other Python threads may wait

    def reads(self) -> set[int]:
        """Buffers that are loaded from."""
        return set(self.inputs)

    def writes(self) -> set[int]:
        """Buffers that are stored to."""
        return set(self.outputs)

    def __str__(self):
        return "straight-line\n" + "\n".join(f"    {s}" for s in self.statements)


class Zero:
    """An exact zero that a derivative or padding put there; adding it changes nothing."""

    def __repr__(self):
        return "0"


ZERO = Zero()


class Straightener:
    """Runs a graph on arrays of names of scalars."""

    def __init__(self, graph: Graph, batched: frozenset[int] = frozenset(), prefix: str = "v"):
        self.graph = graph
        self.prefix = prefix  # of variables
        self.batched = batched  # inputs of which i0 says which one
        self.buffer_of: dict[int, int] = {}
        self.lines: list[tuple[str, Where]] = []
        self.names: dict[Any, Any] = {}
        self.pointers: list[tuple[int, Any]] = []
        self.values: list[Any] = []
        self.checks: list[tuple[str, int]] = []  # conditions, and the status where one holds

    def name(self, text: str, where: Where) -> str:
        """The variable that has this expression."""
        found = self.names.get(text)
        if found is None:
            found = self.names[text] = f"{self.prefix}{len(self.names)}"
            self.lines.append((f"    {found} = {text}", where))
        return found

    def text(self, value, dtype) -> str:
        """A scalar as source: a variable, or a literal."""
        if value is ZERO:
            value = 0
        return value if isinstance(value, str) else literal(value, dtype)

    def run(self):
        """Evaluate every node."""
        for node in self.graph.nodes:
            if node.op.name == "pick":
                self.values.append(self.values[node.args[0]][node.param("index")])
            elif node.op.lowering == "routine":
                args = [self.values[a] for a in node.args]
                self.values.append(written(self, node, args))
            else:
                self.values.append(np.asarray(self._node(node), object).reshape(node.spec.shape))

    def _node(self, node: Node):
        args = [self.values[a] for a in node.args]
        kind, spec = node.op.lowering, node.spec
        if kind in ("input", "captured"):
            return self._loads(node)
        if kind in ("const", "iota"):
            plain = node.op.reference([], node.options, spec)
            return objects(plain.ravel().tolist(), spec.shape)
        if kind == "loop":
            return self._pointwise(node, args)
        if kind == "reduce":
            return self._reduce(node, args[0])
        if kind == "contract":
            return self._contract(node, *args)
        if kind == "scan":
            return self._scan(node, args[0])
        if node.op.name == "embed":
            out = np.full(spec.shape, ZERO, object)
            first, step = node.param("start"), node.param("step")
            from graphad.ops.array import positions

            out[positions(first, step, args[0].shape)] = args[0]
            return out
        return node.op.reference(args, node.options, _ObjectSpec(spec.shape))

    def _loads(self, node):
        k = len(self.pointers)
        buffer = self.buffer_of[node.id]
        self.pointers.append((buffer, 0))
        code = code_of(node.spec.dtype)
        start = f"i0 * {node.spec.size} + " if node.id in self.batched else ""
        flat = [
            self.name(f"load_{code}(p{k}, {start}{i})", node.where) for i in range(node.spec.size)
        ]
        return objects(flat, node.spec.shape)

    def _pointwise(self, node, args):
        operand = self.graph.nodes[node.args[-1]].spec.dtype
        flats = [a.ravel() for a in args]
        out = [self._scalar(node, list(xs), operand) for xs in zip(*flats, strict=True)]
        return objects(out, node.spec.shape)

    def _scalar(self, node: Node, xs: list, operand):
        name, dtype = node.op.name, node.spec.dtype
        known = _known(name, xs)
        if known is not None:
            return known
        dtypes = [self.graph.nodes[a].spec.dtype for a in node.args]
        if not any(isinstance(x, str) for x in xs):
            numbers = [
                np.asarray(0 if x is ZERO else x, d) for x, d in zip(xs, dtypes, strict=True)
            ]
            with np.errstate(all="ignore"):
                out = node.op.reference(numbers, node.options, Spec((), dtype))
            return np.asarray(out).item()
        texts = [self.text(x, d) for x, d in zip(xs, dtypes, strict=True)]
        return self.name(expression(name, texts, operand, dtype), node.where)

    def _add(self, a, b, dtype, where):
        if a is ZERO:
            return b
        if b is ZERO:
            return a
        return self.name(f"{self.text(a, dtype)} + {self.text(b, dtype)}", where)

    def _reduce(self, node: Node, x):
        axes = node.param("axes")
        source = self.graph.nodes[node.args[0]].spec
        kept = [a for a in range(x.ndim) if a not in axes]
        rows = np.transpose(x, (*kept, *axes)).reshape(
            int(np.prod([x.shape[a] for a in kept], dtype=int)), *[x.shape[a] for a in axes]
        )
        out = [self._reduce_one(node, row, source.dtype) for row in rows]
        return objects(out, node.spec.shape)

    def _reduce_one(self, node, row, dtype):
        name = {"reduce_max": "max", "reduce_min": "min"}.get(node.op.name, node.op.name)
        if name in ("argmax", "argmin"):
            return self._arg(node, list(row.ravel()), dtype, ">" if name == "argmax" else "<")
        # The order of docs/design.md, "Sums": blocks of lanes over the innermost axis if it is
        # reduced, then one after another over the others.
        if row.size == 0:
            return self._line(name, [], dtype, node.where)
        axes = node.param("axes")
        inner = self._inner_axis(node)
        total = None
        lead = row.reshape(-1, row.shape[-1]) if inner in axes and row.ndim else row.reshape(-1, 1)
        for line in lead:
            part = self._line(name, list(line), dtype, node.where)
            total = part if total is None else self._step(name, total, part, dtype, node.where)
        return total

    def _inner_axis(self, node):
        shape = self.graph.nodes[node.args[0]].spec.shape
        long = [a for a, d in enumerate(shape) if d != 1]
        return long[-1] if long else -1

    def _step(self, name, a, b, dtype, where):
        if name == "sum":
            return self._add(a, b, dtype, where)
        texts = (self.text(a, dtype), self.text(b, dtype))
        return self.name(combine(name, *texts), where)

    def _line(self, name, items, dtype, where):
        total: Any = None
        for k in range(0, len(items), BLOCK):
            part = self._block(name, items[k : k + BLOCK], dtype, where)
            total = part if total is None else self._step(name, total, part, dtype, where)
        if total is None:
            return ZERO if name == "sum" else identity(name, dtype)
        return total

    def _block(self, name, part, dtype, where):
        """Lanes, a tree of halves, then the rest one by one."""

        def step(a, b):
            return self._step(name, a, b, dtype, where)

        return in_order(part, step, None)

    def _arg(self, node, items, dtype, order):
        best, at = self.text(items[0], dtype), literal(0, np.dtype("i8"))
        for k, item in enumerate(items[1:], 1):
            v = self.text(item, dtype)
            better = self.name(
                f"({v} {order} {best}) | (({v} != {v}) & ({best} == {best}))", node.where
            )
            at = self.name(f"{k} if {better} else {at}", node.where)
            best = self.name(f"{v} if {better} else {best}", node.where)
        return at

    def _scan(self, node, x):
        axis = node.param("axis")
        dtype = node.spec.dtype
        moved = np.moveaxis(x, axis, -1).copy()
        rows = moved.reshape(-1, x.shape[axis]) if moved.size else moved.reshape(0, 1)
        for row in rows:
            order = range(len(row))[::-1] if node.param("reverse") else range(len(row))
            total = ZERO
            for k in order:
                total = self._add(total, row[k], dtype, node.where)
                row[k] = total
        return np.moveaxis(rows.reshape(moved.shape), -1, axis)

    def _contract(self, node, x, y):
        left, right, out = node.param("left"), node.param("right"), node.param("out")
        other = out + "".join(c for c in left if c not in out)
        dims = dict(zip(left + right, x.shape + y.shape, strict=True))
        result = []
        dtype = node.spec.dtype
        for place in np.ndindex(*[dims[c] for c in out]):
            terms = []
            at = dict(zip(out, place, strict=True))
            for inner in np.ndindex(*[dims[c] for c in other[len(out) :]]):
                at.update(zip(other[len(out) :], inner, strict=True))
                a = x[tuple(at[c] for c in left)]
                b = y[tuple(at[c] for c in right)]
                terms.append(self._multiply(a, b, dtype, node.where))
            result.append(self._line("sum", terms, dtype, node.where))
        return objects(result, node.spec.shape)

    def _multiply(self, a, b, dtype, where):
        # An exact zero times anything finite; a product of constants is left to the compiler.
        if a is ZERO or b is ZERO:
            return ZERO
        return self.name(f"{self.text(a, dtype)} * {self.text(b, dtype)}", where)


class _ObjectSpec:
    """Shape of an array of names, for the reference functions of structural operations."""

    dtype = np.dtype(object)

    def __init__(self, shape):
        self.shape = shape


def objects(items, shape):
    """An array of names and numbers."""
    out = np.empty(len(items), object)
    for k, item in enumerate(items):
        out[k] = item
    return out.reshape(shape)


def _is_finite(x) -> bool:
    """Whether a scalar is known, and finite."""
    return x is ZERO or (not isinstance(x, str) and math.isfinite(x))


def _known(name: str, xs: list):
    """The result where structural zeros decide it, else None."""
    if name == "scale" and any(x is ZERO or (not isinstance(x, str) and x == 0) for x in xs):
        return ZERO
    if name == "scale":
        for x, other in (xs, xs[::-1]):
            if not isinstance(x, str) and x == 1:
                return other
    if name == "add":
        if xs[0] is ZERO:
            return xs[1]
        if xs[1] is ZERO:
            return xs[0]
    if name == "sub" and xs[1] is ZERO:
        return xs[0]
    if name == "mul" and any(x is ZERO for x in xs) and all(map(_is_finite, xs)):
        return ZERO
    if name in ("neg", "convert") and xs[0] is ZERO:
        return ZERO
    if name == "select" and (not isinstance(xs[0], str)):
        return xs[1] if xs[0] is not ZERO and xs[0] else xs[2]
    return None


def straight(graph: Graph) -> Program:
    """The program of a small graph: one straight-line region."""
    return _program(graph, Unbatched(graph, 0))


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
    s.run()
    outputs = [buffer(graph.nodes[o], "output", k) for k, o in enumerate(graph.outputs)]
    for b, o in zip(outputs, one.graph.outputs, strict=True):
        node = one.graph.nodes[o]
        code = code_of(node.spec.dtype)
        p = len(s.pointers)
        s.pointers.append((b, 0))
        start = f"i0 * {node.spec.size} + " if many else ""
        for i, v in enumerate(s.values[o].ravel()):
            value = s.text(v, node.spec.dtype)
            s.lines.append((f"    store_{code}(p{p}, {start}{i}, {value})", NOWHERE))
    needed = _finished(s)
    kernel = _kernel(s, needed, one)
    shown = tuple(t.strip() for t, _ in needed)
    region = Straight(kernel, reads, tuple(outputs), statements=shown, brief=not many)
    inputs = tuple(range(len(graph.inputs)))
    return Program((region,), tuple(buffers), inputs, tuple(outputs), captured=graph.captured)


def matrices_each(region: Routine) -> Kernel:
    """The kernel of a factorisation or solve of many small matrices: a loop over code written
    out."""
    builder = Builder()
    kept = 2 if region.name != "lu" else 1
    inputs = [builder.input(Spec(x.shape[-kept - (kept == 1) :], x.dtype), "a")
              for x in region.inputs]  # fmt: skip
    node = builder.add(region.name, inputs, None, **dict(region.params))
    outs = picks(Value(builder, node), node) if len(region.results) > 1 else [Value(builder, node)]
    graph = builder.finish(o.id for o in outs)
    s = Straightener(graph, frozenset(graph.inputs))
    s.buffer_of.update(zip(graph.inputs, region.operands, strict=True))
    s.run()
    for b, o in zip(region.results, graph.outputs, strict=True):
        spec, p = graph.nodes[o].spec, len(s.pointers)
        s.pointers.append((b, 0))
        for i, v in enumerate(s.values[o].ravel()):
            value = s.text(v, spec.dtype)
            store = f"store_{code_of(spec.dtype)}(p{p}, i0 * {spec.size} + {i}, {value})"
            s.lines.append((f"    {store}", region.where))
    count = size_of(region.inputs[0].shape[:-2])
    return _kernel(s, _finished(s), Unbatched(graph, count))


def _finished(s: Straightener):
    """The lines that matter, with the checks."""
    for condition, status in dict.fromkeys(s.checks):
        s.lines.append((f"    bad = max(bad, {status} if {condition} else 0)", NOWHERE))
    return live(s.lines)


def _kernel(s: Straightener, needed, one: Unbatched) -> Kernel:
    head = ["def kernel(table, start, stop):"]
    head += [f"    p{k} = integer(table, {k})" for k in range(len(s.pointers))]
    if s.checks:
        head.append("    bad = 0")
    work: Any = 0
    if one.count != 0:
        head[1:1] = ["    wide_vectors()"]
        head.append("    for i0 in range(start, stop):")
        needed = [(f"    {text}", where) for text, where in needed]
        work = one.count * 4 * len(needed)
    lines = [(h, NOWHERE) for h in head] + needed
    end = "bad" if s.checks else "0"
    source = "\n".join(text for text, _ in lines) + f"\n    return {end}\n"
    wheres = (*[w for _, w in lines], NOWHERE)
    kernel = KernelSource(source, Facts(fails=bool(s.checks)))
    return Kernel(kernel, tuple(s.pointers), (), one.count, wheres, work)


def live(lines, needed: Iterable[str] = ()) -> list[tuple[str, Where]]:
    """Only the statements that a store needs, or these variables."""
    needed = set(needed)
    kept = []
    for text, where in reversed(lines):
        body = text.strip()
        name, _, rest = body.partition(" = ")
        if not body.startswith(("store_", "bad = ")) and name not in needed:
            continue
        needed.update(VARIABLE.findall(rest if rest and not body.startswith("store_") else body))
        kept.append((text, where))
    return kept[::-1]
