"""Products and sums in the order that costs least, as einsum's path is chosen.

A sum over a product of arrays is made inside the product, where one operand alone has the axis:
`sum_n (T[n,k] L[k,j])` is `(sum_n T[n,k]) L[k,j]`. A product with an array that is itself a
product of two smaller ones, `V[o,h] (C[h,i] s[n,h])`, may be `(V[o,h] C[h,i]) s[n,h]`. Results
differ by rounding only.
"""

from __future__ import annotations

from graphad.graph import Builder, Graph, Node
from graphad.ops.array import total
from graphad.ops.linalg import contract, dims_of
from graphad.ops.value import Value, add, broadcast
from graphad.rewrite.sums import uses_of
from graphad.spec import size_of

ELEMENT = 3  # operations that writing and reading an element of an intermediate is worth
WORTH = 0.7  # of the cost before
# Finite wherever their operands are: a strong zero times one of them is zero without its help.
TAME = {"input", "captured", "const", "iota", "neg", "add", "sub", "mul", "scale", "contract",
        "sum", "tanh", "sin", "cos", "expit", "erf", "arctan", "abs", "maximum", "minimum",
        "select", "convert", "reshape", "transpose", "broadcast", "slice", "embed", "concatenate",
        "gather", "equal", "less", "sign"}  # fmt: skip


def reassociate(graph: Graph) -> Graph:
    """The graph with sums moved into products, and products of three regrouped where that saves."""
    if not any(n.op.name == "contract" for n in graph.nodes):
        return graph
    pass_ = _Reassociation(graph)
    plans = {n.id: plan for n in graph.nodes if (plan := pass_.plan(n)) is not None}
    if not plans:
        return graph
    builder, new = pass_.builder, pass_.new
    for node in graph.nodes:
        with builder.at(node.where):
            if node.op.name == "input":
                new[node.id] = builder.input(node.spec, node.param("name"))
            elif node.op.name == "captured":
                new[node.id] = builder.capture(graph.captured[node.param("index")], node.spec)
            elif node.id in plans:
                new[node.id] = plans[node.id]().id
            else:
                new[node.id] = builder.again(node, new)
    for tag, n in graph.tags:
        builder.tags[tag] = new[n]
    return builder.finish(new[o] for o in graph.outputs)


class _Reassociation:
    """What may be regrouped in a graph, and the graph that is being made of it."""

    def __init__(self, graph: Graph):
        self.graph, self.builder = graph, Builder()
        self.new: dict[int, int] = {}
        self.uses = uses_of(graph)
        self.tame: set[int] = set()
        for node in graph.nodes:
            if node.op.name in TAME and self.tame.issuperset(node.args):
                self.tame.add(node.id)

    def plan(self, node: Node):
        """How a node is to be made in place of as it stands; None where it is well as it is."""
        if node.op.name == "sum" and self._holds_product(node.args[0], node.param("axes")):
            return lambda: self._summed(node.args[0], node.param("axes"))
        if node.op.name == "contract":
            return self._regrouped(node)
        return None

    def value(self, node: int) -> Value:
        """A node of the old graph in the new one."""
        return Value(self.builder, self.new[node])

    # -- sums of products ------------------------------------------------------------------------
    def _holds_product(self, i: int, axes) -> bool:
        """Whether a sum over these axes goes through what is linear into a product."""
        node = self.graph.nodes[i]
        if self.uses[i] != 1:
            return False
        if node.op.name == "contract":
            return True
        if node.op.name in ("neg", "add", "sub"):
            return any(self._holds_product(a, axes) for a in node.args)
        factor = self._constant_factor(node, axes)
        return factor is not None and self._holds_product(node.args[1 - factor], axes)

    def _constant_factor(self, node: Node, axes) -> int | None:
        """Which operand of a product is the same all along these axes."""
        if node.op.name not in ("mul", "scale"):
            return None
        for k in (1, 0):
            factor = self.graph.nodes[node.args[k]]
            if factor.op.name == "broadcast" and not set(axes) & set(factor.param("axes")):
                return k
        return None

    def _summed(self, i: int, axes) -> Value:
        """The sum of a node over some axes."""
        node, linear = self.graph.nodes[i], self.uses[i] == 1
        name = node.op.name
        if linear and name == "contract":
            x, y = map(self.value, node.args)
            kept = "".join(c for a, c in enumerate(node.param("out")) if a not in axes)
            return contract(x, y, node.param("left"), node.param("right"), kept)
        if linear and name in ("neg", "add", "sub"):
            parts = [self._summed(a, axes) for a in node.args]
            return add(parts[0], name, parts)
        factor = self._constant_factor(node, axes) if linear else None
        if factor is None:
            return total(self.value(i), axes)
        inner = self._summed(node.args[1 - factor], axes)
        same = self.graph.nodes[node.args[factor]]
        kept = [a for a in range(node.spec.ndim) if a not in axes]
        places = [kept.index(a) for a in same.param("axes")]
        spread = broadcast(self.value(same.args[0]), inner.shape, places)
        return add(inner, name, [inner, spread] if factor else [spread, inner])

    # -- products of three -----------------------------------------------------------------------
    def _regrouped(self, node: Node):
        """The cheapest order of a product whose operand is a product of two used nowhere else."""
        labels = [node.param("left"), node.param("right")]
        for k in (0, 1):
            inner = self.graph.nodes[node.args[k]]
            if inner.op.name not in ("mul", "scale") or self.uses[inner.id] != 1:
                continue
            if inner.op.name == "scale" and not self.tame.issuperset(inner.args):
                continue
            terms = [(node.args[1 - k], labels[1 - k])]
            terms += [self._part(a, labels[k]) for a in inner.args]
            chosen = self._cheapest(node, terms)
            if chosen is not None:
                return lambda chosen=chosen: self._product(node, *chosen)
        return None

    def _part(self, i: int, labels: str) -> tuple[int, str]:
        """What an operand was broadcast from, and the labels of its axes."""
        node = self.graph.nodes[i]
        if node.op.name != "broadcast":
            return i, labels
        return node.args[0], "".join(labels[a] for a in node.param("axes"))

    def _cheapest(self, node: Node, terms):
        """(first, second, labels of their product, third) if that saves enough; None if not."""
        specs = [self.graph.nodes[a].spec for a in node.args]
        dims = dims_of(specs, node.options)
        if not all(isinstance(d, int) for d in dims.values()):
            return None
        out = node.param("out")

        def cost(first, second, third, every=False):
            both = "".join(dict.fromkeys(first[1] + second[1]))
            kept = "".join(c for c in both if every or c in out or c in third[1])
            union = "".join(dict.fromkeys(kept + third[1]))
            size = [size_of([dims[c] for c in word]) for word in (both, kept, union)]
            work = size[0] * (1 + (kept != both)) + ELEMENT * size[1] + 2 * size[2]
            return work, (first, second, kept, third)

        x, p, q = terms
        before, _ = cost(p, q, x, every=True)
        work, chosen = min((cost(x, p, q), cost(x, q, p)), key=lambda c: c[0])
        return chosen if work < WORTH * before else None

    def _product(self, node: Node, first, second, kept: str, third) -> Value:
        inner = contract(self.value(first[0]), self.value(second[0]), first[1], second[1], kept)
        return contract(inner, self.value(third[0]), kept, third[1], node.param("out"))
