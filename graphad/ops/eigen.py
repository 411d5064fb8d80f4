"""Eigenvalues and eigenvectors of general matrices: their real and imaginary parts by LAPACK."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphad.op import Op, register
from graphad.ops.array import iota, total
from graphad.ops.control import picks
from graphad.ops.factor import column, diagonal_of, product, row, solved
from graphad.ops.numpy_shape import concatenate
from graphad.ops.value import Value, add, all_batched, select
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


def _times(x, y):
    """The product of complex matrices as pairs."""
    (a, b), (c, d) = x, y
    return product(a, c) - product(b, d), product(a, d) + product(b, c)


def _inverse_gaps(w) -> tuple[Value, Value]:
    """1 / (w_j - w_i), 0 where they are equal: then the vectors have no derivative apart."""
    n = w[0].shape[-1]
    real, imag = (row(part, n) - column(part, n) for part in w)
    squared = real * real + imag * imag
    size = select(squared == 0.0, 0.0, 1.0 / select(squared == 0.0, 1.0, squared))
    return real * size, -(imag * size)


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
    m = [_rows(both, k * n, n) for k in (0, 1)]
    gap = _inverse_gaps(w)
    c = m[0] * gap[0] - m[1] * gap[1], m[0] * gap[1] + m[1] * gap[0]
    moved = _times(v, c)
    shrink = total(v[0] * moved[0] + v[1] * moved[1], (batch,))
    size = v[0] * v[0] + v[1] * v[1]
    largest = add(size, "argmax", [size], axes=(batch,))
    here = iota(size, size.shape, batch) == row(largest, n)
    turn = total(select(here, moved[1] / select(here, v[0], 1.0), 0.0), (batch,))
    shrink, turn = row(shrink, n), row(turn, n)
    return [diagonal_of(m[0]), diagonal_of(m[1]),
            moved[0] - v[0] * shrink + v[1] * turn,
            moved[1] - v[0] * turn - v[1] * shrink]  # fmt: skip


def _rows(x: Value, first: int, count: int) -> Value:
    start, shape = [0] * x.ndim, list(x.shape)
    start[-2], shape[-2] = first, count
    return add(x, "slice", [x], start=tuple(start), step=(1,) * x.ndim, shape=tuple(shape))


def _batch(args, batched, size, params):
    whole = all_batched(args, batched, size)
    return picks(whole[0], whole[0].builder.add("eig", [whole[0].id]))


def _scratch(specs, params) -> list[Spec]:
    n: Any = specs[0].shape[-1]
    return [Spec((2 * n * n + 66 * n,), specs[0].dtype)]


register(
    Op("eig", "linearised", _infer, _reference, arity=1, jvp=_jvp, batch=_batch,
       lowering="routine", cost=4000, scratch=_scratch)
)  # fmt: skip
