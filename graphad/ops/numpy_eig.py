"""NumPy's eigenvalues of general matrices, which are complex."""

from __future__ import annotations

import numpy as np

from graphad.ops import eigen
from graphad.ops.complex_pairs import ComplexPair
from graphad.ops.numpy_linalg import matrix, results
from graphad.ops.value import public


@public(np.linalg.eig, examples=["np.abs(f(A44)[0])", "np.abs(f(A44).eigenvectors)",
                                 "np.real(f(A242 @ A242[:, ::-1].mT)[0])"])  # fmt: skip
def eig(a):
    """As np.linalg.eig, but the results are complex also where every eigenvalue is real. Where
    eigenvalues are equal their vectors have no derivative apart, and what they share is taken as
    0."""
    wr, wi, vr, vi = eigen.eig(matrix("eig", a, square=True))
    return results.EigResult(ComplexPair(wr, wi), ComplexPair(vr, vi))


@public(np.linalg.eigvals, examples=["np.abs(f(A44))", "f(A44).real"])
def eigvals(a):
    """As np.linalg.eigvals, always complex."""
    return eig(a)[0]
