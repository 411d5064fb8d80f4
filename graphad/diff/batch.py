"""vmap: replay part of a graph with a batch axis first, one rule a family."""

from __future__ import annotations

from collections.abc import Sequence

from graphad.graph import Builder, Graph, dependents, reachable, replay
from graphad.op import complete, find
from graphad.ops.array import transpose
from graphad.ops.calls import calls
from graphad.ops.iterate import Twin, fresh_token, iterate, one_by_one, split, switch
from graphad.ops.value import Value, repeated
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
    several: dict[int, Sequence[Value]] = {}
    for node_id in sorted(active):
        node = builder.nodes[node_id]
        if node_id in placed:
            continue
        batched = [a in found for a in node.args]
        args = [found.get(a, Value(builder, a)) for a in node.args]
        with builder.at(node.where):
            if node.op.name == "pick":
                found[node_id] = several[node.args[0]][node.param("index")]
                continue
            assert node.op.batch is not None, node.op
            made = node.op.batch(args, batched, size, node.options)
            if isinstance(node.spec, Spec):
                found[node_id] = made
            else:
                several[node_id] = made
    return [found.get(o) for o in outputs]


def _batch_call(args, batched, size, params) -> list[Value]:
    graph = batch_graph(params["graph"], batched, size)
    rule = params["rule"]
    if rule is not None:
        rule = rule.batched(batched, size)
    return calls(args[0], args, graph, kind=params["kind"], rule=rule)


def batch_graph(graph: Graph, batched: Sequence[bool], size) -> Graph:
    """The graph with a batch axis on some inputs and on every output."""
    inner, outs, results = _batched(graph, batched, size)
    return inner.finish(
        repeated(Value(inner, o), size).id if r is None else r.id
        for o, r in zip(outs, results, strict=True)
    )


def _batched(graph: Graph, batched: Sequence[bool], size):
    """(builder, outputs without a batch axis, outputs with one or None)."""
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
    return inner, outs, batch_through(inner, outs, inputs, size)


# -- control flow --------------------------------------------------------------------------------
def _batch_switch(args, batched, size, params) -> list[Value]:
    """Every branch on the batch; where each element chooses, element by element."""
    if batched[0]:
        return _one_by_one("switch", args, batched, size, params)
    branches = [batch_graph(b, batched[1:], size) for b in params["branches"]]
    twin = params["twin"]
    return switch(args[0], args[1:], branches, params["token"] + "b",
                       twin and Twin(*twin).batched())  # fmt: skip


def _one_by_one(name, args, batched, size, params) -> list[Value]:
    """Each element of the batch has its own branch or steps."""
    options = {**params, "token": fresh_token(), "twin": None}
    return one_by_one(find(name), args, batched, size, options)


def _batch_iterate(args, batched, size, o) -> list[Value]:
    """The body on the batch; where elements take different numbers of steps, one by one."""
    parts, flags = split(args, o), split(batched, o)
    if any(flags.count):
        return _one_by_one("iterate", args, batched, size, o)
    carried = list(flags.carries)
    while True:
        given = [False, *carried, *flags.constants, *flags.xs]
        inner, outs, results = _batched(o["body"], given, size)
        c = o["carries"]
        grown = [f or r is not None for f, r in zip(carried, results[:c], strict=True)]
        if grown == carried:
            break
        carried = grown
    condition = o["condition"]
    if condition is not None:
        test, plain, grown = _batched(condition, [False, *carried, *flags.constants], size)
        if grown[0] is not None:
            return _one_by_one("iterate", args, batched, size, o)
        condition = test.finish(plain)
    out_flags = [*carried, *[r is not None for r in results[c:]]]
    ids = [
        (repeated(Value(inner, o), size) if r is None else r).id if flag else o
        for o, r, flag in zip(outs, results, out_flags, strict=True)
    ]
    body = inner.finish(ids)
    carries = [repeated(v, size) if flag and not already else v for v, flag, already in
               zip(parts.carries, carried, flags.carries, strict=True)]  # fmt: skip
    xs = [transpose(x, (1, 0, *range(2, x.ndim))) if flag else x
          for x, flag in zip(parts.xs, flags.xs, strict=True)]  # fmt: skip
    twin = o["twin"]
    found = iterate(
        args[0], carries, parts.constants, xs, body, o["length"], condition=condition,
        count=parts.count[0] if parts.count else None, reverse=o["reverse"], keep=o["keep"],
        token=o["token"] + "b", twin=twin and Twin(*twin).batched(),
    )  # fmt: skip
    extra = int(condition is not None)
    kept = [v if f else repeated(v, size) for v, f in zip(found[:c], carried, strict=True)]
    kept += [repeated(v, size) for v in found[c : c + extra]]
    for y, flag in zip(found[c + extra :], out_flags[c:], strict=True):
        kept.append(transpose(y, (1, 0, *range(2, y.ndim))) if flag else repeated(y, size))
    return kept


complete("call", batch=_batch_call)
complete("switch", batch=_batch_switch)
complete("iterate", batch=_batch_iterate)
