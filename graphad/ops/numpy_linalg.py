"""NumPy's and SciPy's linear algebra, composed from the factorisations."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.linalg import _linalg  # type: ignore[attr-defined]

from graphad.errors import NotCoveredError, ShapeError
from graphad.ops import factor
from graphad.ops.array import iota, require_static, transpose
from graphad.ops.factor import diagonal_of, identity, product, row, swapped
from graphad.ops.indexing import index
from graphad.ops.iterate import graph_of, switch
from graphad.ops.numpy_math import amax, amin, prod, sum_
from graphad.ops.numpy_products import matmul, norm
from graphad.ops.numpy_shape import moveaxis, value
from graphad.ops.value import (
    Value,
    _first_value,
    add,
    apply,
    broadcast_to,
    convert,
    lift,
    promoted,
    public,
    reshape,
    select,
)
from graphad.spec import broadcast_shapes, same_dim, size_of

results: Any = _linalg  # NumPy's named tuples, here of traced values
SPD = "A44 @ A44.T + 3 * np.eye(4)"
BATCH = "A242 @ np.swapaxes(A242, -1, -2) + 2 * np.eye(4)"
WELL = "A44 + 7 * np.eye(4)"


# -- arguments -----------------------------------------------------------------------------------
def matrix(operation: str, a, square: bool = False) -> Value:
    """A batch of float matrices."""
    x = value(a)
    x = x if x.dtype.kind == "f" else convert(x, "f8")
    if x.ndim < 2 or (square and not same_dim(x.shape[-1], x.shape[-2])):
        raise ShapeError(operation, "takes square matrices" if square else "takes matrices",
                         expected="(..., n, n)" if square else "(..., m, n)",
                         got=f"shape {x.shape}", fix="reshape it, or add axes")  # fmt: skip
    return x


def _together(operation, a, b) -> tuple[Value, Value]:
    """Matrix and right-hand sides of one dtype and batch."""
    like = _first_value([a, b])
    x, y = promoted(operation, [lift(like, a), lift(like, b)], "float")
    matrix(operation, x, square=True)
    return x, y


def _columns(operation, x: Value, y: Value, vectors: bool) -> tuple[Value, Value]:
    """Both with a common batch, y with columns."""
    y = reshape(y, (*y.shape, 1)) if vectors else y
    if y.ndim < 2 or not same_dim(y.shape[-2], x.shape[-1]):
        raise ShapeError(operation, "the right-hand side has another length than the matrix",
                         expected=f"{x.shape[-1]} rows", got=f"shape {y.shape}",
                         fix="b[..., None] for one column")  # fmt: skip
    batch = broadcast_shapes(operation, x.shape[:-2], y.shape[:-2])
    return (broadcast_to(x, (*batch, *x.shape[-2:]), operation),
            broadcast_to(y, (*batch, *y.shape[-2:]), operation))  # fmt: skip


# -- solves --------------------------------------------------------------------------------------
@public(np.linalg.solve, examples=[f"f({WELL}, A4)", f"f({WELL}, A43)", f"f({BATCH}, A4[:, None])",
                                   f"f({WELL}, A242)"])  # fmt: skip
def linalg_solve(a, b):
    """As np.linalg.solve; a singular matrix is a LinAlgError."""
    x, y = _together("solve", a, b)
    vectors = y.ndim == 1
    x, y = _columns("solve", x, y, vectors)
    out = factor.solved(x, y)
    return reshape(out, out.shape[:-1]) if vectors else out


@public(np.linalg.inv, examples=[f"f({WELL})", f"f({BATCH})"])
def inv(a):
    """As np.linalg.inv."""
    x = matrix("inv", a, square=True)
    return factor.solved(x, identity(x, x.shape[-1]))


def _log_abs_and_sign(x: Value) -> tuple[Value, Value, list[Value]]:
    factors, order = factor.lu(x)
    diagonal = diagonal_of(factors)
    swaps = _odd(order)
    signs = prod(apply("sign", diagonal), axis=-1) * convert(1 - 2 * swaps, x.dtype)
    logs = sum_(apply("log", apply("abs", diagonal)), axis=-1)
    return logs, signs, [x, factors, order]


def _odd(order: Value) -> Value:
    """Whether each permutation is odd: by its number of inversions."""
    n = order.shape[-1]
    require_static("det", (n,))
    here, there = row(order, n), factor.column(order, n)
    later = iota(here, here.shape, here.ndim - 2) < iota(here, here.shape, here.ndim - 1)
    count = sum_(apply("logical_and", later, there > here), axis=(-2, -1))
    return apply("remainder", count, 2)


def _constant(x: Value) -> Value:
    return add(x, "stop_gradient", [x])


@public(np.linalg.slogdet, examples=[f"f({WELL})[1]", f"f({BATCH})[1]", "f(A44)[0]"])
def slogdet(a):
    """As np.linalg.slogdet; the derivative of log|det a| is tr(a^-1 da)."""
    x = matrix("slogdet", a, square=True)
    logs, signs, rest = _log_abs_and_sign(x)
    logdet = factor.attached(_constant(logs), *rest, rule="logdet")
    return results.SlogdetResult(_constant(signs), logdet)


@public(np.linalg.det, examples=["f(A44)", f"f({BATCH})", "f(A34[:, :3])", "f(A34[:2, :2])",
                                 "f(np.kron(A34[:, :3], A44[:2, :2]))"])  # fmt: skip
def det(a):
    """As np.linalg.det. Up to three rows it is computed as a polynomial; beyond, its derivative
    is det(a) tr(a^-1 da), or that of the product of the singular values where the matrix is
    nearly singular or is."""
    x = matrix("det", a, square=True)
    n = x.shape[-1]
    require_static("det", (n,))
    if n <= 3:
        return _small_det(x, n)
    factors, order = factor.lu(x)
    signs = convert(1 - 2 * _odd(order), x.dtype)
    out = prod(diagonal_of(factors), axis=-1) * signs
    return factor.attached(_constant(out), x, factors, order, rule="det")


def _det_rule(t, out, x, factors, order):
    """The change of det: one branch for matrices that can be inverted, one for all others."""
    size = apply("abs", diagonal_of(_constant(factors)))
    few = float(np.sqrt(np.finfo(x.dtype).eps))
    flat = amin(size, axis=-1) <= amax(size, axis=-1) * few
    which = convert(flat if flat.ndim == 0 else amax(convert(flat, "u1"), axis=None), "i8")
    operands = [t, out, x, factors, order]
    return switch(which, operands, [graph_of(f, operands) for f in (_by_inverse, _by_values)])[0]


def _by_inverse(t, out, x, factors, order):
    return out * factor.RULES["logdet"](t, out, x, factors, order)


def _by_values(t, out, x, factors, order):
    """det is the product of the singular values times a sign, which is constant."""
    u, s, vh = factor.svd(x)
    sign = _constant(_log_abs_and_sign(_constant(product(u, vh)))[1])
    n, moved = x.shape[-1], diagonal_of(product(product(swapped(u), t), swapped(vh)))
    others = select(identity(x, n) > 0.0, 1.0, row(s, n))
    return sign * sum_(prod(others, axis=-1) * moved, axis=-1)


factor.RULES["det"] = _det_rule


def _small_det(x: Value, n: int) -> Value:
    def at(i, j):
        return index(x, (..., i, j))

    if n == 0:
        return prod(sum_(x, axis=-1), axis=-1)
    if n == 1:
        return at(0, 0)
    if n == 2:
        return at(0, 0) * at(1, 1) - at(0, 1) * at(1, 0)
    return (at(0, 0) * (at(1, 1) * at(2, 2) - at(1, 2) * at(2, 1))
            - at(0, 1) * (at(1, 0) * at(2, 2) - at(1, 2) * at(2, 0))
            + at(0, 2) * (at(1, 0) * at(2, 1) - at(1, 1) * at(2, 0)))  # fmt: skip


# -- factorisations ------------------------------------------------------------------------------
@public(np.linalg.cholesky, examples=[f"f({SPD})", f"f({BATCH})", f"f({SPD}, upper=True)"])
def cholesky(a, /, *, upper=False):
    """As np.linalg.cholesky, of the lower triangle (or the upper); the derivative is that of a
    symmetric matrix. A matrix that is not positive definite is a LinAlgError."""
    x = matrix("cholesky", a, square=True)
    x = swapped(x) if upper else x
    out = add(x, "cholesky", [x])
    return swapped(out) if upper else out


def _symmetric_from(x: Value, UPLO: str) -> Value:
    if UPLO.upper() not in ("L", "U"):
        raise NotCoveredError("eigh", "unknown UPLO", expected="'L' or 'U'", got=repr(UPLO),
                              fix="UPLO='L'")  # fmt: skip
    return swapped(x) if UPLO.upper() == "U" else x


@public(
    np.linalg.eigh, examples=[f"f({SPD})[0]", f"np.abs(f({SPD})[1])", f"f({BATCH}).eigenvalues"]
)
def eigh(a, UPLO="L"):
    """As np.linalg.eigh. Where eigenvalues are equal their vectors have no derivative, and what
    they share is taken as 0; functions that do not depend on the choice stay right."""
    x = _symmetric_from(matrix("eigh", a, square=True), UPLO)
    return results.EighResult(*factor.eigh(x))


@public(np.linalg.eigvalsh, examples=[f"f({SPD})", f"f({BATCH}, 'U')"])
def eigvalsh(a, UPLO="L"):
    """As np.linalg.eigvalsh."""
    return eigh(a, UPLO)[0]


@public(np.linalg.qr, examples=["np.abs(f(A43)[0])", "np.abs(f(A43).R)", "np.abs(f(A44, 'r'))",
                                "np.abs(f(A242)[1])"])  # fmt: skip
def qr(a, mode="reduced"):
    """As np.linalg.qr in the modes 'reduced' and 'r'."""
    if mode not in ("reduced", "r"):
        raise NotCoveredError("qr", "this mode is not covered", expected="'reduced' or 'r'",
                              got=repr(mode), fix="mode='reduced'")  # fmt: skip
    q, r = factor.qr(matrix("qr", a))
    return r if mode == "r" else results.QRResult(q, r)


@public(np.linalg.svd, examples=["f(A34, full_matrices=False)[1]", "np.abs(f(A43, False)[0])",
                                 "np.abs(f(A34, False).Vh)", "f(A242, True, False)"])  # fmt: skip
def svd(a, full_matrices=True, compute_uv=True, hermitian=False):
    """As np.linalg.svd with full_matrices=False, or of square matrices. Where singular values are
    equal the derivative of their vectors leaves out what they share, as in eigh."""
    x = matrix("svd", a)
    if full_matrices and compute_uv and x.shape[-1] != x.shape[-2]:
        raise NotCoveredError("svd", "the full bases are not covered",
                              expected="full_matrices=False", got="full_matrices=True",
                              fix="np.linalg.svd(a, full_matrices=False)")  # fmt: skip
    u, s, vh = factor.svd(x)
    return results.SVDResult(u, s, vh) if compute_uv else s


@public(np.linalg.svdvals, examples=["f(A34)"])
def svdvals(x, /):
    """As np.linalg.svdvals."""
    return svd(x, compute_uv=False)


NUMPYS_CUTOFF = 1e-15  # of np.linalg.pinv, in float32 too


@public(np.linalg.pinv, examples=["f(A34)", "f(A43)", "f(A242)", "f(A34, rtol=None)"])
def pinv(a, rcond=None, hermitian=False, *, rtol=np._NoValue):
    """As np.linalg.pinv, with its cutoff; the derivative is that of matrices of the same rank."""
    x = matrix("pinv", a)
    if rcond is not None and rtol is not np._NoValue:
        raise ShapeError("pinv", "rtol and rcond are two names of one cutoff", expected="one",
                         got=f"rcond={rcond}, rtol={rtol}", fix="leave out rcond")  # fmt: skip
    if rcond is None:
        rcond = NUMPYS_CUTOFF if rtol is np._NoValue else rtol
    rcond = rounding(x) if rcond is None else rcond
    return pinv_above(x, amax(factor.svd(_constant(x))[1], axis=-1, initial=0.0) * rcond)


def rounding(x: Value) -> float:
    """What a singular value may be by rounding alone, relative to the largest."""
    require_static("the cutoff of singular values", x.shape[-2:])
    return max(x.shape[-2:]) * float(np.finfo(x.dtype).eps)


def pinv_above(x: Value, cutoff) -> Value:
    """The pseudoinverse with singular values up to `cutoff` (one a matrix) taken as 0."""
    u, s, vh = factor.svd(_constant(x))
    large = s > reshape(cutoff, (*cutoff.shape, 1))
    inverse = select(large, 1.0 / select(large, s, 1.0), 0.0)
    out = product(swapped(vh) * row(inverse, vh.shape[-1]), swapped(u))
    return factor.attached(_constant(out), x, rule="pinv")


@public(np.linalg.lstsq, examples=["f(A43, A4, rcond=None)[0]", "f(A34, A3)[0]",
                                   "f(A43, A44, rcond=None)[1]"])  # fmt: skip
def lstsq(a, b, rcond=None):
    """As np.linalg.lstsq: (solution, residuals, rank, singular values)."""
    like = _first_value([a, b])
    x, y = promoted("lstsq", [lift(like, a), lift(like, b)], "float")
    vectors = y.ndim == 1
    y = reshape(y, (y.shape[0], 1)) if vectors else y
    m, n = x.shape
    # NumPy computes in float64, and a negative rcond is the rounding of it.
    eps = float(np.finfo("f8").eps)
    if rcond is None:
        rcond = max(m, n) * eps
    elif isinstance(rcond, (int, float)) and rcond < 0:
        rcond = eps
    s = factor.svd(x)[1]
    cutoff = amax(_constant(s), initial=0.0) * rcond
    rank = sum_(convert(s > cutoff, "i4"), dtype="i4")
    out = matmul(pinv_above(x, cutoff), y)
    residuals = sum_((matmul(x, out) - y) ** 2, axis=0)
    if m <= n:
        residuals = index(residuals, slice(0, 0))
    out = reshape(out, (n,)) if vectors else out
    return out, residuals, rank, s


# -- powers and norms ----------------------------------------------------------------------------
@public(np.linalg.matrix_power, examples=["f(A44, 3)", "f(A44, 0)", f"f({WELL}, -2)"])
def matrix_power(a, n):
    """As np.linalg.matrix_power: by repeated squaring."""
    x = matrix("matrix_power", a, square=True)
    if n == 0:
        return broadcast_to(identity(x, x.shape[-1]), x.shape)
    if n < 0:
        x, n = inv(x), -n
    out = None
    while n:
        if n & 1:
            out = x if out is None else product(out, x)
        n >>= 1
        x = product(x, x) if n else x
    return out


@public(np.linalg.multi_dot, examples=["f([A34, A43, A34])", "f([A4, A43, A34, A4])"])
def multi_dot(arrays, *, out=None):
    """As np.linalg.multi_dot, in the cheapest order."""
    import opt_einsum

    like = _first_value(arrays)
    values = [lift(like, a) for a in arrays]
    labels, letter = [], ord("a")
    for k, v in enumerate(values):
        first = k == 0 and v.ndim == 1
        labels.append(chr(letter) if v.ndim == 1 else chr(letter) + chr(letter + 1))
        letter += 0 if first else 1
    shapes = [v.shape for v in values]
    ends = "".join(c for c in "".join(labels) if "".join(labels).count(c) == 1)
    text = ",".join(labels) + "->" + ends
    if not all(isinstance(d, int) for s in shapes for d in s):
        return functools.reduce(matmul, values)
    path: Any = opt_einsum.contract_path(text, *shapes, shapes=True)[0]
    for i, j in path:
        i, j = sorted((i, j))
        right, left = values.pop(j), values.pop(i)
        b, a = labels.pop(j), labels.pop(i)
        if a[-1] != b[0]:
            left, right, a, b = right, left, b, a
        values.append(matmul(left, right))
        labels.append(a[:-1] + b[1:])
    return values[0]


def _largest(x: Value, axis, keepdims=False) -> Value:
    return amax(x, axis, keepdims=keepdims, initial=0.0 if 0 in x.shape else None)


def _matrix_norm(x: Value, ord, axes, keepdims) -> Value:
    """Norms of matrices that are not the Frobenius norm."""
    if ord in (1, -1, np.inf, -np.inf):
        inner, outer = axes if ord in (1, -1) else axes[::-1]
        sums = sum_(apply("abs", x), axis=inner, keepdims=True)
        pick = _largest if ord in (1, np.inf) else amin
        out = pick(sums, axis=(inner, outer) if keepdims else outer, keepdims=True)
        return (
            out if keepdims else reshape(out, [d for k, d in enumerate(x.shape) if k not in axes])
        )
    s = factor.svd(moveaxis(x, axes, (-2, -1)))[1]
    by_values = {2: _largest, -2: amin, "nuc": sum_}
    if ord not in by_values:
        raise NotCoveredError("linalg.norm", f"there is no matrix norm ord={ord!r}",
                              expected="None, 'fro', 'nuc', 1, -1, 2, -2, inf or -inf",
                              got=repr(ord), fix="ord='fro'")  # fmt: skip
    out = by_values[ord](s, axis=-1)
    if keepdims:
        out = reshape(out, [1 if k in axes else d for k, d in enumerate(x.shape)])
    return out


@public(np.linalg.norm, examples=["f(A4)", "f(A34)", "f(A34, axis=1)", "f(A4, 1)",
        "f(A34, np.inf, axis=0)", "f(A34, 'fro')", "f(A4, 3)", "f(A34, 1)", "f(A34, -np.inf)",
        "f(A34, 2)", "f(A34, 'nuc')", "f(A234, -2, axis=(0, 2), keepdims=True)",
        "f(A234, 1, axis=(2, 0))"])  # fmt: skip
def linalg_norm(x, ord=None, axis=None, keepdims=False):
    """As np.linalg.norm: vectors in any order, matrices in every one that NumPy has.

    The gradient of the 2-norm at 0 is 0.
    """
    v = _floats(x)
    axes = tuple(range(v.ndim)) if axis is None else axis
    axes = axes if isinstance(axes, tuple) else (axes,)
    axes = tuple(a % v.ndim for a in axes)
    if len(axes) == 2 and ord not in (None, "fro", "f"):
        return _matrix_norm(v, ord, axes, keepdims)
    return norm(v, ord, axis, keepdims)


@public(np.linalg.vector_norm, examples=["f(A34)", "f(A34, axis=1, ord=3)",
                                         "f(A234, axis=(0, 2), keepdims=True)"])  # fmt: skip
def vector_norm(x, /, *, axis=None, keepdims=False, ord=2):
    """As np.linalg.vector_norm: of all elements, or of those along the axes."""
    v = _floats(x)
    axes = range(v.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = sorted(a % v.ndim for a in axes)
    rest = [a for a in range(v.ndim) if a not in axes]
    flat = reshape(transpose(v, [*rest, *axes]), [*(v.shape[a] for a in rest),
                                                  size_of([v.shape[a] for a in axes])])  # fmt: skip
    out = norm(flat, ord, len(rest))
    return reshape(out, [1 if a in axes else n for a, n in enumerate(v.shape)]) if keepdims else out


@public(np.linalg.matrix_norm, examples=["f(A34)", "f(A234, ord=1)", "f(A34, ord='nuc')"])
def matrix_norm(x, /, *, keepdims=False, ord="fro"):
    """As np.linalg.matrix_norm, of the last two axes."""
    return linalg_norm(x, ord, (-2, -1), keepdims)


@public(np.linalg.cond, examples=["f(A44)", "f(A34)", f"f({WELL}, 1)", f"f({BATCH}, 'fro')",
                                  "f(A34, -2)"])  # fmt: skip
def cond(x, p=None):
    """As np.linalg.cond; that of a singular matrix is infinite, or in norms other than 2 and -2 a
    LinAlgError."""
    v = matrix("cond", x)
    if 0 in v.shape[-2:]:
        raise ShapeError("cond", "an empty matrix has no condition", got=f"shape {v.shape}",
                         expected="a row or more", fix="leave it out")  # fmt: skip
    if p in (None, 2, -2):
        s = factor.svd(v)[1]
        first, last = index(s, (..., 0)), index(s, (..., -1))
        top, below = (last, first) if p == -2 else (first, last)
        none = apply("logical_and", top == 0.0, below == 0.0)
        return select(none, np.inf, top / select(none, 1.0, below))
    return linalg_norm(v, p, (-2, -1)) * linalg_norm(inv(v), p, (-2, -1))


@public(np.linalg.matrix_rank, examples=["f(A34)", "f(A234[:, :, :1] * A4)", "f(A44, 1.5)",
                                         "f(A4)", "f(A34, rtol=0.3)"])  # fmt: skip
def matrix_rank(A, tol=None, hermitian=False, *, rtol=None):
    """As np.linalg.matrix_rank."""
    v = _floats(A)
    if tol is not None and rtol is not None:
        raise ShapeError("matrix_rank", "tol and rtol are two ways to say the same",
                         expected="one of them", got="both", fix="leave out tol")  # fmt: skip
    if v.ndim < 2:
        return convert(sum_(convert(v != 0.0, "i8")) > 0, "i8")
    s = _constant(factor.svd(v)[1])
    if tol is None:
        tol = amax(s, axis=-1, initial=0.0) * (rounding(v) if rtol is None else rtol)
    bound = lift(s, tol)
    return sum_(s > reshape(bound, (*bound.shape, 1)), axis=-1)


def _floats(x) -> Value:
    v = value(x)
    return v if v.dtype.kind == "f" else convert(v, "f8")
