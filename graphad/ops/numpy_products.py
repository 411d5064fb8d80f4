"""NumPy's products of arrays, all in terms of `contract`; and norms."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from graphad.errors import ShapeError
from graphad.ops import array, indexing
from graphad.ops.contract import contract
from graphad.ops.numpy_math import amax, amin, axes_of, sum_
from graphad.ops.numpy_shape import diagonal, moveaxis, ravel, value
from graphad.ops.value import (
    apply,
    arrays_of,
    convert,
    promoted,
    public,
    reshape,
)

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _pair(operation, a, b):
    # NumPy's products take a Python number as an array, so it is not weak.
    return promoted(operation, arrays_of([a, b], operation), "number")


def _logical(product):
    """A product of two arrays that of bools is whether any pair of them is true."""

    @functools.wraps(product)
    def call(a, b, *args, **options):
        out = product(a, b, *args, **options)
        of_bools = all(v.dtype.kind == "b" for v in arrays_of([a, b], product.__name__))
        return apply("not_equal", out, 0) if of_bools else out

    return call


@public(
    np.matmul,
    examples=[
        "f(A34, A43)",
        "f(A4, A43)",
        "f(A34, A4)",
        "f(A4, A4)",
        "f(A234, A43)",
        "f(A234, A242)",
    ],
)
@_logical
def matmul(a, b, out=None):
    """As np.matmul: stacks of matrices broadcast."""
    x, y = _pair("matmul", a, b)
    if x.ndim == 0 or y.ndim == 0:
        raise ShapeError("matmul", "takes no scalars", expected="1 axis or more",
                         got=f"shapes {x.shape} and {y.shape}", fix="x * y")  # fmt: skip
    if y.ndim == 1 or x.ndim == 1:
        return _vector_product(x, y)
    nx, ny = x.ndim - 2, y.ndim - 2
    rank = max(nx, ny)
    names = LETTERS[3 : 3 + rank]
    x, left, y, right = _stack_labels(x, y, names[rank - nx :], names[rank - ny :])
    shared = "".join(c for c in names if c in left or c in right)
    out = contract(x, y, left + "ab", right + "bc", shared + "ac")
    lost = [1 if c not in shared else None for c in names]
    if 1 in lost:
        dims = iter(out.shape[: len(shared)])
        out = reshape(out, [1 if n == 1 else next(dims) for n in lost] + list(out.shape[-2:]))
    return out


def _stack_labels(x, y, left, right):
    """Drop stack axes of size 1, which broadcast."""

    def drop(v, labels):
        ones = [i for i in range(len(labels)) if isinstance(v.shape[i], int) and v.shape[i] == 1]
        kept = "".join(c for i, c in enumerate(labels) if i not in ones)
        return reshape(v, array.without(v.shape, ones)), kept

    x, left = drop(x, left)
    y, right = drop(y, right)
    return x, left, y, right


def _vector_product(x, y):
    names = LETTERS[3:]
    if x.ndim == 1 and y.ndim == 1:
        return contract(x, y, "a", "a", "")
    if y.ndim == 1:
        stack = names[: x.ndim - 1]
        return contract(x, y, stack + "a", "a", stack)
    stack = names[: y.ndim - 2]
    return contract(x, y, "a", stack + "ab", stack + "b")


@public(np.dot, examples=["f(A34, A43)", "f(A34, A4)", "f(A4, A4)", "f(A234, A43)", "f(A34, 2.0)"])
@_logical
def dot(a, b, out=None):
    """As np.dot: the last axis of a with the second last of b."""
    x, y = _pair("dot", a, b)
    if x.ndim == 0 or y.ndim == 0:
        return apply("mul", x, y)
    xs = LETTERS[: x.ndim]
    if y.ndim == 1:
        return contract(x, y, xs, xs[-1], xs[:-1])
    ys = LETTERS[26 : 26 + y.ndim]
    ys = ys[:-2] + xs[-1] + ys[-1]
    return contract(x, y, xs, ys, xs[:-1] + ys[:-2] + ys[-1])


@public(np.inner, examples=["f(A34, A34)", "f(A4, A4)", "f(A34, A4)"])
@_logical
def inner(a, b):
    """As np.inner: sums over the last axes."""
    x, y = _pair("inner", a, b)
    if x.ndim == 0 or y.ndim == 0:
        return x * y
    xs = LETTERS[: x.ndim]
    ys = LETTERS[26 : 25 + y.ndim] + xs[-1]
    return contract(x, y, xs, ys, xs[:-1] + ys[:-1])


@public(np.outer, examples=["f(A4, A34)"])
@_logical
def outer(a, b, out=None):
    """As np.outer, of the flattened arguments."""
    x, y = _pair("outer", a, b)
    x, y = ravel(x), ravel(y)
    return reshape(x, (x.shape[0], 1)) * reshape(y, (1, y.shape[0]))


@public(
    np.tensordot,
    examples=["f(A34, A43, 1)", "f(A234, A34, axes=([1, 2], [0, 1]))", "f(A4, A34, 0)"],
)
@_logical
def tensordot(a, b, axes: Any = 2):
    """As np.tensordot."""
    x, y = _pair("tensordot", a, b)
    if isinstance(axes, (int, np.integer)):
        pairs = list(zip(range(x.ndim - axes, x.ndim), range(axes), strict=True))
    else:
        first, second = [np.atleast_1d(s).tolist() for s in axes]
        pairs = [(i % x.ndim, j % y.ndim) for i, j in zip(first, second, strict=True)]
    xs, ys = list(LETTERS[: x.ndim]), list(LETTERS[26 : 26 + y.ndim])
    for i, j in pairs:
        ys[j] = xs[i]
    summed = {xs[i] for i, _ in pairs}
    out = [c for c in xs + ys if c not in summed]
    return contract(x, y, "".join(xs), "".join(ys), "".join(out))


@public(
    np.einsum,
    examples=[
        "f('ij,jk->ik', A34, A43)", "f('ij->ji', A34)", "f('ii->i', A44)", "f('ii', A44)",
        "f('i,i', A4, A4)", "f('ij,jk,kl->il', A34, A43, A34)", "f('bij,bjk->bik', A234, A242)",
        "f('...ij,...j->...i', A234, A4)", "f('ij->', A34)",
    ],
)  # fmt: skip
def einsum(subscripts, *operands, out=None, optimize=True):
    """As np.einsum with a string of subscripts; the order of products is opt_einsum's."""
    import opt_einsum
    from opt_einsum.parser import parse_einsum_input

    values = promoted("einsum", operands, "number")
    shapes = [v.shape for v in values]
    sizes = [tuple(d if isinstance(d, int) else 100 for d in s) for s in shapes]
    try:
        inputs, output, _ = parse_einsum_input((subscripts, *sizes), shapes=True)
    except ValueError as error:
        raise ShapeError(
            "einsum", str(error), expected="subscripts that fit the operands",
            got=f"{subscripts!r} for shapes {shapes}", fix="one letter for each axis",
        ) from None  # fmt: skip
    terms = [
        _diagonals(v, labels, output) for v, labels in zip(values, inputs.split(","), strict=True)
    ]
    if len(terms) > 2:
        path, _ = opt_einsum.contract_path(subscripts, *sizes, shapes=True, optimize="auto")
    else:
        path = [tuple(range(len(terms)))]
    for step in path:
        step = tuple(sorted(step, reverse=True))
        picked = [terms.pop(i) for i in step][::-1]
        rest = "".join(labels for _, labels in terms) + output
        terms.append(_einsum_step(picked, rest))
    v, labels = terms[0]
    return array.transpose(v, [labels.index(c) for c in output])


def _diagonals(v, labels, output):
    """Take diagonals of repeated labels."""
    while True:
        twice = next((c for c in labels if labels.count(c) > 1), None)
        if twice is None:
            return v, labels
        i, j = [k for k, c in enumerate(labels) if c == twice][:2]
        v = diagonal(v, 0, i, j)
        labels = "".join(c for k, c in enumerate(labels) if k not in (i, j)) + twice


def _einsum_step(picked, rest):
    if len(picked) == 1:
        v, labels = picked[0]
        lone = [a for a, c in enumerate(labels) if c not in rest]
        return array.total(v, lone), "".join(c for c in labels if c in rest)
    (x, left), (y, right) = picked
    x, left = _drop_ones(x, left, right, rest)
    y, right = _drop_ones(y, right, left, rest)
    out = "".join(dict.fromkeys(c for c in left + right if c in rest))
    return contract(x, y, left, right, out), out


def _drop_ones(v, labels, other, rest):
    ones = [a for a, c in enumerate(labels)
            if isinstance(v.shape[a], int) and v.shape[a] == 1 and c in other]  # fmt: skip
    return reshape(v, array.without(v.shape, ones)), "".join(
        c for a, c in enumerate(labels) if a not in ones
    )


@public(np.cross, examples=["f(A43, A43 * A43)", "f(A43[0], A43[1])"])
def cross(a, b, axisa=-1, axisb=-1, axisc=-1, axis=None):
    """As np.cross of vectors with three components."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = _pair("cross", a, b)
    x, y = moveaxis(x, axisa, -1), moveaxis(y, axisb, -1)
    if x.shape[-1] != 3 or y.shape[-1] != 3:
        raise ShapeError("cross", "takes vectors of 3 components", expected="3",
                         got=f"{x.shape[-1]} and {y.shape[-1]}", fix="append a zero")  # fmt: skip
    x0, x1, x2 = (indexing.index(x, (..., i)) for i in range(3))
    y0, y1, y2 = (indexing.index(y, (..., i)) for i in range(3))
    parts = [x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0]
    out = array.stack(parts, axis=parts[0].ndim)
    return moveaxis(out, -1, axisc)


def norm(x, ord=None, axis=None, keepdims=False):
    """Vector norms of any order and the Frobenius norm; the gradient of the 2-norm at 0 is 0."""
    x = value(x)
    x = convert(x, x.dtype if x.dtype.kind == "f" else "f8")
    axes = axes_of(x, axis)
    if ord in (None, "fro", "f") or (ord == 2 and len(axes) == 1):
        return apply("sqrt", sum_(x * x, axes, keepdims=keepdims))
    size = apply("abs", x)
    if ord == np.inf:
        return amax(size, axes, keepdims=keepdims, initial=0.0 if 0 in x.shape else None)
    if ord == -np.inf:
        return amin(size, axes, keepdims=keepdims)
    if ord == 0:
        return sum_(convert(x != 0.0, x.dtype), axes, keepdims=keepdims)
    if ord == 1:
        return sum_(size, axes, keepdims=keepdims)
    return sum_(size ** float(ord), axes, keepdims=keepdims) ** (1.0 / float(ord))
