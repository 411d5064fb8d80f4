"""The slow, obvious NumPy interpreter of a Graph: the oracle of every test.

Also steps through a graph for `f.interpret`, naming the first node that makes a nan or inf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphad.graph import Graph, Node
from graphad.op import complete
from graphad.ops.iterate import split
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
    graph: Graph, arrays: Sequence[Any], watch: Callable[[Node, Any, str], None] | None = None
) -> list[np.ndarray]:
    """Run the graph on arrays, one node at a time. `watch(node, result, within)` sees each step,
    those in bodies of loops and in branches too; `within` says which steps of which loops."""
    with np.errstate(all="ignore"):
        return Run(bind_dims(graph, arrays), watch).of(graph, arrays)


class Run:
    """One interpretation: the numbers of dims, who watches, and the steps that are under way."""

    def __init__(self, values: dict[str, int], watch: Callable[[Node, Any, str], None] | None):
        self.values, self.watch = values, watch
        self.steps: list[tuple[int, Node]] = []

    def of(self, graph: Graph, arrays: Sequence[Any]) -> list[np.ndarray]:
        """The outputs of a graph, this one or an inner one."""
        bound = dict(zip(graph.inputs, arrays, strict=True))
        results: list[Any] = []
        for node in graph.nodes:
            results.append(self._noted(graph, node, bound, results))
        return [results[o] for o in graph.outputs]

    def step(self, node: Node, k: int, graph: Graph, arrays: Sequence[Any]) -> list[np.ndarray]:
        """The outputs of a loop's body or condition in step k."""
        self.steps.append((k, node))
        found = self.of(graph, arrays)
        self.steps.pop()
        return found

    @property
    def within(self) -> str:
        """The steps under way, the innermost first."""
        return "".join(f"\n  in step {k} of the loop at {n.where}" for k, n in self.steps[::-1])

    def _noted(self, graph, node, bound, results):
        try:
            out = self._node(graph, node, bound, results)
        except Exception as error:
            if not getattr(error, "__notes__", None):
                error.add_note(f"in {node}\n  at {node.where}{self.within}")
            raise
        if self.watch is not None and isinstance(node.spec, Spec):
            self.watch(node, out, self.within)
        return out

    def _node(self, graph, node, bound, results):
        if node.id in bound:
            return np.asarray(bound[node.id]).astype(node.spec.dtype)
        if node.op.name == "captured":
            return np.array(graph.captured[node.param("index")])
        args = [results[a] for a in node.args]
        if node.op.evaluate is not None:
            return node.op.evaluate(node, args, self)
        params = {k: numbers(v, self.values) for k, v in node.params}
        if isinstance(node.spec, Spec):
            spec = Spec(numbers(node.spec.shape, self.values), node.spec.dtype)
        else:
            spec = node.spec
        out = node.op.reference(args, params, spec)
        return np.asarray(out, spec.dtype) if isinstance(spec, Spec) else out


def _call(node, args, run: Run) -> list[np.ndarray]:
    return run.of(node.param("graph"), args)


def _switch(node, args, run: Run) -> list[np.ndarray]:
    branches = node.param("branches")
    chosen = branches[int(np.clip(args[0], 0, len(branches) - 1))]
    return run.of(chosen, args[1:])


def _iterate(node, args, run: Run) -> list[np.ndarray]:
    parts, body, condition = split(args, node.options), node.param("body"), node.param("condition")
    length = numbers(node.param("length"), run.values)
    steps = range(min(length, int(parts.count[0])) if parts.count else length)
    carries, rows, taken = parts.carries, {}, 0
    for k in reversed(steps) if node.param("reverse") else steps:
        index = np.int64(k)
        state = [index, *carries, *parts.constants]
        if condition is not None and not run.step(node, k, condition, state)[0]:
            break
        x = [np.asarray(a)[k] for a in parts.xs]
        outs = run.step(node, k, body, [*state, *x])
        carries, rows[k], taken = outs[: len(carries)], outs[len(carries) :], taken + 1
    ys = []
    for j, spec in enumerate(node.spec[len(node.spec) - len(body.outputs) + len(carries) :]):
        y = np.zeros(numbers(spec.shape, run.values), spec.dtype)
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
        self.kind = self.within = ""

    def watch(self, node: Node, out, within: str) -> None:
        """Remember the first nan or inf that is made, constants and inputs apart."""
        if self.node is None and node.op.family != "source" and out.dtype.kind == "f":
            bad = ~np.isfinite(out)
            if bad.any():
                self.node, self.within = node, within
                self.kind = "nan" if np.isnan(out).any() else "inf"

    def __str__(self):
        if self.node is None:
            return "every value is finite"
        where = self.node.where
        text = f"first {self.kind} at {self.node}\n  at {where}"
        return text + (f"\n     {where.text()}" if where.text() else "") + self.within
