"""Graph: nodes in topological order. `Builder` grows one, equal nodes being one node.

`str(graph)` prints one line a node, `%3: f64[n,3] = mul(%1, %2)`, and `Graph.parse` reads it
back. `graph.nx` is the networkx DiGraph for analyses; argument order lives on the node, since a
DiGraph keeps one edge for `mul(x, x)`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphad.errors import NOWHERE, CheckError, TraceError, Where, user_line
from graphad.op import Op, find
from graphad.process.forks import lazy
from graphad.process.holding import holds
from graphad.spec import Dim, Spec


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: `args` are ids of earlier nodes, `params` sorted (name, value) pairs."""

    id: int
    op: Op
    args: tuple[int, ...]
    params: tuple[tuple[str, Any], ...]
    spec: Any  # a Spec, or a tuple of Specs for operations with several results
    where: Where = NOWHERE

    def param(self, name: str) -> Any:
        """The value of one parameter."""
        for key, value in self.params:
            if key == name:
                return value
        raise KeyError(name)

    @property
    def options(self) -> dict[str, Any]:
        """The parameters as a dict."""
        return dict(self.params)

    def __str__(self):
        inside = ", ".join(f"%{a}" for a in self.args)
        if self.params:
            inside += "; " + ", ".join(f"{k}={_print(v)}" for k, v in self.params)
        return f"%{self.id}: {_print_spec(self.spec)} = {self.op.name}({inside})"


def _print_spec(spec):
    return str(spec) if isinstance(spec, Spec) else "(" + " ".join(map(str, spec)) + ")"


def _print(value) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_print, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, Graph):
        return f"Graph({str(value)!r})"
    if isinstance(value, np.dtype):
        return repr(value.name)
    if isinstance(value, (Dim, Spec)):
        return str(value) if isinstance(value, Dim) else repr(str(value))
    return repr(value)


def _read(tree: ast.expr) -> Any:
    """The value that `_print` printed; nothing is evaluated as code."""
    match tree:
        case ast.Constant(value=value):
            return value
        case ast.Tuple(elts=elts):
            return tuple(_read(e) for e in elts)
        case ast.Name(id="inf" | "nan" as name):
            return float(name)
        case ast.Name(id=name):
            return Dim.symbol(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_read(operand)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _read(left) + _read(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _read(left) - _read(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _read(left) * _read(right)
        case ast.Call(func=ast.Name(id="Graph"), args=[ast.Constant(value=str(text))]):
            return Graph.parse(text)
    raise CheckError("Graph.parse", f"cannot read the parameter {ast.unparse(tree)}", where=NOWHERE)


@dataclass(frozen=True)
class Graph:
    """A static computation: `inputs` and `outputs` are node ids; `captured` are hidden inputs.

    `captured[i]` is the array that the node `captured(index=i)` reads at each call.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tags: tuple[tuple[str, int], ...] = ()
    captured: tuple[Any, ...] = field(default=(), compare=False)
    held: tuple[Any, ...] = field(default=(), compare=False, repr=False)  # their memory, in place

    def __str__(self):
        names = {n: t for t, n in self.tags}
        lines = [str(n) + (f"  # tag {names[n.id]!r}" if n.id in names else "") for n in self.nodes]
        lines.append("return " + ", ".join(f"%{o}" for o in self.outputs))
        return "\n".join(lines)

    def __hash__(self):
        return hash((len(self.nodes), self.inputs, self.outputs, self.nodes[-1:]))

    def __getitem__(self, node_id: int) -> Node:
        return self.nodes[node_id]

    @lazy
    def users(self) -> list[list[int]]:
        """For each node the ids of the nodes that read it, with repeats."""
        found: list[list[int]] = [[] for _ in self.nodes]
        for node in self.nodes:
            for a in node.args:
                found[a].append(node.id)
        return found

    @lazy
    def uses(self) -> list[int]:
        """How often each node is used, as an output too."""
        found = [len(u) for u in self.users]
        for o in self.outputs:
            found[o] += 1
        return found

    @property
    def nx(self):
        """The networkx.DiGraph of this graph: node ids with `op`, `spec` and `where` as text.

        Edges go by data flow; `networkx.write_graphml` takes it.
        """
        import networkx

        g = networkx.DiGraph()
        for node in self.nodes:
            g.add_node(node.id, op=node.op.name, spec=str(node.spec), where=str(node.where))
        g.add_edges_from((a, node.id) for node in self.nodes for a in node.args)
        return g

    @staticmethod
    def parse(text: str) -> Graph:
        """The graph that `str` printed (user lines are not part of the text)."""
        nodes, tags = [], []
        lines = text.strip().splitlines()
        for line in lines[:-1]:
            line, _, tag = line.partition("  # tag ")
            if tag:
                tags.append((ast.literal_eval(tag), len(nodes)))
            head, _, rest = line.partition(": ")
            spec, _, call = rest.partition(" = ")
            name, _, inside = call.partition("(")
            listed, _, params = inside[:-1].partition("; ")
            args = tuple(int(a[1:]) for a in listed.split(", ") if a)
            tree = ast.parse(f"f({params})", mode="eval").body
            keys = tuple((str(k.arg), _read(k.value)) for k in tree.keywords)  # type: ignore
            nodes.append(Node(int(head[1:]), find(name), args, keys, _read_spec(spec)))
        outputs = tuple(
            int(o.strip()[1:]) for o in lines[-1][len("return") :].split(",") if o.strip()
        )
        inputs = tuple(n.id for n in nodes if n.op.name == "input")
        graph = Graph(tuple(nodes), inputs, outputs, tuple(tags))
        check(graph)
        return graph


def _read_spec(text):
    if text.startswith("("):
        return tuple(Spec.parse(t) for t in text[1:-1].split())
    return Spec.parse(text)


def check(graph: Graph) -> Graph:
    """Assert that the graph keeps its rules; every pass is followed by this."""
    for position, node in enumerate(graph.nodes):
        if node.id != position:
            raise CheckError("check", f"{node} stands at position {position}", where=node.where)
        if any(a >= position or a < 0 for a in node.args):
            raise CheckError("check", f"{node} reads a later node", where=node.where)
        specs = [graph.nodes[a].spec for a in node.args]
        want = node.op.infer(specs, node.options)
        if want is not None and want != node.spec:
            raise CheckError(
                "check",
                f"{node} has the wrong spec",
                where=node.where,
                expected=want,
                got=node.spec,
            )
    if any(o >= len(graph.nodes) for o in graph.outputs):
        raise CheckError("check", "an output names no node", where=NOWHERE)
    return graph


class Builder:
    """Grows a graph; `add` returns the id of an equal node if there is one: the first line wins."""

    def __init__(self):
        self.nodes: list[Node] = []
        self.inputs: list[int] = []
        self.captured: list[Any] = []
        self._held: list[Any] = []
        self.tags: dict[str, int] = {}
        self.repeated_tags: set[str] = set()
        self.open = True
        self._found: dict[Any, int] = {}
        self._captured_at: dict[int, int] = {}
        self._where: Where | None = None
        self._journal: list[Any] | None = None
        self._tokens = 0
        self.answers: dict[Any, Any] = {}  # what passes found out of nodes, which never change

    def add(self, op: Op | str, args: Sequence[int] = (), spec=None, **params) -> int:
        """Append an operation and return its id. `spec` only where `infer` cannot tell it."""
        if isinstance(op, str):
            op = find(op)
        args = tuple(args)
        items = tuple(sorted(params.items()))
        key = (
            op.name,
            args,
            _keyed(items) if items else (),
            spec if op.family in ("source", "control") else None,
        )
        found = self._found.get(key)
        if found is not None:
            return found
        if not self.open:
            raise TraceError(
                op.name,
                "a traced value was kept after its trace",
                expected="a value of the function being traced",
                got=f"a value made at {self.nodes[args[0]].where if args else 'another trace'}",
                fix="return it from the function instead of storing it outside",
            )
        where = self._where or user_line()
        nodes = self.nodes
        inferred = op.infer([nodes[a].spec for a in args], params)
        node = Node(len(self.nodes), op, args, items, spec if inferred is None else inferred, where)
        self.nodes.append(node)
        self._found[key] = node.id
        if self._journal is not None:
            self._journal.append(key)
        return node.id

    def again(self, node: Node, new: Mapping[int, int]) -> int:
        """A node of another graph once more, on its own line; `new` has its arguments here."""
        with self.at(node.where):
            return self.add(node.op, [new[a] for a in node.args], node.spec, **node.options)

    def copied(self, graph: Graph | Builder, node: Node, new: Mapping[int, int]) -> int:
        """As `again`, of inputs and captured arrays too."""
        with self.at(node.where):
            if node.op.name == "input":
                return self.input(node.spec, node.param("name"))
            if node.op.name == "captured":
                return self.capture(graph.captured[node.param("index")], node.spec)
        return self.again(node, new)

    def input(self, spec: Spec, name: str) -> int:
        """Append an input of the graph."""
        node = self.add("input", (), spec, index=len(self.inputs), name=name)
        self.inputs.append(node)
        return node

    def capture(self, array, spec: Spec) -> int:
        """A hidden input that reads `array` at each call; the same array is one node."""
        index = self._captured_at.get(id(array))
        if index is None:
            index = self._captured_at[id(array)] = len(self.captured)
            self.captured.append(array)
            self._held += holds(array)
        return self.add("captured", (), spec, index=index)

    def token(self) -> int:
        """A number that no other node has, to keep equal nodes apart."""
        self._tokens += 1
        return self._tokens

    @contextmanager
    def at(self, where: Where):
        """Nodes added inside carry this line."""
        before, self._where = self._where, where
        try:
            yield
        finally:
            self._where = before

    @contextmanager
    def apart(self):
        """Nodes added inside are not found again by what is added later: a branch of its own."""
        before, self._journal = self._journal, []
        try:
            yield
        finally:
            for key in self._journal:
                del self._found[key]
            self._journal = before

    def spec(self, node: int) -> Any:
        """The spec of a node."""
        return self.nodes[node].spec

    def finish(self, outputs: Iterable[int]) -> Graph:
        """The graph of what the outputs need, all inputs kept, renumbered."""
        outputs = tuple(outputs)
        named = [(t, n) for t, n in self.tags.items() if t not in self.repeated_tags]
        keep = reachable(self.nodes, [*outputs, *self.inputs])
        order = [n for n in self.nodes if n.id in keep]
        new = {n.id: i for i, n in enumerate(order)}
        nodes = tuple(
            Node(i, n.op, tuple(new[a] for a in n.args), n.params, n.spec, n.where)
            for i, n in enumerate(order)
        )
        tags = tuple((t, new[n]) for t, n in named if n in new)
        inputs = tuple(new[i] for i in self.inputs)
        kept = tuple(self.captured), tuple(self._held)
        return Graph(nodes, inputs, tuple(new[o] for o in outputs), tags, *kept)


_PLAIN = {int, str}


def _keyed(value):
    """A dict key that tells 1 from 1.0 and True, 0.0 from -0.0, and finds nan again."""
    kind = type(value)
    if kind is int or kind is str:
        return value
    if isinstance(value, tuple):
        return value if _PLAIN.issuperset(map(type, value)) else tuple([_keyed(v) for v in value])
    if isinstance(value, (bool, int, float)):
        return (type(value).__name__, repr(value))
    return value


def reachable(nodes: Sequence[Node], roots: Iterable[int]) -> set[int]:
    """Ids that the roots depend on, themselves included."""
    seen: set[int] = set()
    stack = list(roots)
    while stack:
        n = stack.pop()
        if n not in seen:
            seen.add(n)
            stack.extend(nodes[n].args)
    return seen


def dependents(nodes: Sequence[Node], sources: Iterable[int], upto: int | None = None) -> set[int]:
    """Ids that depend on the sources, themselves included."""
    found = set(sources)
    first = min(found, default=0)
    for node in nodes[first : (len(nodes) if upto is None else upto + 1)]:
        if node.id not in found and any(a in found for a in node.args):
            found.add(node.id)
    return found


def replay(graph: Graph, builder: Builder, arguments: Sequence[int]) -> list[int]:
    """Copy a graph into a builder with its inputs bound; returns the ids of its outputs."""
    new: dict[int, int] = dict(zip(graph.inputs, arguments, strict=True))
    for node in graph.nodes:
        if node.id in new:
            continue
        if node.op.name == "alias":
            new[node.id] = new[node.args[0]]
        else:
            new[node.id] = builder.copied(graph, node, new)
    for tag, node_id in graph.tags:
        builder.tags.setdefault(tag, new[node_id])
    return [new[o] for o in graph.outputs]


def replaced(graph: Graph, make: Callable[[Builder, Node, dict[int, int]], int | None]) -> Graph:
    """The graph with each node as `make(builder, node, new)` has it there, `new` being where those
    before it are; nodes for which it gives None stay."""
    builder, new = Builder(), dict[int, int]()
    for node in graph.nodes:
        with builder.at(node.where):
            made = make(builder, node, new)
        new[node.id] = builder.copied(graph, node, new) if made is None else made
    for tag, n in graph.tags:
        builder.tags[tag] = new[n]
    return builder.finish(new[o] for o in graph.outputs)
