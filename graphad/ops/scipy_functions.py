"""SciPy's functions that are no ufuncs, as they are traced: by module and name, with SciPy's
arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphad.errors import NotCoveredError
from graphad.op import TABLE
from graphad.ops import matrix_functions as matrices
from graphad.ops import numpy_eig, numpy_linalg, special_functions
from graphad.ops.value import _first_value, lift

IGNORED = ("check_finite", "overwrite_a", "overwrite_b")  # options that change no result


def _cho_factor(a, lower=False):
    return matrices.cho_factor(a, lower), lower


def _cho_solve(c_and_lower, b):
    c, lower = c_and_lower
    return matrices.cho_solve(c, lower, b)


def _cholesky(a, lower=False):
    return matrices.cho_factor(a, lower)


def _solve(a: Any, b, lower=False, assume_a=None, transposed=False):
    """A structure that is only promised (assume_a='pos') is not used: the result is the same."""
    if assume_a not in (None, "gen", "general"):
        a = _whole(lift(_first_value([a, b]), a), assume_a, lower)
    return numpy_linalg.linalg_solve(np.swapaxes(a, -1, -2) if transposed else a, b)


def _whole(a, structure: str, lower: bool) -> Any:
    """The matrix of which SciPy reads one triangle."""
    if structure in ("sym", "symmetric", "her", "hermitian", "pos", "positive definite"):
        one = np.tril(a) if lower else np.triu(a)
        return one + np.swapaxes(np.tril(a, -1) if lower else np.triu(a, 1), -1, -2)
    raise NotCoveredError("scipy.linalg.solve", "this structure is not covered", got=structure,
                          expected="assume_a='gen', 'sym' or 'pos'",
                          fix="solve_triangular, or no assume_a")  # fmt: skip


def _eigh(a, *, lower=True, eigvals_only=False):
    out = numpy_linalg.eigh(a, "L" if lower else "U")
    return out[0] if eigvals_only else out


def _svd(a, full_matrices=True, compute_uv=True):
    return numpy_linalg.svd(a, full_matrices, compute_uv)


def _qr(a, *, mode="full"):
    x = numpy_linalg.matrix("qr", a)
    tall = x.shape[-2] > x.shape[-1]
    if mode not in ("economic", "r") and tall:
        raise NotCoveredError("scipy.linalg.qr", "the full basis is not covered", got=repr(mode),
                              expected="mode='economic'", fix="mode='economic'")  # fmt: skip
    out: Any = numpy_linalg.qr(x)
    return (out.R,) if mode == "r" else tuple(out)


def _logsumexp(a, axis=None, b=None, keepdims=False):
    a = lift(_first_value([a, b]), a, "logsumexp")
    return special_functions.logsumexp(a, axis, b, keepdims)


def _over_axis(rule):
    return lambda x, axis=None: rule(lift(_first_value([x]), x, rule.__name__), axis)


FUNCTIONS: dict[str, dict[str, Callable[..., Any]]] = {
    "scipy.linalg": {
        "solve_triangular": matrices.solve_triangular, "cho_factor": _cho_factor,
        "cho_solve": _cho_solve, "lu_factor": matrices.lu_factor, "lu_solve": matrices.lu_solve,
        "expm": matrices.expm, "logm": matrices.logm, "sqrtm": matrices.sqrtm,
        "solve_sylvester": matrices.solve_sylvester, "block_diag": matrices.block_diag,
        "toeplitz": matrices.toeplitz, "cholesky": _cholesky, "solve": _solve,
        "inv": numpy_linalg.inv, "det": numpy_linalg.det, "eigh": _eigh,
        "eigvalsh": lambda a, lower=True: _eigh(a, lower=lower, eigvals_only=True),
        "eig": lambda a: tuple(numpy_eig.eig(a)), "eigvals": numpy_eig.eigvals, "svd": _svd,
        "svdvals": numpy_linalg.svdvals, "pinv": numpy_linalg.pinv, "qr": _qr,
        "norm": TABLE.numpy[np.linalg.norm],
    },
    "scipy.special": {
        "logsumexp": _logsumexp, "softmax": _over_axis(special_functions.softmax),
        "log_softmax": _over_axis(special_functions.log_softmax),
        "polygamma": special_functions.polygamma,
    },
}  # fmt: skip
