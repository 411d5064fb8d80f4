"""Estimated work of a node, in additions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from graphad.graph import Node
from graphad.ops.linalg import dims_of
from graphad.spec import Spec, size_of


def operations_of(nodes: Sequence[Node], node: Node) -> Any:
    """Additions that a node is worth: the table's cost for each element, two for a product's."""
    if not isinstance(node.spec, Spec):
        return sum(operations(n.param("graph").nodes) for n in [node] if n.op.name == "call")
    if node.op.name == "contract":
        dims = dims_of([nodes[a].spec for a in node.args], node.options)
        return 2 * size_of(list(dims.values()))
    if node.op.body is not None:
        return node.op.cost * node.spec.size
    if node.op.lowering in ("reduce", "scatter"):
        return nodes[node.args[0]].spec.size
    if node.op.lowering in ("gather", "place", "scan"):
        return node.spec.size
    return 0


def operations(nodes: Sequence[Node], chosen: Iterable[int] | None = None) -> Any:
    """The work of some nodes together, by default all."""
    ids = range(len(nodes)) if chosen is None else chosen
    total: Any = 0
    for i in ids:
        total = total + operations_of(nodes, nodes[i])
    return total
