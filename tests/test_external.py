"""Foreign code in a graph."""

import ctypes

import numba
import numpy as np
import pytest
import scipy
from scipy.special import cython_special

import graphad as ga
from graphad import errors


@numba.njit
def moved(x, shift):
    out = np.empty_like(x)
    for i in range(x.shape[0]):
        out[i] = x[i] ** 2 + shift
    return out


@numba.njit
def fails(x):
    if x[0] > 0:
        raise ValueError("no")
    return x


X = np.array([1.0, -2.0, 3.0])


def rule(primals, outputs, cotangents):
    return 2 * primals[0] * cotangents, cotangents.sum()


def test_a_numba_function_with_a_derivative():
    f = ga.external(moved, derivative=rule)

    def g(x, s):
        return (np.sin(f(x * 2.0, s)) * x).sum()

    def plain(x, s):
        return (np.sin((x * 2.0) ** 2 + s) * x).sum()

    np.testing.assert_allclose(ga.function(g)(X, 0.5), plain(X, 0.5))
    for a, b in zip(
        ga.grad(g, wrt=(0, 1))(X, 0.5), ga.grad(plain, wrt=(0, 1))(X, 0.5), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    np.testing.assert_allclose(ga.hvp(g)(X, 0.5, tangents=X), ga.hvp(plain)(X, 0.5, tangents=X))
    np.testing.assert_allclose(ga.vmap(ga.grad(g), in_axes=(0, None))(np.stack([X, X + 1]), 0.5)[1],
                               ga.grad(plain)(X + 1, 0.5))  # fmt: skip
    np.testing.assert_allclose(f(X, 1.0), X**2 + 1)
    assert "moved" in str(ga.function(g).lower(X, 0.5).program)
    np.testing.assert_allclose(ga.function(g).interpret(X, 0.5), plain(X, 0.5))


def test_without_a_derivative_it_is_not_differentiated():
    f = ga.external(moved)
    for transform in (ga.grad, ga.hessian, lambda g: ga.jacobian(g, mode="forward")):
        with pytest.raises(errors.DerivativeError, match=r"external.*moved"):
            transform(lambda x: (f(x, 0.0) * x).sum())(X)
    constant = ga.grad(lambda x: (f(ga.stop_gradient(x), 0.0) * x).sum())
    np.testing.assert_array_equal(constant(X), X**2)
    np.testing.assert_array_equal(ga.grad(lambda x, y: (f(y, 0.0) * x).sum())(X, X), X**2)


def test_the_result_may_have_another_shape():
    total = ga.external(numba.njit(lambda x: x.sum()), result=lambda x: ga.spec("", "f8"))
    assert ga.function(lambda x: total(x) * 2)(X) == 4.0


def test_c_functions_of_numbers():
    low = scipy.LowLevelCallable.from_cython(cython_special, "j0")
    with pytest.raises(errors.TraceError, match="signature"):
        ga.external(low)
    libm = ctypes.CDLL("libm.so.6").hypot
    libm.restype, libm.argtypes = ctypes.c_double, (ctypes.c_double,) * 2
    f = ga.external(scipy.LowLevelCallable(libm, signature="double (double, double)"))
    np.testing.assert_allclose(ga.function(lambda x: f(x[:, None], x))(X), np.hypot(X[:, None], X))


def test_errors():
    f = ga.function(ga.external(fails))
    np.testing.assert_array_equal(f(-X), -X)
    with pytest.raises(RuntimeError, match="fails"):
        f(X)
    with pytest.raises(errors.TraceError, match="LowLevelCallable"):
        ga.external(np.sin)
    with pytest.raises(errors.TraceError, match="static shapes"):
        ga.function(ga.external(fails), signature=(ga.spec("n", "f8"),))(X)
