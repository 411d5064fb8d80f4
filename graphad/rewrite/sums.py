"""What is added up of several sums over the same axes, as one sum: one total is kept, not many."""

from __future__ import annotations

from graphad.graph import Builder, Graph, Node, replaced
from graphad.ops.array import total, transpose
from graphad.ops.value import Value, add

Terms = list[tuple[int, bool]]  # (node, whether it is taken away)


def join_sums(graph: Graph) -> Graph:
    """The graph with what is added up of sums over the same axes as one sum: one total is kept."""
    if sum(n.op.name == "sum" for n in graph.nodes) < 2:
        return graph
    plans = {n.id: plan for n in graph.nodes if (plan := _plan(graph, n)) is not None}
    if not plans:
        return graph
    return replaced(graph, lambda builder, node, new: (
        _joined(plans[node.id], builder, new) if node.id in plans else None))  # fmt: skip


def _plan(graph: Graph, node: Node) -> dict[tuple, Terms] | None:
    """The terms that a tree of additions ends in, sums by (order of axes after it, axes, shape
    before it) and others alone; None where no two sums are alike."""
    users = graph.users[node.id]
    if node.op.name not in ("add", "sub") or node.spec.dtype.kind != "f":
        return None
    if graph.uses[node.id] == 1 and users and graph.nodes[users[0]].op.name in ("add", "sub"):
        return None  # its user is nearer to the end
    alike: dict[tuple, Terms] = {}
    for term, minus in _terms(graph, node):
        summed, perm = graph.nodes[term], None
        if summed.op.name == "transpose" and graph.uses[term] == 1:
            perm, summed = summed.param("perm"), graph.nodes[summed.args[0]]
        if summed.op.name == "sum" and graph.uses[summed.id] == 1:
            (inner,) = summed.args
            key = perm, summed.param("axes"), graph.nodes[inner].spec.shape
            alike.setdefault(key, []).append((inner, minus))
        else:
            alike[len(alike), term] = [(term, minus)]
    return None if all(len(terms) == 1 for terms in alike.values()) else alike


def _joined(alike: dict[tuple, Terms], builder: Builder, new) -> int:
    """The terms added up, sums that are alike before they are summed."""
    found = []
    for key, terms in alike.items():
        value, minus = _added([(Value(builder, new[i]), m) for i, m in terms])
        if len(key) == 3:
            perm, axes, _ = key
            value = total(value, axes)
            value = value if perm is None else transpose(value, perm)
        found.append((value, minus))
    value, minus = _added(found)
    return (add(value, "neg", [value]) if minus else value).id


def _terms(graph: Graph, node: Node) -> Terms:
    """What a tree of additions adds up."""
    found: Terms = []
    todo = [(node.id, False)]
    while todo:
        i, minus = todo.pop()
        inner = graph.nodes[i]
        if inner.op.name in ("add", "sub") and (i == node.id or graph.uses[i] == 1):
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
