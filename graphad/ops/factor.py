"""Factorisations and solves of matrices, batched over leading axes; each by one linearisation.

`cholesky`, `lu`, `eigh`, `qr` and `svd` give factors; `triangular_solve` and `solve` apply them.
A solve takes the matrix and its LU factors: values and tangents use the factors, derivatives go to
the matrix. The formulas stand in M. B. Giles, Collected matrix derivative results for forward and
reverse mode algorithmic differentiation (2008).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphad.errors import DerivativeError
from graphad.op import Op, register
from graphad.ops.array import gather, iota, total, transpose
from graphad.ops.calls import picks
from graphad.ops.contract import contract
from graphad.ops.poles import direction, inverse, near_of, pole, rounding_of
from graphad.ops.scalar import scale
from graphad.ops.value import (
    Value,
    add,
    all_batched,
    apply,
    batch_by_repeating,
    broadcast,
    convert,
    full,
    reshape,
    select,
)
from graphad.spec import Spec

I8 = np.dtype("i8")


def _batched_several(name):
    def rule(args, batched, size, params):
        whole = all_batched(args, batched, size)
        ids = [a.id for a in whole]
        return picks(whole[0], whole[0].builder.add(name, ids, **params))

    return rule


# -- small pieces --------------------------------------------------------------------------------
def swapped(x: Value) -> Value:
    """The transpose of each matrix."""
    order = list(range(x.ndim))
    order[-2:] = order[-1], order[-2]
    return transpose(x, order)


def product(x: Value, y: Value) -> Value:
    """x @ y for batches of equal shape."""
    batch = "".join(chr(ord("a") + k) for k in range(x.ndim - 2))
    i, j, k = (chr(ord("a") + x.ndim - 2 + n) for n in range(3))
    return contract(x, y, batch + i + j, batch + j + k, batch + i + k)


def _rows_and_columns(x: Value) -> tuple[Value, Value]:
    return iota(x, x.shape, x.ndim - 2), iota(x, x.shape, x.ndim - 1)


def lower(x: Value, diagonal: float = 1.0) -> Value:
    """The lower triangle, its diagonal times a number."""
    row, column = _rows_and_columns(x)
    weight = select(row > column, 1.0, select(row == column, diagonal, 0.0))
    return scale(x, convert(weight, x.dtype))


def upper(x: Value, diagonal: float = 1.0) -> Value:
    """The upper triangle, likewise."""
    return swapped(lower(swapped(x), diagonal))


def identity(x: Value, n: int) -> Value:
    """Unit matrices of the batch of x."""
    like = full(x, 0.0, (*x.shape[:-2], n, n))
    row, column = _rows_and_columns(like)
    return convert(row == column, x.dtype)


def diagonal_of(x: Value) -> Value:
    """The diagonal of each matrix."""
    batch = x.ndim - 2
    where = [iota(x, x.shape[:-1], a) for a in range(batch + 1)]
    return gather(x, [*where, where[-1]])


def column(x: Value, n: int) -> Value:
    """A vector for each of the batch, repeated along n new last columns."""
    return broadcast(x, (*x.shape, n), range(x.ndim))


def row(x: Value, n: int) -> Value:
    """A vector for each of the batch, as each of n rows."""
    return broadcast(x, (*x.shape[:-1], n, x.shape[-1]), [*range(x.ndim - 1), x.ndim])


# -- cholesky ------------------------------------------------------------------------------------
def _cholesky_jvp(tangents, args, out, params):
    # dL = L low(L^-1 dA L^-T), low: lower triangle with half the diagonal; dA taken as symmetric.
    da = lower(tangents[0], 0.5)
    da = da + swapped(da)
    inner = triangular_solve(out, da)
    inner = triangular_solve(out, swapped(inner))
    return product(out, lower(inner, 0.5))


def _lower_reference(arrays, params, spec):
    return np.linalg.cholesky(arrays[0])


# Reads the lower triangle, as NumPy does; its derivative is that of a symmetric matrix given by it.
register(
    Op("cholesky", "linearised", lambda specs, params: Spec(specs[0].shape, specs[0].dtype),
       _lower_reference, arity=1, jvp=_cholesky_jvp, batch=batch_by_repeating("cholesky"),
       lowering="routine", cost=30)
)  # fmt: skip


# -- triangular solve ----------------------------------------------------------------------------
def triangular_solve(a: Value, b: Value, low=True, turned=False, unit=False) -> Value:
    """x with a x = b (or a^T x = b, `turned`) for triangular a; b has columns."""
    return add(a, "triangular_solve", [a, b], low=low, turned=turned, unit=unit)


def _triangular_reference(arrays, params, spec):
    a, b = arrays
    a = np.tril(a) if params["low"] else np.triu(a)
    if params["unit"]:
        n = a.shape[-1]
        a = a * (1 - np.eye(n)) + np.eye(n)
    a = np.swapaxes(a, -1, -2) if params["turned"] else a
    return np.linalg.solve(a, b)


def _triangular_jvp(tangents, args, out, params):
    da, db = tangents
    change = db
    if da is not None:
        keep = lower if params["low"] else upper
        part = keep(da, 0.0 if params["unit"] else 1.0)
        moved = product(swapped(part) if params["turned"] else part, out)
        change = -moved if db is None else db - moved
    return add(out, "triangular_solve", [args[0], change], **params)


def _triangular_transpose(ct, i, args, specs, params):
    return add(ct, "triangular_solve", [args[0], ct], **{**params, "turned": not params["turned"]})


register(
    Op("triangular_solve", "linearised", lambda specs, params: Spec(specs[1].shape, specs[1].dtype),
       _triangular_reference, arity=2, jvp=_triangular_jvp, transpose=_triangular_transpose,
       linear_args=(1,), batch=batch_by_repeating("triangular_solve"), lowering="routine", cost=30)
)  # fmt: skip


# -- LU and solve --------------------------------------------------------------------------------
def _infer_lu(specs, params):
    shape = specs[0].shape
    return Spec(shape, specs[0].dtype), Spec(shape[:-1], I8)


def _lu_reference(arrays, params, spec):
    a = np.array(arrays[0])
    n = a.shape[-1]
    flat = a.reshape(-1, n, n)
    order = np.tile(np.arange(n), (len(flat), 1))
    for m, p in zip(flat, order, strict=True):
        for k in range(n):
            r = k + int(np.argmax(np.abs(m[k:, k])))
            m[[k, r]], p[[k, r]] = m[[r, k]], p[[r, k]]
            if m[k, k] != 0:
                m[k + 1 :, k] /= m[k, k]
                m[k + 1 :, k + 1 :] -= np.outer(m[k + 1 :, k], m[k, k + 1 :])
    return [flat.reshape(a.shape), order.reshape(a.shape[:-1])]


def permuted_rows(x: Value, order: Value) -> Value:
    """x[..., order, :]."""
    shape = x.shape
    where = [iota(x, shape, a) for a in range(x.ndim - 2)]
    return gather(x, [*where, column(order, shape[-1]), iota(x, shape, x.ndim - 1)])


def _lu_jvp(tangents, args, outs, params):
    # With F = L^-1 P dA U^-1: dL = L low(F), dU = up(F) U; the factors are packed as L - 1 + U.
    factors, order = outs
    moved = permuted_rows(tangents[0], order)
    left = triangular_solve(factors, moved, low=True, unit=True)
    inner = swapped(triangular_solve(factors, swapped(left), low=False, turned=True))
    low = product(lower(factors, 0.0) + identity(factors, factors.shape[-1]), lower(inner, 0.0))
    return [low + product(upper(inner), upper(factors)), None]


# Row-pivoted: a[order] = L U, packed in one matrix; `order` is a permutation.
register(
    Op("lu", "linearised", _infer_lu, _lu_reference, arity=1, jvp=_lu_jvp,
       batch=_batched_several("lu"), lowering="routine", cost=60,
       scratch=lambda specs, params: [_lu_scratch(specs[0])])
)  # fmt: skip


def _lu_scratch(a: Spec) -> Spec:
    n = a.shape[-1]
    return Spec((n * n + 2 * n,), a.dtype)


def lu(a: Value) -> list[Value]:
    """(packed factors, order of the rows)."""
    return picks(a, a.builder.add("lu", [a.id]))


def solve(a: Value, factors: Value, order: Value, b: Value, turned: bool = False) -> Value:
    """x with a x = b, or a^T x = b; b has columns."""
    return add(a, "solve", [a, factors, order, b], turned=turned)


def _solve_reference(arrays, params, spec):
    a = np.swapaxes(arrays[0], -1, -2) if params["turned"] else arrays[0]
    return np.linalg.solve(a, arrays[3])


def _solve_jvp(tangents, args, out, params):
    da, _, _, db = tangents
    a, factors, order, _ = args
    change = db
    if da is not None:
        moved = product(swapped(da) if params["turned"] else da, out)
        change = -moved if db is None else db - moved
    return None if change is None else solve(a, factors, order, change, params["turned"])


def _solve_transpose(ct, i, args, specs, params):
    return solve(args[0], args[1], args[2], ct, not params["turned"])


register(
    Op("solve", "linearised", lambda specs, params: Spec(specs[3].shape, specs[3].dtype),
       _solve_reference, arity=4, jvp=_solve_jvp, transpose=_solve_transpose, linear_args=(3,),
       batch=batch_by_repeating("solve"), lowering="routine", cost=60)
)  # fmt: skip


# What `solve` of a few static rows becomes: elimination written out, which needs no factors.
register(
    Op("small_solve", "opaque", lambda specs, params: Spec(specs[1].shape, specs[1].dtype),
       lambda arrays, params, spec: np.linalg.solve(
           np.swapaxes(arrays[0], -1, -2) if params["turned"] else arrays[0], arrays[1]),
       arity=2, lowering="routine", cost=60)
)  # fmt: skip
SMALL = 6  # rows of matrices whose factorisations and solves are written out


def is_small(spec: Spec, right: Spec | None = None) -> bool:
    """Whether matrices are so small, and columns on the right so few, that they are written out."""
    n, columns = spec.shape[-1], 0 if right is None else right.shape[-1]
    few = isinstance(columns, int) and columns <= 2 * SMALL and 0 not in spec.shape
    return few and isinstance(n, int) and 0 < n <= SMALL and n == spec.shape[-2]


def solved(a: Value, b: Value) -> Value:
    """a^-1 b for columns b."""
    factors, order = lu(a)
    return solve(a, factors, order, b)


# -- values with a rule of their own -------------------------------------------------------------
def attached(value: Value, *sources: Value, rule: str) -> Value:
    """`value`, computed from what derivatives do not see, with the derivative that a rule gives it
    with respect to the first of the sources."""
    return add(value, "attached", [value, *sources], rule=rule)


def _inverse_trace(t, value, a, factors, order):
    """tr(a^-1 da), the change of log|det a|."""
    inner = solve(a, factors, order, t)
    return total(diagonal_of(inner), (inner.ndim - 2,))


def _pinv_rule(t, p, a):
    """G. H. Golub and V. Pereyra (1973), (4.12), for matrices of constant rank."""
    pt, tt = swapped(p), swapped(t)
    # In an order in which matrices of 1e-20 in float32 do not overflow.
    out = product(p, product(pt, tt - product(tt, product(a, p)))) - product(p, product(t, p))
    return out + product(product(tt - product(p, product(a, tt)), pt), p)


RULES: dict[str, Any] = {
    "logdet": _inverse_trace,
    "pinv": _pinv_rule,
}


def _attached_jvp(tangents, args, out, params):
    if tangents[1] is None:
        return None
    rule: Any = RULES[params["rule"]]
    return rule(tangents[1], out, *args[1:])


register(
    Op("attached", "linearised", lambda specs, params: Spec(specs[0].shape, specs[0].dtype),
       lambda arrays, params, spec: np.asarray(arrays[0]), jvp=_attached_jvp,
       batch=batch_by_repeating("attached"), lowering="view")
)  # fmt: skip


# -- eigenvalues of symmetric matrices ------------------------------------------------------------
def _infer_eigh(specs, params):
    shape = specs[0].shape
    return Spec(shape[:-1], specs[0].dtype), Spec(shape, specs[0].dtype)


def _inverse_gaps(w: Value, falling: bool = False) -> tuple[Value, Value]:
    """1 / (w_j - w_i) and its pole where they are equal, 0 on the diagonal."""
    n, moved = w.shape[-1], direction(w, falling)
    gap = row(w, n) - column(w, n)
    size = apply("abs", w)
    near = apply("minimum", row(size, n), column(size, n)) * near_of(w)
    equal = apply("abs", gap) <= apply("maximum", column_of(rounding_of(w), gap), near)
    return inverse(gap, equal, row(moved, n) - column(moved, n))


def column_of(x: Value, like: Value) -> Value:
    """A number for each matrix, (..., 1), as a matrix like another."""
    return broadcast(reshape(x, x.shape[:-1]), like.shape, range(x.ndim - 1))


def _eigh_jvp(tangents, args, outs, params):
    w, v = outs
    da = lower(tangents[0], 0.5)
    da = da + swapped(da)
    inner = product(swapped(v), product(da, v))
    regular, singular = _inverse_gaps(w)
    dv = product(v, scale(inner, regular)) + pole(product(v, scale(inner, singular)))
    return [diagonal_of(inner), dv]


register(
    Op("eigh", "linearised", _infer_eigh,
       lambda arrays, params, spec: list(np.linalg.eigh(arrays[0])), arity=1,
       jvp=_eigh_jvp, batch=_batched_several("eigh"), lowering="routine", cost=2000,
       scratch=lambda specs, params: _eigh_scratch(specs[0]))
)  # fmt: skip


def _eigh_scratch(a: Spec) -> list[Spec]:
    n: Any = a.shape[-1]
    return [Spec((1 + 6 * n + 2 * n * n,), a.dtype), Spec((3 + 5 * n,), np.dtype("i4"))]


def eigh(a: Value) -> list[Value]:
    """(eigenvalues, eigenvectors in columns) of symmetric matrices."""
    return picks(a, a.builder.add("eigh", [a.id]))


# -- QR ------------------------------------------------------------------------------------------
def _infer_qr(specs, params):
    a = specs[0]
    *batch, m, n = a.shape
    k = min(m, n)
    return Spec((*batch, m, k), a.dtype), Spec((*batch, k, n), a.dtype)


def _qr_jvp(tangents, args, outs, params):
    # S. Walter and L. Lehmann, Algorithmic differentiation of linear algebra functions (2010).
    q, r = outs
    m, n = args[0].shape[-2:]
    if m < n:
        raise DerivativeError("qr", "a wide matrix has no derivative here",
                              expected="rows >= columns", got=f"shape {args[0].shape}",
                              fix="np.linalg.qr of the transpose")  # fmt: skip
    moved = swapped(triangular_solve(r, swapped(tangents[0]), low=False, turned=True))
    inner = product(swapped(q), moved)
    low = lower(inner, 0.0)
    skew = low - swapped(low)
    dq = product(q, skew - inner) + moved
    return [dq, product(inner - skew, r) if n else None]


register(
    Op("qr", "linearised", _infer_qr, lambda arrays, params, spec: list(np.linalg.qr(arrays[0])),
       arity=1, jvp=_qr_jvp, batch=_batched_several("qr"), lowering="routine", cost=500,
       scratch=lambda specs, params: _qr_scratch(specs[0]))
)  # fmt: skip


def _qr_scratch(a: Spec) -> list[Spec]:
    m, n = a.shape[-2:]
    return [Spec((m * n + n * 65 + m,), a.dtype)]


def qr(a: Value) -> list[Value]:
    """(q, r), reduced."""
    return picks(a, a.builder.add("qr", [a.id]))


# -- singular values -----------------------------------------------------------------------------
def _infer_svd(specs, params):
    a = specs[0]
    *batch, m, n = a.shape
    k = min(m, n)
    return (
        Spec((*batch, m, k), a.dtype),
        Spec((*batch, k), a.dtype),
        Spec((*batch, k, n), a.dtype),
    )


def _svd_jvp(tangents, args, outs, params):
    """With M = U^T dA V^T: ds = diag M; du = U (X + Y) / 2 and dv = V (X - Y) / 2 with
    X_ij = (M + M^T)_ij / (s_j - s_i) and Y_ij = (M - M^T)_ij / (s_j + s_i)."""
    u, s, vh = outs
    da = tangents[0]
    m, n = da.shape[-2:]
    k, moved, v = s.shape[-1], direction(s, True), swapped(vh)
    inner = product(product(swapped(u), da), v)
    even, odd = (inner + swapped(inner)) * 0.5, (inner - swapped(inner)) * 0.5
    bound, sums = rounding_of(s), row(s, k) + column(s, k)
    gaps = _inverse_gaps(s, True)
    both = inverse(sums, sums <= column_of(bound, sums), row(moved, k) + column(moved, k))
    alone = inverse(s, s <= broadcast(bound, s.shape, range(s.ndim)), moved)
    du, dv = [], []  # what is regular, and what has a pole
    for gap, both_, inverse_ in zip(gaps, both, alone, strict=True):
        x, y = scale(even, gap), scale(odd, both_)
        du.append(product(u, x + y))
        dv.append(product(v, x - y))
        if m > k:
            rest = product(da, v)
            rest = rest - product(u, product(swapped(u), rest))
            du[-1] = du[-1] + scale(rest, row(inverse_, m))
        if n > k:
            rest = product(swapped(da), u)
            rest = rest - product(v, product(vh, rest))
            dv[-1] = dv[-1] + scale(rest, row(inverse_, n))
    return [du[0] + pole(du[1]), diagonal_of(inner), swapped(dv[0] + pole(dv[1]))]


register(
    Op("svd", "linearised", _infer_svd,
       lambda arrays, params, spec: list(np.linalg.svd(arrays[0], full_matrices=False)),
       arity=1, jvp=_svd_jvp, batch=_batched_several("svd"), lowering="routine", cost=5000,
       scratch=lambda specs, params: _svd_scratch(specs[0]))
)  # fmt: skip


def _svd_scratch(a: Spec) -> list[Spec]:
    m, n = a.shape[-2:]
    k, large = min(m, n), max(m, n)
    work = 4 * k * k + 7 * k + 64 * (large + k) + large
    return [Spec((m * n,), a.dtype), Spec((work,), a.dtype), Spec((8 * k,), np.dtype("i4"))]


def svd(a: Value) -> list[Value]:
    """(u, s, vh), reduced."""
    return picks(a, a.builder.add("svd", [a.id]))
