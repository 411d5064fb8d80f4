"""vmap: replay part of a graph with a batch axis first, one rule a family."""

from __future__ import annotations

from collections.abc import Sequence

from graphad.graph import Builder, Graph, dependents, reachable, replay
from graphad.ops.control import calls
from graphad.ops.value import Value
from graphad.spec import Spec


def batch_through(
    builder: Builder, outputs: Sequence[int], placed: dict[int, Value], size
) -> list[Value | None]:
    """The outputs with `placed` nodes replaced by values whose first axis is the batch.

    None for an output that depends on none of them.
    """
    last = max(outputs, default=-1)
    active = dependents(builder.nodes, placed, last) & reachable(builder.nodes, outputs)
    found: dict[int, Value] = dict(placed)
    several: dict[int, list[Value]] = {}
    for node_id in sorted(active):
        node = builder.nodes[node_id]
        if node_id in placed:
            continue
        batched = [a in found for a in node.args]
        args = [found.get(a, Value(builder, a)) for a in node.args]
        with builder.at(node.where):
            if node.op.name == "call":
                several[node_id] = _batch_call(node, args, batched, size)
            elif node.op.name == "pick":
                found[node_id] = several[node.args[0]][node.param("index")]
            else:
                assert node.op.batch is not None, node.op
                found[node_id] = node.op.batch(args, batched, size, node.options)
    return [found.get(o) for o in outputs]


def _batch_call(node, args, batched, size) -> list[Value]:
    graph = batch_graph(node.param("graph"), batched, size)
    rule = node.param("rule")
    if rule is not None:
        rule = rule.batched(batched, size)
    return calls(args[0], args, graph, kind=node.param("kind"), rule=rule)


def batch_graph(graph: Graph, batched: Sequence[bool], size) -> Graph:
    """The graph with a batch axis on some inputs and on every output."""
    inner = Builder()
    holes, inputs = [], {}
    for node_id, is_batched in zip(graph.inputs, batched, strict=True):
        spec: Spec = graph.nodes[node_id].spec
        name = graph.nodes[node_id].param("name")
        if is_batched:
            hole = inner.add("placeholder", (), spec, token=inner.token())
            grown = Spec((size, *spec.shape), spec.dtype)
            inputs[hole] = Value(inner, inner.input(grown, name))
        else:
            hole = inner.input(spec, name)
        holes.append(hole)
    outs = replay(graph, inner, holes)
    results = batch_through(inner, outs, inputs, size)
    return inner.finish(
        repeat(Value(inner, o), size).id if r is None else r.id
        for o, r in zip(outs, results, strict=True)
    )


def repeat(x: Value, size) -> Value:
    """An unbatched value along a new first axis."""
    from graphad.ops.value import broadcast

    return broadcast(x, (size, *x.shape), range(1, x.ndim + 1))
