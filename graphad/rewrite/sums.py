"""What is added up of several sums over the same axes, as one sum: one total is kept, not many."""

from __future__ import annotations

from graphad.graph import Builder, Graph, Node
from graphad.ops.array import total, transpose
from graphad.ops.value import Value, add


def join_sums(graph: Graph) -> Graph:
    """The graph with what is added up of sums over the same axes as one sum: one total is kept."""
    if sum(n.op.name == "sum" for n in graph.nodes) < 2:
        return graph
    uses = uses_of(graph)
    builder, new = Builder(), dict[int, int]()
    for node in graph.nodes:
        with builder.at(node.where):
            if node.op.name == "input":
                new[node.id] = builder.input(node.spec, node.param("name"))
            elif node.op.name == "captured":
                new[node.id] = builder.capture(graph.captured[node.param("index")], node.spec)
            else:
                joined = _joined(graph, node, uses, builder, new)
                new[node.id] = builder.again(node, new) if joined is None else joined.id
    for tag, n in graph.tags:
        builder.tags[tag] = new[n]
    return builder.finish(new[o] for o in graph.outputs)


def _joined(graph: Graph, node: Node, uses, builder: Builder, new) -> Value | None:
    """What a tree of additions ends in, with its sums joined; None where no two are alike."""
    users = graph.users[node.id]
    if node.op.name not in ("add", "sub") or node.spec.dtype.kind != "f":
        return None
    if uses[node.id] == 1 and users and graph.nodes[users[0]].op.name in ("add", "sub"):
        return None  # its user is nearer to the end
    alike: dict[tuple, list[tuple[Value, bool]]] = {}  # of sums by three things, others alone
    for term, minus in _terms(graph, node, uses):
        summed = graph.nodes[term]
        perm = None
        if summed.op.name == "transpose" and uses[term] == 1:
            perm, summed = summed.param("perm"), graph.nodes[summed.args[0]]
        if summed.op.name == "sum" and uses[summed.id] == 1:
            inner = Value(builder, new[summed.args[0]])
            alike.setdefault((perm, summed.param("axes"), inner.shape), []).append((inner, minus))
        else:
            alike[len(alike), term] = [(Value(builder, new[term]), minus)]
    if all(len(terms) == 1 for terms in alike.values()):
        return None
    found = []
    for key, terms in alike.items():
        value, minus = _added(terms)
        if len(key) == 3:
            perm, axes, _ = key
            value = total(value, axes)
            value = value if perm is None else transpose(value, perm)
        found.append((value, minus))
    value, minus = _added(found)
    return add(value, "neg", [value]) if minus else value


def _terms(graph: Graph, node: Node, uses) -> list[tuple[int, bool]]:
    """What a tree of additions adds up: (node, whether it is taken away)."""
    found: list[tuple[int, bool]] = []
    todo = [(node.id, False)]
    while todo:
        i, minus = todo.pop()
        inner = graph.nodes[i]
        if inner.op.name in ("add", "sub") and (i == node.id or uses[i] == 1):
            x, y = inner.args
            todo += [(y, minus != (inner.op.name == "sub")), (x, minus)]
        else:
            found.append((i, minus))
    return found


def _added(terms: list[tuple[Value, bool]]) -> tuple[Value, bool]:
    """The sum of terms, and whether it is to be taken away."""
    value, minus = terms[0]
    for x, other in terms[1:]:
        value = add(value, "add" if minus == other else "sub", [value, x])
    return value, minus


def uses_of(graph: Graph) -> list[int]:
    """How often each node is used, outputs included."""
    uses = [len(u) for u in graph.users]
    for o in graph.outputs:
        uses[o] += 1
    return uses
