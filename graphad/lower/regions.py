"""Placed nodes to regions and buffers: the second half of fusion.

Views become index arithmetic; what several regions need is stored; what is cheap to compute from
what is stored is computed again.
"""

from __future__ import annotations

from typing import Any

from graphad.errors import CheckError
from graphad.graph import Node
from graphad.lower.body import Body
from graphad.lower.expand import groups, is_strided
from graphad.lower.place import (
    VIRTUAL,
    Fusion,
    Group,
    flat_source,
    kind_of,
)
from graphad.lower.program import (
    Affine,
    Buffer,
    Choice,
    Fill,
    Loop,
    Product,
    Program,
    Repeat,
    Routine,
    Statement,
    Store,
    fixed,
    steps_of,
    unit,
)
from graphad.ops.contract import dims_of
from graphad.ops.iterate import split
from graphad.ops.work import SMALL_SOURCE, cost_of_moving
from graphad.spec import Dim, Spec, is_static, size_of

FEWEST_STEPS = 16
LEAST_ALIGNED, MOST_ALIGNED = 2048, 256 * 1024  # bytes; larger ones are not read from the cache


def large(source: Spec, result: Spec) -> bool:
    """Whether reading an array is dear beside reading the result; also where that is not known."""
    sizes = source.size, result.size
    return not all(isinstance(s, int) for s in sizes) or SMALL_SOURCE * sizes[0] > sizes[1]


class Assembly:
    """Turns placed nodes into regions and buffers."""

    def __init__(self, fusion: Fusion):
        self.fusion = fusion
        self.graph = fusion.graph
        self.buffers: list[Buffer] = []
        self.buffer_of: dict[int, int] = {}
        self.checks: list[Any] = []
        self.aligned: dict[int, int] = {}

    def program(self) -> Program:
        """Allocate buffers, then make the regions in order."""
        graph = self.graph
        self._make_buffers()
        placed: list[tuple[int, Any]] = [(g.position, g) for g in self.fusion.groups]
        placed += [(p, graph.nodes[n]) for n, p in self.fusion.special_at.items()]
        regions: list[Any] = []
        for _, item in sorted(placed, key=lambda pair: pair[0]):
            if isinstance(item, Group):
                loop = self._loop(item)
                if loop.stores:  # none where all of it is computed again by its users
                    regions.append(loop)
            else:
                regions.extend(self._special(item))
        outputs = [self._output(k, o, regions) for k, o in enumerate(graph.outputs)]
        inputs = tuple(self.buffer_of[i] for i in graph.inputs)
        self._slice_checks()
        return Program(
            tuple(regions), tuple(self.buffers), inputs, tuple(outputs), tuple(self.checks),
            self.graph.captured,
        )  # fmt: skip

    def _slice_checks(self):
        """What symbolic slices took for granted: (a dim that must not be negative, where)."""
        for node in self.graph.nodes:
            if node.op.name == "slice":
                whole = self.graph.nodes[node.args[0]].spec.shape
                for first, step, size, dim in zip(
                    node.param("start"), node.param("step"), node.spec.shape, whole, strict=True
                ):
                    last = first + (size - 1) * step
                    for need in (first, last, dim - 1 - first, dim - 1 - last, size):
                        if isinstance(need, Dim):
                            self.checks.append((need, size, node.where))

    def _new_buffer(self, spec: Spec, kind, index=-1, where=None) -> int:
        self.buffers.append(Buffer(len(self.buffers), spec, kind, index, where))  # type: ignore
        return len(self.buffers) - 1

    def _make_buffers(self):
        graph, fusion = self.graph, self.fusion
        for i, n in enumerate(graph.inputs):
            self.buffer_of[n] = self._new_buffer(
                graph.nodes[n].spec, "input", i, graph.nodes[n].where
            )
        output_at: dict[int, int] = {}
        for k, o in enumerate(graph.outputs):
            output_at.setdefault(o, k)
        for node in graph.nodes:
            if node.op.name == "captured":
                index = node.param("index")
                self.buffer_of[node.id] = self._new_buffer(node.spec, "captured", index, node.where)
            elif not isinstance(node.spec, Spec):
                continue  # its results have buffers of their own
            elif node.op.name == "pick" or node.id in fusion.special_at or self._is_stored(node):
                index = output_at.get(node.id, -1)
                kind = "output" if index >= 0 else "temporary"
                self.buffer_of[node.id] = self._new_buffer(node.spec, kind, index, node.where)

    def _is_stored(self, node: Node) -> bool:
        group = self.fusion.group_of.get(node.id)
        if group is None:
            return False
        if node.id in self.fusion.forced or kind_of(node) == "reduce":
            return True
        elsewhere = any(
            self.fusion.group_of.get(u) is not group for u, _, _ in self.fusion._placed_users(node)
        )
        return elsewhere and not self._is_cheap(node)

    def _is_cheap(self, node: Node) -> bool:
        """Whether to compute it again where it is used: one step from what is stored, of which at
        most one array is as large as the result, that costs less than moving the result."""
        sources = self._sources(node)
        return sources is not None and sum(large(s, node.spec) for s in sources) <= 1

    def is_free(self, node: Node) -> bool:
        """Whether what is stored anyway is better computed again than read: from small arrays."""
        if self.buffers[self.buffer_of[node.id]].kind not in ("temporary", "output"):
            return False
        sources = self._sources(node)
        return sources is not None and not any(large(s, node.spec) for s in sources)

    def _sources(self, node: Node) -> list[Spec] | None:
        """What a cheap step reads from memory; None where it is not cheap, or needs what is not
        stored."""
        if kind_of(node) != "loop" or node.op.cost > cost_of_moving(node.spec.dtype.itemsize):
            return None
        sources = {}
        for arg in node.args:
            while self.fusion._is_open_view(arg):
                if self.graph.nodes[arg].op.name == "reshape":
                    return None
                arg = self.graph.nodes[arg].args[0]
            if kind_of(self.graph.nodes[arg]) in VIRTUAL:
                continue
            if arg not in self.buffer_of:
                return None
            sources[arg] = self.graph.nodes[arg].spec
        return list(sources.values())

    def _output(self, k: int, node: int, regions: list) -> int:
        buffer = self.buffer_of.get(node, -1)
        if (
            buffer >= 0
            and self.buffers[buffer].kind == "output"
            and self.buffers[buffer].index == k
        ):
            return buffer
        spec = self.graph.nodes[node].spec
        where = self.graph.nodes[node].where
        out = self._new_buffer(spec, "output", k, where)
        regions.append(self._copy(node, out, spec.shape))
        return out

    # -- loop regions ----------------------------------------------------------------------------
    def _loop(self, group: Group) -> Loop:
        return Body(self, group.space).of_group(group)

    def _copy(self, node: int, buffer: int, space, place: list[Affine] | None = None) -> Loop:
        """A region that writes a node to a buffer, at other coordinates if given."""
        body = Body(self, space)
        value = body.read(node, body.identity)
        place = body.identity if place is None else place
        at = body.flat(self.buffers[buffer].spec.shape, place)
        return body.finish([Store(value, buffer, at)], self.graph.nodes[node].where)

    # -- special regions -------------------------------------------------------------------------
    def _special(self, node: Node) -> list[Any]:
        if kind_of(node) == "routine":
            return self._routine(node)
        return getattr(self, f"_{node.op.name}")(node)

    def _concatenate(self, node: Node) -> list[Any]:
        out, axis, start = self.buffer_of[node.id], node.param("axis"), 0
        regions = []
        for a in node.args:
            shape = self.graph.nodes[a].spec.shape
            place = [unit(i, len(shape)) for i in range(len(shape))]
            place[axis] = place[axis] + fixed(start, len(shape))
            if not (is_static(shape) and size_of(shape) == 0):
                regions.append(self._copy(a, out, shape, place))
            start = start + shape[axis]
        return regions or [Fill(out, node.where)]

    def _embed(self, node: Node) -> list[Any]:
        out, a = self.buffer_of[node.id], node.args[0]
        shape = self.graph.nodes[a].spec.shape
        rank = len(shape)
        place = [
            unit(i, rank).times(step) + fixed(first, rank)
            for i, (first, step) in enumerate(
                zip(node.param("start"), node.param("step"), strict=True)
            )
        ]
        return [Fill(out, node.where), self._copy(a, out, shape, place)]

    def _cumsum(self, node: Node) -> list[Any]:
        shape, axis = node.spec.shape, node.param("axis")
        body = Body(self, shape)
        place = list(body.identity)
        if node.param("reverse"):
            place[axis] = place[axis].times(-1) + fixed(shape[axis] - 1, len(shape))
        value = body.read(node.args[0], place)
        at = body.flat(shape, place)
        store = Store(value, self.buffer_of[node.id], at, "scan", (axis,))
        return [body.finish([store], node.where, sequential=axis)]

    def _scatter_add(self, node: Node) -> list[Any]:
        out = self.buffer_of[node.id]
        return [Fill(out, node.where), self._scatter(node, out, node.args[0], node.args[1:], "add")]

    def _scatter_set(self, node: Node) -> list[Any]:
        x, v, index = node.args
        out = self.buffer_of[node.id]
        return [
            self._copy(x, out, node.spec.shape),
            self._scatter(node, out, v, (index,), "set"),
        ]

    def _scatter(self, node, out, value, indices, how) -> Loop:
        space = self.graph.nodes[value].spec.shape
        body = Body(self, space)
        rank = self.graph.nodes[indices[0]].spec.ndim
        found = tuple(body.read(i, body.identity[:rank]) for i in indices)
        steps = steps_of(node.spec.shape)
        k = len(indices)
        bounds = tuple(zip(node.spec.shape[:k], steps[:k], strict=True))
        at = fixed(0, len(space))
        for step, c in zip(steps[k:], body.identity[rank:], strict=True):
            at = at + c.times(step)
        v = body.read(value, body.identity)
        store = Store(v, out, at, f"scatter_{how}", (), found, bounds)
        return body.finish([store], node.where)

    def _results(self, node: Node, optional: int = -1) -> list[int]:
        """Buffers of the results of a node that has several, those that nobody reads too; of the
        `optional` one -1 then."""
        found = [-1] * len(node.spec)
        for user in self.graph.users[node.id]:
            found[self.graph.nodes[user].param("index")] = self.buffer_of[user]
        for k, spec in enumerate(node.spec):
            if found[k] < 0 and k != optional:
                found[k] = self._new_buffer(spec, "temporary", where=node.where)
        return found

    def _flat(self, node: int) -> int:
        """The buffer that has the elements of an argument, in order."""
        return self.buffer_of[flat_source(self.graph, node)]

    def _iterate(self, node: Node) -> list[Any]:
        o = node.options
        args = split([self._flat(a) for a in node.args], o)
        steps = split([self.graph.nodes[a].spec for a in node.args], o).xs
        c, extra = o["carries"], int(o["condition"] is not None)
        found = self._results(node, optional=c if extra else -1)
        copies, constants = self._constants(args.constants, o["length"])
        region = Repeat(
            o["body"], o["condition"], o["length"], o["reverse"], tuple(args.carries),
            constants, tuple(args.xs), tuple(found[:c]), tuple(found[c + extra :]),
            args.count[0] if args.count else -1, found[c] if extra else -1,
            tuple(size_of(s.shape[1:]) for s in steps), node.where,
        )  # fmt: skip
        fills = [Fill(y, node.where) for y in region.ys] if region.may_stop else []
        return [*copies, *fills, region]

    def _constants(self, constants, length) -> tuple[list[Any], tuple[int, ...]]:
        """Copies of matrices that each of many steps reads, and what the steps then read: memory of
        ours starts at a line of the cache, that of NumPy's arrays mostly does not, and vectors that
        lie across two lines take half as long again."""
        made, found = [], []
        many = isinstance(length, int) and length >= FEWEST_STEPS
        for b in constants:
            size, spec = self.buffers[b].bytes, self.buffers[b].spec
            given = self.buffers[b].kind in ("input", "captured")
            matrix = len(spec.shape) > 1 and spec.dtype.kind == "f" and isinstance(size, int)
            if many and given and matrix and LEAST_ALIGNED <= size <= MOST_ALIGNED:
                if b not in self.aligned:
                    where = self.buffers[b].where
                    self.aligned[b] = self._new_buffer(spec, "temporary", where=where)
                    made.append(self._moved(b, self.aligned[b]))
                b = self.aligned[b]
            found.append(b)
        return made, tuple(found)

    def _moved(self, source: int, to: int) -> Loop:
        """A region that copies a buffer."""
        spec, where = self.buffers[to].spec, self.buffers[to].where
        at = unit(0, 1)
        load = Statement(0, "load", (), spec.dtype, where, buffer=source, at=at)
        return Loop((spec.size,), (load,), (Store(0, to, at),), where)

    def _routine(self, node: Node) -> list[Any]:
        """A region whose kernel is written by hand."""
        graph, op = self.graph, node.op
        specs = [graph.nodes[a].spec for a in node.args]
        if isinstance(node.spec, Spec):
            found, outs = [self.buffer_of[node.id]], [node.spec]
        else:
            found, outs = self._results(node), list(node.spec)
        scratch = op.scratch(specs, node.options) if op.scratch else []
        spare = tuple(self._new_buffer(s, "temporary", where=node.where) for s in scratch)
        operands = tuple(self._flat(a) for a in node.args)
        return [Routine(op.name, operands, tuple(found), spare, tuple(specs), tuple(outs),
                        node.params, node.where)]  # fmt: skip

    def _switch(self, node: Node) -> list[Any]:
        index, *operands = (self._flat(a) for a in node.args)
        results = tuple(self._results(node))
        return [Choice(node.param("branches"), index, tuple(operands), results, node.where)]

    def _contract(self, node: Node) -> list[Any]:
        specs = [self.graph.nodes[a].spec for a in node.args]
        params = node.options
        dims = dims_of(specs, params)
        batch, rows, columns, summed = groups(params)

        if not is_strided(params["out"], batch, rows, columns):
            raise CheckError("fuse", f"{node} is not in the form BLAS takes", where=node.where)

        def size(labels):
            return size_of([dims[c] for c in labels])

        def layout(labels, one, other):
            """(whether stored as [other, one], from row to row, to the next of the batch)"""
            after = {g: size(labels[labels.index(g) + len(g) :]) for g in (batch, one, other) if g}
            turned = labels.endswith(one)
            return turned, after[other if turned else one], after.get(batch, 0)

        a_turned, a_lead, a_step = layout(params["left"], rows, summed)
        b_turned, b_lead, b_step = layout(params["right"], summed, columns)
        _, c_lead, c_step = layout(params["out"], rows, columns)
        a, b = (self.buffer_of[x] for x in node.args)
        return [
            Product(
                a, b, self.buffer_of[node.id], size(rows), size(columns), size(summed),
                a_turned, b_turned, leads=(a_lead, b_lead, c_lead), batch=size(batch),
                steps=(a_step, b_step, c_step), where=node.where,
            )
        ]  # fmt: skip
