"""Derivatives of `iterate` and `switch`, which are such operations again.

Forward mode runs the tangents along with the primals. Reverse mode of a loop is a second loop over
the steps in the other order. What its steps need of the primals, the residuals, is stored by the
first loop where it is dear to compute, and computed again from what is stored where it is cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphad.diff.pullback import pull_back
from graphad.diff.pushforward import push_forward
from graphad.errors import DerivativeError
from graphad.graph import Builder, Graph, Node, dependents, reachable, replay
from graphad.op import complete
from graphad.ops.contract import contract
from graphad.ops.iterate import ENDLESS, Twin, iterate, split, switch
from graphad.ops.value import Value, full, zeros_like
from graphad.spec import Spec

DEAR = 10  # cost in the table from which a result is stored for reverse mode, not computed again


def _inputs(inner: Builder, specs: Sequence[Spec], name: str) -> list[Value]:
    return [Value(inner, inner.input(Spec(s.shape, s.dtype), f"{name}{k}"))
            for k, s in enumerate(specs)]  # fmt: skip


def _specs(graph: Graph, ids) -> list[Spec]:
    return [graph.nodes[i].spec for i in ids]


# -- forward mode ---------------------------------------------------------------------------------
def push_iterate(builder: Builder, node: Node, parts: Sequence[Any]) -> list[Value | None]:
    """Tangents of the results; `parts` are those of the arguments."""
    options = node.options
    args = split([Value(builder, a) for a in node.args], options)
    ts = split(parts, options)
    body: Graph = options["body"]
    moving = [t is not None for t in ts.carries]
    while True:
        made = _pushed_body(body, options, moving, ts)
        grown = [a or b is not None for a, b in zip(moving, made.carries, strict=True)]
        if grown == moving:
            break
        moving = grown
    c, own = options["carries"], [i for i, m in enumerate(moving) if m]
    tangents = [ts.carries[i] if ts.carries[i] is not None else zeros_like(args.carries[i])
                for i in own]  # fmt: skip
    constants = [t for t in ts.constants if t is not None]
    place = 1 + c + len(own) + len(args.constants) + len(constants)
    (graph,), arrays = _hoisted([made.graph], place)
    constants += _captures(builder, arrays)
    xs = [t for t in ts.xs if t is not None]
    live = [k for k, t in enumerate(made.ys) if t is not None]
    many, extra = len(body.outputs) - c, int(options["condition"] is not None)
    first = c + len(own)
    results = (*range(c), *range(first, first + extra + many))
    m = len(args.count)
    places = (*range(m + c), *range(m + first, m + first + len(args.constants)),
              *range(m + first + len(args.constants) + len(constants),
                     m + first + len(args.constants) + len(constants) + len(args.xs)))  # fmt: skip
    condition = options["condition"]
    if condition is not None:
        condition = _with_inputs(condition, 1 + c, _specs(body, [body.inputs[1 + i] for i in own]))
        condition = _with_inputs(condition, len(condition.inputs), [t.spec for t in constants])
    outs = iterate(
        args.carries[0] if args.carries else Value(builder, node.args[0]),
        [*args.carries, *tangents], [*args.constants, *constants], [*args.xs, *xs],
        graph, options["length"], condition=condition,
        count=args.count[0] if args.count else None,
        reverse=options["reverse"], keep=options["keep"],
        twin=Twin(options["token"], results, places),
    )  # fmt: skip
    found: list[Value | None] = [None] * len(node.spec)
    for k, i in enumerate(own):
        found[i] = outs[c + k]
    for k, y in enumerate(live):
        found[c + extra + y] = outs[first + extra + many + k]
    return found


class _Pushed:
    """A body with tangents: its graph, and the tangents of its outputs before that."""

    def __init__(self, graph, carries, ys):
        self.graph, self.carries, self.ys = graph, carries, ys


def _pushed_body(body: Graph, options, moving, ts) -> _Pushed:
    """body(index, carries, tangents, constants, tangents, xs, tangents) with those that move."""
    inner = Builder()
    specs = _specs(body, body.inputs)
    index = _inputs(inner, specs[:1], "i")
    given = split(specs[1:], {**options, "counted": False})

    def both(roles, flags, name):
        values = _inputs(inner, roles, name)
        changing = [s for s, f in zip(roles, flags, strict=True) if f]
        tangents = iter(_inputs(inner, changing, f"d{name}"))
        return values, [next(tangents) if f else None for f in flags]

    c, dc = both(given.carries, moving, "c")
    k, dk = both(given.constants, [t is not None for t in ts.constants], "k")
    x, dx = both(given.xs, [t is not None for t in ts.xs], "x")
    values = [*index, *c, *k, *x]
    outs = replay(body, inner, [v.id for v in values])
    tangents = {v.id: t for v, t in zip(values, [None, *dc, *dk, *dx], strict=True)
                if t is not None}  # fmt: skip
    pushed = push_forward(inner, outs, tangents)
    n = options["carries"]
    carried = [zeros_like(v) if t is None else t
               for v, t, m in zip(c, pushed[:n], moving, strict=True) if m]  # fmt: skip
    ys = [t for t in pushed[n:] if t is not None]
    graph = inner.finish([*outs[:n], *[t.id for t in carried], *outs[n:], *[t.id for t in ys]])
    return _Pushed(graph, pushed[:n], pushed[n:])


def _with_inputs(graph: Graph, at: int, specs: Sequence[Spec]) -> Graph:
    """The graph with unused inputs added at a place."""
    if not specs:
        return graph
    inner = Builder()
    old = _specs(graph, graph.inputs)
    before = _inputs(inner, old[:at], "a")
    _inputs(inner, specs, "unused")
    after = _inputs(inner, old[at:], "b")
    return inner.finish(replay(graph, inner, [v.id for v in (*before, *after)]))


def _hoisted(graphs: Sequence[Graph], at: int) -> tuple[list[Graph], list[tuple[Any, Spec]]]:
    """Bodies without captured arrays, which a user's rule may have brought into them: they become
    inputs from place `at` on. Returns the arrays too."""
    arrays: dict[int, tuple[Any, Spec]] = {}
    for graph in graphs:
        for node in graph.nodes:
            if node.op.name == "captured":
                array = graph.captured[node.param("index")]
                arrays[id(array)] = (array, node.spec)
    if not arrays:
        return list(graphs), []
    made = []
    for graph in graphs:
        inner, new = Builder(), {}
        old = _specs(graph, graph.inputs)
        before = _inputs(inner, old[:at], "a")
        extra = _inputs(inner, [spec for _, spec in arrays.values()], "captured")
        after = _inputs(inner, old[at:], "b")
        new = {i: v.id for i, v in zip(graph.inputs, (*before, *after), strict=True)}
        place = dict(zip(arrays, extra, strict=True))
        for node in graph.nodes:
            if node.op.name == "captured":
                new[node.id] = place[id(graph.captured[node.param("index")])].id
            elif node.id not in new:
                new[node.id] = inner.again(node, new)
        made.append(inner.finish(new[o] for o in graph.outputs))
    return made, list(arrays.values())


def _captures(builder: Builder, arrays) -> list[Value]:
    return [Value(builder, builder.capture(array, spec)) for array, spec in arrays]


def push_switch(builder: Builder, node: Node, parts: Sequence[Any]) -> list[Value | None]:
    """Tangents of the results of a switch: each branch with its tangents."""
    branches: Sequence[Graph] = node.param("branches")
    args = [Value(builder, a) for a in node.args]
    flags = [p is not None for p in parts[1:]]
    made = [_pushed_branch(b, flags) for b in branches]
    live = [k for k in range(len(node.spec)) if any(t[k] is not None for _, _, t in made)]
    graphs = []
    for inner, outs, tangents in made:
        chosen = [tangents[k] for k in live]
        filled = [zeros_like(Value(inner, outs[k])) if t is None else t
                  for k, t in zip(live, chosen, strict=True)]  # fmt: skip
        graphs.append(inner.finish([*outs, *[t.id for t in filled]]))
    count = len(node.spec)
    tangents = [p for p in parts[1:] if p is not None]
    graphs, arrays = _hoisted(graphs, len(args) - 1 + len(tangents))
    twin = Twin(node.param("token"), tuple(range(count)), tuple(range(len(args))))
    outs = switch(args[0], [*args[1:], *tangents, *_captures(builder, arrays)], graphs, twin=twin)
    found: list[Value | None] = [None] * count
    for k, i in enumerate(live):
        found[i] = outs[count + k]
    return found


def _pushed_branch(branch: Graph, flags):
    inner = Builder()
    specs = _specs(branch, branch.inputs)
    values = _inputs(inner, specs, "x")
    tangents = _inputs(inner, [s for s, f in zip(specs, flags, strict=True) if f], "dx")
    rest = iter(tangents)
    given = {v.id: next(rest) for v, f in zip(values, flags, strict=True) if f}
    outs = replay(branch, inner, [v.id for v in values])
    return inner, outs, push_forward(inner, outs, given)


# -- reverse mode ---------------------------------------------------------------------------------
def pull_switch(builder: Builder, node: Node, cts, wanted) -> list[Value | None]:
    """Cotangents of the wanted arguments of a switch; a branch computes what it needs again."""
    branches: Sequence[Graph] = node.param("branches")
    args = [Value(builder, a) for a in node.args]
    live = [k for k, ct in enumerate(cts) if ct is not None]
    wanted_here = [i - 1 for i in wanted]
    made = []
    for branch in branches:
        inner = Builder()
        values = _inputs(inner, _specs(branch, branch.inputs), "x")
        given = _inputs(inner, [node.spec[k] for k in live], "ct")
        outs = replay(branch, inner, [v.id for v in values])
        parts = pull_back(inner, [outs[k] for k in live], given,
                          [values[i].id for i in wanted_here])  # fmt: skip
        made.append((inner, values, parts))
    used = [k for k in range(len(wanted)) if any(parts[k] is not None for _, _, parts in made)]
    graphs = []
    for inner, values, parts in made:
        filled = [zeros_like(values[wanted_here[k]]) if parts[k] is None else parts[k]
                  for k in used]  # fmt: skip
        graphs.append(inner.finish(p.id for p in filled))
    found: list[Value | None] = [None] * len(wanted)
    if used:
        graphs, arrays = _hoisted(graphs, len(args) - 1 + len(live))
        extra = _captures(builder, arrays)
        outs = switch(args[0], [*args[1:], *[cts[k] for k in live], *extra], graphs)
        for k, out in zip(used, outs, strict=True):
            found[k] = out
    return found


def pull_iterate(builder: Builder, node: Node, cts, wanted) -> list[Value | None]:
    """Cotangents of the wanted arguments of a loop."""
    if isinstance(node.param("length"), int) and node.param("length") == ENDLESS:
        raise DerivativeError(
            "while_loop", "reverse mode needs to know how many steps there may be",
            where=node.where, expected="max_steps=", got="no bound",
            fix="ga.while_loop(..., max_steps=n), ga.scan, or ga.jvp",
        )  # fmt: skip
    return _Reverse(builder, node, cts, wanted).run()


class _Reverse:
    """The second loop of one loop's reverse mode, and the residuals that the first leaves it."""

    def __init__(self, builder: Builder, node: Node, cts, wanted):
        self.builder, self.node = builder, node
        self.options = node.options
        self.body: Graph = self.options["body"]
        c = self.c = self.options["carries"]
        self.extra = int(self.options["condition"] is not None)
        self.cts = [*cts[:c], *cts[c + self.extra :]]  # of the carries and the ys
        values = [Value(builder, a) for a in node.args]
        self.args = split(values, self.options)
        flags = split([i in wanted for i in range(len(values))], self.options)
        self.wanted, self.flags = wanted, flags

    def run(self) -> list[Value | None]:
        """The cotangents of the wanted arguments."""
        moving = [ct is not None for ct in self.cts[: self.c]]
        while True:
            parts = self._pull(moving)
            grown = [m or p is not None for m, p in zip(moving, parts.carries, strict=True)]
            if grown == moving:
                break
            moving = grown
        stored, known = self._residuals(parts)
        kept = self._first_loop(stored)
        return self._second_loop(moving, parts, stored, known, kept)

    def _pull(self, moving) -> Any:
        """One step backward, in a builder that has the step forward too."""
        inner = self.inner = Builder()
        specs = _specs(self.body, self.body.inputs)
        self.values = [_hole(inner, s) for s in specs]
        roles = split(self.values[1:], {**self.options, "counted": False})
        self.index, self.roles = self.values[0], roles
        self.outs = replay(self.body, inner, [v.id for v in self.values])
        n = self.c
        live = [i for i in range(n) if moving[i]]
        live += [n + k for k, ct in enumerate(self.cts[n:]) if ct is not None]
        self.live = live
        self.holes = [_hole(inner, inner.nodes[self.outs[k]].spec) for k in live]
        floats = [v for v in roles.carries if v.spec.is_float]
        sources = [*floats, *_chosen(roles.constants, self.flags.constants),
                   *_chosen(roles.xs, self.flags.xs)]  # fmt: skip
        found = pull_back(inner, [self.outs[k] for k in live], self.holes, [s.id for s in sources])
        by_id = {s.id: f for s, f in zip(sources, found, strict=True)}
        parts = split(
            [by_id.get(v.id) for v in self.values[1:]], {**self.options, "counted": False}
        )
        return parts

    def _residuals(self, parts) -> tuple[list[int], set[int]]:
        """(primal values that are stored, those that a step backward starts from)."""
        nodes = self.inner.nodes
        ends = [p.id for role in (parts.carries, parts.constants, parts.xs)
                for p in role if p is not None]  # fmt: skip
        linear = dependents(nodes, [h.id for h in self.holes])
        needed = reachable(nodes, ends)
        free = {v.id for v in (self.index, *self.roles.constants, *self.roles.xs)}
        constant = self._constant(free)
        edge = {a for n in needed & linear for a in nodes[n].args if a not in linear}
        edge |= {e for e in ends if e not in linear}
        carries = {v.id for v in self.roles.carries}
        if self.options["keep"] == "carries":
            stored = carries & reachable(nodes, edge)
        else:
            stored = {n for n in edge if n not in constant
                      and (n in carries or self._is_dear(nodes[n]))}  # fmt: skip
            cheap = set(free | stored | constant)
            for n in sorted(reachable(nodes, edge)):
                node = nodes[n]
                if n not in cheap and node.args and not self._is_dear(node):
                    if all(a in cheap for a in node.args):
                        cheap.add(n)
                elif node.op.family == "source" and n not in carries:
                    cheap.add(n)
            stored |= {n for n in edge if n not in cheap}
        return sorted(stored), free | stored

    def _constant(self, free) -> set[int]:
        """What does not change from step to step, and so is not worth storing."""
        nodes = self.inner.nodes
        changing = [v.id for v in (self.index, *self.roles.carries, *self.roles.xs, *self.holes)]
        return set(range(len(nodes))) - dependents(nodes, changing) | free

    def _is_dear(self, node: Node) -> bool:
        op = node.op
        if not isinstance(node.spec, Spec) or op.name == "pick":
            return True
        return op.lowering not in ("loop", "view") or op.cost >= DEAR

    def _first_loop(self, stored) -> list[Value]:
        """The loop again, with the residuals stacked; it takes the place of the first."""
        if not stored:
            return []
        inner = Builder()
        given = [inner.input(Spec(v.spec.shape, v.spec.dtype), f"a{k}")
                 for k, v in enumerate(self.values)]  # fmt: skip
        new = _copied(self.inner, inner, [*self.outs, *stored],
                      {v.id: g for v, g in zip(self.values, given, strict=True)})  # fmt: skip
        graph = inner.finish([new[o] for o in self.outs] + [new[s] for s in stored])
        o, args = self.options, self.args
        front = len(args.carries) + len(args.constants)
        (graph,), arrays = _hoisted([graph], 1 + front)
        condition = o["condition"]
        if condition is not None:
            condition = _with_inputs(condition, len(condition.inputs), [s for _, s in arrays])
        front += len(args.count)
        places = (*range(front), *range(front + len(arrays), len(self.node.args) + len(arrays)))
        outs = iterate(
            Value(self.builder, self.node.args[0]), args.carries,
            [*args.constants, *_captures(self.builder, arrays)], args.xs, graph,
            o["length"], condition=condition, count=args.count[0] if args.count else None,
            reverse=o["reverse"], keep=o["keep"],
            twin=Twin(o["token"], tuple(range(len(self.node.spec))), places),
        )  # fmt: skip
        return outs[len(self.node.spec) :]

    def _count(self) -> Value | None:
        """How many steps the first loop took, if that is not its length."""
        if self.args.count:
            return self.args.count[0]
        if not self.extra:
            return None
        return Value(self.builder, self.builder.add("pick", [self.node.id], index=self.c))

    def _second_loop(self, moving, parts, stored, known, kept) -> list[Value | None]:
        inner = Builder()
        c, n = self.inner, self.c
        own = [i for i in range(n) if moving[i]]
        index = inner.input(Spec((), self.index.dtype), "i")
        cts = {i: Value(inner, inner.input(_plain(self.roles.carries[i].spec), f"ct{i}"))
               for i in own}  # fmt: skip
        constants = [k for k, p in enumerate(parts.constants) if p is not None]
        terms, outside = {}, {}
        for k in constants:
            terms[k], outside[k] = self._outside(parts.constants[k], known)
        sums = [k for k in constants if terms[k]]
        running = {k: Value(inner, inner.input(_plain(self.roles.constants[k].spec), f"sum{k}"))
                   for k in sums}  # fmt: skip
        new = {self.index.id: index}
        for k, v in enumerate(self.roles.constants):
            new[v.id] = inner.input(_plain(v.spec), f"k{k}")
        for k, s in enumerate(stored):
            new[s] = inner.input(_plain(c.nodes[s].spec), f"r{k}")
        for k, v in enumerate(self.roles.xs):
            new[v.id] = inner.input(_plain(v.spec), f"x{k}")
        ys = [k for k in self.live if k >= n]
        for k, hole in zip(self.live, self.holes, strict=True):
            new[hole.id] = cts[k].id if k < n else inner.input(_plain(hole.spec), f"cty{k}")
        x_parts = [k for k, p in enumerate(parts.xs) if p is not None]
        pairs = [t for k in constants for t in outside[k]]
        wanted = [parts.carries[i].id for i in own if parts.carries[i] is not None]
        wanted += [t for k in sums for t in terms[k]] + [parts.xs[k].id for k in x_parts]
        wanted += [side for a, b, *_ in pairs for side in (a, b)]
        new = _copied(c, inner, wanted, new)
        carried = [new[parts.carries[i].id] if parts.carries[i] is not None
                   else zeros_like(cts[i]).id for i in own]  # fmt: skip
        for k in sums:
            value = running[k]
            for t in terms[k]:
                value = value + Value(inner, new[t])
            carried.append(value.id)
        graph = inner.finish(
            [*carried, *[new[parts.xs[k].id] for k in x_parts],
             *[new[side] for a, b, *_ in pairs for side in (a, b)]]
        )  # fmt: skip
        (graph,), arrays = _hoisted([graph], 1 + len(carried) + len(self.roles.constants))
        start = [
            self.cts[i] if self.cts[i] is not None
            else full(self.args.carries[i], 0.0) for i in own
        ] + [zeros_like(self.args.constants[k]) for k in sums]  # fmt: skip
        outs = iterate(
            Value(self.builder, self.node.args[0]), start,
            [*self.args.constants, *_captures(self.builder, arrays)],
            [*kept, *self.args.xs, *[self.cts[k] for k in ys]], graph, self.options["length"],
            count=self._count(), reverse=not self.options["reverse"],
            keep=self.options["keep"],
        )  # fmt: skip
        return self._gathered(own, sums, constants, x_parts, outside, outs)

    def _gathered(self, own, sums, constants, x_parts, outside, outs):
        """The results of the second loop, in the order of the wanted arguments."""
        it = iter(outs)
        carries = {i: next(it) for i in own}
        summed: dict[int, Any] = {k: next(it) for k in sums}
        xs = {k: next(it) for k in x_parts}
        for k in constants:
            for _, _, left, right, out in outside[k]:
                step = chr(ord("a") + len(set(left + right)))
                part = contract(next(it), next(it), step + left, step + right, out)
                summed[k] = summed[k] + part if k in summed else part
        m = len(self.args.count)
        places = [carries, summed, xs]
        found = []
        for w in self.wanted:
            at, role = w - m, 0
            for size in (self.c, len(self.args.constants)):
                if at < size:
                    break
                at, role = at - size, role + 1
            found.append(places[role].get(at))
        return found

    def _outside(self, part: Value, known) -> tuple[list[int], list[tuple]]:
        """A constant's cotangent as terms that are summed step by step, and as products of which
        only the sides are kept, to be one large product after the loop."""
        nodes = self.inner.nodes
        stack, terms, pairs = [part.id], [], []
        while stack:
            node = nodes[stack.pop()]
            if node.op.name == "add":
                stack.extend(node.args)
                continue
            if node.op.name == "contract":
                sizes = [nodes[a].spec.size for a in node.args] + [node.spec.size]
                fits = all(isinstance(s, int) for s in sizes)
                if fits and sizes[0] + sizes[1] < sizes[2]:
                    o = node.options
                    pairs.append((*node.args, o["left"], o["right"], o["out"]))
                    continue
            terms.append(node.id)
        return terms, pairs


def _hole(inner: Builder, spec: Spec) -> Value:
    return Value(inner, inner.add("placeholder", (), _plain(spec), token=inner.token()))


def _plain(spec: Spec) -> Spec:
    return Spec(spec.shape, spec.dtype)


def _chosen(values, flags):
    return [v for v, f in zip(values, flags, strict=True) if f]


def _copied(source: Builder, into: Builder, wanted, new: dict[int, int]) -> dict[int, int]:
    """Copies of the wanted nodes and of all that they need, from one builder to another."""
    new = dict(new)
    todo, seen = list(wanted), set()
    while todo:
        n = todo.pop()
        if n in new or n in seen:
            continue
        seen.add(n)
        todo.extend(source.nodes[n].args)
    for n in sorted(seen):
        new[n] = into.copied(source, source.nodes[n], new)
    return new


__all__ = ["pull_iterate", "pull_switch", "push_iterate", "push_switch"]


complete("iterate", push=push_iterate, pull=pull_iterate)
complete("switch", push=push_switch, pull=pull_switch)
