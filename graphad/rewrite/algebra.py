"""One replay of a graph that inlines calls, applies exact identities and drops dead code.

Only identities that keep every bit of a finite, infinite or nan result are used: `x*0 -> 0` and
`x+0 -> x` are none of them (nan, inf and -0 would change). A strong zero may be folded, since
`scale` is zero there by definition. Equal nodes become one by the builder's hash-consing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from graphad.graph import Builder, Graph, Node
from graphad.ops.contract import canonical
from graphad.ops.value import Value, add, broadcast, const, const_value, full, reshape
from graphad.rewrite.loop_bodies import merge_twins, used_results
from graphad.rewrite.pieces import joined, taken
from graphad.spec import Spec

RULES: dict[str, list[Callable[..., Any]]] = {}


def rule(*names: str):
    """Register an identity for some operations: (node, args, params, alone) -> Value or None."""

    def put(f):
        for name in names:
            RULES.setdefault(name, []).append(f)
        return f

    return put


def tidy(graph: Graph) -> Graph:
    """As `simplify`, but products stay in the form that they were brought to for BLAS."""
    return simplify(graph, without=("contract", "transpose"))


def simplify(graph: Graph, without: tuple[str, ...] = ()) -> Graph:
    """The graph after every identity, in one pass, inputs before outputs."""
    graph = merge_twins(graph)
    builder = Builder()
    new: dict[int, int] = {}
    for i in graph.inputs:
        with builder.at(graph.nodes[i].where):
            new[i] = builder.input(graph.nodes[i].spec, graph.nodes[i].param("name"))
    _replay_simplified(graph, builder, new, without)
    for tag, node in graph.tags:
        builder.tags[tag] = new[node]
    return builder.finish(new[o] for o in graph.outputs)


def _replay_simplified(graph, builder, new, without):
    results: dict[int, Any] = {}
    users, used = graph.users, used_results(graph)
    for node in graph.nodes:
        if node.id in new:
            continue
        with builder.at(node.where):
            if node.op.name == "captured":
                new[node.id] = builder.capture(graph.captured[node.param("index")], node.spec)
            elif node.op.name == "call":
                inner = node.param("graph")
                bound = dict(zip(inner.inputs, [new[a] for a in node.args], strict=True))
                _replay_simplified(inner, builder, bound, without)
                results[node.id] = [bound[o] for o in inner.outputs]
                new[node.id] = -1
            elif node.op.trim is not None:
                args = [new[a] for a in node.args]
                again = functools.partial(simplify, without=without)
                results[node.id] = node.op.trim(builder, node, args, used[node.id], again)
                new[node.id] = -1
            elif node.op.name == "pick" and node.args[0] in results:
                new[node.id] = results[node.args[0]][node.param("index")]
            else:
                args = [new[a] for a in node.args]
                if node.op.name in without:
                    new[node.id] = builder.add(node.op, args, node.spec, **node.options)
                else:
                    alone = all(len(users[a]) == 1 for a in node.args)
                    new[node.id] = _simplified(builder, node, args, alone)


def _simplified(builder: Builder, node: Node, args: list[int], alone: bool) -> int:
    values = [Value(builder, a) for a in args]
    params = node.options
    for identity in (*RULES.get(node.op.name, ()), fold_constants):
        out = identity(node, values, params, alone)
        if out is not None:
            return out.id
    return builder.add(node.op, args, node.spec, **params)


def source(x: Value) -> Node:
    """The node of a value."""
    return x.builder.nodes[x.id]


def is_const(x: Value, *numbers) -> bool:
    """Whether every element is one of these numbers (0.0 and -0.0 differ)."""
    node = source(x)
    if node.op.name != "const":
        return False
    value = node.param("value")
    return any(value == n and np.signbit(value) == np.signbit(n) for n in numbers)


def fold_constants(node: Node, args, params, alone):
    """An elementwise operation on constants is a constant."""
    if node.op.family not in ("elementwise", "linear", "bilinear", "opaque") or not args:
        return None
    if node.op.body is None or any(source(a).op.name != "const" for a in args):
        return None
    scalars = [np.asarray(source(a).param("value"), a.dtype) for a in args]
    with np.errstate(all="ignore"):
        out = node.op.reference(scalars, params, Spec((), node.spec.dtype))
    return const(args[0], np.asarray(out).item(), Spec(args[0].shape, node.spec.dtype))


@rule("alias", "stop_gradient", "attached", "polar")
def _transparent(node, args, params, alone):
    return args[0]


@rule("pole")
def _without_limit(node, args, params, alone):
    return full(args[0], 0)


@rule("convert")
def _same_dtype(node, args, params, alone):
    return args[0] if args[0].dtype == params["dtype"] else None


@rule("mul")
def _mul(node, args, params, alone):
    for x, c in (args, reversed(args)):
        if is_const(c, 1):
            return x
        if is_const(c, -1) and x.dtype.kind == "f":
            return add(x, "neg", [x])
    return None


@rule("div")
def _div(node, args, params, alone):
    return args[0] if is_const(args[1], 1) else None


@rule("sub")
def _sub(node, args, params, alone):
    return args[0] if is_const(args[1], 0.0) else None


@rule("add")
def _add(node, args, params, alone):
    for x, c in (args, reversed(args)):
        if is_const(c, -0.0) and x.dtype.kind == "f":
            return x
    return joined(*args)


@rule("neg")
def _neg(node, args, params, alone):
    inner = source(args[0])
    return Value(args[0].builder, inner.args[0]) if inner.op.name == "neg" else None


@rule("power")
def _power(node, args, params, alone):
    x, y = args
    exponent = const_value(y)
    if exponent is None or x.dtype.kind != "f":
        return None
    if exponent == 0:
        return full(x, 1)
    if exponent == 1:
        return x
    if exponent == 2:
        return x * x
    if exponent == 3:
        return x * x * x
    if exponent == 4:
        return (x * x) * (x * x)
    return add(x, "div", [full(x, 1), x]) if exponent == -1 else None


@rule("scale")
def _scale(node, args, params, alone):
    t, p = args
    for x, c in ((t, p), (p, t)):
        number = const_value(c)
        if number == 0:
            return full(x, 0)
        if number == 1:
            return x
        if number is not None and np.isfinite(number):
            return _mul(node, [x, c], params, alone) or add(x, "mul", [x, c])
    return None


@rule("select")
def _select(node, args, params, alone):
    if source(args[0]).op.name == "const":
        return args[1] if source(args[0]).param("value") else args[2]
    return args[1] if args[1].id == args[2].id else None


@rule("reshape")
def _reshape(node, args, params, alone):
    inner = source(args[0])
    x = Value(args[0].builder, inner.args[0]) if inner.op.name == "reshape" else args[0]
    return reshape(x, params["shape"])


@rule("transpose")
def _transpose(node, args, params, alone):
    x, perm = args[0], params["perm"]
    inner = source(x)
    if inner.op.name == "transpose":
        perm = tuple(inner.param("perm")[p] for p in perm)
        x = Value(x.builder, inner.args[0])
    if perm == tuple(range(x.ndim)):
        return x
    if inner.op.name == "const":
        return const(x, inner.param("value"), node.spec)
    if inner.op.name == "contract" and alone:
        out = "".join(inner.param("out")[p] for p in perm)
        left, right, out = canonical(inner.param("left"), inner.param("right"), out)
        operands = [Value(x.builder, a) for a in inner.args]
        return add(x, "contract", operands, left=left, right=right, out=out)
    return add(x, "transpose", [x], perm=perm)


@rule("broadcast")
def _broadcast(node, args, params, alone):
    x, axes = args[0], params["axes"]
    inner = source(x)
    if inner.op.name == "broadcast":
        axes = tuple(axes[a] for a in inner.param("axes"))
        x = Value(x.builder, inner.args[0])
    return broadcast(x, params["shape"], axes)


@rule("sum")
def _sum(node, args, params, alone):
    x, axes = args[0], params["axes"]
    if source(x).op.name == "const" and is_const(x, 0.0):
        return full(x, 0, node.spec.shape)
    if all(x.shape[a] == 1 for a in axes):
        return reshape(x, node.spec.shape)
    return None


@rule("slice")
def _slice(node, args, params, alone):
    """What is cut out of joined or padded pieces is cut out of the pieces."""
    return taken(args[0], params["start"], params["step"], params["shape"])


@rule("contract")
def _contract(node, args, params, alone):
    labels = [params["left"], params["right"]]
    operands = list(args)
    for i, x in enumerate(args):
        inner = source(x)
        if inner.op.name == "transpose":
            perm = inner.param("perm")
            order = [""] * len(perm)
            for position, p in enumerate(perm):
                order[p] = labels[i][position]
            labels[i] = "".join(order)
            operands[i] = Value(x.builder, inner.args[0])
    if all(a is b for a, b in zip(operands, args, strict=True)):
        return None
    left, right, out = canonical(labels[0], labels[1], params["out"])
    return add(args[0], "contract", operands, left=left, right=right, out=out)
