"""Control flow that stays in the graph: cond, switch, scan, fori_loop, while_loop.

Loops compile to loops, so the cost of compiling does not depend on the number of steps, and a
branch that is not taken is not run. All of it has both derivative modes, to any order, and vmap.
"""

from __future__ import annotations

import functools
import math
import operator as operators
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphad.errors import ShapeError, TraceError
from graphad.function import Function
from graphad.graph import Builder, Graph, replay
from graphad.ops import iterate
from graphad.ops.calls import placeholder
from graphad.ops.indexing import index as indexed
from graphad.ops.iterate import ENDLESS
from graphad.ops.numpy_shape import concatenate
from graphad.ops.value import Value, apply, convert, lift, promoted, reshape
from graphad.spec import Spec, promote, same_dim
from graphad.trace import pytree
from graphad.trace.run import active
from graphad.trace.tensor import Tensor
from graphad.transform.enclosure import Enclosure
from graphad.transform.parts import checkpoint as recomputed
from graphad.transform.selection import tensors

_EAGER: Any = weakref.WeakKeyDictionary()


def like_of(*trees) -> Tensor | None:
    """A value of the trace under way, or None outside of one."""
    for x in pytree.flatten(trees)[0]:
        if isinstance(x, Tensor):
            return x
    return active()


def eager(run: Callable, key: Callable, *more) -> Function:
    """The compiled function of a call with plain arrays, `run(key, *arrays)`; kept as long as the
    user's function, which it does not keep alive itself."""
    try:
        known, own = _EAGER.setdefault(key, {}), weakref.ref(key)
        hash(more)
    except TypeError:
        return Function(lambda *args: run(key, *args))
    if more not in known:
        known[more] = Function(lambda *args: run(own(), *args))
    return known[more]


# -- branches ------------------------------------------------------------------------------------
def cond(pred, on_true: Callable, on_false: Callable, *operands):
    """on_true(*operands) where pred holds, else on_false(*operands); only that one is run.

    Args:
        pred: a scalar; a traced one is decided at run time. Under `ga.vmap` each element has its
            own branch.
        on_true, on_false: return the same structure, shapes and dtypes. They may use values from
            around them.

    Raises ShapeError when the branches' results differ.

    >>> import numpy as np
    >>> f = lambda x: cond(x > 0, np.sqrt, lambda x: 0.0 * x, x)
    >>> grad = __import__('graphad').grad(f)
    >>> grad(4.0), grad(-4.0)
    (np.float64(0.25), np.float64(0.0))
    """
    if not isinstance(pred, Tensor):
        _scalar("cond", "pred", np.shape(pred))
        return (on_true if bool(pred) else on_false)(*operands)
    _scalar("cond", "pred", pred.shape)
    chosen = convert(pred if pred.dtype.kind == "b" else apply("not_equal", pred, 0), "i8")
    return _chosen("cond", chosen, (on_false, on_true), operands)


def switch(index, branches: Sequence[Callable], *operands):
    """branches[index](*operands), with the index clipped to those that there are.

    Only that branch is run, also for each element under `ga.vmap`.

    >>> import numpy as np, graphad as ga
    >>> f = ga.function(lambda k, x: ga.switch(k, [np.sin, np.cos, np.tan], x))
    >>> f(1, 0.0)
    np.float64(1.0)
    """
    branches = tuple(branches)
    if not branches:
        raise TraceError("switch", "there is no branch", expected="one or more", got="none")
    if not isinstance(index, Tensor):
        _scalar("switch", "index", np.shape(index))
        return branches[min(max(operators.index(index), 0), len(branches) - 1)](*operands)
    _scalar("switch", "index", index.shape)
    if index.dtype.kind not in "iu":
        raise TraceError("switch", "the index must be an integer", expected="an integer",
                         got=str(index.spec), fix="i.astype('int64')")  # fmt: skip
    return _chosen("switch", convert(index, "i8"), branches, operands)


def _scalar(operation, what, shape):
    if tuple(shape) != ():
        raise ShapeError(
            operation, f"{what} must be one number", expected="shape ()", got=f"shape {shape}",
            fix=f"ga.vmap for one {operation} an element, or np.any / np.all",
        )  # fmt: skip


def _chosen(operation, index: Value, branches, operands):
    like = Tensor(index.builder, index.id)
    leaves, tree = pytree.flatten(operands)
    values = [lift(like, x, operation) for x in leaves]
    holes = [placeholder(like, Spec(v.shape, v.dtype, v.spec.weak)) for v in values]
    made = [
        Enclosure(like, holes, functools.partial(_run, b, tree, holes), everything=True)
        for b in branches
    ]
    specs = _same_results(operation, like, made)
    outside = sorted({o for m in made for o in m.outside})
    graphs = [_converted(m.graph(outside), specs) for m in made]
    arguments = [*values, *[Value(like.builder, o) for o in outside]]
    return pytree.unflatten(made[0].tree, tensors(iterate.switch(index, arguments, graphs)))


def _run(f, tree, holes):
    return f(*pytree.unflatten(tree, tensors(holes)))


def _same_results(operation, like, made: list[Enclosure]) -> list[Spec]:
    """The specs that every branch's results are brought to."""
    nodes = like.builder.nodes
    found = [[nodes[o].spec for o in m.outputs] for m in made]
    for m, specs in zip(made, found, strict=True):
        alike = m.tree == made[0].tree and all(
            len(s.shape) == len(t.shape) and all(map(same_dim, s.shape, t.shape))
            for s, t in zip(specs, found[0], strict=True)
        )
        if not alike:
            raise ShapeError(
                operation, "the branches return different structures or shapes",
                expected=f"{made[0].tree} of {', '.join(map(str, found[0]))}",
                got=f"{m.tree} of {', '.join(map(str, specs))}",
                fix="return the same shapes from every branch, e.g. by np.broadcast_to",
            )  # fmt: skip
    return [Spec(group[0].shape, promote(*group)) for group in zip(*found, strict=True)]


def _converted(graph: Graph, specs: Sequence[Spec]) -> Graph:
    """The graph with its outputs in these dtypes."""
    if all(graph.nodes[o].spec == s for o, s in zip(graph.outputs, specs, strict=True)):
        return graph
    inner = Builder()
    inputs = [inner.input(graph.nodes[i].spec, graph.nodes[i].param("name")) for i in graph.inputs]
    outs = replay(graph, inner, inputs)
    return inner.finish(
        convert(Value(inner, o), s.dtype).id for o, s in zip(outs, specs, strict=True)
    )


# -- loops ---------------------------------------------------------------------------------------
def scan(
    f: Callable,
    init,
    xs=None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int = 1,
    checkpoint: str | int = "all",
):
    """Carry a value through f along the first axis of xs: the last carry, and the stacked ys.

        for x in xs: carry, y = f(carry, x)

    Args:
        f: f(carry, x) -> (carry, y); any pytrees, the carry keeping its shapes and dtypes.
        init: the first carry.
        xs: arrays with the steps along their first axis, or None with `length`.
        reverse: from the last step to the first; ys keep the order of xs.
        unroll: so many steps are written out in one.
        checkpoint: what reverse mode keeps. 'all': of every step what is dear to compute again;
            'none': only the carries, the rest of each step is computed again; 'sqrt' or a number
            n: the carry of every sqrt(length)-th or n-th step, with the steps between computed
            again.

    Returns (carry, ys). Raises ShapeError where lengths differ or the carry changes its shape.

    >>> import numpy as np
    >>> scan(lambda c, x: (c + x, c * x), 0.0, np.array([1.0, 2.0, 3.0]))
    (np.float64(6.0), array([0., 2., 9.]))
    """
    options = (length, reverse, unroll, checkpoint)
    like = like_of(init, xs)
    if like is None:
        run = eager(lambda f, init, xs: scan(f, init, xs, *options), f, "scan", *options)
        return run(init, xs)
    leaves, tree = pytree.flatten(xs)
    values = [lift(like, x, "scan") for x in leaves]
    n = _length(values, length)
    if checkpoint not in ("all", "none"):
        return _in_segments(f, init, pytree.unflatten(tree, tensors(values)), n, reverse, unroll,
                            checkpoint)  # fmt: skip
    if unroll > 1 and isinstance(n, int):
        return _unrolled(f, init, pytree.unflatten(tree, tensors(values)), n, reverse, unroll,
                         checkpoint)  # fmt: skip
    keep = "dear" if checkpoint == "all" else "carries"
    return TracedLoop(like, "scan", init).scan(f, values, tree, n, reverse, keep)


def _length(values: list[Value], length):
    """The number of steps; every x must have as many."""
    if not values and length is None:
        raise TraceError("scan", "without xs it needs the number of steps", expected="length=",
                         got="xs=None and length=None", fix="length=n")  # fmt: skip
    sizes = [v.shape[0] if v.ndim else None for v in values]
    sizes += [length] if length is not None else []
    if any(s is None or not same_dim(s, sizes[0]) for s in sizes):
        raise ShapeError(
            "scan", "the xs have different numbers of steps", expected="equal first axes",
            got=", ".join(map(str, [v.shape for v in values])) + f", length={length}",
            fix="slice them to one length; values without steps belong into init or a closure",
        )  # fmt: skip
    return sizes[0]


def _parts(xs, start, stop):
    """Steps from start to stop of every leaf."""
    return pytree.map_leaves(lambda v: indexed(v, slice(start, stop)), xs)


def _split_scan(step, rest, init, xs, n, size, reverse):
    """`step` over blocks of so many steps, and `rest` over those that are left at the end."""
    whole = n // size * size

    def blocks(init):
        grouped = pytree.map_leaves(
            lambda v: reshape(indexed(v, slice(0, whole)), (n // size, size, *v.shape[1:])), xs
        )
        carry, ys = scan(step, init, grouped, length=n // size, reverse=reverse)
        return carry, pytree.map_leaves(lambda y: reshape(y, (whole, *y.shape[2:])), ys)

    if whole == n:
        return blocks(init)
    if reverse:
        carry, last = rest(init, _parts(xs, whole, n), n - whole)
        carry, first = blocks(carry)
    else:
        carry, first = blocks(init)
        carry, last = rest(carry, _parts(xs, whole, n), n - whole)
    a, tree = pytree.flatten(first)
    b, _ = pytree.flatten(last)
    joined = [concatenate([p, q], axis=0) for p, q in zip(a, b, strict=True)]
    return carry, pytree.unflatten(tree, joined)


def _in_segments(f, init, xs, n, reverse, unroll, checkpoint):
    """A scan over segments, each computed again in reverse mode."""
    if not isinstance(n, int):
        raise TraceError(
            "scan", "checkpoint='sqrt' or a number needs a known length",
            expected="a number of steps", got=str(n), fix="checkpoint='none'",
        )  # fmt: skip
    size = math.isqrt(max(n - 1, 0)) + 1 if checkpoint == "sqrt" else checkpoint
    if not isinstance(size, int) or size < 1:
        raise TraceError(
            "scan", "unknown checkpoint", got=repr(checkpoint),
            expected="'all', 'none', 'sqrt' or a number of steps", fix="'sqrt'",
        )  # fmt: skip
    if n == 0:
        return scan(f, init, xs, n, reverse, unroll)

    def segment(carry, x, steps):
        return scan(f, carry, x, steps, reverse, unroll)

    def again(carry, x, steps):
        return recomputed(functools.partial(segment, steps=steps))(carry, x)

    if n < size:
        return again(init, xs, n)
    return _split_scan(functools.partial(again, steps=size), again, init, xs, n, size, reverse)


def _unrolled(f, init, xs, n, reverse, unroll, checkpoint):
    """A scan whose body is several steps of f."""

    def straight(carry, x, steps):
        ys: list[Any] = [None] * steps
        for k in reversed(range(steps)) if reverse else range(steps):
            one = pytree.map_leaves(lambda v, k=k: indexed(v, k), x)
            carry, ys[k] = f(carry, one)
        flat = [pytree.flatten(y) for y in ys]
        like = like_of(carry, x)
        assert like is not None
        stacked = [
            concatenate([reshape(v, (1, *v.shape)) for v in
                         promoted("scan", [lift(like, q, "scan") for q in column])])
            for column in zip(*[leaves for leaves, _ in flat], strict=True)
        ]  # fmt: skip
        return carry, pytree.unflatten(flat[0][1], stacked)

    if n <= unroll:
        return straight(init, xs, n) if n else scan(f, init, xs, n, reverse, 1, checkpoint)
    return _split_scan(functools.partial(straight, steps=unroll), straight, init, xs, n, unroll,
                       reverse)  # fmt: skip


def fori_loop(lower, upper, body: Callable, init):
    """carry = init; for i in range(lower, upper): carry = body(i, carry).

    With traced bounds the loop has forward mode only; reverse mode needs numbers.

    >>> fori_loop(1, 5, lambda i, product: product * i, 1)
    np.int64(24)
    """
    like = like_of(lower, upper, init)
    if like is None:
        run = eager(lambda f, init: fori_loop(lower, upper, f, init), body, "fori", lower, upper)
        return run(init)
    first = lift(like, lower, "fori_loop")
    count, length = None, ENDLESS
    if isinstance(lower, Tensor) or isinstance(upper, Tensor):
        count = convert(apply("maximum", apply("sub", lift(like, upper, "fori_loop"), first), 0),
                        "i8")  # fmt: skip
    else:
        length = max(operators.index(upper) - operators.index(lower), 0)
    loop = TracedLoop(like, "fori_loop", init)

    def step(carry, index):
        return body(tensors([convert(apply("add", first, index), "i8")])[0], carry), ()

    return loop.run(step, count=count, length=length)


def while_loop(condition: Callable, body: Callable, init, max_steps: int | None = None):
    """carry = init; while condition(carry): carry = body(carry).

    Args:
        condition: carry -> one bool.
        body: carry -> carry, of the same shapes and dtypes.
        max_steps: a bound at which the loop stops; reverse mode needs it, to keep as many
            carries. Under `ga.vmap` each element takes its own number of steps.

    >>> while_loop(lambda x: x < 100.0, lambda x: 2.0 * x, 3.0)
    np.float64(192.0)
    """
    like = like_of(init)
    if like is None:
        run = eager(lambda f, init: while_loop(condition, f, init, max_steps), body, "while",
                     condition, max_steps)  # fmt: skip
        return run(init)
    length = ENDLESS if max_steps is None else operators.index(max_steps)
    loop = TracedLoop(like, "while_loop", init)
    return loop.run(lambda carry, index: (body(carry), ()), length=length, condition=condition)


class TracedLoop:
    """One loop being traced: its carry, as leaves whose dtypes the body settles."""

    def __init__(self, like: Tensor, operation: str, init):
        self.like, self.operation = like, operation
        leaves, self.tree = pytree.flatten(init)
        self.init = [lift(like, x, operation) for x in leaves]

    def scan(self, f, xs: list[Value], x_tree, n, reverse, keep):
        """(last carry, ys)."""

        def step(carry, index, *x):
            result = f(carry, pytree.unflatten(x_tree, list(x)))
            if not (isinstance(result, tuple) and len(result) == 2):
                raise TraceError("scan", "the function must return a pair",
                                 expected="(carry, y)", got=type(result).__name__,
                                 fix="return carry, None where there is no y")  # fmt: skip
            return result

        return self.steps(step, xs, n, reverse=reverse, keep=keep)

    def run(self, step, length, count=None, condition=None):
        """The last carry."""
        return self.steps(step, [], length, count=count, condition=condition)[0]

    def steps(self, step, xs, length, *, count=None, condition=None, reverse=False, keep="dear"):
        body, n = self._settled(step, xs), len(self.init)
        test = None if condition is None else self._test(condition)
        outside = sorted({*body.outside, *(test.outside if test else ())})
        carries = [convert(v, s.dtype) for v, s in zip(self.init, self.specs, strict=True)]
        # Behind the index come the carries, then what the body reads from around it, then the xs.
        graph = _reordered(body.graph(outside), 1 + n, len(xs), len(outside))
        like = self.like
        outs = iterate.iterate(
            like, carries, [Value(like.builder, o) for o in outside], xs, graph, length,
            condition=test and test.graph(outside), count=count, reverse=reverse, keep=keep,
        )  # fmt: skip
        carry = pytree.unflatten(self.tree, tensors(outs[:n]))
        ys = tensors(outs[n + int(test is not None) :])
        return carry, pytree.unflatten(body.tree.children[1], ys)

    def _holes(self) -> list[Value]:
        return [placeholder(self.like, s) for s in self.specs]

    def _settled(self, step, xs: list[Value]) -> Enclosure:
        """The body, traced until the carry's dtypes are those it returns."""
        self.specs = [v.spec for v in self.init]
        like = self.like
        while True:
            index = placeholder(like, iterate.COUNT)
            holes = self._holes()
            rows = [placeholder(like, Spec(x.shape[1:], x.dtype)) for x in xs]

            def run(index=index, holes=holes, rows=rows):
                carry = pytree.unflatten(self.tree, tensors(holes))
                out = step(carry, tensors([index])[0], *tensors(rows))
                return self._kept(out, holes)

            body = Enclosure(like, [index, *holes, *rows], run)
            specs = [like.builder.nodes[o].spec for o in body.outputs[: len(holes)]]
            wider = [Spec(h.shape, promote(h, s)) for h, s in zip(self.specs, specs, strict=True)]
            if all(w.dtype == h.dtype and not h.weak
                   for w, h in zip(wider, self.specs, strict=True)):  # fmt: skip
                return body
            self.specs = wider

    def _kept(self, out, holes):
        """The body's result with the carry checked, in the carry's dtypes where they fit."""
        leaves, tree = pytree.flatten(out[0])
        values = [lift(self.like, x, self.operation) for x in leaves]
        fits = tree == self.tree and all(
            v.ndim == h.ndim and all(map(same_dim, v.shape, h.shape))
            for v, h in zip(values, holes, strict=True)
        )
        if not fits:
            raise ShapeError(
                self.operation, "the carry changes its structure or shape in a step",
                expected=f"{self.tree} of {', '.join(str(h.spec) for h in holes)}",
                got=f"{tree} of {', '.join(str(v.spec) for v in values)}",
                fix="start from an array of the shape that the step returns",
            )  # fmt: skip
        kept = [convert(v, h.dtype) if promote(h.spec, v.spec) == h.dtype else v
                for v, h in zip(values, holes, strict=True)]  # fmt: skip
        return tuple(tensors(kept)), out[1]

    def _test(self, condition) -> Enclosure:
        index = placeholder(self.like, iterate.COUNT)
        holes = self._holes()

        def run():
            out = condition(pytree.unflatten(self.tree, tensors(holes)))
            answer = lift(self.like, out, "while_loop")
            _scalar("while_loop", "the condition", answer.shape)
            return tensors([convert(answer, "?")])[0]

        return Enclosure(self.like, [index, *holes], run)


def _reordered(graph: Graph, first: int, xs: int, outside: int) -> Graph:
    """The graph with `xs` inputs moved behind the `outside` ones that follow them."""
    if not xs or not outside:
        return graph
    inner = Builder()
    order = [*range(first), *range(first + xs, first + xs + outside), *range(first, first + xs)]
    new = {k: inner.input(graph.nodes[graph.inputs[k]].spec, f"x{k}") for k in order}
    return inner.finish(replay(graph, inner, [new[k] for k in range(len(graph.inputs))]))


__all__ = ["cond", "fori_loop", "scan", "switch", "while_loop"]
