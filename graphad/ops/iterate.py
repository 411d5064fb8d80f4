"""Control flow that holds Graphs: `iterate` (scan, fori_loop, while_loop) and `switch`.

`iterate(count?, carries..., constants..., xs...)` runs its `body` once a step:

    body(index, carries..., constants..., x_t...) -> carries..., y_t...

and gives the last carries, the number of steps if there is a `condition`, and the stacked ys.
`condition(index, carries..., constants...)` is asked before each step. With `counted` the first
operand says how many steps to run; rows of ys beyond the last step are zero. `reverse` runs the
steps from the last index to the first.

`switch(index, operands...)` runs the one of its `branches` that the index says, clipped to those
that there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from graphad.graph import Builder, Graph
from graphad.op import Op, register
from graphad.ops.calls import picks
from graphad.ops.value import Value
from graphad.spec import Spec

COUNT = Spec((), np.dtype("i8"))
ENDLESS = 2**62  # the length of a loop that only its condition ends


@dataclass(frozen=True)
class Parts:
    """The arguments of an `iterate`, or anything in their order, by role."""

    count: list
    carries: list
    constants: list
    xs: list


def split(args: Sequence, options) -> Parts:
    """What belongs to the count, the carries, the constants and the xs."""
    args = list(args)
    a = int(options["counted"])
    b = a + options["carries"]
    c = b + options["constants"]
    return Parts(args[:a], args[a:b], args[b:c], args[c:])


def _outputs(graph: Graph) -> list[Spec]:
    specs = [graph.nodes[o].spec for o in graph.outputs]
    return [Spec(s.shape, s.dtype) for s in specs]


def _infer_iterate(specs, params):
    body: Graph = params["body"]
    outs = _outputs(body)
    n = params["carries"]
    rows = [Spec((params["length"], *s.shape), s.dtype) for s in outs[n:]]
    count = [COUNT] if params["condition"] is not None else []
    return (*outs[:n], *count, *rows)


def _infer_switch(specs, params):
    first: Graph = params["branches"][0]
    return tuple(_outputs(first))


register(Op("iterate", "control", _infer_iterate, None, lowering="control"))  # type: ignore
register(Op("switch", "control", _infer_switch, None, lowering="control"))  # type: ignore


_TOKENS = itertools.count(1)


def fresh_token() -> str:
    """A name for a loop or switch by which another can say that it computes the same along."""
    return f"t{next(_TOKENS)}"


class Twin(NamedTuple):
    """Says that an operation computes another one's results along with its own.

    `token` names the other; `results[k]` is the place among our results of its k-th, `args[k]` the
    place among our arguments of its k-th. `rewrite/loop_bodies.py` then drops the other.
    """

    token: str
    results: tuple[int, ...]
    args: tuple[int, ...]

    def batched(self) -> Twin:
        """The same for batches of both."""
        return Twin(f"{self.token}b", self.results, self.args)


def iterate(
    like: Value,
    carries: Sequence[Value],
    constants: Sequence[Value],
    xs: Sequence[Value],
    body: Graph,
    length: Any,
    *,
    condition: Graph | None = None,
    count: Value | None = None,
    reverse: bool = False,
    keep: str = "dear",
    token: str = "",
    twin: Twin | None = None,
) -> list[Value]:
    """An `iterate` node, as the list of its results. `keep`: what reverse mode stores of a step,
    'dear' results or only the 'carries'."""
    args = [*([] if count is None else [count]), *carries, *constants, *xs]
    node = like.builder.add(
        "iterate", [a.id for a in args], None, body=body, condition=condition, length=length,
        carries=len(carries), constants=len(constants), counted=count is not None,
        reverse=reverse, keep=keep, token=token or fresh_token(), twin=twin,
    )  # fmt: skip
    return picks(like, node)


def one_by_one(op, args: Sequence[Value], batched: Sequence[bool], size, params) -> list[Value]:
    """An operation for each of a batch: a loop over the batch with the operation in it."""
    inner = Builder()
    index = inner.input(COUNT, "i")
    order = [i for i, b in enumerate(batched) if not b] + [i for i, b in enumerate(batched) if b]
    holes = {}
    for i in order:
        shape = args[i].shape[1:] if batched[i] else args[i].shape
        holes[i] = inner.input(Spec(shape, args[i].dtype), f"x{i}")
    one = inner.add(op, [holes[i] for i in range(len(args))], None, **params)
    several = isinstance(inner.nodes[one].spec, tuple)
    outs = picks(Value(inner, index), one) if several else [Value(inner, one)]
    body = inner.finish(p.id for p in outs)
    constants = [args[i] for i in order if not batched[i]]
    xs = [args[i] for i in order if batched[i]]
    return iterate(args[0], [], constants, xs, body, size)


def switch(
    index: Value, operands: Sequence[Value], branches: Sequence[Graph], token="", twin=None
) -> list[Value]:
    """A `switch` node, as the list of its results."""
    ids = [index.id, *[v.id for v in operands]]
    node = index.builder.add("switch", ids, None, branches=tuple(branches),
                             token=token or fresh_token(), twin=twin)  # fmt: skip
    return picks(index, node)


def graph_of(f, operands: Sequence[Value]) -> Graph:
    """The graph of a function of such values, as a branch has it."""
    inner = Builder()
    given = [Value(inner, inner.input(v.spec, f"x{k}")) for k, v in enumerate(operands)]
    return inner.finish([f(*given).id])
