"""Operations that hold Graphs or order the computation: call, pick, alias, barrier, stop."""

from __future__ import annotations

import numpy as np

from graphad.op import Op, register
from graphad.ops.value import Value, add, broadcast
from graphad.spec import Spec


def _same(specs, params):
    return specs[0]


def _first(arrays, params, spec):
    return np.asarray(arrays[0])


def _batch_first(name):
    return lambda args, batched, size, params: add(args[0], name, args, **params)


# A name of its own for a value, so that derivatives are taken with respect to this use of it.
register(
    Op("alias", "linear", _same, _first, arity=1, lowering="view",
       transpose=lambda ct, i, args, specs, params: ct, batch=_batch_first("alias"))
)  # fmt: skip
# The value, seen as a constant by every derivative.
register(
    Op("stop_gradient", "opaque", _same, _first, arity=1, lowering="view",
       batch=_batch_first("stop_gradient"))
)  # fmt: skip


def _batch_barrier(args, batched, size, params):
    x, after = args
    if not batched[0]:
        x = broadcast(x, (size, *x.shape), range(1, x.ndim + 1))
    return add(x, "barrier", [x, after])


# The first argument, not before the second is there: recomputation waits for the cotangent.
register(
    Op("barrier", "linear", _same, _first, arity=2, lowering="view", linear_args=(0,),
       transpose=lambda ct, i, args, specs, params: ct, batch=_batch_barrier)
)  # fmt: skip


def barrier(x: Value, after: Value) -> Value:
    """x, available only when `after` has been computed."""
    return add(x, "barrier", [x, after])


def _infer_call(specs, params):
    graph = params["graph"]
    return tuple(graph.nodes[o].spec for o in graph.outputs)


def _infer_pick(specs, params):
    return specs[0][params["index"]]


# A sub-graph with a derivative of its own: `kind` is 'checkpoint' or 'custom'; `rule` is the
# user's rule for 'custom', None otherwise.
register(Op("call", "control", _infer_call, None, lowering="inline"))  # type: ignore
register(
    Op("pick", "control", _infer_pick, lambda arrays, params, spec: arrays[0][params["index"]],
       lowering="inline")
)  # fmt: skip
# A value to be bound later: rules are traced on placeholders and then transposed or batched.
register(Op("placeholder", "source", lambda specs, params: None, None, lowering="input"))  # type: ignore


def placeholder(like: Value, spec: Spec) -> Value:
    """A fresh unbound value."""
    node = like.builder.add("placeholder", (), spec, token=like.builder.token())
    return type(like)(like.builder, node)


def alias(x: Value) -> Value:
    """x under a name of its own."""
    return add(x, "alias", [x], token=x.builder.token())


def calls(like: Value, args, graph, **params) -> list[Value]:
    """A call of a sub-graph, as the list of its results."""
    return picks(like, like.builder.add("call", [a.id for a in args], None, graph=graph, **params))


def picks(like: Value, node: int) -> list[Value]:
    """The results of an operation that has several."""
    builder = like.builder
    count = len(builder.nodes[node].spec)
    return [type(like)(builder, builder.add("pick", [node], index=i)) for i in range(count)]
