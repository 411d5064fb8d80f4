"""Products and sums in the order that costs least, as einsum's path is chosen.

A sum over a product of arrays is made inside the product, where one operand alone has the axis:
`sum_n (T[n,k] L[k,j])` is `(sum_n T[n,k]) L[k,j]`. A product with an array that is itself a
product of two smaller ones, `V[o,h] (C[h,i] s[n,h])`, may be `(V[o,h] C[h,i]) s[n,h]`. Results
differ by rounding only.
"""

from __future__ import annotations

from graphad.graph import Builder, Graph, Node, replaced
from graphad.ops.array import total
from graphad.ops.contract import contract, dims_of
from graphad.ops.value import Value, add, broadcast
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
    found = _Reassociation(graph)
    plans = {n.id: plan for n in graph.nodes if (plan := found.plan(n)) is not None}
    if not plans:
        return graph

    def make(builder: Builder, node: Node, new) -> int | None:
        found.builder, found.new = builder, new
        return plans[node.id]().id if node.id in plans else None

    return replaced(graph, make)


class _Reassociation:
    """What may be regrouped in a graph; `builder` and `new` are of the one that is made of it."""

    builder: Builder
    new: dict[int, int]

    def __init__(self, graph: Graph):
        self.graph, self.uses = graph, graph.uses
        self.tame: set[int] = set()
        for node in graph.nodes:
            if node.op.name in TAME and self.tame.issuperset(node.args):
                self.tame.add(node.id)

    def plan(self, node: Node):
        """How a node is to be made in place of as it stands; None where it is well as it is."""
        if node.op.name == "sum":
            axes = node.param("axes")
            tree = self._linear(node.args[0], axes)
            if any(self.graph.nodes[i].op.name == "contract" for i in tree):
                return lambda: self._summed(node.args[0], tree, axes)
        if node.op.name == "contract":
            return self._scaled(node) or self._regrouped(node)
        return None

    def value(self, node: int) -> Value:
        """A node of the old graph in the new one."""
        return Value(self.builder, self.new[node])

    # -- sums of products ------------------------------------------------------------------------
    def _linear(self, root: int, axes) -> list[int]:
        """What a sum over these axes can be made inside of: products and what is linear on the way
        to them, all used nowhere else, operands first."""
        found, todo = [], [root]
        while todo:
            i = todo.pop()
            node = self.graph.nodes[i]
            if self.uses[i] != 1:
                continue
            factor = self._constant_factor(node, axes)
            if node.op.name in ("neg", "add", "sub"):
                todo += node.args
            elif factor is not None:
                todo.append(node.args[1 - factor])
            elif node.op.name != "contract":
                continue
            found.append(i)
        return sorted(found)

    def _constant_factor(self, node: Node, axes) -> int | None:
        """Which operand of a product is the same all along these axes."""
        if node.op.name not in ("mul", "scale"):
            return None
        for k in (1, 0):
            factor = self.graph.nodes[node.args[k]]
            if factor.op.name == "broadcast" and not set(axes) & set(factor.param("axes")):
                return k
        return None

    def _summed(self, root: int, tree: list[int], axes) -> Value:
        """The sum of a node over some axes, made inside of what is in the tree."""
        made: dict[int, Value] = {}

        def summed(i: int) -> Value:
            return made[i] if i in made else total(self.value(i), axes)

        for i in tree:
            node = self.graph.nodes[i]
            name, factor = node.op.name, self._constant_factor(node, axes)
            if name == "contract":
                x, y = map(self.value, node.args)
                kept = "".join(c for a, c in enumerate(node.param("out")) if a not in axes)
                made[i] = contract(x, y, node.param("left"), node.param("right"), kept)
            elif factor is None:
                parts = [summed(a) for a in node.args]
                made[i] = add(parts[0], name, parts)
            else:
                inner = summed(node.args[1 - factor])
                pair = [inner, self._without(node.args[factor], axes, inner)]
                made[i] = add(inner, name, pair if factor else pair[::-1])
        return summed(root)

    def _without(self, i: int, axes, like: Value) -> Value:
        """What a factor was broadcast from, broadcast to the axes that are left."""
        same = self.graph.nodes[i]
        left = [a for a in range(same.spec.ndim) if a not in axes]
        return broadcast(self.value(same.args[0]), like.shape,
                         [left.index(a) for a in same.param("axes")])  # fmt: skip

    # -- products with diagonal matrices ---------------------------------------------------------
    def _scaled(self, node: Node):
        """A product with a diagonal matrix as rows or columns times its numbers: the cotangent of a
        diagonal, that of the log-determinant of a triangular factor say, is such a matrix."""
        labels = [node.param("left"), node.param("right")]
        for k in (0, 1):
            diagonal = self._diagonal(node.args[k])
            other, out = labels[1 - k], node.param("out")
            if diagonal is None:
                continue
            row, column = labels[k]
            if {row, column} <= set(other) or {row, column} <= set(out):
                continue
            one = [word.replace(column, row) for word in (other, out)]
            return lambda k=k, d=diagonal, row=row, one=one: contract(
                self.value(node.args[1 - k]), self.value(d), one[0], row, one[1]
            )
        return None

    def _diagonal(self, i: int) -> int | None:
        """The numbers of a matrix that is zero but for its diagonal."""
        square = self.graph.nodes[i]
        if square.op.name == "transpose":
            square = self.graph.nodes[square.args[0]]
        whole = self.graph.nodes[square.args[0]] if square.op.name == "reshape" else square
        if whole.op.name != "embed" or square.spec.ndim != 2 or whole.spec.ndim != 1:
            return None
        n = square.spec.shape[0]
        numbers = self.graph.nodes[whole.args[0]]
        plain = numbers.spec.shape == (n,) and square.spec.shape == (n, n)
        steps = whole.param("start") == (0,) and whole.param("step") == (n + 1,)
        return numbers.id if plain and steps else None

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
