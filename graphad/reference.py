"""The slow, obvious NumPy interpreter of a Graph: the oracle of every test.

Also steps through a graph for `f.interpret`, naming the first node that makes a nan or inf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphad.graph import Graph, Node
from graphad.op import complete
from graphad.ops.loops import split
from graphad.spec import Dim, Spec


def bind_dims(graph: Graph, arrays: Sequence[Any]) -> dict[str, int]:
    """The numbers that symbolic dims have for these arguments."""
    values: dict[str, int] = {}
    for node_id, array in zip(graph.inputs, arrays, strict=True):
        for dim, size in zip(graph.nodes[node_id].spec.shape, np.shape(array), strict=True):
            if isinstance(dim, Dim) and len(dim.terms) == 1 and dim.terms[0][1] == 1:
                values[dim.terms[0][0][0]] = size
    return values


def numbers(value: Any, values: dict[str, int]) -> Any:
    """A parameter with its symbolic dims replaced by numbers."""
    if isinstance(value, Dim):
        return value.at(values)
    if isinstance(value, tuple):
        return tuple(numbers(v, values) for v in value)
    return value


def evaluate(
    graph: Graph,
    arrays: Sequence[Any],
    watch: Callable[[Node, Any], None] | None = None,
    values: dict[str, int] | None = None,
) -> list[np.ndarray]:
    """Run the graph on arrays, one node at a time; `watch(node, result)` sees each step."""
    values = bind_dims(graph, arrays) if values is None else values
    bound = dict(zip(graph.inputs, arrays, strict=True))
    results: list[Any] = []
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            out = _step(graph, node, bound, results, values)
            results.append(out)
            if watch is not None and isinstance(node.spec, Spec):
                watch(node, out)
    return [results[o] for o in graph.outputs]


def _step(graph, node, bound, results, values):
    if node.id in bound:
        return np.asarray(bound[node.id]).astype(node.spec.dtype)
    if node.op.name == "captured":
        return np.array(graph.captured[node.param("index")])
    args = [results[a] for a in node.args]
    if node.op.evaluate is not None:
        return node.op.evaluate(node, args, values)
    params = {k: numbers(v, values) for k, v in node.params}
    if isinstance(node.spec, Spec):
        spec = Spec(numbers(node.spec.shape, values), node.spec.dtype)
    else:
        spec = node.spec
    out = node.op.reference(args, params, spec)
    return np.asarray(out, spec.dtype) if isinstance(spec, Spec) else out


def _call(node, args, values) -> list[np.ndarray]:
    return evaluate(node.param("graph"), args, values=values)


def _switch(node, args, values) -> list[np.ndarray]:
    branches = node.param("branches")
    chosen = branches[int(np.clip(args[0], 0, len(branches) - 1))]
    return evaluate(chosen, args[1:], values=values)


def _iterate(node, args, values) -> list[np.ndarray]:
    parts, body, condition = split(args, node.options), node.param("body"), node.param("condition")
    length = numbers(node.param("length"), values)
    steps = range(min(length, int(parts.count[0])) if parts.count else length)
    carries, rows, taken = parts.carries, {}, 0
    for k in reversed(steps) if node.param("reverse") else steps:
        index = np.int64(k)
        state = [index, *carries, *parts.constants]
        if condition is not None and not evaluate(condition, state, values=values)[0]:
            break
        x = [np.asarray(a)[k] for a in parts.xs]
        outs = evaluate(body, [*state, *x], values=values)
        carries, rows[k], taken = outs[: len(carries)], outs[len(carries) :], taken + 1
    ys = []
    for j, spec in enumerate(node.spec[len(node.spec) - len(body.outputs) + len(carries) :]):
        y = np.zeros(numbers(spec.shape, values), spec.dtype)
        for k, row in rows.items():
            y[k] = row[j]
        ys.append(y)
    return [*carries, *([np.asarray(taken)] if condition is not None else []), *ys]


complete("call", evaluate=_call)
complete("switch", evaluate=_switch)
complete("iterate", evaluate=_iterate)


class Finding:
    """What `interpret` saw: the first node whose result is not finite though its inputs were."""

    def __init__(self):
        self.node: Node | None = None
        self.kind = ""

    def watch(self, node: Node, out) -> None:
        """Remember the first nan or inf that is made, constants and inputs apart."""
        if self.node is None and node.op.family != "source" and out.dtype.kind == "f":
            bad = ~np.isfinite(out)
            if bad.any():
                self.node, self.kind = node, "nan" if np.isnan(out).any() else "inf"

    def __str__(self):
        if self.node is None:
            return "every value is finite"
        where = self.node.where
        text = f"first {self.kind} at {self.node}\n  at {where}"
        return text + (f"\n     {where.text()}" if where.text() else "")
