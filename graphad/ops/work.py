"""Estimated work of a node, in additions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from graphad.graph import Node
from graphad.op import complete
from graphad.ops.contract import dims_of
from graphad.ops.iterate import ENDLESS
from graphad.spec import Spec, size_of

LONG = 10  # cost from which an operation is long arithmetic
MOVING = 0.5  # additions that a byte to or from memory is worth, on a core of its own
SMALL_SOURCE = 8  # times smaller than a result: an array that stays in the cache beside it


def cost_of_moving(bytes_: Any) -> Any:
    """Additions that it is worth not to move so many bytes."""
    return MOVING * bytes_


def operations_of(nodes: Sequence[Node], node: Node) -> Any:
    """Additions that a node is worth: the table's cost for each element, two for a product's."""
    if node.op.work is not None:
        return node.op.work(node)
    if not isinstance(node.spec, Spec):
        return node.op.cost
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


def _of_loop(node: Node) -> Any:
    """The work of all steps; of a loop without an end, of one."""
    length = node.param("length")
    return operations(node.param("body").nodes) * (1 if length == ENDLESS else length)


complete("call", work=lambda node: operations(node.param("graph").nodes))
complete("switch", work=lambda node: max(operations(b.nodes) for b in node.param("branches")))
complete("iterate", work=_of_loop)
