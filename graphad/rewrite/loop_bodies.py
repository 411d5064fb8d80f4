"""What rewriting does to control flow: twins merged, what does not matter dropped, work that is the
same in every step moved out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphad.graph import Builder, Graph, Node, dependents, reachable, replay
from graphad.op import complete
from graphad.ops.calls import picks
from graphad.ops.iterate import Twin, split
from graphad.ops.value import Value

MOVED_OUT = ("elementwise", "linear", "bilinear", "linearised", "opaque")
KEPT_INSIDE = ("view", "gather", "scatter", "control")  # free, or may fail


# -- twins ---------------------------------------------------------------------------------------
def merge_twins(graph: Graph) -> Graph:
    """The graph with every loop dropped that another one, a derivative's, computes along."""
    instead = _replacements(graph)
    order = _ordered(graph, instead) if instead else None
    if order is None:
        return graph
    builder = Builder()
    new: dict[int, int] = {}

    def place(n: int) -> int:
        loop, index = _origin(graph, n, instead)
        return new[loop] if index is None else builder.add("pick", [new[loop]], index=index)

    for i in graph.inputs:
        new[i] = builder.input(graph.nodes[i].spec, graph.nodes[i].param("name"))
    for n in order:
        node = graph.nodes[n]
        if n in new:
            continue
        with builder.at(node.where):
            if node.op.name == "captured":
                new[n] = builder.capture(graph.captured[node.param("index")], node.spec)
            else:
                args = [place(a) for a in node.args]
                new[n] = builder.add(node.op, args, node.spec, **node.options)
    for tag, n in graph.tags:
        if _origin(graph, n, instead)[0] in new:
            builder.tags[tag] = place(n)
    return builder.finish([place(o) for o in graph.outputs])


def _replacements(graph: Graph) -> dict[int, tuple[int, tuple[int, ...]]]:
    """For each loop that another one serves for: that one, and the places of its results there."""
    control = [n for n in graph.nodes if n.op.trim is not None]
    if not any(n.param("twin") for n in control):
        return {}
    by_token = {n.param("token"): n for n in control}
    found: dict[int, tuple[int, tuple[int, ...]]] = {}
    for node in control:
        twin = Twin(*node.param("twin")) if node.param("twin") else None
        first = by_token.get(twin.token) if twin else None
        if twin is None or first is None or first.id in found or first.id == node.id:
            continue
        same = all(a == node.args[p] for a, p in zip(first.args, twin.args, strict=True))
        if same and first.id not in reachable(graph.nodes, node.args):
            found[first.id] = (node.id, twin.results)
    return found


def _origin(graph: Graph, n: int, instead) -> tuple[int, int | None]:
    """(node, None), or for a result of a dropped loop (its twin, the place there)."""
    node = graph.nodes[n]
    if node.op.name != "pick" or node.args[0] not in instead:
        return n, None
    loop, index = node.args[0], node.param("index")
    while loop in instead:
        loop, results = instead[loop]
        index = results[index]
    return loop, index


def _ordered(graph: Graph, instead) -> list[int] | None:
    """Nodes that the outputs need, arguments first; None if the loops depend on each other."""
    order: list[int] = []
    begun: set[int] = set()
    done: set[int] = set()
    stack = [(n, False) for n in graph.outputs]
    while stack:
        n, left = stack.pop()
        n = _origin(graph, n, instead)[0]
        if left:
            done.add(n)
            order.append(n)
        elif n in begun - done:
            return None
        elif n not in done:
            begun.add(n)
            stack.append((n, True))
            stack.extend((a, False) for a in reversed(graph.nodes[n].args))
    return order


# -- what matters of an operation that holds graphs ------------------------------------------------
def used_results(graph: Graph) -> dict[int, set[int]]:
    """For each node of several results, those that are picked."""
    used: dict[int, set[int]] = {}
    for node in graph.nodes:
        if node.op.name == "pick":
            used.setdefault(node.args[0], set()).add(node.param("index"))
    return used


def _trim_switch(
    builder: Builder, node: Node, args: list[int], used: set[int], simplify: Callable[..., Graph]
) -> dict[int, int]:
    """A switch again with simplified branches and only what is used; new ids of its results."""
    return _switch(builder, node, args, sorted(used), simplify)


def _trim_loop(builder, node, args, used, simplify) -> dict[int, int]:
    """The same of a loop."""
    return _Trim(builder, node, args, used, simplify).run()


def _switch(builder, node, args, used, simplify) -> dict[int, int]:
    chosen = builder.nodes[args[0]]
    branches = [simplify(_with_outputs(b, used)) for b in node.param("branches")]
    if chosen.op.name == "const":
        k = min(max(chosen.param("value"), 0), len(branches) - 1)
        return dict(zip(used, replay(branches[k], builder, args[1:]), strict=True))
    read = [i for i in range(len(args) - 1)
            if any(b.inputs[i] in _needs(b, b.outputs) for b in branches)]  # fmt: skip
    branches = [_with_inputs(b, read) for b in branches]
    options = {**node.options, "branches": tuple(branches), "twin": None}
    new = builder.add("switch", [args[0], *[args[1 + i] for i in read]], None, **options)
    return {u: p.id for u, p in zip(used, picks(Value(builder, new), new), strict=True)}


def _needs(graph: Graph, ids) -> set[int]:
    return reachable(graph.nodes, ids)


def _with_outputs(graph: Graph, which: Sequence[int]) -> Graph:
    """The graph with some of its outputs."""
    inner = Builder()
    ids = [inner.input(graph.nodes[i].spec, graph.nodes[i].param("name")) for i in graph.inputs]
    outs = replay(graph, inner, ids)
    return inner.finish(outs[k] for k in which)


def _with_inputs(graph: Graph, which: Sequence[int]) -> Graph:
    """The graph with some of its inputs; the others are not read."""
    inner = Builder()
    new: dict[int, int] = {}
    for k in which:
        i = graph.inputs[k]
        new[i] = inner.input(graph.nodes[i].spec, graph.nodes[i].param("name"))
    needed = _needs(graph, graph.outputs)
    for node in graph.nodes:
        if node.id in needed and node.id not in new:
            new[node.id] = inner.again(node, new)
    return inner.finish(new[o] for o in graph.outputs)


class _Trim:
    """One loop again with what matters of it."""

    def __init__(self, builder: Builder, node: Node, args, used: set[int], simplify):
        self.builder, self.node, self.simplify = builder, node, simplify
        self.used: set[int] = used
        self.options = o = node.options
        self.args = split(args, o)
        self.c, self.k = o["carries"], o["constants"]
        self.extra = int(o["condition"] is not None)
        self.body: Graph = simplify(o["body"])
        condition = o["condition"]
        self.condition: Graph | None = condition and simplify(condition)

    def run(self) -> dict[int, int]:
        """New ids of the used results."""
        known = self._unchanging()
        passed, same = self._passed(known)
        self.used = {same.get(u, u) for u in self.used} - set(passed)
        carries, ys = self._wanted()
        carries = [i for i in carries if i not in known]
        body, condition, more = self._bodies(carries, ys, known)
        constants = [*self.args.constants, *[self.args.carries[i] for i in sorted(known)], *more]
        xs = self.args.xs
        reads = self._reads(body, condition, len(carries), len(constants), len(xs))
        keep_k, keep_x = reads
        first = 1 + len(carries)
        index_of = [*range(first), *[first + k for k in keep_k],
                    *[first + len(constants) + x for x in keep_x]]  # fmt: skip
        body = _with_inputs(body, index_of)
        if condition is not None:
            condition = _with_inputs(condition, [*range(first), *[first + k for k in keep_k]])
        options = {**self.options, "body": body, "condition": condition, "twin": None,
                   "carries": len(carries), "constants": len(keep_k)}  # fmt: skip
        args = [*self.args.count, *[self.args.carries[i] for i in carries],
                *[constants[k] for k in keep_k], *[xs[x] for x in keep_x]]  # fmt: skip
        results: dict[int, int] = {u: self.args.carries[u] for u in self.used & known}
        results |= passed
        if not self.used - known:
            return results | {u: results[v] for u, v in same.items()}
        new = self.builder.add("iterate", args, None, **options)
        order = [
            *carries,
            *([self.c] if self.extra else []),
            *[self.c + self.extra + y for y in ys],
        ]
        for k, u in enumerate(order):
            if u in self.used and u not in known:
                results[u] = self.builder.add("pick", [new], index=k)
        return results | {u: results[v] for u, v in same.items()}

    def _unchanging(self) -> set[int]:
        """Carries that stay what they are at first."""
        body = self.body
        return {i for i in range(self.c) if body.outputs[i] == body.inputs[1 + i]}

    def _passed(self, known) -> tuple[dict[int, int], dict[int, int]]:
        """(used ys that are one of the xs row by row -> it, used ys that are another -> that)."""
        body, first = self.body, self.c + self.extra
        rows = {body.inputs[1 + self.c + self.k + x]: a for x, a in enumerate(self.args.xs)}
        whole = not self.args.count and self.condition is None  # else the last rows are zero
        passed: dict[int, int] = {}
        same: dict[int, int] = {}
        seen: dict[int, int] = {}
        for u in sorted(self.used):
            if u < first:
                continue
            out = body.outputs[self.c + u - first]
            if whole and out in rows:
                passed[u] = rows[out]
            elif out in seen:
                same[u] = seen[out]
            else:
                seen[out] = u
        return passed, same

    def _wanted(self) -> tuple[list[int], list[int]]:
        """Carries and ys that the used results, or the condition, depend on."""
        body, c = self.body, self.c
        ys = sorted(u - c - self.extra for u in self.used if u >= c + self.extra)
        carries = {u for u in self.used if u < c}
        if self.condition is not None:
            needed = _needs(self.condition, self.condition.outputs)
            carries |= {i for i in range(c) if self.condition.inputs[1 + i] in needed}
        while True:
            outs = [body.outputs[i] for i in carries] + [body.outputs[c + y] for y in ys]
            needed = _needs(body, outs)
            grown = carries | {i for i in range(c) if body.inputs[1 + i] in needed}
            if grown == carries:
                return sorted(carries), ys
            carries = grown

    def _bodies(self, carries, ys, known):
        """(body, condition, ids of what was moved out): inputs are the index, the carries, the
        constants, the unchanging carries, what was moved out, and the xs."""
        body = _with_outputs(self.body, [*carries, *[self.c + y for y in ys]])
        moved = self._moved_out(body, known)
        fixed = sorted(known)
        places = [0, *[1 + i for i in carries],
                  *range(1 + self.c, 1 + self.c + self.k), *[1 + i for i in fixed]]  # fmt: skip
        xs = list(range(1 + self.c + self.k, len(body.inputs)))
        outer: dict[int, int] = {}
        for k, v in enumerate(self.args.constants):
            outer[body.inputs[1 + self.c + k]] = v
        for i in fixed:
            outer[body.inputs[1 + i]] = self.args.carries[i]
        more = [self._outside(body, n, outer) for n in moved]
        condition = None
        if self.condition is not None:
            condition = _renewed(
                self.condition, places, [body.nodes[n].spec for n in moved], {}, []
            )
        made = _renewed(body, places, [body.nodes[n].spec for n in moved],
                        dict(enumerate(moved)), xs)  # fmt: skip
        return made, condition, more

    def _moved_out(self, body: Graph, known) -> list[int]:
        """Nodes that are the same in every step, as far as steps read them."""
        changing = [body.inputs[0]]
        changing += [body.inputs[1 + i] for i in range(self.c) if i not in known]
        changing += list(body.inputs[1 + self.c + self.k :])
        moving = dependents(body.nodes, changing)

        def fit(n: int) -> bool:
            node = body.nodes[n]
            return node.op.family in MOVED_OUT and node.op.lowering not in KEPT_INSIDE

        fine: set[int] = set()  # the same in every step, and nothing in it may fail
        for node in body.nodes:
            if node.id in moving or node.op.name == "pick":
                continue
            known = node.op.lowering == "view" or node.op.family == "source" or fit(node.id)
            if known and all(a in fine for a in node.args):
                fine.add(node.id)
        read = {a for n in moving for a in body.nodes[n].args} | set(body.outputs)
        roots: set[int] = set()
        for n in read & fine:
            while body.nodes[n].op.lowering == "view":  # views stay inside: they cost nothing
                n = body.nodes[n].args[0]
            if body.nodes[n].args:
                roots.add(n)
        return sorted(roots)

    def _outside(self, body: Graph, n: int, outer: dict[int, int]) -> int:
        """A node of the body computed around the loop."""
        for i in sorted(_needs(body, [n])):
            if i not in outer:
                outer[i] = self.builder.again(body.nodes[i], outer)
        return outer[n]

    def _reads(self, body, condition, carries, constants, xs):
        """Constants and xs that are read."""
        needed = _needs(body, body.outputs)
        asked = _needs(condition, condition.outputs) if condition is not None else set()
        first = 1 + carries
        keep = [k for k in range(constants) if body.inputs[first + k] in needed
                or (condition is not None and condition.inputs[first + k] in asked)]  # fmt: skip
        rows = [x for x in range(xs) if body.inputs[first + constants + x] in needed]
        return keep, rows


def _renewed(graph: Graph, places, specs, moved: dict[int, Any], xs) -> Graph:
    """The graph with its inputs in another order, some of its nodes as inputs among them."""
    inner = Builder()
    new: dict[int, int] = {}
    for p in places:
        i = graph.inputs[p]
        new[i] = inner.input(graph.nodes[i].spec, f"a{p}")
    for k, spec in enumerate(specs):
        i = inner.input(spec, f"m{k}")
        if k in moved:
            new[moved[k]] = i
    for p in xs:
        new[graph.inputs[p]] = inner.input(graph.nodes[graph.inputs[p]].spec, f"x{p}")
    for p, i in enumerate(graph.inputs):  # carries that nothing reads
        if i not in new:
            new[i] = inner.add("placeholder", (), graph.nodes[i].spec, token=p)
    for node in graph.nodes:
        if node.id not in new:
            new[node.id] = inner.again(node, new)
    return inner.finish(new[o] for o in graph.outputs)


complete("switch", trim=_trim_switch)
complete("iterate", trim=_trim_loop)
