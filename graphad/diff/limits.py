"""Limits of derivatives at equal eigenvalues: graphs with poles to graphs without.

Every value downstream of eigenvalues is a series in the formal small number of `ops/poles.py`, of
which only the coefficients that the results need are made: those of products by Cauchy's rule, and
those of any other operation by its derivative, y' = f'(x) x', from those of lower order. The result
is the coefficient of order 0; poles that are left over have no limit and are dropped.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from graphad.diff.pushforward import _tangent
from graphad.graph import Builder, Graph, Node, replay
from graphad.ops.calls import picks, placeholder
from graphad.ops.poles import MOVED, direction
from graphad.ops.value import Value, add, zeros_like
from graphad.spec import Spec

Wanted = tuple[int, int]  # a node and the order of a coefficient
Asking = Generator[Wanted, Any, Any]


def limits(graph: Graph) -> Graph:
    """The graph with the limit of each result in place of its poles."""
    if not _has_poles(graph):
        return graph
    builder, new = Builder(), dict[int, int]()
    for node in graph.nodes:
        new[node.id] = _copied(graph, node, builder, new)
    for tag, n in graph.tags:
        builder.tags[tag] = new[n]
    series = Series(builder)
    outs = []
    for o in graph.outputs:
        out = series(new[o], 0)
        outs.append(zeros_like(Value(builder, new[o])).id if out is None else out.id)
    return builder.finish(outs)


def _has_poles(graph: Graph) -> bool:
    return any(node.op.name == "pole" or any(map(_has_poles, _inner(node))) for node in graph.nodes)


def _inner(node: Node) -> list[Graph]:
    """The graphs that a node holds."""
    found = []
    for _, value in node.params:
        found += [v for v in (value if isinstance(value, tuple) else (value,))
                  if isinstance(v, Graph)]  # fmt: skip
    return found


def _copied(graph: Graph, node: Node, builder: Builder, new) -> int:
    """A node in the builder: a checkpoint as what it holds, a loop with the limits of its body."""
    args = [new[a] for a in node.args]
    with builder.at(node.where):
        if node.op.name == "call" and node.param("kind") == "checkpoint":
            outs = replay(node.param("graph"), builder, args)
            return _Several.of(builder, outs)
        if node.op.name == "pick" and isinstance(args[0], _Several):
            return args[0].outs[node.param("index")]
        if any(map(_has_poles, _inner(node))):
            options = {k: _limited(v) for k, v in node.params}
            return builder.add(node.op, args, node.spec, **options)
    return builder.copied(graph, node, new)


class _Several(int):
    """Stands for the results of a call that is no node any more."""

    outs: list[int]

    @classmethod
    def of(cls, builder: Builder, outs: list[int]) -> _Several:
        made = cls(outs[0] if outs else 0)
        made.outs = outs
        return made


def _limited(value):
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(map(_limited, value))
    return limits(value) if isinstance(value, Graph) else value


class Series:
    """The coefficients of the nodes of a builder, made when asked for; None is 0."""

    def __init__(self, builder: Builder):
        self.builder = builder
        self.found: dict[Wanted, Any] = {}
        self.slopes: dict[int, Any] = {}  # the derivative of a node's series, as a node
        self.rates: dict[int, int] = {}  # placeholders of x', and x
        self.moving: list[bool] = []
        self.least: list[int] = []  # no coefficient of a lower order

    def __call__(self, node: int, order: int) -> Any:
        stack: list[tuple[Wanted, Asking]] = [((node, order), self._coefficient(node, order))]
        value = None
        while stack:
            wanted, rule = stack[-1]
            try:
                with self.builder.at(self.builder.nodes[wanted[0]].where):
                    wish = rule.send(value)
            except StopIteration as done:
                value = self.found[wanted] = done.value
                stack.pop()
                continue
            value = self.found.get(wish)
            if wish not in self.found:
                stack.append((wish, self._coefficient(*wish)))
        return self.found[node, order]

    def _look(self, upto: int):
        """Know of each node whether it depends on the small number, and its first order."""
        for node in self.builder.nodes[len(self.moving) : upto + 1]:
            least = [self.least[a] for a in node.args]
            self.moving.append(node.id in self.rates or self._falls(node) is not None
                               or any(self.moving[a] for a in node.args))  # fmt: skip
            if not isinstance(node.spec, Spec) or not node.spec.is_float:
                self.least.append(0)
            elif node.op.name == "pole":
                self.least.append(least[0] - 1)
            elif _is_product(node):
                self.least.append(sum(least))
            elif node.op.name == "div":
                self.least.append(min(0, least[0]))
            else:
                self.least.append(min(0, *least) if self._is_linear(node) else 0)

    def _falls(self, node: Node) -> bool | None:
        """Whether its values fall, of a result that the small number moves; else None."""
        if node.op.name != "pick":
            return None
        index, falling = MOVED.get(self.builder.nodes[node.args[0]].op.name, (None, False))
        return falling if node.param("index") == index else None

    def _is_linear(self, node: Node) -> bool:
        """Whether it is linear in all of its arguments that depend on the small number."""
        if node.op.transpose is None:
            return False
        which = node.op.linear_args
        rest = () if which is None else [a for i, a in enumerate(node.args) if i not in which]
        return node.op.family == "linear" or (
            which is not None and not any(self.moving[a] for a in rest)
        )

    def _coefficient(self, n: int, order: int) -> Asking:
        self._look(n)
        builder, node = self.builder, self.builder.nodes[n]
        if not self.moving[n]:
            return self._itself(n) if order == 0 else None
        if order < self.least[n]:
            return None
        if n in self.rates:
            rate = yield self.rates[n], order + 1
            return None if rate is None else rate * float(order + 1)
        if node.op.name == "pole":
            return (yield node.args[0], order + 1)
        if node.op.name == "pick":
            return (yield from self._picked(node, order))
        fixed = node.op.name == "polar" or (isinstance(node.spec, Spec) and not node.spec.is_float)
        if fixed and order > 0:
            return None
        if _is_product(node):
            return (yield from self._product(node, node.args[0], node.args[1], order))
        if node.op.name == "div" and self.least[n] < 0:
            x, y = node.args
            over = 1.0 / Value(builder, y)
            times = builder.nodes[builder.add("mul", [x, over.id])]
            return (yield from self._product(times, x, over.id, order))
        if self._is_linear(node):
            return (yield from self._linear(node, order))
        if order == 0:
            return (yield from self._at_zero(node))
        return (yield from self._by_slope(node, order))

    def _itself(self, n: int) -> Any:
        like = Value(self.builder, n)
        return like if isinstance(self.builder.nodes[n].spec, Spec) else picks(like, n)

    def _picked(self, node: Node, order: int) -> Asking:
        several = yield node.args[0], order
        own = several and several[node.param("index")]
        falling = self._falls(node)
        if falling is None or order != 1:
            return own
        moved = direction(Value(self.builder, node.id), falling)
        return moved if own is None else own + moved

    def _by_slope(self, node: Node, order: int) -> Asking:
        """y_k = (y')_(k - 1) / k; of each result if there are several."""
        one = isinstance(node.spec, Spec)
        slope = self._slope(node)
        slopes = [slope] if one or slope is None else slope
        parts: list[Any] = []
        for s in slopes:
            part = None if s is None else (yield s.id, order - 1)
            parts.append(None if part is None else part * (1.0 / order))
        return parts[0] if one or slope is None else parts

    def _product(self, node: Node, x: int, y: int, order: int) -> Asking:
        self._look(max(x, y))
        total = None
        for k in range(self.least[x], order - self.least[y] + 1):
            left = yield x, k
            right = None if left is None else (yield y, order - k)
            if left is not None and right is not None:
                term = add(left, node.op.name, [left, right], **node.options)
                total = term if total is None else total + term
        return total

    def _linear(self, node: Node, order: int) -> Asking:
        which = node.op.linear_args
        args: list[Any] = []
        for i, a in enumerate(node.args):
            args.append((yield a, order if which is None or i in which else 0))
        given = range(len(args)) if which is None else which
        if all(args[i] is None for i in given):
            return None
        if node.op.name in ("add", "sub") and None in args:
            x = args[0] if args[1] is None else args[1]
            return -x if node.op.name == "sub" and args[0] is None else x
        return self._again(node, args)

    def _at_zero(self, node: Node) -> Asking:
        args: list[Any] = []
        for a in node.args:
            args.append((yield a, 0))
        return self._again(node, args)

    def _again(self, node: Node, args) -> Any:
        """The operation on other arguments."""
        ids = []
        for given, a in zip(args, node.args, strict=True):
            value = zeros_like(Value(self.builder, a)) if given is None else given
            ids.append(value.id)
        if ids == list(node.args):
            made = node.id
        else:
            made = self.builder.add(node.op, ids, node.spec, **node.options)
        return self._itself(made)

    def _slope(self, node: Node) -> Any:
        """The derivative of a node's series in terms of those of its arguments."""
        if node.id not in self.slopes:
            rates: dict[int, Value] = {}
            for a in node.args:
                spec = self.builder.nodes[a].spec
                if self.moving[a] and isinstance(spec, Spec) and spec.is_float and a not in rates:
                    rates[a] = placeholder(Value(self.builder, a), spec)
                    self.rates[rates[a].id] = a
            self.slopes[node.id] = _tangent(self.builder, node, rates) if rates else None
        return self.slopes[node.id]


def _is_product(node: Node) -> bool:
    return node.op.family == "bilinear" or node.op.name == "mul"
