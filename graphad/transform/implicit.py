"""Values defined by equations: `fixed_point` and `root`, differentiated by the implicit function
theorem.

With F(x, p) = 0 the derivative is dx = -F_x⁻¹ F_p dp at the solution, however it was found; so the
iteration keeps nothing, and derivatives of every order follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphad.diff.pullback import pull_back
from graphad.diff.pushforward import push_forward
from graphad.errors import ShapeError, TraceError
from graphad.graph import Graph, replay
from graphad.ops import factor
from graphad.ops.calls import alias, calls, placeholder
from graphad.ops.numpy_shape import concatenate
from graphad.ops.value import Value, add, convert, full, lift, reshape
from graphad.spec import Spec, same_dim, size_of
from graphad.trace import pytree
from graphad.trace.tensor import Tensor
from graphad.transform.control import eager, like_of, while_loop
from graphad.transform.derivatives import jacobian_of
from graphad.transform.enclosure import Enclosure
from graphad.transform.parts import BatchedRule, Rule
from graphad.transform.selection import tensors


# -- the rule ------------------------------------------------------------------------------------
class ImplicitRule(Rule):
    """The derivative of x with respect to p where residual(x..., p...) = 0.

    The call's arguments are the start, which does not matter, and then p.
    """

    def __init__(self, name: str, residual: Graph, unknowns: int):
        self.name, self.residual, self.unknowns = name, residual, unknowns
        self.count = 0

    def push_values(self, args, outs, tangents):
        """Tangents of the results."""
        builder = args[0].builder
        n = self.unknowns
        x = [alias(o) for o in outs]
        p = [alias(a) for a in args[n:]]
        out = [Value(builder, o) for o in
               replay(self.residual, builder, [v.id for v in (*x, *p)])]  # fmt: skip
        given = {v.id: t for v, t in zip(p, tangents[n:], strict=True) if t is not None}
        moved = push_forward(builder, [o.id for o in out], given)
        if all(m is None for m in moved):
            return [None] * n
        columns = jacobian_of(x[0], out, x, "auto")
        blocks = [[reshape(b, (o.size, v.size)) for b, v in zip(row, x, strict=True)]
                  for row, o in zip(columns, out, strict=True)]  # fmt: skip
        matrix = concatenate([concatenate(row, axis=1) for row in blocks], axis=0)
        right = concatenate(
            [reshape(full(o, 0.0) if m is None else m, (o.size, 1))
             for o, m in zip(out, moved, strict=True)], axis=0)  # fmt: skip
        solved = -factor.solved(matrix, right)
        found, at = [], 0
        for v in x:
            piece = add(solved, "slice", [solved], start=(at, 0), step=(1, 1),
                               shape=(v.size, 1))  # fmt: skip
            found.append(reshape(piece, v.shape))
            at += v.size
        return found

    def pull_values(self, args, outs, cts, wanted):
        """Cotangents of the wanted arguments, by transposition."""
        holes = {i: placeholder(args[i], args[i].spec) for i in wanted if i >= self.unknowns}
        out_ts = self.push_values(args, outs, [holes.get(i) for i in range(len(args))])
        live = [(t, ct) for t, ct in zip(out_ts, cts, strict=True) if t is not None]
        ids = [h.id for h in holes.values()]
        found = pull_back(args[0].builder, [t.id for t, _ in live], [ct for _, ct in live], ids)
        by_argument = dict(zip(holes, found, strict=True))
        return [by_argument.get(i) for i in wanted]

    def batched(self, flags, size) -> BatchedRule:
        """The rule for a batch of calls."""
        return BatchedRule(self, flags, size)


def _solved(name: str, like: Tensor, start: list[Value], residual, solve) -> list[Tensor]:
    """The values at which residual(values) = 0, found by solve(start)."""
    specs = [Spec(v.shape, v.dtype) for v in start]
    unknown = [placeholder(like, s) for s in specs]
    equations = Enclosure(like, unknown, lambda: tuple(residual(tensors(unknown))), everything=True)
    for o, s in zip(equations.outputs, specs, strict=True):
        found = like.builder.nodes[o].spec
        if len(found.shape) != len(s.shape) or not all(map(same_dim, found.shape, s.shape)):
            raise ShapeError(
                name, "the function's result has another shape than its argument",
                expected=str(s.shape), got=str(found.shape), fix="as many equations as unknowns",
            )  # fmt: skip
    holes = [placeholder(like, s) for s in specs]
    search = Enclosure(like, holes, lambda: tuple(solve(tensors(holes))), everything=True)
    outside = sorted({*equations.outside, *search.outside})
    rule = ImplicitRule(name, equations.graph(outside), len(start))
    arguments = [*start, *[Value(like.builder, o) for o in outside]]
    return tensors(calls(like, arguments, search.graph(outside), kind="custom", rule=rule))


def _start(like: Tensor, operation: str, x0) -> tuple[list[Value], Any]:
    leaves, tree = pytree.flatten(x0)
    values = [lift(like, x, operation) for x in leaves]
    values = [v if v.dtype.kind == "f" else convert(v, "f8") for v in values]
    return [convert(v, v.dtype) for v in values], tree


def _largest(parts) -> Any:
    """The largest magnitude in some arrays."""
    return np.max(np.stack([np.max(np.abs(p)) if p.ndim else np.abs(p) for p in parts]))


# -- fixed points --------------------------------------------------------------------------------
def fixed_point(f: Callable, x0, tolerance: float = 1e-12, max_steps: int = 1000):
    """x with x = f(x), by iteration from x0 until no element moves by more than
    tolerance * (1 + |x|).

    Args:
        f: x -> x, any pytree of floats; it may use values from around it, with respect to which
            the result has derivatives of every order, by the implicit function theorem.
        x0: where to start; the result's derivative does not depend on it.

    Where max_steps do not suffice the result is nan.

    >>> import numpy as np
    >>> import graphad as ga
    >>> root = lambda a: ga.fixed_point(lambda x: 0.5 * (x + a / x), a)
    >>> root(2.0), ga.grad(root)(2.0)
    (np.float64(1.414213562373095), np.float64(0.3535533905932738))
    """
    like = like_of(x0)
    if like is None:
        run = eager(lambda f, x0: fixed_point(f, x0, tolerance, max_steps), f, "fixed", tolerance,
                     max_steps)  # fmt: skip
        return run(x0)
    start, tree = _start(like, "fixed_point", x0)

    def once(values):
        leaves, out_tree = pytree.flatten(f(pytree.unflatten(tree, list(values))))
        if out_tree != tree:
            raise ShapeError(
                "fixed_point", "the function returns another structure than it takes",
                expected=str(tree), got=str(out_tree), fix="return x's structure",
            )  # fmt: skip
        return [lift(like, v, "fixed_point") for v in leaves]

    def solve(values):
        def step(state):
            old, _, k = state
            new = tensors(once(old))
            gap = [np.abs(a - b) / (1.0 + np.abs(b)) for a, b in zip(old, new, strict=True)]
            return new, _largest(gap), k + 1

        first = (list(values), np.inf, 0)
        x, gap, _ = while_loop(lambda s: (s[1] > tolerance) & (s[2] < max_steps), step, first)
        return [np.where(gap <= tolerance, v, np.nan) for v in x]

    def residual(values):
        return [b - a for a, b in zip(values, once(values), strict=True)]

    return pytree.unflatten(tree, _solved("fixed_point", like, start, residual, solve))


# -- roots ---------------------------------------------------------------------------------------
def root(f: Callable, x0=None, bracket=None, tolerance: float = 1e-12, max_steps: int = 100):
    """x with f(x) = 0.

    Args:
        f: with `bracket` a function of one number, else of an array or pytree, with as many
            equations as unknowns. It may use values from around it, with respect to which the
            result has derivatives of every order, by the implicit function theorem.
        x0: where Newton's method starts, with steps halved until the equations improve.
        bracket: (a, b) where f changes its sign: Chandrupatla's method (Adv. Eng. Software 28,
            1997), which always converges.
        tolerance: relative to 1 + |x|.

    Where it does not converge, or the signs at the bracket are equal, the result is nan.

    >>> import numpy as np
    >>> import graphad as ga
    >>> kepler = lambda m: ga.root(lambda e: e - 0.3 * np.sin(e) - m, bracket=(0.0, 4.0))
    >>> ga.value_and_grad(kepler)(1.0)
    (np.float64(1.2880913132118377), np.float64(1.0913293011504175))
    """
    if (x0 is None) == (bracket is None):
        raise TraceError(
            "root", "it needs a start or a bracket", expected="x0= or bracket=",
            got="both" if x0 is not None else "none", fix="bracket=(a, b)",
        )  # fmt: skip
    like = like_of(x0, bracket)
    if like is None:
        options = (tolerance, max_steps)
        if bracket is not None:
            run = eager(lambda f, b: root(f, None, b, *options), f, "bracket", *options)
            return run(tuple(bracket))
        return eager(lambda f, x: root(f, x, None, *options), f, "root", *options)(x0)
    if bracket is not None:
        return _bracketed(like, f, bracket, tolerance, max_steps)
    start, tree = _start(like, "root", x0)

    def equations(values):
        leaves, _ = pytree.flatten(f(pytree.unflatten(tree, list(values))))
        return [lift(like, v, "root") for v in leaves]

    def solve(values):
        return _newton(equations, list(values), tolerance, max_steps)

    return pytree.unflatten(tree, _solved("root", like, start, equations, solve))


def _bracketed(like: Tensor, f, bracket, tolerance, max_steps):
    ends = [lift(like, v, "root") for v in bracket]
    dtype = np.result_type(*[v.dtype if v.dtype.kind == "f" else np.float64 for v in ends])
    ends = [convert(v, dtype) for v in ends]
    if any(v.ndim for v in ends):
        raise ShapeError(
            "root", "the ends of a bracket are numbers", expected="shape ()",
            got=", ".join(str(v.shape) for v in ends), fix="ga.vmap for many roots",
        )  # fmt: skip

    def at(x):
        out = lift(like, f(x), "root")
        if out.ndim:
            raise ShapeError(
                "root", "with a bracket the function gives one number",
                expected="shape ()", got=str(out.shape), fix="x0= for arrays",
            )  # fmt: skip
        return convert(out, dtype)

    def solve(values):
        a, b = values
        return [_chandrupatla(lambda x: tensors([at(x)])[0], a, b, tolerance, max_steps)]

    def residual(values):
        return [at(values[0])]

    # The second end is looked for from the first: it takes part as a value from around.
    end = tensors([ends[1]])[0]
    found = _solved("root", like, [ends[0]], residual, lambda v: solve([v[0], end]))
    return found[0]


def _chandrupatla(f, a, b, tolerance, max_steps):
    """Inverse quadratic interpolation where it is safe, else halving."""
    fa, fb = f(a), f(b)

    def step(s):
        x1, f1, x2, f2, x3, f3, t, k = s
        x = x1 + t * (x2 - x1)
        y = f(x)
        same = (y > 0) == (f1 > 0)
        x3, f3, x2, f2 = (np.where(same, x1, x2), np.where(same, f1, f2),
                          np.where(same, x2, x1), np.where(same, f2, f1))  # fmt: skip
        x1, f1 = x, y
        xi, phi = (x1 - x2) / (x3 - x2), (f1 - f2) / (f3 - f2)
        safe = (phi * phi < xi) & ((1 - phi) * (1 - phi) < 1 - xi)
        guess = (f1 / (f2 - f1) * f3 / (f2 - f3)
                 + (x3 - x1) / (x2 - x1) * f1 / (f3 - f1) * f2 / (f3 - f2))  # fmt: skip
        least = 0.5 * tolerance * (1.0 + np.abs(x1)) / np.abs(x2 - x1)
        t = np.clip(np.where(safe, guess, 0.5), least, 1.0 - least)
        return x1, f1, x2, f2, x3, f3, t, k + 1

    def going(s):
        x1, f1, x2, _, _, _, _, k = s
        wide = np.abs(x2 - x1) > tolerance * (1.0 + np.abs(x1))
        return wide & (f1 != 0.0) & (k < max_steps)

    start = (b, fb, a, fa, a, fa, 0.5, 0)
    x1, f1, x2, f2, _, _, _, k = while_loop(going, step, start)
    best = np.where(np.abs(f1) < np.abs(f2), x1, x2)
    crossing = ((fa > 0) != (fb > 0)) | (fa == 0) | (fb == 0)
    best = np.where(fa == 0.0, a, np.where(fb == 0.0, b, best))
    return np.where(crossing & (k < max_steps), best, np.nan)


def _newton(equations, start: list, tolerance, max_steps):
    """Newton's method on all unknowns as one vector; a step is halved until the largest residual
    falls."""
    shapes = [v.shape for v in start]
    sizes = [size_of(s) for s in shapes]
    ends = np.cumsum(sizes).tolist()

    def parts(x):
        return [x[e - n : e].reshape(s) for e, n, s in zip(ends, sizes, shapes, strict=True)]

    def flat(values):
        return np.concatenate([np.reshape(v, -1) for v in values])

    def residual(x):
        return flat(tensors(equations(parts(x))))

    def step(state):
        x, r, _, k = state
        inner = alias(x)
        out: Any = residual(Tensor(inner.builder, inner.id))
        found = jacobian_of(inner, [out], [inner], "auto")[0][0]
        slope: Any = Tensor(found.builder, found.id)
        change = np.linalg.solve(slope, r)
        size = np.max(np.abs(r))

        def worse(s):
            return (s[0] > 1e-9) & ~(np.max(np.abs(residual(x - s[0] * change))) < size)

        scale = while_loop(worse, lambda s: (0.5 * s[0],), (1.0,))[0]
        new = x - scale * change
        moved = np.max(np.abs(new - x) / (1.0 + np.abs(new)))
        return new, residual(new), moved, k + 1

    def going(state):
        _, r, moved, k = state
        return (moved > tolerance) & (np.max(np.abs(r)) > 0.0) & (k < max_steps)

    x = flat(start)
    x, r, moved, _ = while_loop(going, step, (x, residual(x), np.inf, 0))
    fine = (moved <= tolerance) | (np.max(np.abs(r)) == 0.0)
    return parts(np.where(fine, x, np.nan))


__all__ = ["fixed_point", "root"]
