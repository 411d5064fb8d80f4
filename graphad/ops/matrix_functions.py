"""SciPy's linear algebra: solves with factors, Sylvester's equation, functions of matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphad.errors import ShapeError
from graphad.graph import Builder
from graphad.op import Op, register
from graphad.ops import eigen, factor
from graphad.ops.factor import identity, permuted_rows, product, swapped, triangular_solve
from graphad.ops.indexing import index
from graphad.ops.iterate import COUNT, ENDLESS, iterate
from graphad.ops.numpy_joins import kron
from graphad.ops.numpy_linalg import (
    _columns,
    _constant,
    _together,
    matrix,
    rounding,
    slogdet,
)
from graphad.ops.numpy_math import amax, sum_
from graphad.ops.numpy_shape import concatenate, ravel
from graphad.ops.sorting import reversed_last
from graphad.ops.value import (
    Value,
    _first_value,
    add,
    apply,
    batch_by_repeating,
    convert,
    full,
    lift,
    promoted,
    reshape,
    select,
)
from graphad.spec import Spec

MOST_SQUARINGS = 64


def _sides(operation, a, b) -> tuple[Value, Value, bool]:
    x, y = _together(operation, a, b)
    vectors = y.ndim == 1
    x, y = _columns(operation, x, y, vectors)
    return x, y, vectors


def _as_given(out: Value, vectors: bool) -> Value:
    return reshape(out, out.shape[:-1]) if vectors else out


def _turned(trans) -> bool:
    return trans in (1, "T", 2, "C")


def solve_triangular(a, b, trans: Any = 0, lower=False, unit_diagonal=False) -> Value:
    """x with a x = b (or a^T x = b, trans=1) for a triangular a; zeros on its diagonal are a
    LinAlgError."""
    x, y, vectors = _sides("solve_triangular", a, b)
    out = triangular_solve(x, y, low=lower, turned=_turned(trans), unit=unit_diagonal)
    return _as_given(out, vectors)


def cho_factor(a, lower=False) -> Value:
    """The Cholesky factor of a symmetric positive definite a: the lower one, or the upper."""
    x = matrix("cho_factor", a, square=True)
    x = x if lower else swapped(x)
    out = add(x, "cholesky", [x])
    return out if lower else swapped(out)


def cho_solve(c, lower, b) -> Value:
    """x with a x = b, from the factor of a."""
    x, y, vectors = _sides("cho_solve", c, b)
    inner = triangular_solve(x, y, low=lower, turned=not lower)
    return _as_given(triangular_solve(x, inner, low=lower, turned=bool(lower)), vectors)


def lu_factor(a):
    """(lu, order) for `lu_solve`: a[order] = l u, packed in one matrix with l's unit diagonal left
    out. SciPy gives the row exchanges instead of the order."""
    return tuple(factor.lu(matrix("lu_factor", a, square=True)))


def lu_solve(lu_and_order, b, trans: Any = 0) -> Value:
    """x with a x = b (or a^T x = b, trans=1), from the result of `lu_factor(a)`."""
    lu, order = lu_and_order
    x, y, vectors = _sides("lu_solve", lu, b)
    order = lift(x, order)
    if not _turned(trans):
        inner = triangular_solve(x, permuted_rows(y, order), low=True, unit=True)
        return _as_given(triangular_solve(x, inner, low=False), vectors)
    inner = triangular_solve(x, y, low=False, turned=True)
    inner = triangular_solve(x, inner, low=True, turned=True, unit=True)
    places = factor.picks(order, order.builder.add("sort", [order.id]))[1]
    return _as_given(permuted_rows(inner, places), vectors)


def solve_sylvester(a, b, q) -> Value:
    """x with a x + x b = q, by one linear system of m n unknowns: for small matrices."""
    like = _first_value([a, b, q])
    x, y, z = promoted("solve_sylvester", [lift(like, v) for v in (a, b, q)], "float")
    m, n = x.shape[-1], y.shape[-1]
    if z.shape != (m, n):
        raise ShapeError(
            "solve_sylvester", "q does not fit", expected=f"shape {(m, n)}",
            got=f"shape {z.shape}", fix="q with the rows of a, the columns of b",
        )  # fmt: skip
    system = kron(x, identity(x, n) if n == m else _eye(x, n)) + kron(_eye(x, m), swapped(y))
    out = factor.solved(system, reshape(z, (m * n, 1)))
    return reshape(out, (m, n))


def _eye(like: Value, n: int) -> Value:
    return identity(full(like, 0.0, (n, n)), n)


def block_diag(*arrays) -> Value:
    """The matrix with these blocks on its diagonal, zeros elsewhere."""
    like = _first_value(arrays)
    blocks = [lift(like, a) for a in arrays]
    blocks = promoted("block_diag", [reshape(b, (1,) * (2 - b.ndim) + b.shape) for b in blocks])
    width, at, rows = sum(b.shape[1] for b in blocks), 0, []
    for b in blocks:
        m, n = b.shape
        parts = [full(b, 0, (m, at)), b, full(b, 0, (m, width - at - n))]
        rows.append(concatenate([p for p in parts if p.shape[1]], axis=1))
        at += n
    return concatenate(rows, axis=0)


def toeplitz(c, r=None) -> Value:
    """The matrix whose element i, j is c[i - j], or r[j - i] above the diagonal."""
    like = _first_value([c, r])
    first = ravel(lift(like, c))
    top = first if r is None else ravel(lift(like, r))
    first, top = promoted("toeplitz", [first, top])
    m, n = first.shape[0], top.shape[0]
    whole = concatenate([reversed_last(index(top, slice(1, None))), first], axis=0)
    places = np.arange(m)[:, None] - np.arange(n)[None, :] + n - 1
    return index(whole, places)


# -- functions of matrices -------------------------------------------------------------------------
# Coefficients of the diagonal Padé approximant of exp of degree 13 and its bound: N. J. Higham,
# The scaling and squaring method for the matrix exponential revisited (2005), table 2.3.
PADE = (64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0,
        129060195264000.0, 10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0,
        40840800.0, 960960.0, 16380.0, 182.0, 1.0)  # fmt: skip
THETA = 5.371920351148152


def expm(a) -> Value:
    """The matrix exponential, by scaling and squaring with Padé's approximant of degree 13."""
    x = matrix("expm", a, square=True)
    if 0 in x.shape:
        return x
    size = amax(sum_(apply("abs", _constant(x)), axis=-2), axis=None)  # the largest of a batch
    times = apply("ceil", apply("log2", apply("maximum", size / THETA, 1.0)))
    times = apply("minimum", times, float(MOST_SQUARINGS))
    x = x * apply("exp2", -times)
    b = PADE
    one = identity(x, x.shape[-1])
    x2 = product(x, x)
    x4 = product(x2, x2)
    x6 = product(x2, x4)
    u = product(x6, x6 * b[13] + x4 * b[11] + x2 * b[9])
    u = product(x, u + x6 * b[7] + x4 * b[5] + x2 * b[3] + one * b[1])
    v = product(x6, x6 * b[12] + x4 * b[10] + x2 * b[8])
    v = v + x6 * b[6] + x4 * b[4] + x2 * b[2] + one * b[0]
    out = factor.solved(v - u, v + u)
    return _repeated(lambda y: product(y, y), out, convert(times, "i8"), MOST_SQUARINGS)


def _repeated(step, x: Value, count: Value, most: int) -> Value:
    """step applied `count` times."""
    inner = Builder()
    inner.input(COUNT, "i")
    carry = Value(inner, inner.input(Spec(x.shape, x.dtype), "c"))
    body = inner.finish([step(carry).id])
    return iterate(x, [x], [], [], body, most, count=count)[0]


def _until(step, test, start: list[Value]) -> list[Value]:
    """step applied while test holds."""
    specs = [Spec(v.shape, v.dtype) for v in start]

    def graph(f):
        inner = Builder()
        inner.input(COUNT, "i")
        values = [Value(inner, inner.input(s, f"c{k}")) for k, s in enumerate(specs)]
        return inner.finish(v.id for v in f(*values))

    return iterate(start[0], start, [], [], graph(step), ENDLESS,
                   condition=graph(lambda *v: [test(*v)]))  # fmt: skip


# A matrix with eigenvalues on the negative real axis has no real root or logarithm: an error.
register(
    Op("real_result", "linear", lambda specs, params: Spec(specs[0].shape, specs[0].dtype),
       lambda arrays, params, spec: np.asarray(arrays[0]), arity=2, linear_args=(0,),
       transpose=lambda ct, i, args, specs, params: ct, lowering="routine",
       batch=batch_by_repeating("real_result"))
)  # fmt: skip


def _with_real_result(operation: str, a) -> Value:
    """One matrix whose principal root and logarithm are real; at the call, otherwise, an error."""
    x = matrix(operation, a, square=True)
    if x.ndim != 2:
        raise ShapeError(operation, "takes one matrix", expected="(n, n)", got=str(x.shape),
                         fix=f"ga.vmap(ga.linalg.{operation})")  # fmt: skip
    if 0 in x.shape:
        return x
    real, imag = eigen.eig(_constant(x))[:2]
    bad = apply("logical_and", imag == 0.0, real < -rounding(x) * amax(apply("hypot", real, imag)))
    fine = apply("logical_not", add(bad, "reduce_max", [convert(bad, "u1")], axes=(0,)) > 0)
    return add(x, "real_result", [x, fine], operation=operation)


def sqrtm(a) -> Value:
    """The principal square root of a matrix without eigenvalues on the negative real axis, by the
    scaled product form of Denman and Beavers' iteration (N. J. Higham, Functions of Matrices,
    2008, 6.29). Negative eigenvalues, whose root is complex, are a LinAlgError, and so is a
    singular matrix. The derivative solves x dx + dx x = da: for small matrices."""
    return _sqrtm(_with_real_result("sqrtm", a))


def _sqrtm(x: Value) -> Value:
    if 0 in x.shape:
        return x
    return factor.attached(_constant(_root(_constant(x))), x, rule="sqrtm")


def _root(x: Value) -> Value:
    n = x.shape[-1]
    tolerance = n * float(np.finfo(x.dtype).eps)
    size = amax(apply("abs", x))
    half = apply("rint", apply("log2", select(size > 0.0, size, 1.0)) * 0.5)
    x = x * apply("exp2", -half) * apply("exp2", -half)

    def step(m, y, k, change):
        one = identity(m, n)
        inverse = factor.solved(m, one)
        new = (one * 2.0 + m + inverse) * 0.25
        root = product(y, one + inverse) * 0.5
        return [new, root, k + 1, _norm(new - one)]

    def unfinished(m, y, k, change):
        return apply("logical_and", change > tolerance, k < 60)

    zero, k = full(x, 1.0, ()), full(x, 0, (), "i8")
    return _until(step, unfinished, [x, x, k, zero])[1] * apply("exp2", half)


def _norm(x: Value) -> Value:
    return apply("sqrt", sum_(x * x))


def _sqrtm_rule(t, x, a):
    return solve_sylvester(x, x, t)


factor.RULES["sqrtm"] = _sqrtm_rule
LEGENDRE = 12  # points of the quadrature behind logm's Padé approximant
ROOTS = 5


def logm(a) -> Value:
    """The principal logarithm: square roots until the matrix is near 1, then Padé's approximant
    by Gauss and Legendre's quadrature (Higham 2008, 11.18), times the power of two. Eigenvalues
    that are negative, or 0, are a LinAlgError."""
    x = _with_real_result("logm", a)
    if 0 in x.shape:
        return x
    n = x.shape[-1]
    one = identity(x, n)
    middle = slogdet(_constant(x))[1] * (1.0 / (n * math.log(2.0)))  # of the eigenvalues, in log2
    times = apply("rint", select(apply("isfinite", middle), middle, 0.0))
    half = apply("rint", times * 0.5)
    x = x * apply("exp2", -half) * apply("exp2", half - times)
    for _ in range(ROOTS):
        x = _sqrtm(x)
    y = x - one
    nodes, weights = np.polynomial.legendre.leggauss(LEGENDRE)
    total = one * (times * math.log(2.0) * 2.0**-ROOTS)
    for p, w in zip((nodes + 1) / 2, weights / 2, strict=True):
        total = total + factor.solved(one + y * float(p), y) * float(w)
    return total * 2.0**ROOTS
