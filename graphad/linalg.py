"""Linear algebra beyond NumPy's: what `scipy.linalg` has, for arrays and traced code.

    solve_triangular cho_factor cho_solve lu_factor lu_solve    solves with factors
    solve_sylvester block_diag toeplitz                          special matrices
    expm logm sqrtm                                              functions of matrices

NumPy's own (`np.linalg.solve`, `cholesky`, `eigh`, ...) work in traced code as they are, and so do
SciPy's by their own names; these here can be kept in an object, too.

>>> import numpy as np
>>> import graphad as ga
>>> a = np.array([[2.0, 0.0], [1.0, 4.0]])
>>> ga.linalg.solve_triangular(a, np.array([2.0, 9.0]), lower=True)
array([1., 2.])
>>> ga.grad(lambda x: ga.linalg.expm(x).sum())(np.zeros((2, 2)))
array([[1., 1.],
       [1., 1.]])
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from graphad.function import Function
from graphad.ops import matrix_functions as rules
from graphad.ops.value import lift
from graphad.trace import pytree
from graphad.trace.tensor import Tensor
from graphad.transform.selection import any_tensor

ARRAYS = ("a", "b", "q", "c", "r", "lu_and_order", "arrays")


def _public(rule: Callable[..., Any]) -> Function:
    """A rule on Values as a Function of arrays; its options are static."""
    signature = inspect.signature(rule)

    @functools.wraps(rule)
    def call(*args, **kwargs):
        like = any_tensor((args, kwargs))
        bound = signature.bind(*args, **kwargs)
        for name in bound.arguments:
            if name in ARRAYS:
                given = bound.arguments[name]
                whole = pytree.map_leaves(lambda x: lift(like, x, rule.__name__), given)
                bound.arguments[name] = whole
        out = rule(*bound.args, **bound.kwargs)
        return pytree.map_leaves(lambda v: Tensor(v.builder, v.id) if hasattr(v, "id") else v, out)

    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__module__ = __name__
    static = tuple(p for p in signature.parameters if p not in ARRAYS)
    return Function(call, static=static)


solve_triangular = _public(rules.solve_triangular)
_cho_factor = _public(rules.cho_factor)
_cho_solve = _public(rules.cho_solve)
lu_factor = _public(rules.lu_factor)
lu_solve = _public(rules.lu_solve)
solve_sylvester = _public(rules.solve_sylvester)
block_diag = _public(rules.block_diag)
toeplitz = _public(rules.toeplitz)
expm = _public(rules.expm)
logm = _public(rules.logm)
sqrtm = _public(rules.sqrtm)


def cho_factor(a, lower=False):
    """(c, lower) for `cho_solve`: the Cholesky factor of a symmetric positive definite a."""
    return _cho_factor(a, lower), lower


def cho_solve(c_and_lower, b):
    """x with a x = b, from the result of `cho_factor(a)`."""
    c, lower = c_and_lower
    return _cho_solve(c, lower, b)


__all__ = [
    "block_diag",
    "cho_factor",
    "cho_solve",
    "expm",
    "logm",
    "lu_factor",
    "lu_solve",
    "solve_sylvester",
    "solve_triangular",
    "sqrtm",
    "toeplitz",
]


def __dir__() -> list[str]:
    return sorted({*__all__, *(n for n in globals() if n.startswith("__"))})
