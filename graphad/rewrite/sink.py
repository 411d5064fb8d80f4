"""What is cheap to make of stacked arrays is made in the loop that reads them row by row: the
cotangent `2 (ys - xs)` of a loop's results, say, is then never stored."""

from __future__ import annotations

from typing import Any

from graphad.graph import Builder, Graph, Node, replaced, replay
from graphad.ops.iterate import split
from graphad.ops.work import cost_of_moving
from graphad.spec import Spec

MOST_READ = 2  # arrays that are read in place of the one


def sink(graph: Graph) -> Graph:
    """The graph with such arrays made inside of the loops."""
    plans = {n.id: plan for n in graph.nodes
             if n.op.name == "iterate" and (plan := _plan(graph, n))}  # fmt: skip

    def made(builder: Builder, node: Node, new: dict[int, int]) -> int | None:
        return _sunk(graph, node, plans[node.id], builder, new) if node.id in plans else None

    return replaced(graph, made) if plans else graph


def _plan(graph: Graph, node: Node) -> dict[int, list[int]]:
    """For the xs that are made inside: the nodes that they are made of, arguments first."""
    plan = {}
    for n in dict.fromkeys(split(node.args, node.options).xs):
        found = _cheap(graph, n)
        leaves = {a for i in found for a in graph.nodes[i].args} - set(found)
        views = any(graph.nodes[a].op.lowering == "view" for a in leaves)
        if found and leaves and len(leaves) <= MOST_READ and not views:
            plan[n] = found
    return plan


def _cheap(graph: Graph, n: int) -> list[int]:
    """The nodes that make an array and nothing else, as far as they cost less than to move it."""
    found: list[int] = []
    most = 2 * cost_of_moving(graph.nodes[n].spec.dtype.itemsize)
    todo = [n]
    while todo:
        node = graph.nodes[todo.pop()]
        cheap = node.op.lowering == "loop" and node.op.cost <= most and graph.uses[node.id] == 1
        if cheap:
            most -= node.op.cost
            found.append(node.id)
            todo += [a for a in node.args if graph.nodes[a].spec.shape == node.spec.shape]
        elif node.op.name == "const":
            found.append(node.id)
    return sorted(dict.fromkeys(found)) if graph.nodes[n].op.lowering == "loop" else []


def _sunk(graph: Graph, node: Node, plan, builder: Builder, new) -> int:
    """The loop again, with these of its xs made inside."""
    args = split(node.args, node.options)
    leaves: dict[int, None] = {}
    for n in args.xs:
        made = plan.get(n, [])
        inside = [a for i in made for a in graph.nodes[i].args if a not in made]
        leaves |= dict.fromkeys(inside if made else [n])
    body, inner = node.param("body"), Builder()
    first = len(body.inputs) - len(args.xs)
    ids = [inner.input(body.nodes[i].spec, body.nodes[i].param("name"))
           for i in body.inputs[:first]]  # fmt: skip
    rows: dict[int, int] = {
        a: inner.input(_row(graph.nodes[a].spec), f"x{k}") for k, a in enumerate(leaves)
    }
    for made in plan.values():
        for i in made:
            if i not in rows:
                n: Any = graph.nodes[i]
                with inner.at(n.where):
                    rows[i] = inner.add(n.op, [rows[a] for a in n.args], _row(n.spec), **n.options)
    outs = replay(body, inner, [*ids, *[rows[n] for n in args.xs]])
    options = {**node.options, "body": inner.finish(outs), "twin": None}
    before = [*args.count, *args.carries, *args.constants]
    return builder.add("iterate", [new[a] for a in (*before, *leaves)], None, **options)


def _row(spec: Spec) -> Spec:
    """One of the rows."""
    return Spec(spec.shape[1:], spec.dtype)
