"""Linear algebra: against SciPy, residuals and differences; errors; small, large and batched."""

import ctypes

import numba
import numpy as np
import pytest
import scipy.linalg

import graphad as ga
from graphad import errors
from graphad.compile.functions import blas_threads, cython
from graphad.run import product_tables

RNG = np.random.default_rng(0)
A = RNG.normal(size=(5, 5))
B = RNG.normal(size=(5, 3))
SPD = A @ A.T + np.eye(5)
NEAR_ONE = np.eye(5) + 0.3 * A
T = RNG.normal(size=(5, 5))
L = ga.linalg


def close(got, want, tolerance=1e-12):
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * np.abs(want).max())


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7, 40])
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_factors_give_back_the_matrix(n, dtype):
    """On both sides of the size up to which elimination is written out."""
    a = RNG.normal(size=(3, n, n)).astype(dtype)
    spd = a @ np.swapaxes(a, 1, 2) + n * np.eye(n, dtype=dtype)
    tolerance = n * 50 * np.finfo(dtype).eps
    low = ga.function(np.linalg.cholesky)(spd)
    assert low.dtype == dtype
    close(low @ np.swapaxes(low, 1, 2), spd, tolerance)
    assert (np.triu(low, 1) == 0).all()
    x = ga.function(np.linalg.solve)(spd, a)
    close(spd @ x, a, tolerance)
    w, v = ga.function(np.linalg.eigh)(spd)
    close(spd @ v, v * w[:, None, :], tolerance)
    u, s, vh = ga.function(lambda a: np.linalg.svd(a))(a)
    close((u * s[:, None, :]) @ vh, a, tolerance)
    q, r = ga.function(np.linalg.qr)(a)
    close(q @ r, a, tolerance)
    close(np.swapaxes(q, 1, 2) @ q, np.broadcast_to(np.eye(n), q.shape), tolerance)
    for m in a:
        packed, order = ga.function(lambda m: L.lu_factor(m))(m)
        close((np.tril(packed, -1) + np.eye(n)) @ np.triu(packed), m[order], tolerance)


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (0, 0), (4, 0)])
def test_shapes_that_are_not_square(shape):
    a = RNG.normal(size=shape)
    q, r = ga.function(np.linalg.qr)(a)
    np.testing.assert_allclose(q @ r, a, atol=1e-13)
    if a.size:
        close(ga.function(np.linalg.svdvals)(a), np.linalg.svdvals(a))
        close(ga.function(np.linalg.pinv)(a), np.linalg.pinv(a))
    assert ga.function(lambda a: np.linalg.inv(a.T @ a))(a[:, :0]).shape == (0, 0)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("trans", [0, 1])
def test_triangular_solves(lower, trans):
    for b in (B, B[:, 0]):
        want = scipy.linalg.solve_triangular(A, b, trans=trans, lower=lower)
        close(L.solve_triangular(A, b, trans=trans, lower=lower), want)
    unit = scipy.linalg.solve_triangular(A, B, lower=lower, unit_diagonal=True)
    close(L.solve_triangular(A, B, lower=lower, unit_diagonal=True), unit)
    close(L.lu_solve(L.lu_factor(A), B, trans=trans), np.linalg.solve(A.T if trans else A, B))
    close(L.cho_solve(L.cho_factor(SPD, lower=lower), B[:, 0]), np.linalg.solve(SPD, B[:, 0]))
    many = np.stack([A, 2 * A.T])
    close(L.solve_triangular(many, B, lower=lower)[1],
          scipy.linalg.solve_triangular(2 * A.T, B, lower=lower))  # fmt: skip


def test_special_matrices():
    close(
        L.solve_sylvester(A, SPD[:3, :3], B), scipy.linalg.solve_sylvester(A, SPD[:3, :3], B), 1e-11
    )
    np.testing.assert_array_equal(L.block_diag(A, B, B[0]), scipy.linalg.block_diag(A, B, B[0]))
    np.testing.assert_array_equal(L.toeplitz(B[:, 0], A[0]), scipy.linalg.toeplitz(B[:, 0], A[0]))
    np.testing.assert_array_equal(L.toeplitz(B[:, 0]), scipy.linalg.toeplitz(B[:, 0]))


@pytest.mark.parametrize("name", ["expm", "sqrtm", "logm"])
@pytest.mark.parametrize("x", [SPD, NEAR_ONE])
def test_functions_of_matrices(name, x):
    f, want = getattr(L, name), getattr(scipy.linalg, name)
    close(f(x), want(x), 1e-11)
    _, push = ga.jvp(f)(x, tangents=T)
    h = 1e-6
    close(push, (want(x + h * T) - want(x - h * T)) / (2 * h), 1e-6)
    ct = RNG.normal(size=(5, 5))
    pull = ga.vjp(f)(x, cotangents=ct)[1]
    np.testing.assert_allclose(np.sum(pull * T), np.sum(ct * push), rtol=1e-10)


def test_expm_of_large_and_batched_matrices():
    for size in (1e-5, 1.0, 30.0):
        close(L.expm(A * size), scipy.linalg.expm(A * size), 1e-11)
    close(ga.vmap(L.expm)(np.stack([A, 5 * A])), scipy.linalg.expm(np.stack([A, 5 * A])), 1e-11)
    close(ga.jvp(L.expm)(A, tangents=T)[1], scipy.linalg.expm_frechet(A, T, compute_expm=False))


def test_gradients_of_large_solves_and_determinants():
    a, b = RNG.normal(size=(30, 30)) + 6 * np.eye(30), RNG.normal(size=(30, 4))
    g = ga.grad(lambda a, b: (np.linalg.solve(a, b) ** 2).sum(), wrt=(0, 1))(a, b)
    x = np.linalg.solve(a, b)
    back = np.linalg.solve(a.T, 2 * x)
    close(g[1], back, 1e-11)
    close(g[0], -back @ x.T, 1e-11)
    close(ga.grad(lambda a: np.linalg.slogdet(a)[1])(a), np.linalg.inv(a).T, 1e-11)
    hessian = ga.hvp(lambda a: np.linalg.slogdet(a).logabsdet)(a, tangents=np.ones((30, 30)))
    inverse = np.linalg.inv(a)
    close(hessian, -(inverse @ np.ones((30, 30)) @ inverse).T, 1e-10)


def test_determinants_of_singular_matrices():
    """Up to three rows the derivative is the matrix of cofactors, singular or not."""
    np.testing.assert_array_equal(ga.grad(np.linalg.det)(np.zeros((2, 2))), np.zeros((2, 2)))
    flat = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]])
    cofactor = ga.grad(np.linalg.det)(flat)
    np.testing.assert_allclose(flat @ cofactor.T, np.zeros((3, 3)), atol=1e-14)
    assert np.abs(cofactor).max() > 1
    assert ga.function(np.linalg.det)(np.zeros((5, 5))) == 0


def test_equal_eigenvalues():
    """What does not depend on the choice of vectors has its derivative all the same."""
    f = ga.grad(lambda a: np.sum(np.linalg.eigvalsh(a) ** 2))
    np.testing.assert_allclose(f(np.eye(3)), 2 * np.eye(3), atol=1e-15)
    g = ga.grad(lambda a: np.linalg.norm(a, "nuc"))(np.eye(4))
    np.testing.assert_allclose(g, np.eye(4), atol=1e-14)


def test_pinv_of_orthogonal_columns_and_of_less_than_full_rank():
    q = np.linalg.qr(RNG.normal(size=(6, 3)))[0]
    h, t = 1e-6, RNG.normal(size=(6, 3))
    want = (np.linalg.pinv(q + h * t) - np.linalg.pinv(q - h * t)) / (2 * h)
    close(ga.jvp(np.linalg.pinv)(q, tangents=t)[1], want, 1e-8)
    low = q @ np.diag([2.0, 1.0, 0.0])
    close(ga.function(np.linalg.pinv)(low), np.linalg.pinv(low))


SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])
BAD = [
    (np.linalg.inv, (SINGULAR,), "Singular"),
    (np.linalg.inv, (np.zeros((9, 9)),), "Singular"),
    (np.linalg.solve, (SINGULAR, np.ones(2)), "Singular"),
    (np.linalg.cholesky, (-np.eye(2),), "positive definite"),
    (np.linalg.cholesky, (-np.eye(8),), "positive definite"),
    (lambda a: L.solve_triangular(a, np.ones(2)), (np.zeros((2, 2)),), "Singular"),
]


@pytest.mark.parametrize("f, args, text", BAD)
def test_errors_are_numpys_and_name_the_line(f, args, text, regime):
    with pytest.raises(np.linalg.LinAlgError, match=text) as found:
        ga.function(lambda *a: f(*a))(*args)
    assert isinstance(found.value, errors.LinAlgError)
    assert "test_linalg.py" in str(found.value)


def test_errors_inside_batches_loops_and_njit_code():
    many = np.stack([np.eye(3)] * 100)
    many[70] = 0
    with pytest.raises(np.linalg.LinAlgError):
        ga.vmap(np.linalg.inv)(many)
    loop = ga.function(lambda a: ga.fori_loop(0, 3, lambda i, c: np.linalg.inv(c) - np.eye(2), a))
    with pytest.raises(np.linalg.LinAlgError):
        loop(np.eye(2))
    inverse = ga.function(np.linalg.inv)

    @numba.njit
    def use(a):
        return inverse(a)

    np.testing.assert_allclose(use(2 * np.eye(2)), 0.5 * np.eye(2))
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        use(SINGULAR)


@pytest.mark.parametrize("call, text", [
    (lambda: ga.function(np.linalg.inv)(B), "square"),
    (lambda: ga.function(np.linalg.solve)(A, B[:2]), "right-hand side"),
    (lambda: ga.function(np.linalg.svd)(B), "full_matrices=False"),
    (lambda: ga.function(lambda a: np.linalg.norm(a, 7))(A), "no matrix norm"),
    (lambda: ga.grad(lambda a: np.linalg.qr(a)[1].sum())(B.T), "wide"),
    (lambda: ga.function(lambda a: np.linalg.eigh(a, "X"))(SPD), "UPLO"),
])  # fmt: skip
def test_bad_input(call, text):
    with pytest.raises(errors.GraphadError, match=text):
        call()


def test_batches_of_small_solves_are_one_loop():
    a, b = RNG.normal(size=(500, 3, 3)) + 3 * np.eye(3), RNG.normal(size=(500, 3))
    f = ga.value_and_grad(lambda a, b: (ga.vmap(np.linalg.solve)(a, b) ** 2).sum(), wrt=(0, 1))
    value, (da, db) = f(a, b)
    x = np.linalg.solve(a, b[..., None])[..., 0]
    np.testing.assert_allclose(value, (x**2).sum(), rtol=1e-12)
    back = np.linalg.solve(np.swapaxes(a, 1, 2), 2 * x[..., None])[..., 0]
    np.testing.assert_allclose(db, back, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(da, -back[:, :, None] * x[:, None, :], rtol=1e-9, atol=1e-12)


def test_small_matrices_with_many_columns_are_not_written_out():
    a, b = SPD[:3, :3], np.random.default_rng(3).normal(size=(3, 5000))
    for f in (np.linalg.solve, lambda a, b: L.solve_triangular(np.tril(a), b, lower=True)):
        lowered = ga.function(f).lower(a, b)
        assert len(lowered.source) < 20_000
        x = ga.function(f)(a, b)
        close((a if f is np.linalg.solve else np.tril(a)) @ x, b)


def kept(f):
    return lambda x: f(x)


def test_a_name_of_scipys_that_cannot_be_traced_says_what_to_write():
    with pytest.raises(
        errors.NotCoveredError, match=r"scipy.linalg.expm(.|\n)*test_linalg(.|\n)*ga.linalg.expm"
    ):
        ga.function(kept(scipy.linalg.expm))(NEAR_ONE)


@pytest.mark.parametrize("n", [1, 2, 5, 30])
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_eig_is_numpys(n, dtype):
    a = RNG.normal(size=(3, n, n)).astype(dtype)
    w, v = ga.function(np.linalg.eig)(a)
    assert w.dtype == v.dtype == np.result_type(dtype, np.complex64)
    tolerance = 300 * n * np.finfo(dtype).eps
    close(a @ v, v * w[:, None, :], tolerance)
    np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1.0, rtol=tolerance)
    close(ga.function(lambda a: np.linalg.eigvals(a))(a), w, tolerance)
    want = np.linalg.eigvals(a)
    close(np.sort_complex(w), np.sort_complex(want), tolerance)


def test_computing_with_complex_values():
    z = 0.5 - 2j

    def f(a):
        w, v = np.linalg.eig(a)
        back = v @ np.diag(np.exp(w)) @ np.linalg.inv(v)
        several = [z * w + a[0], (w - a[:, 0]) / (w + z), np.sqrt(w) * np.conj(w), -w[::-1].T,
                   np.log(w) - w, w / 2.0, 1.0 - w, np.square(w).sum(), np.angle(w) + abs(w)]  # fmt: skip
        return back, several, np.real(w), np.imag(v)

    got, want = ga.function(f)(A), f(A)
    close(got[0], scipy.linalg.expm(A) + 0j, 1e-12)
    for g, w in zip(got[1], want[1], strict=True):
        close(g, w)
    close(got[2], want[2])
    close(got[3], want[3])


def test_derivatives_of_eigenvalues_and_vectors_are_those_of_differences():
    weights = RNG.normal(size=(5, 5))

    def f(a):
        w, v = np.linalg.eig(a)
        return np.abs(w).max() + (w.imag**2).sum() + (v.real * weights + v.imag * weights.T).sum()

    got, step = ga.grad(f)(A), 1e-6
    for i in range(5):
        for j in range(5):
            e = np.zeros((5, 5))
            e[i, j] = step
            assert abs((f(A + e) - f(A - e)) / (2 * step) - got[i, j]) < 1e-7
    # The sum of the eigenvalues is the trace.
    close(ga.grad(lambda a: np.linalg.eigvals(a).real.sum())(A), np.eye(5))
    assert abs(ga.hessian(lambda a: np.linalg.eigvals(a).real.sum())(A)).max() < 1e-10


def test_what_complex_values_do_not_take_is_an_error_with_a_way_out():
    with pytest.raises(errors.NotCoveredError, match=r"np\.tan(.|\n)*\.real and \.imag"):
        ga.function(lambda a: np.tan(np.linalg.eigvals(a)))(A)
    with pytest.raises(errors.NotCoveredError, match="sort"):
        ga.function(lambda a: np.sort(np.linalg.eigvals(a)))(A)


def test_parts_that_are_not_there_are_zero_beside_infinite_ones():
    a = np.array([[np.inf, 1.0], [2.0, np.nan]])
    np.testing.assert_array_equal(ga.function(lambda a: a.imag)(a), np.zeros((2, 2)))
    shifted = ga.function(lambda a, b: (np.linalg.eigvals(a) + b).imag)
    np.testing.assert_array_equal(
        shifted(A, np.full(5, np.inf)), ga.function(lambda a: np.linalg.eigvals(a).imag)(A)
    )


# -- threads of BLAS -------------------------------------------------------------------------------
@pytest.mark.parametrize("n, most, want", [(40, "3", [1, 8]), (300, "3", [3, 8]), (300, "1", [1, 8]),
                                           (300, "16", [])])  # fmt: skip
def test_how_many_threads_blas_uses(n, most, want, monkeypatch):
    """One for small matrices, no more than GRAPHAD_NUM_THREADS for large; then as before."""
    seen = []
    get = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 8)
    put = ctypes.CFUNCTYPE(None, ctypes.c_int)(seen.append)
    calls = tuple(ctypes.cast(f, ctypes.c_void_p).value for f in (get, put))
    monkeypatch.setattr(product_tables, "blas_threads", lambda: calls)
    monkeypatch.setenv("GRAPHAD_NUM_THREADS", most)
    a = np.eye(n) + 0.1
    np.testing.assert_allclose(ga.function(np.linalg.cholesky)(a), np.linalg.cholesky(a))
    assert seen == want
    seen.clear()
    with pytest.raises(np.linalg.LinAlgError):
        ga.function(np.linalg.cholesky)(-a)
    assert seen == want


def test_the_threads_are_those_of_scipys_blas():
    """NumPy brings a BLAS of its own, with functions of the same names."""
    get, put = blas_threads()
    if not get:
        pytest.skip("this BLAS has no such functions")

    class Found(ctypes.Structure):
        _fields_ = [("file", ctypes.c_char_p), ("base", ctypes.c_void_p),
                    ("symbol", ctypes.c_char_p), ("address", ctypes.c_void_p)]  # fmt: skip

    def library(address):
        found = Found()
        ctypes.CDLL(None).dladdr(ctypes.c_void_p(address), ctypes.byref(found))
        return found.file

    module = ctypes.CDLL(cython("cython_blas").__file__)
    name = next(n for n in ("scipy_dgemm_", "dgemm_") if hasattr(module, n))
    own = ctypes.cast(getattr(module, name), ctypes.c_void_p).value
    assert library(get) == library(put) == library(own)
