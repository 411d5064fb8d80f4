"""Reverse mode: cotangents of outputs to cotangents of any earlier values.

Each node is linearised and transposed in one step: linear and bilinear operations have a
transpose; an elementwise operation's Jacobian is diagonal, so its transpose is `scale` by the
partial; a linearised operation's jvp is built on placeholders and transposed by this same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphad.diff.added import added
from graphad.graph import Builder, Node, dependents, reachable, replay
from graphad.op import complete
from graphad.ops.array import taken_apart
from graphad.ops.calls import barrier, picks, placeholder
from graphad.ops.scalar import asked, scale
from graphad.ops.value import Value
from graphad.spec import Spec


def pull_back(
    builder: Builder,
    outputs: Sequence[int],
    cotangents: Sequence[Value | None],
    sources: Sequence[int],
    stop: Sequence[int] = (),
) -> list[Value | None]:
    """The cotangent of each source, None where no output depends on it.

    `stop`: values that are taken as constants, as tf.gradients' stop_gradients.
    """
    last = max(outputs, default=-1)
    active = dependents(builder.nodes, sources, last) & reachable(builder.nodes, outputs)
    totals: dict[int, list[Value]] = {}
    for output, ct in zip(outputs, cotangents, strict=True):
        if ct is not None and output in active:
            _accumulate(totals, output, ct)
    picks: dict[int, list[int]] = {}
    stopped = set(stop)
    kept = set(sources)
    for node_id in sorted(active, reverse=True):
        node = builder.nodes[node_id]
        if not isinstance(node.spec, Spec):
            _through_several(builder, node, picks.get(node_id, []), totals, active)
            continue
        ct = _total(totals, node_id, node_id in kept or node.op.name == "pick")
        if node.op.name == "pick":
            picks.setdefault(node.args[0], []).append(node_id)
            continue
        if ct is None or node_id in stopped:
            continue
        with builder.at(node.where):
            for arg, part in transposed(builder, node, ct, active):
                _accumulate(totals, arg, part)
    return [_total(totals, s) if s in active else None for s in sources]


def _accumulate(totals, node, ct):
    totals.setdefault(node, []).append(ct)


def _total(totals, node: int, kept: bool = True) -> Value | None:
    """The cotangent of a node, all of whose users have given their part."""
    parts = totals.pop(node, None)
    if parts is None:
        return None
    total = added(parts)
    if kept:
        totals[node] = [total]
    return total


def _wanted(builder, node: Node, active) -> list[int]:
    linear = None if node.op.jvp is not None else node.op.linear_args
    return [
        i
        for i, a in enumerate(node.args)
        if a in active
        and (linear is None or i in linear)
        and isinstance(builder.nodes[a].spec, Spec)
        and builder.nodes[a].spec.is_float
        and builder.nodes[a].op.family != "opaque"  # where a cotangent ends
    ]


def transposed(builder: Builder, node: Node, ct: Value, active) -> list[tuple[int, Value]]:
    """(argument id, cotangent) for each active argument of one node."""
    op = node.op
    if op.family in ("source", "opaque") or not node.spec.is_float:
        return []
    wanted = _wanted(builder, node, active)
    if not wanted:
        return []
    args = [Value(builder, a) for a in node.args]
    linear = op.linear_args
    by_jvp = op.jvp is not None and linear is not None and not set(wanted) <= set(linear)
    if op.transpose is not None and not by_jvp:
        specs = [a.spec for a in args]
        if op.name == "concatenate":  # all pieces in one walk: there may be very many
            parts = taken_apart(ct, wanted, specs, node.param("axis"))
            return [(node.args[i], part) for i, part in zip(wanted, parts, strict=True)]
        return [(node.args[i], op.transpose(ct, i, args, specs, node.options)) for i in wanted]
    if op.partials is not None:
        partials = op.partials(*args, Value(builder, node.id))
        return [(node.args[i], scale(ct, asked(partials[i])))
                for i in wanted if partials[i] is not None]  # fmt: skip
    assert op.jvp is not None, op
    return _through_jvp(builder, node, ct, args, wanted)


def _through_jvp(builder, node, ct, args, wanted):
    tangents: list[Any] = [
        placeholder(ct, args[i].spec) if i in wanted else None for i in range(len(args))
    ]
    out = node.op.jvp(tangents, args, Value(builder, node.id), node.options)
    holes = [tangents[i].id for i in wanted]
    parts = pull_back(builder, [out.id], [ct], holes)
    return [(node.args[i], p) for i, p in zip(wanted, parts, strict=True) if p is not None]


def _through_several(builder, node, picked, totals, active):
    """Cotangents through an operation of several results."""
    indexed = {builder.nodes[p].param("index"): _total(totals, p, kept=False) for p in picked}
    cts = [indexed.get(i) for i in range(len(node.spec))]
    wanted = _wanted(builder, node, active)
    if all(ct is None for ct in cts) or not wanted:
        return
    with builder.at(node.where):
        parts = _pulled(builder, node, cts, wanted)
    for i, part in zip(wanted, parts, strict=True):
        if part is not None:
            _accumulate(totals, node.args[i], part)


def _pulled(builder, node, cts, wanted) -> Sequence[Value | None]:
    return (node.op.pull or _several_by_jvp)(builder, node, cts, wanted)


def _pull_call(builder, node, cts, wanted) -> Sequence[Value | None]:
    if node.param("kind") == "custom":
        return node.param("rule").pull(builder, node, cts, wanted)
    # A checkpoint: computed again once the cotangent is there.
    first = next(ct for ct in cts if ct is not None)
    inner = [barrier(Value(builder, a), first).id for a in node.args]
    outs = replay(node.param("graph"), builder, inner)
    return pull_back(builder, outs, cts, [inner[i] for i in wanted])


def _several_by_jvp(builder, node, cts, wanted):
    """As `_through_jvp`, of an operation with several results."""
    args = [Value(builder, a) for a in node.args]
    holes = {i: placeholder(args[0], args[i].spec) for i in wanted}
    outs = picks(args[0], node.id)
    tangents = node.op.jvp([holes.get(i) for i in range(len(args))], args, outs, node.options)
    live = [
        (t, ct) for t, ct in zip(tangents, cts, strict=True) if t is not None and ct is not None
    ]
    return pull_back(builder, [t.id for t, _ in live], [ct for _, ct in live],
                     [holes[i].id for i in wanted])  # fmt: skip


complete("call", pull=_pull_call)
