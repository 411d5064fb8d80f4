"""Linear algebra at special matrices: equal eigenvalues, lost rank, zero, tiny and empty ones.

Derivatives along a line are compared with differences of the same function in mpmath, at 60 digits.
"""

import mpmath as mp
import numpy as np
import pytest
import scipy.linalg

import graphad as ga
from graphad import errors

L = np.linalg
RNG = np.random.default_rng(5)
Q = L.qr(RNG.normal(size=(4, 4)))[0]
Q2 = L.qr(RNG.normal(size=(4, 4)))[0]
W = RNG.normal(size=(4, 4))
E = RNG.normal(size=(4, 4))


def turned(*values):
    """A matrix with these eigenvalues (singular values) in no special basis."""
    return Q @ np.diag(values) @ Q.T


EQUAL = {"unit": 0.7 * np.eye(4), "two pairs": np.diag([1.0, 1, 2, 2]),
         "three": turned(1.0, 1, 1, 2), "all apart": turned(1.0, 1.5, 1.8, 2)}  # fmt: skip
LOW = {"zero": np.zeros((4, 4)), "rank one": np.outer(Q[0], Q[0]),
       "rank two": Q @ np.diag([2.0, 1, 0, 0]) @ Q2.T}  # fmt: skip
SINGULAR = LOW | {"rank three": Q @ np.diag([3.0, 2, 2, 0]) @ Q2.T}


def weighted(m):
    """In mpmath: the sum of a matrix with weights."""
    return sum(mp.mpf(W[i, j]) * m[i, j] for i in range(m.rows) for j in range(m.cols))


def sym(a):
    """The symmetric part."""
    return (a + a.T) / 2


def trace(m):
    """In mpmath."""
    return sum(m[i, i] for i in range(m.rows))


def of_values(f):
    """A symmetric function of the eigenvalues of the symmetric part."""
    return lambda a: f(L.eigvalsh(sym(a)))


def by_vectors(f):
    """A function of the symmetric part by its eigenvectors."""

    def g(a):
        w, v = L.eigh(sym(a))
        return (W * ((v * f(w)) @ v.T)).sum()

    return g


def by_svd(f, turn=False):
    """U f(s) V^T, or V f(s) U^T."""

    def g(a):
        u, s, vh = L.svd(a)
        m = (u * f(s)) @ vh
        return (W * (m.T if turn else m)).sum()

    return g


def by_eig(a):
    """exp by eigenvalues and vectors of a general matrix."""
    w, v = L.eig(a)
    return (W * np.real(v @ np.diag(np.exp(w)) @ L.inv(v))).sum()


# name: the function, the same in mpmath, matrices, the highest order.
TABLE = {
    "log det by eigvalsh": (of_values(lambda w: np.log(w).sum()),
                            lambda a: mp.log(mp.det(sym(a))), EQUAL, 4),
    "cubes of eigenvalues": (of_values(lambda w: (w**3).sum()),
                             lambda a: trace(sym(a) ** 3), EQUAL | LOW, 3),
    "log of a sum of exp": (of_values(lambda w: np.log(np.exp(w).sum())),
                            lambda a: mp.log(trace(mp.expm(sym(a)))), EQUAL | LOW, 2),
    "product of eigenvalues": (of_values(np.prod), lambda a: mp.det(sym(a)), EQUAL | LOW, 3),
    "exp by eigh": (by_vectors(np.exp), lambda a: weighted(mp.expm(sym(a))), EQUAL | LOW, 3),
    "root by eigh": (by_vectors(np.sqrt), lambda a: weighted(mp.sqrtm(sym(a))), EQUAL, 2),
    "inverse by svd": (by_svd(lambda s: 1 / s, True), lambda a: weighted(a**-1), EQUAL, 2),
    "cube by svd": (by_svd(lambda s: s**3), lambda a: weighted(a * a.T * a), EQUAL | LOW, 2),
    "exp by eig": (by_eig, lambda a: weighted(mp.expm(a)), EQUAL | LOW, 2),
    "det": (L.det, mp.det, EQUAL | SINGULAR, 4),
    "log |det|": (lambda a: L.slogdet(a)[1], lambda a: mp.log(abs(mp.det(a))), EQUAL, 3),
    "inv": (lambda a: (W * L.inv(a)).sum(), lambda a: weighted(a**-1), EQUAL, 3),
    "pinv": (lambda a: (W * L.pinv(a)).sum(), lambda a: weighted(a**-1), EQUAL, 3),
    "lstsq": (lambda a: (W * L.lstsq(a, np.eye(4), rcond=None)[0]).sum(),
              lambda a: weighted(a**-1), EQUAL, 2),
    "power": (lambda a: (W * L.matrix_power(a, 3)).sum(), lambda a: weighted(a * a * a),
              EQUAL | LOW, 4),
    "expm": (lambda a: (W * ga.linalg.expm(a)).sum(), lambda a: weighted(mp.expm(a)),
             EQUAL | LOW, 3),
    "sqrtm": (lambda a: (W * ga.linalg.sqrtm(sym(a))).sum(), lambda a: weighted(mp.sqrtm(sym(a))),
              EQUAL, 3),
    "logm": (lambda a: (W * ga.linalg.logm(sym(a))).sum(), lambda a: weighted(mp.logm(sym(a))),
             EQUAL, 1),
    "log diagonal of Cholesky": (
        lambda a: 2 * np.log(np.diagonal(L.cholesky(sym(a)))).sum(),
        lambda a: mp.log(mp.det(sym(a))), EQUAL, 3),
    "log diagonal of QR": (lambda a: np.log(np.abs(np.diagonal(L.qr(a)[1]))).sum(),
                           lambda a: mp.log(abs(mp.det(a))), EQUAL, 3),
    "Frobenius norm": (L.norm, lambda a: mp.sqrt(trace(a * a.T)), EQUAL, 3),
}  # fmt: skip
CASES = [(name, m) for name, (_, _, matrices, _) in TABLE.items() for m in matrices]


def difference(f, a, order):
    """The derivative along E by central differences."""
    h = mp.mpf(10) ** -8
    a, e = mp.matrix(a.tolist()), mp.matrix(E.tolist())
    terms = ((-1) ** j * mp.binomial(order, j) * f(a + (mp.mpf(order) / 2 - j) * h * e)
             for j in range(order + 1))  # fmt: skip
    return float(sum(terms) / h**order)


def pushed(f):
    """The derivative of a function of one number by forward mode."""
    return lambda t: ga.jvp(f)(t, tangents=1.0)[1]


@pytest.mark.parametrize("name, which", CASES)
def test_derivatives_along_a_line(name, which):
    f, reference, matrices, most = TABLE[name]
    a = matrices[which]
    with mp.workdps(60):
        want = [difference(reference, a, k) for k in range(1, most + 1)]

    def g(t):
        return f(a + t * E)

    for order, right in enumerate(want, 1):
        g = ga.grad(g) if order % 2 else pushed(g)
        got = ga.function(g)(0.0)
        np.testing.assert_allclose(got, right, rtol=1e-9, atol=1e-9 * max(1e-3, *map(abs, want)))


@pytest.mark.parametrize("name", [n for n, row in TABLE.items() if row[3] > 1])
def test_whole_hessians(name):
    """Of every pair of directions, at a matrix with equal eigenvalues."""
    f, reference, matrices, _ = TABLE[name]
    a = matrices["three"]
    with mp.workdps(60):
        want = difference(reference, a, 2)
    got = ga.hessian(f)(a)
    np.testing.assert_allclose(np.einsum("ij,ijkl,kl", E, got, E), want, rtol=1e-9)
    np.testing.assert_allclose(got, np.transpose(got, (2, 3, 0, 1)), atol=1e-10 * np.abs(got).max())


def test_inside_checkpoints_loops_and_batches():
    f = TABLE["exp by eigh"][0]
    want = ga.hessian(f)(EQUAL["three"])
    close = dict(rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(ga.hessian(ga.checkpoint(f))(EQUAL["three"]), want, **close)
    many = np.stack([EQUAL["three"], EQUAL["all apart"]])
    np.testing.assert_allclose(ga.vmap(ga.hessian(f))(many)[0], want, **close)
    step = ga.grad(f)
    once = ga.fori_loop(0, 1, lambda i, c: step(c), EQUAL["three"])
    np.testing.assert_allclose(once, step(EQUAL["three"]), **close)


def test_functions_of_eigenvalues_that_are_equal_in_float32():
    a = np.eye(3, dtype="f4") * np.float32(0.7)
    got = ga.hessian(of_values(lambda w: np.log(w).sum()))(a)
    want = ga.hessian(of_values(lambda w: np.log(w).sum()))(a.astype("f8"))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


# -- pseudoinverses of less than full rank --------------------------------------------------------
TALL = RNG.normal(size=(5, 2))
WIDE = RNG.normal(size=(2, 3))


@pytest.mark.parametrize("f", [
    lambda x: L.pinv(x.reshape(5, 2) @ WIDE),
    lambda x: L.pinv((x.reshape(5, 2) @ WIDE).T),
    lambda x: L.lstsq(x.reshape(5, 2) @ WIDE, np.arange(5.0), rcond=None)[0],
    lambda x: L.lstsq((x.reshape(5, 2) @ WIDE).T, np.arange(3.0), rcond=None)[0],
    lambda x: L.pinv(np.stack([x.reshape(5, 2), 2 * x.reshape(5, 2)]) @ WIDE),
])  # fmt: skip
def test_pinv_and_lstsq_of_constant_rank(f):
    x, t, h = TALL.ravel(), RNG.normal(size=10), 1e-4

    def slope(g, h):
        return (g(x + h * t) - g(x - h * t)) / (2 * h)

    def richardson(g):
        return (4 * slope(g, h / 2) - slope(g, h)) / 3

    np.testing.assert_allclose(ga.function(f)(x), f(x), rtol=1e-11)
    first = ga.jvp(f)
    np.testing.assert_allclose(first(x, tangents=t)[1], richardson(f), rtol=1e-8, atol=1e-9)
    pushed_ = ga.function(lambda x: first(x, tangents=t)[1])
    np.testing.assert_allclose(ga.jvp(pushed_)(x, tangents=t)[1], richardson(pushed_), rtol=1e-7,
                               atol=1e-8)  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"rtol": None}, {"rcond": 1e-3}, {"rtol": 0.1}])
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_the_cutoff_of_pinv_is_numpys(options, dtype):
    a = np.diag([1.0, 0.05, 2e-3, 2e-15, 5e-16, 0.0]).astype(dtype)
    got, want = ga.function(lambda a: L.pinv(a, **options))(a), L.pinv(a, **options)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)
    assert got.dtype == want.dtype


@pytest.mark.parametrize("rcond", [None, -1, 1e-3])
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_the_cutoff_of_lstsq_is_numpys(rcond, dtype):
    a = np.diag([1.0, 0.05, 1e-4, 1e-6, 0.0]).astype(dtype)
    b = np.arange(5.0).astype(dtype)
    got, want = ga.function(lambda a, b: L.lstsq(a, b, rcond))(a, b), L.lstsq(a, b, rcond)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5, atol=1e-5)
    assert got[2] == want[2] and got[2].dtype == np.asarray(want[2]).dtype


# -- tiny matrices ---------------------------------------------------------------------------------
TINY = (1e-20 * (3 * np.eye(3) + np.arange(9).reshape(3, 3) / 4)).astype("f4")


@pytest.mark.parametrize("f", [
    L.norm, lambda a: L.norm(a, "nuc"), lambda a: L.norm(a, 2), lambda a: L.eigvalsh(a).sum(),
    lambda a: L.eigvals(a).real.sum(), lambda a: L.qr(a)[1].sum(), lambda a: L.slogdet(a)[1],
    lambda a: L.cholesky(a).sum(), lambda a: (L.inv(a) * np.float32(1e-20)).sum(),
    lambda a: (L.pinv(a) * np.float32(1e-20)).sum(), lambda a: ga.linalg.expm(a).sum(),
    lambda a: ga.linalg.sqrtm(a).sum(), lambda a: ga.linalg.logm(a).sum(),
    lambda a: (a @ (L.eigh(a)[1] / L.eigh(a)[0])).sum(), lambda a: L.svd(a)[0].sum(),
])  # fmt: skip
def test_gradients_at_tiny_matrices_in_float32(f):
    a = TINY + TINY.T
    got, want = ga.grad(f)(a), ga.grad(f)(a.astype("f8"))
    np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-3 * np.abs(want).max())


def test_functions_of_matrices_of_any_scale():
    for scale in (1e-300, 1e-20, 1.0, 1e20, 1e300):
        a = scale * turned(1.0, 2, 2, 3)
        np.testing.assert_allclose(ga.linalg.sqrtm(a), scipy.linalg.sqrtm(a), rtol=1e-12, atol=0)
        want = turned(*(np.log([1.0, 2, 2, 3]) + np.log(scale)))
        np.testing.assert_allclose(ga.linalg.logm(a), want, rtol=1e-11, atol=1e-11)


# -- what is not there -----------------------------------------------------------------------------
@pytest.mark.parametrize("f", [ga.linalg.sqrtm, ga.linalg.logm])
@pytest.mark.parametrize("a", [np.array([[0.5, 1.0], [1.0, -0.5]]), -np.eye(2),
                               np.diag([1.0, -1e-3, 2.0])])  # fmt: skip
def test_complex_results_are_refused(f, a):
    with pytest.raises(errors.LinAlgError, match="an eigenvalue is negative"):
        f(a)
    with pytest.raises(errors.LinAlgError, match="an eigenvalue is negative"):
        ga.vmap(f)(np.stack([np.eye(len(a)), a]))
    with pytest.raises(errors.LinAlgError):
        f(np.zeros((2, 2)))


def test_real_roots_of_turns_are_taken():
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    np.testing.assert_allclose(ga.linalg.sqrtm(turn), scipy.linalg.sqrtm(turn), atol=1e-14)
    np.testing.assert_allclose(ga.linalg.logm(turn), scipy.linalg.logm(turn), atol=1e-14)


@pytest.mark.parametrize("f, a", [
    (lambda a: L.cholesky(a).sum(), np.array([[1.0, 2], [2, 4]])),
    (lambda a: L.slogdet(a)[1], np.array([[1.0, 2], [2, 4]])),
    (lambda a: L.qr(a)[1].sum(), np.zeros((3, 2))),
])  # fmt: skip
def test_derivatives_that_do_not_exist_are_errors(f, a):
    with pytest.raises(errors.LinAlgError):
        ga.grad(f)(a)


@pytest.mark.parametrize("order", [None, 1, 2, 3, 0.5, 0, -1, -2, np.inf, -np.inf])
def test_norms_at_zero_and_beside_it(order):
    f = ga.value_and_grad(lambda x: L.norm(x, order))
    for x in (np.zeros(3), np.array([0.0, 1.0, 2.0])):
        with np.errstate(all="ignore"):
            want = L.norm(x, order)
        value, slope = f(x)
        np.testing.assert_allclose(value, want)
        assert np.isfinite(slope).all()


# -- empty -----------------------------------------------------------------------------------------
SQUARE = {
    "inv": L.inv, "det": L.det, "slogdet": lambda a: tuple(L.slogdet(a)), "cholesky": L.cholesky,
    "eigh": lambda a: tuple(L.eigh(a)), "eigvalsh": L.eigvalsh, "solve": lambda a: L.solve(a, a),
    "cube": lambda a: L.matrix_power(a, 3), "unit": lambda a: L.matrix_power(a, 0),
    "inverse square": lambda a: L.matrix_power(a, -2),
}  # fmt: skip
ANY = {
    "qr": lambda a: tuple(L.qr(a)), "r": lambda a: L.qr(a, "r"), "svdvals": L.svdvals,
    "svd": lambda a: tuple(L.svd(a, full_matrices=False)), "pinv": L.pinv, "norm": L.norm,
    "vector norm": lambda a: L.norm(a, axis=-1), "largest": lambda a: L.norm(a, np.inf, axis=-1),
    "smallest": lambda a: L.norm(a, -np.inf, axis=-1), "count": lambda a: L.norm(a, 0, axis=-1),
    "rank": L.matrix_rank, "cond": L.cond, "matrix norm": L.matrix_norm,
    **{f"norm {p}": lambda a, p=p: L.norm(a, p, axis=(-2, -1))
       for p in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)},
}  # fmt: skip
FLAT = {"lstsq": lambda a: L.lstsq(a, a, rcond=None), "chain": lambda a: L.multi_dot([a, a.T, a])}
SHAPES = [(0, 3, 3), (3, 0, 0), (0, 0), (0, 0, 0), (0, 3), (3, 0), (2, 0, 3), (2, 3, 0), (0, 2, 3)]


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("shape", SHAPES)
def test_empty_matrices_are_as_numpys(shape, dtype):
    a = np.zeros(shape, dtype)
    for name, f in {**SQUARE, **ANY, **FLAT}.items():
        if (name in SQUARE and shape[-1] != shape[-2]) or (name in FLAT and len(shape) > 2):
            continue
        try:
            want = f(a)
        except (ValueError, L.LinAlgError) as error:
            with pytest.raises(ValueError):
                ga.function(lambda a, f=f: f(a))(a)
            assert isinstance(error, ValueError)
            continue
        got = ga.function(lambda a, f=f: f(a))(a)
        for g, w in zip(*(v if isinstance(v, tuple) else (v,) for v in (got, want)), strict=True):
            np.testing.assert_array_equal(g, w, err_msg=name)
            assert np.asarray(g).dtype == np.asarray(w).dtype, name


def test_functions_of_empty_matrices():
    for f in (ga.linalg.expm, ga.linalg.sqrtm, ga.linalg.logm):
        assert f(np.zeros((0, 0))).shape == (0, 0)
    assert ga.linalg.expm(np.zeros((0, 3, 3), "f4")).dtype == np.float32


# -- rank and condition ------------------------------------------------------------------------------
def test_ranks_and_conditions():
    for a in (np.eye(3), np.ones((3, 3)), np.zeros((3, 3)), np.diag([1.0, 1e-15, 1e-17]), TALL):
        for p in (None, 2, -2):
            want = L.cond(a, p)
            got = ga.function(lambda a, p=p: L.cond(a, p))(a)
            assert (got > 1e15 and want > 1e15) or np.isclose(got, want)
        assert ga.function(L.matrix_rank)(a) == L.matrix_rank(a)
    a = np.eye(3) + np.arange(9).reshape(3, 3) / 10
    np.testing.assert_allclose(ga.function(lambda a: L.cond(a, 1))(a), L.cond(a, 1))
