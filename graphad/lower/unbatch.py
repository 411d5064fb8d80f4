"""vmap undone: a graph that does the same small thing for each of many examples, as the graph of
one example.

Whether the first axis is a batch is decided node by node, by what the operation does along it;
whatever is not known to leave the examples apart ends the attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from graphad.graph import Builder, Graph, Node
from graphad.spec import Spec

FEWEST = 64  # examples


@dataclass
class Unbatched:
    """The graph of one example, how many there are, and which of its inputs are one of many."""

    graph: Graph
    count: Any
    batched: frozenset[int] = frozenset()  # nodes of `graph`
    source: dict[int, Node] = field(default_factory=dict)  # its inputs -> those of the batch


class _Together(Exception):
    """The examples do not stay apart."""


def unbatched(graph: Graph) -> Unbatched | None:
    """The graph of one example; None where there is no such thing."""
    counts = {graph.nodes[o].spec.shape[:1] for o in graph.outputs
              if isinstance(graph.nodes[o].spec, Spec)}  # fmt: skip
    if len(counts) != 1 or not next(iter(counts)):
        return None
    count = next(iter(counts))[0]
    if isinstance(count, int) and count < FEWEST:
        return None
    try:
        return _Unbatching(graph, count).run()
    except _Together:
        return None


class _Unbatching:
    """Rebuilds a graph without its first axis."""

    def __init__(self, graph: Graph, count):
        self.graph, self.count = graph, count
        self.builder = Builder()
        self.new: dict[int, int] = {}
        self.many: dict[int, bool] = {}  # of the old nodes: whether there is one for each example
        self.source: dict[int, Node] = {}

    def run(self) -> Unbatched:
        """The whole graph."""
        for node in self.graph.nodes:
            with self.builder.at(node.where):
                self.new[node.id] = self._node(node)
        if not all(self.many[o] for o in self.graph.outputs):
            raise _Together
        made = self.builder.finish(self.new[o] for o in self.graph.outputs)
        # `finish` may number nodes anew; inputs are found again by their order.
        places = {(n.op.name, n.param("index")): n.id for n in made.nodes
                  if n.op.name in ("input", "captured")}  # fmt: skip
        source = {places[key]: node for key, node in self.source_by_key().items()
                  if key in places}  # fmt: skip
        batched = frozenset(i for i, node in source.items() if self.many[node.id])
        return Unbatched(made, self.count, batched, source)

    def source_by_key(self) -> dict[tuple[str, int], Node]:
        """The old node of each input of the new graph, by kind and index."""
        nodes = self.builder.nodes
        return {(nodes[i].op.name, nodes[i].param("index")): n for i, n in self.source.items()}

    def _node(self, node: Node) -> int:
        specs = [node.spec] if isinstance(node.spec, Spec) else node.spec
        has = all(s.ndim > 0 and s.shape[0] == self.count for s in specs)
        many = [self.many[a] for a in node.args]
        name = node.op.name
        if name in ("input", "captured", "const", "iota"):
            return self._leaf(node, has)
        if name == "broadcast":
            return self._broadcast(node, has, many[0])
        if name == "contract" and any(many):
            return self._contract(node, many)
        if not any(many):
            if has:  # made from what all share, along an axis that is as long by chance
                raise _Together
            return self._same(node, False, node.options)
        if not all(many) or not has:
            raise _Together
        rule: Callable | None = getattr(self, f"_{name}", None)
        if rule is not None:
            return self._same(node, True, rule(node, node.options))
        if node.op.lowering == "loop" or name in ("alias", "stop_gradient", "barrier"):
            return self._same(node, True, node.options)
        raise _Together

    def _same(self, node: Node, many: bool, options) -> int:
        self.many[node.id] = many
        return self.builder.add(node.op, [self.new[a] for a in node.args], **options)

    def _spec(self, node: Node, many: bool) -> Spec:
        shape = node.spec.shape[1:] if many else node.spec.shape
        return Spec(shape, node.spec.dtype, node.spec.weak)

    def _leaf(self, node: Node, many: bool) -> int:
        name = node.op.name
        self.many[node.id] = many
        if name == "input":
            new = self.builder.input(self._spec(node, many), node.param("name"))
        elif name == "captured":
            array = self.graph.captured[node.param("index")]
            new = self.builder.capture(array, self._spec(node, many))
        elif name == "iota":
            axis = node.param("axis")
            if many and not axis:
                raise _Together
            axis = axis and axis - many
            return self.builder.add("iota", (), self._spec(node, many), axis=axis)
        else:
            return self.builder.add(node.op, (), self._spec(node, many), **node.options)
        if new in self.source:  # one array in two roles
            raise _Together
        self.source[new] = node
        return new

    def _broadcast(self, node: Node, has: bool, many: bool) -> int:
        shape, axes = node.param("shape"), node.param("axes")
        if many and not (has and axes[0] == 0):
            raise _Together
        if not many and has and 0 in axes:
            raise _Together
        self.many[node.id] = has
        x = self.new[node.args[0]]
        if has:
            shape, axes = shape[1:], tuple(a - 1 for a in axes[many:])
        return self.builder.add("broadcast", [x], shape=tuple(shape), axes=axes)

    def _contract(self, node: Node, many: list[bool]) -> int:
        labels = [node.param("left"), node.param("right")]
        out = node.param("out")
        batch = out[:1]
        for word, own in zip(labels, many, strict=True):
            if own != (word[:1] == batch) or batch in word[1:]:
                raise _Together
        self.many[node.id] = True
        left, right = (w[1:] if own else w for w, own in zip(labels, many, strict=True))
        args = [self.new[a] for a in node.args]
        return self.builder.add("contract", args, left=left, right=right, out=out[1:])

    # -- what an operation becomes without the first axis ----------------------------------------
    def _transpose(self, node, options):
        if options["perm"][0] != 0:
            raise _Together
        return {"perm": tuple(p - 1 for p in options["perm"][1:])}

    def _reshape(self, node, options):
        return {"shape": tuple(options["shape"][1:])}

    def _slice(self, node, options):
        if options["start"][0] != 0 or options["step"][0] != 1:
            raise _Together
        return {k: tuple(v[1:]) for k, v in options.items()}

    _embed = _slice

    def _reduce(self, node, options):
        if 0 in options["axes"]:
            raise _Together
        return {**options, "axes": tuple(a - 1 for a in options["axes"])}

    def _matrices(self, node, options):
        return options

    _cholesky = _triangular_solve = _lu = _solve = _pick = _matrices

    _sum = _prod = _reduce_max = _reduce_min = _argmax = _argmin = _reduce

    def _along(self, node, options):
        if options["axis"] == 0:
            raise _Together
        return {**options, "axis": options["axis"] - 1}

    _concatenate = _cumsum = _along
