"""Eigenvalues and eigenvectors of general matrices: their real and imaginary parts by LAPACK."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphad.op import Op, register
from graphad.ops.array import cut, iota, total
from graphad.ops.calls import picks
from graphad.ops.factor import (
    _batched_several,
    column,
    column_of,
    diagonal_of,
    product,
    row,
    solved,
)
from graphad.ops.numpy_shape import concatenate
from graphad.ops.poles import direction, inverse, near_of, pole, rounding_of
from graphad.ops.value import Value, add, apply, broadcast, select
from graphad.spec import Spec


def eig(a: Value) -> list[Value]:
    """(real, imaginary parts of the eigenvalues, real, imaginary parts of the eigenvectors), the
    vectors in columns of norm 1 whose largest component is real."""
    return picks(a, a.builder.add("eig", [a.id]))


def _infer(specs, params):
    shape, dtype = specs[0].shape, specs[0].dtype
    values, vectors = Spec(shape[:-1], dtype), Spec(shape, dtype)
    return values, values, vectors, vectors


def _reference(arrays, params, spec):
    w, v = np.linalg.eig(arrays[0])
    return [np.real(w), np.imag(w), np.real(v), np.imag(v)]


def complex_product(f, x, y):
    """The product f of complex arrays as pairs of their parts."""
    (a, b), (c, d) = x, y
    return f(a, c) - f(b, d), f(a, d) + f(b, c)


def _inverse_gaps(w):
    """1 / (w_j - w_i), 0 on the diagonal: (real part, imaginary part) of what is regular, and of
    the pole where they are equal (`ops/poles.py`); of order 2, as it is conj(z) / |z|^2."""
    n = w[0].shape[-1]
    size = add(w[0], "stop_gradient", [apply("hypot", *w)])
    bound = rounding_of(size)
    largest = add(size, "reduce_max", [size], axes=(size.ndim - 1,))
    unit = select(largest == 0.0, 1.0, 1.0 / select(largest == 0.0, 1.0, largest))
    unit = broadcast(unit, (*unit.shape, n, n), range(unit.ndim))
    real, imag = ((row(part, n) - column(part, n)) * unit for part in w)
    moved = direction(w[0], False)
    moved = (row(moved, n) - column(moved, n)) * unit
    near = apply("minimum", row(size, n), column(size, n)) * near_of(size)
    equal = apply("hypot", real, imag) <= apply("maximum", column_of(bound, unit), near) * unit
    both = inverse(real * real + imag * imag, equal, moved * moved, order=2)
    return [(real * one * unit, -(imag * one * unit)) for one in both]


def _jvp(tangents, args, outs, params):
    """With M = V^-1 dA V: dw = diag M and dV = V (C + diag c), C_ij = M_ij / (w_j - w_i); c keeps
    the norm of each vector at 1 and its largest component real. M comes from a real system of
    twice the size."""
    w, v = outs[:2], outs[2:]
    n = w[0].shape[-1]
    batch = v[0].ndim - 2
    right = concatenate([product(tangents[0], part) for part in v], batch)
    whole = [concatenate(list(pair), batch + 1) for pair in ((v[0], -v[1]), (v[1], v[0]))]
    both = solved(concatenate(whole, batch), right)
    first = [0] * batch
    m = [cut(both, [*first, k * n, 0], tangents[0].shape) for k in (0, 1)]
    regular, singular = (complex_product(operator.mul, m, g) for g in _inverse_gaps(w))
    c = [r + pole(pole(s)) for r, s in zip(regular, singular, strict=True)]
    moved = complex_product(product, v, c)
    shrink = total(v[0] * moved[0] + v[1] * moved[1], (batch,))
    size = v[0] * v[0] + v[1] * v[1]
    largest = add(size, "argmax", [size], axes=(batch,))
    here = iota(size, size.shape, batch) == row(largest, n)
    turn = total(select(here, moved[1] / select(here, v[0], 1.0), 0.0), (batch,))
    shrink, turn = row(shrink, n), row(turn, n)
    return [diagonal_of(m[0]), diagonal_of(m[1]),
            moved[0] - v[0] * shrink + v[1] * turn,
            moved[1] - v[0] * turn - v[1] * shrink]  # fmt: skip


def _scratch(specs, params) -> list[Spec]:
    n: Any = specs[0].shape[-1]
    return [Spec((2 * n * n + 66 * n,), specs[0].dtype)]


register(
    Op("eig", "linearised", _infer, _reference, arity=1, jvp=_jvp, batch=_batched_several("eig"),
       lowering="routine", cost=4000, scratch=_scratch)
)  # fmt: skip
