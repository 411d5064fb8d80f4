"""Long arithmetic on what is looked up in a smaller array is done there, once for each element:
`tanh(table[i])` is `tanh(table)[i]`."""

from __future__ import annotations

from graphad.graph import Builder, Graph, Node, replaced
from graphad.ops.work import LONG
from graphad.spec import Spec, is_static

FEWER = 2  # times as many elements looked up as there are


def look_up_later(graph: Graph) -> Graph:
    """The graph with such arithmetic before the lookups."""
    found = _Lookups(graph)
    if not any(map(found.worth, graph.nodes)):
        return graph
    return replaced(graph, found.make)


class _Lookups:
    """Where the elements of nodes come from, and what is made of those."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.origin: dict[int, int] = {}  # of elementwise nodes of one gather
        self.before: dict[int, int] = {}  # a node of the old graph -> what it looks up, in the new
        for node in graph.nodes:
            if node.op.name == "gather" and self._small(node):
                self.origin[node.id] = node.id
            elif node.op.lowering == "loop" and (arg := self._varying(node)) in self.origin:
                self.origin[node.id] = self.origin[arg]

    def _small(self, node: Node) -> bool:
        specs = self.graph.nodes[node.args[0]].spec, node.spec
        return all(is_static(s.shape) for s in specs) and specs[0].size * FEWER <= specs[1].size

    def _varying(self, node: Node) -> int:
        """The one argument that is no constant; -1 if there are others."""
        varying = [a for a in node.args if self.graph.nodes[a].op.name != "const"]
        return varying[0] if len(varying) == 1 else -1

    def worth(self, node: Node) -> bool:
        """Whether a node is long arithmetic on what is looked up."""
        return node.op.cost >= LONG and node.id in self.origin and node.op.lowering == "loop"

    def make(self, builder: Builder, node: Node, new: dict[int, int]) -> int | None:
        """The node as a lookup, if that is worth it."""
        if not self.worth(node):
            return None
        _, *indices = self.graph.nodes[self.origin[node.id]].args
        source = self._made(builder, node.id, new)
        return builder.add("gather", [source, *[new[i] for i in indices]], node.spec)

    def _made(self, builder: Builder, i: int, new: dict[int, int]) -> int:
        """What a node looks up."""
        source = self.graph.nodes[self.graph.nodes[self.origin[i]].args[0]]
        self.before[self.origin[i]] = new[source.id]
        chain = [i]
        while chain[-1] not in self.before:
            chain.append(self._varying(self.graph.nodes[chain[-1]]))
        for n in reversed(chain[:-1]):
            node = self.graph.nodes[n]
            args = [self.before[a] if a in self.origin
                    else builder.add("const", (), self._like(a, source), **self._options(a))
                    for a in node.args]  # fmt: skip
            spec = Spec(source.spec.shape, node.spec.dtype)
            self.before[n] = builder.add(node.op, args, spec, **node.options)
        return self.before[i]

    def _like(self, i: int, source: Node) -> Spec:
        return Spec(source.spec.shape, self.graph.nodes[i].spec.dtype)

    def _options(self, i: int) -> dict:
        return self.graph.nodes[i].options
