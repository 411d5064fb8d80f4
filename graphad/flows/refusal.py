"""Values that have no derivative in what they were drawn by: an error, in place of a zero."""

from __future__ import annotations

from typing import Any

from graphad.errors import NOWHERE, DerivativeError, user_line
from graphad.ops.calls import calls
from graphad.trace.tensor import Tensor
from graphad.transform.parts import Rule, enclosed


class Refusal(Rule):
    """The derivative of (x, weights) -> x: that of x, and an error where the weights' is asked."""

    def __init__(self, name, what, fix, in_tree, out_tree):
        super().__init__(name, None, None, in_tree, out_tree, 2)
        self.what, self.fix, self.where = what, fix, user_line()

    def _refuse(self):
        where = self.where if user_line() is NOWHERE else None
        raise DerivativeError(self.name, f"draws have no derivative in {self.what}", where=where,
                              expected="a derivative in other parameters, or of log_prob",
                              got=f"one in {self.what}", fix=self.fix)  # fmt: skip

    def pull_values(self, args, outs, cts, wanted):
        """The cotangent of x."""
        if any(i > 0 for i in wanted):
            self._refuse()
        return [cts[0] for _ in wanted]

    def push_values(self, args, outs, tangents):
        """The tangent of x."""
        if any(t is not None for t in tangents[1:]):
            self._refuse()
        return [tangents[0]]


def without_derivative(x: Any, weights: Any, name: str, what: str, fix: str) -> Any:
    """x, which was drawn by the weights: a derivative in them is a DerivativeError."""
    if not isinstance(x, Tensor) or not isinstance(weights, Tensor):
        return x
    if _held_constant(weights):
        return x
    arguments, graph, in_tree, out_tree = enclosed(x, lambda x, _: x, (x, weights))
    rule = Refusal(name, what, fix, in_tree, out_tree)
    return Tensor(x.builder, calls(x, arguments, graph, kind="custom", rule=rule)[0].id)


def _held_constant(weights: Tensor) -> bool:
    """Whether these are, or are logarithms of, what `stop_gradient` made."""
    node = weights.builder.nodes[weights.id]
    while node.op.name == "log":
        node = weights.builder.nodes[node.args[0]]
    return node.op.name == "stop_gradient"


def logarithm_of(logits: Any) -> Any:
    """The weights whose logarithms a traced value is, or None."""
    if not isinstance(logits, Tensor):
        return None
    node = logits.builder.nodes[logits.id]
    return Tensor(logits.builder, node.args[0]) if node.op.name == "log" else None
