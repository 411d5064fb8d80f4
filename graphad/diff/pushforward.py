"""Forward mode: tangents of any values to tangents of later ones.

A linear operation maps tangents as it maps values; a bilinear one by the product rule; an
elementwise one scales them by its partials.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphad.graph import Builder, Node, dependents, reachable, replay
from graphad.op import complete
from graphad.ops.calls import picks
from graphad.ops.scalar import asked, scale
from graphad.ops.value import Value, add, zeros_like
from graphad.spec import Spec


def push_forward(
    builder: Builder, outputs: Sequence[int], tangents: dict[int, Value]
) -> list[Value | None]:
    """The tangent of each output, None where it depends on no input that has a tangent."""
    last = max(outputs, default=-1)
    active = dependents(builder.nodes, tangents, last) & reachable(builder.nodes, outputs)
    found: dict[int, Any] = {n: t for n, t in tangents.items()}
    for node_id in sorted(active):
        node = builder.nodes[node_id]
        if node_id in tangents:
            continue
        with builder.at(node.where):
            found[node_id] = _tangent(builder, node, found)
    return [found.get(o) for o in outputs]


def _tangent(builder: Builder, node: Node, found) -> Any:
    op = node.op
    parts = [found.get(a) for a in node.args]
    if not isinstance(node.spec, Spec):
        return None if all(p is None for p in parts) else _through_several(builder, node, parts)
    if op.name == "pick":
        return None if parts[0] is None else parts[0][node.param("index")]
    if op.family in ("source", "opaque") or all(p is None for p in parts):
        return None
    if not node.spec.is_float:
        return None
    args = [Value(builder, a) for a in node.args]
    if op.family == "linear":
        return _linear(node, args, parts)
    if op.family == "bilinear":
        return _sum(
            add(args[0], op.name, [t if j == i else a for j, a in enumerate(args)], **node.options)
            for i, t in enumerate(parts)
            if t is not None
        )
    if op.partials is not None:
        partials = op.partials(*args, Value(builder, node.id))
        return _sum(
            scale(t, asked(p))
            for t, p in zip(parts, partials, strict=True)
            if t is not None and p is not None
        )
    assert op.jvp is not None, op
    return op.jvp(parts, args, Value(builder, node.id), node.options)


def _sum(terms):
    total = None
    for term in terms:
        total = term if total is None else total + term
    return total


def _linear(node: Node, args, parts):
    linear = node.op.linear_args
    inputs = []
    for i, (arg, t) in enumerate(zip(args, parts, strict=True)):
        if linear is not None and i not in linear:
            inputs.append(arg)
        elif t is None and not arg.spec.is_float:
            return None
        else:
            inputs.append(zeros_like(arg) if t is None else t)
    which = range(len(args)) if linear is None else linear
    if all(parts[i] is None for i in which):
        return None
    if node.op.name in ("add", "sub") and None in parts:
        t = parts[0] if parts[1] is None else parts[1]
        return t if node.op.name == "add" or parts[1] is None else -t
    return add(args[0], node.op.name, inputs, **node.options)


def _through_several(builder, node, parts) -> Sequence[Value | None]:
    """Tangents through an operation of several results."""
    if node.op.push is not None:
        return node.op.push(builder, node, parts)
    args = [Value(builder, a) for a in node.args]
    return node.op.jvp(parts, args, picks(args[0], node.id), node.options)


def _push_call(builder, node, parts) -> Sequence[Value | None]:
    if node.param("kind") == "custom":
        return node.param("rule").push(builder, node, parts)
    inner = [builder.add("alias", [a], token=builder.token()) for a in node.args]
    outs = replay(node.param("graph"), builder, inner)
    tangents = {i: t for i, t in zip(inner, parts, strict=True) if t is not None}
    return push_forward(builder, outs, tangents)


complete("call", push=_push_call)
