"""Part of a trace as a graph of its own: bodies of loops, branches, checkpoints, custom rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphad.graph import Builder, Graph, Node, dependents, reachable
from graphad.ops.value import Value
from graphad.spec import Spec
from graphad.trace.tensor import Tensor
from graphad.transform.selection import outputs_of

COPIED = ("const", "iota", "dim")  # sources that are made again inside


class Enclosure:
    """What a function added to a trace: its outputs, and which nodes are its own.

    `inputs`: placeholders that stand for the arguments. `everything`: whether all that it added
    is inside (a branch, which may not run), or only what depends on its inputs (a loop's body,
    from which what does not change is kept out).
    """

    def __init__(self, like: Tensor, inputs: Sequence[Value], run: Callable[[], Any],
                 everything: bool = False):  # fmt: skip
        builder = self.builder = like.builder
        first = len(builder.nodes)
        if everything:
            with builder.apart():
                outs, self.tree = outputs_of(like, run())
        else:
            outs, self.tree = outputs_of(like, run())
        self.inputs = [v.id for v in inputs]
        self.outputs = [v.id for v in outs]
        nodes = builder.nodes
        reached = reachable(nodes, self.outputs)
        inside = {n for n in reached if n >= first} if everything else set()
        inside |= dependents(nodes, self.inputs) & reached
        outer = ("captured", "placeholder", "input")
        self.inside = {n for n in inside if nodes[n].op.name not in outer}
        self.inside |= {n for n in reached if nodes[n].op.name in COPIED}
        self.inside |= {n for n in reached if self._picks_inside(nodes[n])}
        needed = {a for n in self.inside for a in nodes[n].args} | set(self.outputs)
        self.outside = sorted(needed - self.inside - set(self.inputs))

    def _picks_inside(self, node: Node) -> bool:
        return node.op.name == "pick" and node.args[0] in self.inside

    def graph(self, outside: Sequence[int], outputs: Sequence[int] | None = None) -> Graph:
        """The graph with `outside` values, at least its own, as inputs behind the first ones."""
        inner, nodes = Builder(), self.builder.nodes
        new: dict[int, int] = {}
        for k, n in enumerate([*self.inputs, *outside]):
            spec = nodes[n].spec
            new[n] = inner.input(Spec(spec.shape, spec.dtype), f"x{k}")
        for n in sorted(self.inside - set(self.inputs)):
            new[n] = inner.again(nodes[n], new)
        return inner.finish(new[o] for o in (self.outputs if outputs is None else outputs))
