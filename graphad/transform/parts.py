"""Taking a function apart: tag, cut, stop_gradient, checkpoint and custom_derivative."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from graphad.diff.batch import batch_through
from graphad.diff.pullback import pull_back
from graphad.errors import DerivativeError, ShapeError, TraceError
from graphad.function import Function, as_function, derived
from graphad.graph import Builder, Graph, dependents, reachable
from graphad.ops.array import total
from graphad.ops.calls import calls, picks, placeholder
from graphad.ops.value import Value, add, convert, lift, repeated, zeros_like
from graphad.spec import Spec
from graphad.trace import pytree
from graphad.trace.run import signature_of
from graphad.trace.tensor import Tensor
from graphad.transform.enclosure import Enclosure
from graphad.transform.selection import any_tensor, outputs_of, tensors


def tag(x, name: str):
    """Name an intermediate value, for `ga.cut`, graphs and pictures; returns it unchanged.

    Outside of a traced function it does nothing.
    """
    if isinstance(x, Tensor):
        builder = x.builder
        before = builder.tags.get(name)
        if before is not None and before != x.id:
            builder.repeated_tags.add(name)
        builder.tags[name] = x.id
    return x


def stop_gradient(x):
    """x, taken as a constant by every derivative."""
    return pytree.map_leaves(
        lambda v: add(v, "stop_gradient", [v]) if isinstance(v, Tensor) else v, x
    )


def cut(f, at) -> tuple[Function, Function]:
    """Split a function at a tagged value: (head: inputs -> h, tail: (inputs, h) -> outputs).

    The tail's last parameter is called like the tag. `at` may be a tuple of tags: the head then
    returns a tuple, and the tail has one more parameter for each.

    >>> import numpy as np
    >>> def f(x):
    ...     h = tag(x * 2.0, 'h')
    ...     return np.sin(h)
    >>> head, tail = cut(f, at='h')
    >>> head(1.5), tail(1.5, h=0.0)
    (np.float64(3.0), np.float64(0.0))
    """
    f = as_function(f)
    names = (at,) if isinstance(at, str) else tuple(at)

    def run(args, kwargs):
        like = any_tensor((args, kwargs))
        builder = like.builder
        outer = dict(builder.tags)
        repeated = set(builder.repeated_tags)
        builder.tags.clear()
        builder.repeated_tags.clear()
        leaves, tree = outputs_of(like, f._f(*args, **kwargs))
        found = [_tagged(f, builder, n, [y.id for y in leaves]) for n in names]
        builder.tags.clear()
        builder.tags.update(outer)
        builder.repeated_tags.clear()
        builder.repeated_tags.update(repeated)
        return like, leaves, tree, found

    def head(*args, **kwargs):
        _, _, _, found = run(args, kwargs)
        values = tuple(tensors(found))
        return values[0] if isinstance(at, str) else values

    def tail(*args, **kwargs):
        given = {n: kwargs.pop(n) for n in names if n in kwargs}
        args = list(args)
        for n in reversed(names):
            if n not in given:
                given[n] = args.pop()
        like, leaves, tree, found = run(tuple(args), kwargs)
        replaced = {}
        for n, h in zip(names, found, strict=True):
            v = lift(like, given[n], f"cut at '{n}'")
            if v.shape != h.shape:
                raise ShapeError(f"cut at '{n}'", "the value has another shape than the tagged one",
                                 expected=str(h.shape), got=str(v.shape),
                                 fix="pass what the head returned")  # fmt: skip
            replaced[h.id] = convert(v, h.dtype)
        outs = substitute(like.builder, [y.id for y in leaves], replaced)
        return pytree.unflatten(tree, tensors(outs))

    signature = f._python_signature
    parameters = _with_tags(signature, names)
    head.__signature__ = signature  # type: ignore[attr-defined]
    tail.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    head.__name__, tail.__name__ = f"head({f.__name__})", f"tail({f.__name__})"
    recipes = [(_part_of_cut, f, {"at": at, "k": k}) for k in range(2)]
    return derived(head, f, recipes[0]), derived(tail, f, recipes[1])


def _with_tags(signature: inspect.Signature, names) -> list[inspect.Parameter]:
    """The tail's parameters: those of the function, then one for each tag."""
    parameters = list(signature.parameters.values())
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    if any(p.kind is not kind for p in parameters) or any(not n.isidentifier() for n in names):
        return [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]
    parameters = [p.replace(default=inspect.Parameter.empty) for p in parameters]
    return parameters + [inspect.Parameter(n, kind) for n in names]


def _part_of_cut(f, at, k) -> Function:
    """The head or the tail alone."""
    return cut(f, at)[k]


def _tagged(f, builder, name, outputs) -> Value:
    node = builder.tags.get(name)
    if name in builder.repeated_tags:
        problem, fix = "two different values have this tag", "give each its own name"
    elif node is None:
        problem, fix = "no value has this tag", f"ga.tag(x, {name!r}) in {f.__name__}"
    elif node not in reachable(builder.nodes, outputs):
        problem = "the tag is inside control flow, or the outputs do not depend on it"
        fix = "tag a value that the outputs are computed from, outside of checkpoint and branches"
    else:
        return Value(builder, node)
    known = ", ".join(map(repr, builder.tags)) or "none"
    raise TraceError(f"cut({f.__name__}, at={name!r})", problem, where=f._where,
                     expected=f"a tag among: {known}", got=repr(name), fix=fix)  # fmt: skip


def substitute(builder: Builder, outputs, replaced: dict[int, Value]) -> list[Value]:
    """The outputs recomputed with some nodes replaced by other values."""
    active = dependents(builder.nodes, replaced) & reachable(builder.nodes, outputs)
    new = dict(replaced)
    for node_id in sorted(active - set(replaced)):
        node = builder.nodes[node_id]
        args = [new[a].id if a in new else a for a in node.args]
        with builder.at(node.where):
            new[node_id] = Value(builder, builder.add(node.op, args, node.spec, **node.options))
    return [new.get(o, Value(builder, o)) for o in outputs]


def enclosed(like: Tensor, f: Callable, args: tuple) -> tuple[list[Value], Graph, Any, Any]:
    """Trace f(*args) as a sub-graph: (arguments, graph, structure of args, of the result).

    Values of the outer function that f reads are further arguments.
    """
    builder = like.builder
    leaves, in_tree = pytree.flatten(args)
    values = [lift(like, x, "argument") for x in leaves]
    holes = [placeholder(like, v.spec) for v in values]
    body = Enclosure(like, holes, lambda: f(*pytree.unflatten(in_tree, tensors(holes))))
    arguments = values + [Value(builder, o) for o in body.outside]
    return arguments, body.graph(body.outside), in_tree, body.tree


def checkpoint(f) -> Callable:
    """f, whose intermediates are recomputed in reverse mode instead of kept.

    The recomputation waits for the cotangent, so that the memory is free until then
    (`f.lower(...).memory` shows it).
    """
    f = as_function(f)

    def wrapped(*args, **kwargs):
        leaves, _ = pytree.flatten((args, kwargs))
        like = next((x for x in leaves if isinstance(x, Tensor)), None)
        if like is None:
            return f(*args, **kwargs)
        bound = f._python_signature.bind(*args, **kwargs)
        arguments, graph, _, out_tree = enclosed(like, f._f, bound.args)
        outs = calls(arguments[0], arguments, graph, kind="checkpoint", rule=None)
        return pytree.unflatten(out_tree, tensors(outs))

    wrapped.__name__ = f"checkpoint({f.__name__})"
    wrapped.__signature__ = f._python_signature  # type: ignore[attr-defined]
    return wrapped


class Rule:
    """A user's derivative of a sub-graph: a jvp or a vjp; the other mode is its transpose."""

    def __init__(self, name, jvp, vjp, in_tree, out_tree, count):
        self.name, self.jvp, self.vjp = name, jvp, vjp
        self.in_tree, self.out_tree, self.count = in_tree, out_tree, count

    def pull(self, builder, node, cts, wanted):
        """Cotangents of the wanted arguments."""
        args = [Value(builder, a) for a in node.args]
        outs = picks(Value(builder, node.id), node.id)
        full_cts = [zeros_like(o) if c is None else c for o, c in zip(outs, cts, strict=True)]
        return self.pull_values(args, outs, full_cts, wanted)

    def pull_values(self, args, outs, cts, wanted):
        """As `pull`, on values."""
        parts: list[Any]
        if self.vjp is not None:
            parts = self._vjp(args, outs, cts)
            return [parts[i] if i < self.count else None for i in wanted]
        holes = {i: placeholder(args[i], args[i].spec) for i in wanted if i < self.count}
        tangents = [holes.get(i, zeros_like(a)) for i, a in enumerate(args[: self.count])]
        out_ts = self._jvp(args, tangents)
        ids = [h.id for h in holes.values()]
        found = pull_back(args[0].builder, [t.id for t in out_ts], cts, ids)
        by_argument = dict(zip(holes, found, strict=True))
        return [by_argument.get(i) for i in wanted]

    def push(self, builder, node, tangents):
        """Tangents of the results."""
        args = [Value(builder, a) for a in node.args]
        return self.push_values(args, picks(Value(builder, node.id), node.id), tangents)

    def push_values(self, args, outs, tangents):
        """As `push`, on values."""
        ts = [
            zeros_like(a) if t is None else t
            for a, t in zip(args[: self.count], tangents, strict=False)
        ]
        if self.jvp is not None:
            return self._jvp(args, ts)
        holes = [placeholder(o, o.spec) for o in outs]
        gradients = self._vjp(args, outs, holes)
        live = [(g, t) for g, t in zip(gradients, ts, strict=True) if g is not None]
        found = pull_back(
            args[0].builder, [g.id for g, _ in live], [t for _, t in live], [h.id for h in holes]
        )
        return [zeros_like(o) if p is None else p for o, p in zip(outs, found, strict=True)]

    def _primals(self, args):
        return pytree.unflatten(self.in_tree, tensors(args[: self.count]))

    def _jvp(self, args, tangents):
        ts = pytree.unflatten(self.in_tree, tensors(tangents))
        result = self.jvp(self._primals(args), ts)
        if not isinstance(result, tuple) or len(result) != 2:
            raise DerivativeError(f"jvp rule of {self.name}", "must return (outputs, tangents)",
                                  expected="a pair", got=type(result).__name__,
                                  fix="return outputs, tangents")  # fmt: skip
        like = Tensor(args[0].builder, args[0].id)
        return outputs_of(like, result[1])[0]

    def _vjp(self, args, outs, cts):
        out = pytree.unflatten(self.out_tree, tensors(outs))
        ct = pytree.unflatten(self.out_tree, tensors(cts))
        result = self.vjp(self._primals(args), out, ct)
        if len(self.in_tree.children) == 1 and not isinstance(result, tuple):
            result = (result,)
        flat: list[Any] = []
        like = Tensor(args[0].builder, args[0].id)
        if not isinstance(result, tuple) or len(result) != len(self.in_tree.children):
            raise DerivativeError(
                f"vjp rule of {self.name}", "must return one gradient for each argument",
                expected=f"a tuple of {len(self.in_tree.children)}", got=type(result).__name__,
                fix="return (gradient of the first argument, ...); None for zero",
            )  # fmt: skip
        for part, tree in zip(result, self.in_tree.children, strict=True):
            if part is None:
                flat += [None] * pytree.count(tree)
            else:
                flat += outputs_of(like, part)[0]
        for g, a in zip(flat, args, strict=False):
            if g is not None and g.shape != a.shape:
                raise ShapeError(
                    f"vjp rule of {self.name}", "a gradient has another shape than its argument",
                    expected=str(a.shape), got=str(g.shape), fix="sum over broadcast axes",
                )  # fmt: skip
        return flat

    def batched(self, flags, size) -> BatchedRule:
        """The rule for a batch of calls."""
        return BatchedRule(self, flags, size)


class BatchedRule:
    """A rule mapped over a batch: traced without the batch axis, then given one."""

    def __init__(self, rule, flags, size):
        self.rule, self.flags, self.size, self.count = rule, list(flags), size, rule.count

    def _holes(self, values, flags, placed):
        out = []
        for v, is_batched in zip(values, flags, strict=True):
            if is_batched:
                hole = placeholder(v, Spec(v.shape[1:], v.dtype))
                placed[hole.id] = v
                out.append(hole)
            else:
                out.append(v)
        return out

    def _map(self, run, args, outs, others, other_flags):
        placed: dict[int, Value] = {}
        inner_args = self._holes(args, self.flags, placed)
        inner_outs = self._holes(outs, [True] * len(outs), placed)
        inner_others = self._holes(others, other_flags, placed)
        results = run(inner_args, inner_outs, inner_others)
        live = [r for r in results if r is not None]
        found = batch_through(args[0].builder, [r.id for r in live], placed, self.size)
        grown = iter(
            repeated(r, self.size) if b is None else b for r, b in zip(live, found, strict=True)
        )
        return [None if r is None else next(grown) for r in results]

    def pull_values(self, args, outs, cts, wanted):
        """Cotangents of the wanted arguments; summed over the batch where one is shared."""
        parts = self._map(
            lambda a, o, c: self.rule.pull_values(a, o, c, wanted),
            args,
            outs,
            cts,
            [True] * len(cts),
        )
        return [
            p if p is None or self.flags[i] else total(p, (0,))
            for i, p in zip(wanted, parts, strict=True)
        ]

    def push_values(self, args, outs, tangents):
        """Tangents of the results."""
        ts = [zeros_like(a) if t is None else t for a, t in zip(args, tangents, strict=True)]
        return self._map(lambda a, o, t: self.rule.push_values(a, o, t), args, outs, ts, self.flags)

    pull, push = Rule.pull, Rule.push
    batched = Rule.batched


class CustomDerivative:
    """A function with a derivative of the user's; see `custom_derivative`."""

    def __init__(self, f):
        self._f = as_function(f)
        self._jvp: Callable | None = None
        self._vjp: Callable | None = None
        self.__name__, self.__doc__ = self._f.__name__, self._f.__doc__
        self.__signature__ = signature_of(self._f._f)
        self.__wrapped__ = self._f._f

    def define_jvp(self, rule: Callable) -> Callable:
        """rule(primals, tangents) -> (outputs, output tangents), linear in the tangents."""
        self._jvp = rule
        return rule

    def define_vjp(self, rule: Callable) -> Callable:
        """rule(primals, outputs, cotangents) -> gradients, linear in the cotangents."""
        self._vjp = rule
        return rule

    def __call__(self, *args, **kwargs):
        leaves, _ = pytree.flatten((args, kwargs))
        like = next((x for x in leaves if isinstance(x, Tensor)), None)
        if self._jvp is None and self._vjp is None:
            raise DerivativeError(
                self.__name__, "custom_derivative has no rule", expected="a rule",
                got="none", fix=f"@{self.__name__}.define_jvp or @{self.__name__}.define_vjp",
            )  # fmt: skip
        if like is None:
            return self._f(*args, **kwargs)
        bound = self._f._python_signature.bind(*args, **kwargs)
        bound.apply_defaults()
        values, graph, in_tree, out_tree = enclosed(like, self._f._f, bound.args)
        rule = Rule(self.__name__, self._jvp, self._vjp, in_tree, out_tree, pytree.count(in_tree))
        outs = calls(values[0], values, graph, kind="custom", rule=rule)
        return pytree.unflatten(out_tree, tensors(outs))


def custom_derivative(f) -> CustomDerivative:
    """Give a function a derivative of your own; the other mode and higher orders follow from it.

    Then `@f.define_jvp`: rule(primals, tangents) -> (outputs, tangents), or `@f.define_vjp`:
    rule(primals, outputs, cotangents) -> gradients, a tuple with one for each argument. `primals`
    is the tuple of arguments.

    >>> import numpy as np, graphad as ga
    >>> @custom_derivative
    ... def clipped(x):
    ...     return np.clip(x, -1.0, 1.0)
    >>> @clipped.define_vjp
    ... def rule(primals, outputs, cotangents):  # straight through
    ...     return (cotangents,)
    >>> ga.grad(clipped)(3.0)
    np.float64(1.0)
    """
    return CustomDerivative(f)


__all__ = ["checkpoint", "custom_derivative", "cut", "stop_gradient", "tag"]
