"""Special functions: against mpmath and SciPy, in every argument that has a derivative."""

import mpmath
import numpy as np
import pytest
import scipy.special

import graphad as ga
from graphad import errors
from graphad.op import TABLE

RNG = np.random.default_rng(3)
SHAPES = RNG.uniform(0.3, 20.0, (40, 2))
X = RNG.uniform(0.02, 0.98, 40)

EXACT = {
    "gammainc": lambda a, x: mpmath.gammainc(a, 0, x, regularized=True),
    "gammaincc": lambda a, x: mpmath.gammainc(a, x, mpmath.inf, regularized=True),
    "betainc": lambda a, b, x: mpmath.betainc(a, b, 0, x, regularized=True),
    "zeta": lambda s, q: mpmath.zeta(s, q),
}
ARGUMENTS = {
    "gammainc": (SHAPES[:, 0], SHAPES[:, 1]),
    "gammaincc": (SHAPES[:, 0], SHAPES[:, 1]),
    "betainc": (SHAPES[:, 0], SHAPES[:, 1], X),
    "zeta": (1.1 + SHAPES[:, 0], SHAPES[:, 1]),
}


def derivative(f, args, which):
    with mpmath.workdps(40):
        args = [mpmath.mpf(float(a)) for a in args]
        return float(mpmath.diff(lambda t: f(*[t if k == which else a for k, a in enumerate(args)]),
                                 args[which]))  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_values_and_derivatives_in_every_argument(name):
    args = ARGUMENTS[name]
    ufunc = getattr(scipy.special, name)
    np.testing.assert_allclose(ga.function(lambda *a: ufunc(*a))(*args), ufunc(*args), rtol=1e-14)
    for which in range(1 if name == "zeta" else 0, len(args)):
        got = ga.vmap(ga.grad(getattr(ga.special, name), wrt=which))(*args)
        want = [derivative(EXACT[name], point, which) for point in zip(*args, strict=True)]
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name, which", [("gammainc", 0), ("betainc", 0), ("betainc", 1)])
def test_shape_and_argument_mixed(name, which):
    """The slope of the shape's derivative along x is that of the density along the shape."""
    args = ARGUMENTS[name]
    last = len(args) - 1
    f = getattr(ga.special, name)
    got = ga.vmap(ga.grad(ga.grad(f, wrt=which), wrt=last))(*args)
    want = ga.vmap(ga.grad(ga.grad(f, wrt=last), wrt=which))(*args)
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def test_extreme_shapes():
    a = np.array([1e-3, 0.5, 30.0, 1e3])
    for x in (a * 0.5, a, a * 1.5):
        got = ga.vmap(ga.grad(ga.special.gammainc))(a, x)
        with mpmath.workdps(60):
            want = [derivative(EXACT["gammainc"], point, 0) for point in zip(a, x, strict=True)]
        np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-14)
    assert ga.grad(ga.special.gammainc)(2.0, 0.0) == 0.0
    assert ga.grad(ga.special.betainc)(2.0, 3.0, 1.0) == 0.0


@pytest.mark.parametrize("call, part", [
    (lambda: ga.grad(ga.special.zeta)(2.0, 3.0), "exponent"),
    (lambda: ga.hessian(ga.special.gammainc)(2.0, 3.0), "second time"),
    (lambda: ga.hessian(ga.special.betainc, wrt=(0, 1))(2.0, 3.0, 0.5), "second time"),
])  # fmt: skip
def test_what_has_no_derivative_says_so(call, part):
    with pytest.raises(errors.DerivativeError, match=part):
        call()


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_polygamma(n):
    x = np.linspace(0.2, 9.0, 12)
    got = ga.special.polygamma(n, x)
    np.testing.assert_allclose(got, scipy.special.polygamma(n, x), rtol=1e-14)
    slope = ga.vmap(ga.grad(lambda v: ga.special.polygamma(n, v)))(x)
    np.testing.assert_allclose(slope, scipy.special.polygamma(n + 1, x), rtol=1e-13)


A = RNG.normal(size=(3, 5)) * 4


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1), -1])
@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax"])
def test_over_an_axis(name, axis):
    f, want = getattr(ga.special, name), getattr(scipy.special, name)
    np.testing.assert_allclose(f(A, axis=axis), want(A, axis=axis), rtol=1e-14, atol=1e-15)
    big = A * 1e3
    np.testing.assert_allclose(f(big, axis=axis), want(big, axis=axis), rtol=1e-13, atol=1e-300)
    ct = RNG.normal(size=np.shape(want(A, axis=axis)))
    _, got = ga.vjp(lambda x: f(x, axis=axis))(A, cotangents=ct)
    h = 1e-6
    for k in range(5):
        e = np.zeros_like(A)
        e[1, k] = h
        slope = np.sum(ct * (want(A + e, axis=axis) - want(A - e, axis=axis))) / (2 * h)
        np.testing.assert_allclose(got[1, k], slope, rtol=1e-6, atol=1e-8)


def test_logsumexp_with_weights_and_infinities():
    b = np.abs(RNG.normal(size=(3, 5)))
    np.testing.assert_allclose(
        ga.special.logsumexp(A, axis=1, b=b), scipy.special.logsumexp(A, axis=1, b=b)
    )
    assert ga.special.logsumexp(A, axis=0, keepdims=True).shape == (1, 5)
    low = np.array([-np.inf, -np.inf])
    with np.errstate(all="ignore"):
        assert ga.special.logsumexp(low) == -np.inf
    gradient = ga.grad(ga.special.logsumexp)(np.array([0.0, -np.inf, 1.0]))
    np.testing.assert_allclose(gradient, scipy.special.softmax([0.0, -np.inf, 1.0]))


def test_scipys_own_ufuncs_are_traced():
    def f(x):
        return scipy.special.erf(x) * scipy.special.expit(x) + scipy.special.zeta(2.5, x * x + 1)

    x = RNG.normal(size=9)
    np.testing.assert_allclose(ga.function(f)(x), f(x), rtol=1e-13, atol=1e-15)
    slope = ga.grad(lambda v: f(v).sum())(x)
    np.testing.assert_allclose(slope, (f(x + 1e-6) - f(x - 1e-6)) / 2e-6, rtol=1e-7)
    with pytest.raises(errors.NotCoveredError, match="covered"):
        ga.function(lambda x: scipy.special.struve(1, x))(1.0)


def test_names_in_the_module():
    with pytest.raises(AttributeError, match="has no"):
        ga.special.erff  # noqa: B018
    assert ga.special.erf.__name__ == "erf"
    assert "betainc" in dir(ga.special)


def test_single_precision_stays_single():
    x = np.linspace(0.1, 0.9, 7, dtype="f4")
    for name in ("erf", "gammaln", "expit", "ndtri", "logsumexp"):
        assert getattr(ga.special, name)(x).dtype == np.float32


@pytest.mark.parametrize("low, high", [(-6, 8), (-1, 1), (0.9, 2.3)])
def test_betaln_over_its_domain(low, high):
    """In units of the last place of the larger of it and 1; corners are SciPy's."""
    rng = np.random.default_rng(0)
    a, b = 10 ** rng.uniform(low, high, (2, 400))
    got = ga.function(lambda a, b: scipy.special.betaln(a, b))(a, b)
    with mpmath.workdps(40):
        for x, y, g in zip(a, b, got, strict=True):
            x, y = mpmath.mpf(x), mpmath.mpf(y)
            want = mpmath.loggamma(x) + mpmath.loggamma(y) - mpmath.loggamma(x + y)
            unit = float(np.spacing(max(abs(float(want)), 1.0)))
            assert abs(float(mpmath.mpf(g) - want)) <= TABLE.ops["betaln"].units[0] * unit, (x, y)
    a = np.array([0, 0, -1.5, 1.0, np.inf, np.nan, 1e-300, 1e300, 1e300, -2.5, 3])
    b = np.array([1, 0, 2.0, np.inf, np.inf, 1, 1, 1e300, 1, 0.3, -0.5])
    got = ga.function(lambda a, b: scipy.special.betaln(a, b))(a, b)
    np.testing.assert_allclose(got, scipy.special.betaln(a, b), rtol=1e-12)
