"""SciPy's Python functions in traced code: by their own names, with their own arguments."""

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.special as sp
from arrays import at_once
from scipy.linalg import cho_factor, cho_solve, solve_triangular

import graphad as ga
from graphad import errors
from graphad.trace import stand_ins

RNG = np.random.default_rng(0)
A = RNG.normal(size=(5, 5)) + 3 * np.eye(5)
S = A @ A.T
B = RNG.normal(size=(5, 3))
LOW = np.tril(A)

CALLS = {
    "solve_triangular": lambda a, b: solve_triangular(a, b, trans="T", check_finite=False),
    "solve_triangular, lower": lambda a, b: scipy.linalg.solve_triangular(a, b, lower=True),
    "cho_solve": lambda a, b: cho_solve(cho_factor(a @ a.T, overwrite_a=False), b),
    "cho_factor": lambda a, b: cho_factor(a @ a.T, lower=True)[0] * np.tri(5),
    "lu_solve": lambda a, b: scipy.linalg.lu_solve(scipy.linalg.lu_factor(a), b, trans=1),
    "expm": lambda a, b: scipy.linalg.expm(a / 3),
    "logm": lambda a, b: scipy.linalg.logm(a @ a.T).real,
    "sqrtm": lambda a, b: scipy.linalg.sqrtm(a @ a.T),
    "solve_sylvester": lambda a, b: scipy.linalg.solve_sylvester(a, a[:3, :3].T @ a[:3, :3], b),
    "block_diag": lambda a, b: scipy.linalg.block_diag(a, b),
    "toeplitz": lambda a, b: scipy.linalg.toeplitz(a[0], b[0]),
    "cholesky": lambda a, b: scipy.linalg.cholesky(a @ a.T),
    "solve": lambda a, b: scipy.linalg.solve(a, b, transposed=True),
    "solve, pos": lambda a, b: scipy.linalg.solve(np.triu(a @ a.T), b, assume_a="pos"),
    "solve, sym": lambda a, b: scipy.linalg.solve(np.tril(a), b, lower=True, assume_a="sym"),
    "inv": lambda a, b: scipy.linalg.inv(a),
    "det": lambda a, b: scipy.linalg.det(a),
    "eigh": lambda a, b: scipy.linalg.eigh(a @ a.T, eigvals_only=True),
    "eigvalsh": lambda a, b: scipy.linalg.eigvalsh(a @ a.T, lower=False),
    "eig": lambda a, b: np.abs(scipy.linalg.eig(a)[0]),
    "eigvals": lambda a, b: np.abs(scipy.linalg.eigvals(a)),
    "svd": lambda a, b: scipy.linalg.svd(b, full_matrices=False)[1],
    "svdvals": lambda a, b: scipy.linalg.svdvals(b),
    "pinv": lambda a, b: scipy.linalg.pinv(b),
    "qr": lambda a, b: np.abs(scipy.linalg.qr(b, mode="economic")[1]),
    "norm": lambda a, b: scipy.linalg.norm(a - 1.0, 1),
    "logsumexp": lambda a, b: sp.logsumexp(a, axis=1, b=np.abs(a), keepdims=True),
    "softmax": lambda a, b: sp.softmax(a, axis=0),
    "log_softmax": lambda a, b: sp.log_softmax(a, axis=-1),
    "polygamma": lambda a, b: sp.polygamma(1, np.abs(a)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_is_known(monkeypatch):
    """Each test as the first that meets SciPy."""
    monkeypatch.setattr(stand_ins, "_KNOWN", [])


@pytest.mark.parametrize("name", CALLS)
def test_values_are_scipys(name):
    f = CALLS[name]
    got, want = ga.function(f)(A, B), f(A, B)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11 * np.abs(want).max())


@pytest.mark.parametrize("name", CALLS)
def test_derivatives_are_those_of_differences(name):
    weights = RNG.normal(size=np.shape(CALLS[name](A, B)))
    f = lambda a: (weights * CALLS[name](a, B)).sum()  # noqa: E731
    t, step = RNG.normal(size=A.shape), 1e-5
    got = (ga.grad(f)(A) * t).sum()
    want = (f(A + step * t) - f(A - step * t)) / (2 * step)
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-6)


def test_names_are_scipys_again_after_a_trace():
    originals = scipy.linalg.expm, cho_factor
    ga.function(lambda a: scipy.linalg.expm(a) + cho_factor(a)[0])(S)
    assert (scipy.linalg.expm, cho_factor) == originals
    with pytest.raises(ZeroDivisionError):
        ga.function(lambda a: 1 // 0 * scipy.linalg.expm(a))(S)
    assert scipy.linalg.expm is originals[0] and scipy.linalg.expm.__module__.startswith("scipy")


def test_plain_arguments_go_to_scipy_during_a_trace():
    def f(a):
        return a @ scipy.linalg.expm(A) @ cho_solve(cho_factor(S), B)

    want = A @ scipy.linalg.expm(A) @ cho_solve(cho_factor(S), B)
    ga.function(lambda a: scipy.linalg.expm(a))(A)
    np.testing.assert_allclose(ga.function(f)(A), want, rtol=1e-12)


def test_several_threads_trace_at_once():
    def work(k):
        f = ga.function(lambda a: scipy.linalg.expm(a / (k + 1)) + sp.softmax(a, axis=0))
        np.testing.assert_allclose(f(A), scipy.linalg.expm(A / (k + 1)) + sp.softmax(A, axis=0))

    assert not at_once(work, range(6))


def test_what_is_not_traced_is_named():
    with pytest.raises(errors.NotCoveredError, match=r"scipy\.special\.multigammaln(.|\n)*formula"):
        ga.function(lambda a: sp.multigammaln(a[0, 0] + 9, 2))(A)
    with pytest.raises(errors.NotCoveredError, match="'gen', 'sym' or 'pos'"):
        ga.function(lambda a: scipy.linalg.solve(a, B, assume_a="banded"))(A)
    with pytest.raises(errors.NotCoveredError, match="disp"):
        ga.function(lambda a: scipy.linalg.logm(a, disp=False))(A)


def test_errors_of_plain_calls_stay_scipys():
    with pytest.raises(ValueError, match="square"):
        ga.function(lambda a: a + scipy.linalg.expm(B))(A)
