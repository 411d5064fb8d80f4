"""The transforms: grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp, vmap.

Each wraps a function in one that, when traced, takes the derivative within the same graph; so
they nest to any order and mix with `ga.gradients` and with each other.
"""

from __future__ import annotations

from typing import Any

from graphad.diff.batch import batch_through
from graphad.diff.pullback import pull_back
from graphad.diff.pushforward import push_forward
from graphad.errors import DerivativeError, DTypeError, ShapeError
from graphad.graph import reachable
from graphad.ops.array import embed, transpose
from graphad.ops.calls import placeholder
from graphad.ops.numpy_shape import moveaxis
from graphad.ops.value import Value, full, lift, repeated, reshape, zeros_like
from graphad.ops.work import operations
from graphad.spec import Spec, same_dim, size_of
from graphad.trace import pytree
from graphad.trace.tensor import Tensor
from graphad.transform.selection import (
    Selection,
    any_tensor,
    matched,
    or_zeros,
    outputs_of,
    tensors,
)
from graphad.transform.shared import transform

Wrt = int | str | tuple[int | str, ...]


@transform()
def value_and_grad(f, wrt: Wrt = 0, has_aux: bool = False, *, static=()) -> Any:
    """The value of a scalar function and its gradient, from one reverse pass.

    Args:
        f: returns a scalar float, or with `has_aux` a pair (scalar, anything).
        wrt: position, parameter name, or a tuple of either.

    Returns a Function: `g(*args) -> (value, gradient)`; the gradient has the structure of wrt.

    >>> import numpy as np
    >>> value_and_grad(lambda x: (x * x).sum())(np.array([1.0, 2.0]))
    (np.float64(5.0), array([2., 4.]))
    """

    def g(*args, **kwargs):
        s = Selection(f, wrt, args, kwargs, f"grad({f.__name__})")
        out = s.call()
        aux = None
        if has_aux:
            out, aux = out
        leaves, tree = outputs_of(s.like, out)
        if len(leaves) != 1 or leaves[0].ndim != 0 or leaves[0].dtype.kind != "f":
            got = ", ".join(str(v.spec) for v in leaves)
            raise DerivativeError(
                f"grad({f.__name__})", "the function must return one float scalar",
                where=f._where,
                expected="a value of shape ()", got=got,
                fix="reduce it, e.g. .sum(); or use ga.vjp, ga.jacobian",
            )  # fmt: skip
        y = leaves[0]
        parts = pull_back(y.builder, [y.id], [full(y, 1.0)], [x.id for x in s.leaves])
        grads = tensors(or_zeros(p, x) for p, x in zip(parts, s.leaves, strict=True))
        value = pytree.unflatten(tree, tensors([y]))
        return ((value, aux) if has_aux else value), s.shaped(grads)

    return g


@transform()
def grad(f, wrt: Wrt = 0, *, static=()) -> Any:
    """The gradient of a scalar function: g(*args) -> df/d(wrt).

    >>> grad(lambda x: x**3)(2.0)
    np.float64(12.0)
    """
    both = value_and_grad(f, wrt)

    def g(*args, **kwargs):
        return both._f(*args, **kwargs)[1]

    return g


@transform("cotangents")
def vjp(f, wrt: Wrt = 0, *, static=()) -> Any:
    """Vector-Jacobian product: `g(*args, cotangents=ct) -> (outputs, gradients)`.

    gradients = cotangents^T J, by one reverse pass whatever the number of outputs. Without
    cotangents it is the vector of ones.

    >>> import numpy as np
    >>> vjp(lambda x: x * x)(np.array([1.0, 2.0]), cotangents=np.array([2.0, 3.0]))
    (array([1., 4.]), array([ 4., 12.]))
    """
    name = f"vjp({f.__name__})"

    def g(*args, cotangents=None, **kwargs):
        s = Selection(f, wrt, args, kwargs, name)
        leaves, tree = outputs_of(s.like, s.call())
        if cotangents is None:
            cts: list[Any] = [full(y, 1.0) if y.spec.is_float else None for y in leaves]
        else:
            given, given_tree = pytree.flatten(cotangents)
            if given_tree != tree:
                raise ShapeError(name, "cotangents have another structure than the outputs",
                                 expected=str(tree), got=str(given_tree),
                                 fix="one cotangent for each output")  # fmt: skip
            cts = [matched(name, c, y, "cotangent") for c, y in zip(given, leaves, strict=True)]
        parts = pull_back(s.like.builder, [y.id for y in leaves], cts, [x.id for x in s.leaves])
        grads = tensors(or_zeros(p, x) for p, x in zip(parts, s.leaves, strict=True))
        return pytree.unflatten(tree, tensors(leaves)), s.shaped(grads)

    return g


@transform("tangents")
def jvp(f, wrt: Wrt = 0, *, static=()) -> Any:
    """Jacobian-vector product: `g(*args, tangents=t) -> (outputs, output tangents)`.

    >>> jvp(lambda x: x**2)(3.0, tangents=1.0)
    (np.float64(9.0), np.float64(6.0))
    """
    name = f"jvp({f.__name__})"

    def g(*args, tangents=None, **kwargs):
        s = Selection(f, wrt, args, kwargs, name)
        leaves, tree = outputs_of(s.like, s.call())
        if tangents is None:
            raise DerivativeError(name, "tangents are missing", expected="tangents=",
                                  got="none", fix="pass tangents shaped as wrt")  # fmt: skip
        given = s.flat(tangents, "tangents")
        ts = {x.id: matched(name, t, x, "tangent") for x, t in zip(s.leaves, given, strict=True)}
        parts = push_forward(s.like.builder, [y.id for y in leaves], ts)
        out = tensors(or_zeros(p, y) for p, y in zip(parts, leaves, strict=True))
        return pytree.unflatten(tree, tensors(leaves)), pytree.unflatten(tree, out)

    return g


def _basis(like: Value, spec: Spec) -> Value:
    """The unit tangents of a value, stacked along a new first axis."""
    n = size_of(spec.shape)
    ones = full(like, 1.0, (n,), spec.dtype)
    return reshape(embed(ones, (0,), (n + 1,), (n * n,)), (n, *spec.shape))


NEAR = 8


def jacobian_of(like: Value, ys: list[Value], xs: list[Value], mode: str) -> list[list[Value]]:
    """J[i][j] of shape ys[i].shape + xs[j].shape, in one builder.

    'auto' takes the mode with fewer unit vectors; where their numbers are within a factor of
    NEAR, both are built and the one of less work is kept (the other is dead code).
    """
    if mode != "auto":
        return _jacobian_in(like, ys, xs, mode)
    columns, rows = (sum((v.size for v in vs), 0) for vs in (xs, ys))
    if not (isinstance(columns, int) and isinstance(rows, int)):
        return _jacobian_in(like, ys, xs, "reverse" if isinstance(rows, int) else "forward")
    if columns * NEAR < rows or rows * NEAR < columns:
        return _jacobian_in(like, ys, xs, "forward" if columns <= rows else "reverse")
    nodes = like.builder.nodes
    before = reachable(nodes, [y.id for y in ys])
    both = [_jacobian_in(like, ys, xs, m) for m in ("forward", "reverse")]

    def work(built):
        made = reachable(nodes, [v.id for row in built for v in row]) - before
        return operations(nodes, made)

    return min(both, key=work)


def _jacobian_in(like: Value, ys, xs, mode: str) -> list[list[Value]]:
    rows: list[list[Any]] = [[None] * len(xs) for _ in ys]
    if mode == "forward":
        for j, x in enumerate(xs):
            t = placeholder(like, x.spec)
            outs = push_forward(like.builder, [y.id for y in ys], {x.id: t})
            columns = unit_tangents(like, outs, t, x.spec)
            for i, (y, c) in enumerate(zip(ys, columns, strict=True)):
                if c is not None:
                    c = reshape(c, (*x.shape, *y.shape))
                    order = (*range(x.ndim, x.ndim + y.ndim), *range(x.ndim))
                    rows[i][j] = transpose(c, order)
    else:
        for i, y in enumerate(ys):
            if not y.spec.is_float:
                continue
            ct = placeholder(like, y.spec)
            parts = pull_back(like.builder, [y.id], [ct], [x.id for x in xs])
            each = unit_tangents(like, parts, ct, y.spec)
            for j, (x, p) in enumerate(zip(xs, each, strict=True)):
                if p is not None:
                    rows[i][j] = reshape(p, (*y.shape, *x.shape))
    return [
        [full(like, 0.0, (*y.shape, *x.shape), x.dtype) if r is None else r
         for r, x in zip(row, xs, strict=True)]
        for row, y in zip(rows, ys, strict=True)
    ]  # fmt: skip


def unit_tangents(like, values, hole: Value, spec: Spec, basis: Value | None = None):
    """Values that depend linearly on `hole`, for every unit vector (or row of `basis`) in its
    place."""
    basis = _basis(like, spec) if basis is None else basis
    n = basis.shape[0]
    live = [v for v in values if v is not None]
    found = batch_through(like.builder, [v.id for v in live], {hole.id: basis}, n)
    done = {v.id: repeated(v, n) if b is None else b for v, b in zip(live, found, strict=True)}
    return [None if v is None else done[v.id] for v in values]


def _checked_mode(mode: str) -> str:
    if mode not in ("auto", "forward", "reverse"):
        raise DerivativeError("jacobian", "unknown mode", expected="'auto', 'forward' or 'reverse'",
                              got=repr(mode), fix="mode='auto'")  # fmt: skip
    return mode


@transform()
def jacobian(f, wrt: Wrt = 0, mode: str = "auto", *, static=()) -> Any:
    """The Jacobian, nested like outputs x wrt: J[i][j] has shape y_i.shape + x_j.shape.

    mode 'auto' takes the pass, forward or reverse, that is less work on this graph.

    >>> import numpy as np
    >>> jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """

    def g(*args, **kwargs):
        s = Selection(f, wrt, args, kwargs, f"jacobian({f.__name__})")
        leaves, tree = outputs_of(s.like, s.call())
        rows = jacobian_of(s.like, leaves, s.leaves, _checked_mode(mode))
        return pytree.unflatten(tree, [s.shaped(tensors(row)) for row in rows])

    return g


@transform()
def hessian(f, wrt: Wrt = 0, *, static=()) -> Any:
    """The Hessian of a scalar function, nested like wrt x wrt; forward over reverse mode.

    >>> import numpy as np
    >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    inner = grad(f, wrt)
    outer = jacobian(inner, wrt, mode="forward")

    def g(*args, **kwargs):
        return outer._f(*args, **kwargs)

    return g


@transform("tangents")
def hvp(f, wrt: Wrt = 0, *, static=()) -> Any:
    """Hessian-vector product of a scalar function: `h(*args, tangents=t)`, without the Hessian.

    >>> import numpy as np
    >>> hvp(lambda x: (x**3).sum())(np.array([1.0, 2.0]), tangents=np.array([1.0, 1.0]))
    array([ 6., 12.])
    """
    inner = jvp(grad(f, wrt), wrt)

    def g(*args, tangents=None, **kwargs):
        return inner._f(*args, tangents=tangents, **kwargs)[1]

    return g


@transform()
def vmap(f, in_axes: Any = 0, out_axes: Any = 0, *, static=()) -> Any:
    """f for every element of a batch: arguments are mapped over `in_axes` (None: not mapped).

    Args:
        in_axes: one axis for all positional arguments, or a tuple with one for each.
        out_axes: where the batch axis of the results goes.

    >>> import numpy as np
    >>> vmap(lambda x, y: (x * y).sum(), in_axes=(0, None))(np.ones((3, 2)), np.array([1.0, 2.0]))
    array([3., 3., 3.])
    """
    name = f"vmap({f.__name__})"

    def g(*args, **kwargs):
        like = any_tensor((args, kwargs))
        axes = list(in_axes) if isinstance(in_axes, (tuple, list)) else [in_axes] * len(args)
        if len(axes) != len(args):
            raise ShapeError(name, "in_axes does not fit the arguments",
                             expected=f"{len(args)} axes", got=f"{len(axes)}",
                             fix="one entry for each argument")  # fmt: skip
        placed: dict[int, Value] = {}
        size: list[Any] = []

        def hole(x, axis):
            if axis is None:
                return x
            v = lift(like, x, name)
            if not -v.ndim <= axis < v.ndim:
                raise ShapeError(name, "a mapped argument has no such axis",
                                 expected=f"{axis + 1} axes or more", got=f"shape {v.shape}",
                                 fix="in_axes=None for what is not mapped")  # fmt: skip
            v = moveaxis(v, axis, 0)
            if size and not same_dim(size[0], v.shape[0]):
                raise ShapeError(name, "mapped axes differ in size", expected=str(size[0]),
                                 got=str(v.shape[0]), fix="check in_axes")  # fmt: skip
            size.append(v.shape[0])
            inner = placeholder(Tensor(v.builder, v.id), Spec(v.shape[1:], v.dtype))
            placed[inner.id] = v
            return inner

        inner_args = []
        for arg, axis in zip(args, axes, strict=True):
            if isinstance(axis, (dict, list, tuple)):
                inner_args.append(pytree.map_leaves(hole, arg, axis))
            else:
                inner_args.append(pytree.map_leaves(lambda x, a=axis: hole(x, a), arg))
        inner_kwargs = {
            k: v if k in f._static else pytree.map_leaves(lambda x: hole(x, 0), v)
            for k, v in kwargs.items()
        }
        if not size:
            raise ShapeError(name, "nothing is mapped", expected="an axis that is not None",
                             got=f"in_axes={in_axes}", fix="call f itself")  # fmt: skip
        leaves, tree = outputs_of(like, f._f(*inner_args, **inner_kwargs))
        found = batch_through(like.builder, [y.id for y in leaves], placed, size[0])
        outs = [
            repeated(y, size[0]) if b is None else b for y, b in zip(leaves, found, strict=True)
        ]
        places = out_axes if isinstance(out_axes, (tuple, list)) else [out_axes] * len(outs)
        moved = [moveaxis(o, 0, a) for o, a in zip(outs, places, strict=True)]
        return pytree.unflatten(tree, tensors(moved))

    return g


def gradients(ys, xs, grad_ys=None, unconnected: str = "none", stop=()) -> list[Any]:
    """Inside a traced function: the gradients of sum(grad_ys * ys), one for each of xs.

    Any tensors, intermediate ones included, as tf.gradients.

    Args:
        ys, xs: a tensor or a list of them.
        grad_ys: cotangents, one for each of ys (None: ones).
        unconnected: 'none' gives None, 'zero' zeros, where no y depends on x.
        stop: tensors to be taken as constants.
    """
    ys = list(ys) if isinstance(ys, (list, tuple)) else [ys]
    xs_list = list(xs) if isinstance(xs, (list, tuple)) else [xs]
    for x in (*ys, *xs_list):
        if not isinstance(x, Tensor):
            raise DerivativeError(
                "ga.gradients", "works inside a traced function, on its tensors",
                expected="traced values", got=type(x).__name__,
                fix="call it in a function under @ga.function; or use ga.grad",
            )  # fmt: skip
        if not x.spec.is_float:
            raise DTypeError("ga.gradients", "an integer tensor has no derivative",
                             expected="floats", got=str(x.spec),
                             fix="x.astype('float64')")  # fmt: skip
    if unconnected not in ("none", "zero"):
        raise DerivativeError("ga.gradients", "unknown choice for unconnected",
                              expected="'none' or 'zero'", got=repr(unconnected),
                              fix="unconnected='zero'")  # fmt: skip
    given = [None] * len(ys) if grad_ys is None else grad_ys
    given = list(given) if isinstance(given, (list, tuple)) else [given]
    if len(given) != len(ys):
        raise ShapeError("ga.gradients", "grad_ys does not fit ys",
                         expected=f"{len(ys)} cotangents", got=str(len(given)),
                         fix="one for each of ys, or None")  # fmt: skip
    cts = [
        full(y, 1.0) if c is None else matched("ga.gradients", c, y, "cotangent")
        for y, c in zip(ys, given, strict=True)
    ]
    stops = stop if isinstance(stop, (list, tuple)) else [stop]
    builder = ys[0].builder
    parts = pull_back(
        builder, [y.id for y in ys], cts, [x.id for x in xs_list], [s.id for s in stops]
    )
    return [
        (Tensor(builder, zeros_like(x).id) if unconnected == "zero" else None)
        if p is None
        else Tensor(builder, p.id)
        for p, x in zip(parts, xs_list, strict=True)
    ]


def jacobians(ys, xs, mode: str = "auto") -> Any:
    """Inside a traced function: the Jacobian of each y with respect to each x, unsummed.

    J of shape y.shape + x.shape; a list for a list of xs, and a list of lists for a list of ys.
    """
    ys_list = list(ys) if isinstance(ys, (list, tuple)) else [ys]
    xs_list = list(xs) if isinstance(xs, (list, tuple)) else [xs]
    rows = [tensors(r) for r in jacobian_of(ys_list[0], ys_list, xs_list, _checked_mode(mode))]
    if not isinstance(xs, (list, tuple)):
        flat = [r[0] for r in rows]
        return flat if isinstance(ys, (list, tuple)) else flat[0]
    return rows if isinstance(ys, (list, tuple)) else rows[0]
