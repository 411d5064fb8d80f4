"""Fixed points, roots and differential equations: against closed forms, differences and SciPy."""

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize

import graphad as ga
from graphad import errors


def square_root(a):
    return ga.fixed_point(lambda x: 0.5 * (x + a / x), a)


def kepler(m):
    return ga.root(lambda e: e - 0.3 * np.sin(e) - m, bracket=(0.0, 4.0))


def test_fixed_point_to_third_order():
    f = ga.grad(square_root)
    np.testing.assert_allclose(square_root(2.0), np.sqrt(2))
    np.testing.assert_allclose(f(2.0), 0.5 / np.sqrt(2), rtol=1e-13)
    np.testing.assert_allclose(ga.grad(f)(2.0), -0.25 * 2**-1.5, rtol=1e-13)
    np.testing.assert_allclose(ga.grad(ga.grad(f))(2.0), 0.375 * 2**-2.5, rtol=1e-13)
    np.testing.assert_allclose(ga.jvp(square_root)(2.0, tangents=3.0)[1], 1.5 / np.sqrt(2))
    xs = np.array([0.1, 2.0, 9.0])
    np.testing.assert_allclose(ga.vmap(f)(xs), 0.5 / np.sqrt(xs), rtol=1e-13)


def test_fixed_point_of_a_pytree_with_parameters_around_it():
    a = np.array([[0.2, 0.1], [-0.1, 0.3]])

    def f(a, b):
        s = ga.fixed_point(lambda s: {"x": a @ s["x"] + b, "y": 0.5 * s["y"] + s["x"].sum()},
                           {"x": np.zeros(2), "y": 0.0})  # fmt: skip
        return s["x"] @ s["x"] + s["y"]

    def closed(a, b):
        x = np.linalg.solve(np.eye(2) - a, b)
        return x @ x + 2 * x.sum()

    b = np.array([1.0, 2.0])
    np.testing.assert_allclose(ga.function(f)(a, b), closed(a, b), rtol=1e-11)
    got, want = ga.grad(f, wrt=(0, 1))(a, b), ga.grad(closed, wrt=(0, 1))(a, b)
    for p, q in zip(got, want, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-10)
    second = ga.hessian(f, wrt=1)(a, b)
    np.testing.assert_allclose(second, ga.hessian(closed, wrt=1)(a, b), rtol=1e-9)


def test_bracketed_root():
    for m in (0.1, 1.0, 3.0):
        e = kepler(m)
        assert abs(e - 0.3 * np.sin(e) - m) < 1e-12
        slope = 1 / (1 - 0.3 * np.cos(e))
        np.testing.assert_allclose(ga.grad(kepler)(m), slope, rtol=1e-11)
        np.testing.assert_allclose(ga.hessian(kepler)(m), -0.3 * np.sin(e) * slope**3, rtol=1e-9)
    ms = np.linspace(0.1, 3.0, 7)
    np.testing.assert_allclose(ga.vmap(kepler)(ms), [kepler(m) for m in ms], rtol=1e-13)


@pytest.mark.parametrize("f, low, high", [
    (lambda x: x**3 - 2, 0.0, 2.0), (lambda x: np.exp(x) - 1e5, 0.0, 100.0),
    (lambda x: np.tanh(50 * (x - 0.3)), -1.0, 10.0), (lambda x: x, 0.0, 1.0),
    (lambda x: x - 1, 0.0, 1.0),
])  # fmt: skip
def test_brackets_against_scipy(f, low, high):
    want = scipy.optimize.brentq(f, low, high, xtol=1e-13)
    np.testing.assert_allclose(ga.root(f, bracket=(low, high)), want, atol=1e-10)


def test_roots_that_are_not_there_are_nan():
    assert np.isnan(ga.root(lambda x: x * x + 1.0, bracket=(0.0, 1.0)))
    assert np.isnan(ga.root(lambda x: x * x + 1.0, 0.7))
    assert np.isnan(ga.fixed_point(lambda x: 2 * x + 1.0, 1.0))


def test_newton_in_several_unknowns():
    a = np.array([[2.0, 1.0], [1.0, 3.0]])

    def f(p):
        return ga.root(lambda x: a @ x + p * x**3 - 1.0, np.zeros(2))

    x = f(0.5)
    np.testing.assert_allclose(a @ x + 0.5 * x**3, [1, 1], atol=1e-13)
    want = (f(0.5 + 1e-6) - f(0.5 - 1e-6)) / 2e-6
    np.testing.assert_allclose(ga.jacobian(f)(0.5), want, rtol=1e-7)
    batched = ga.vmap(ga.jacobian(f))(np.array([0.1, 0.5]))
    np.testing.assert_allclose(batched[1], ga.jacobian(f)(0.5), rtol=1e-12)
    far = ga.root(lambda x: np.arctan(x), np.array([3.0]))  # plain Newton diverges from here
    np.testing.assert_allclose(far, 0, atol=1e-12)


@pytest.mark.parametrize("call, text", [
    (lambda: ga.root(lambda x: x), "start or a bracket"),
    (lambda: ga.root(lambda x: x[:1], np.zeros(2)), "as many equations"),
    (lambda: ga.root(lambda x: np.stack([x, x]), bracket=(0.0, 1.0)), "one number"),
    (lambda: ga.fixed_point(lambda x: (x, x), 1.0), "another structure"),
    (lambda: ga.odeint(lambda y, t: y[:1], np.zeros(2), np.zeros(2)), "shaped as y"),
    (lambda: ga.odeint(lambda y, t: y, 1.0, 2.0), "one axis"),
    (lambda: ga.odeint(lambda y, t: y, 1.0, np.zeros(2), adjoint="both"), "adjoint"),
])  # fmt: skip
def test_bad_input(call, text):
    with pytest.raises(errors.GraphadError, match=text):
        call()


# -- differential equations ----------------------------------------------------------------------
P = (1.5, 1.0, 3.0, 1.0)
Y0 = np.array([10.0, 5.0])
TS = np.linspace(0, 6, 20)


def predators(y, t, a, b, c, d):
    return np.stack([a * y[0] - b * y[0] * y[1], -c * y[1] + d * y[0] * y[1]])


def reference(y0, ts, p):
    def f(t, y):
        return [p[0] * y[0] - p[1] * y[0] * y[1], -p[2] * y[1] + p[3] * y[0] * y[1]]

    return scipy.integrate.solve_ivp(f, (ts[0], ts[-1]), y0, method="DOP853", t_eval=ts,
                                     rtol=1e-12, atol=1e-12).y.T  # fmt: skip


def test_odeint_and_dense_output():
    got = ga.odeint(predators, Y0, TS, *P)
    np.testing.assert_allclose(got, reference(Y0, TS, P), rtol=2e-6, atol=2e-6)
    tight = ga.odeint(predators, Y0, TS, *P, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(tight, reference(Y0, TS, P), rtol=1e-8, atol=1e-8)
    back = ga.odeint(predators, got[-1], TS[::-1], *P)
    np.testing.assert_allclose(back[-1], Y0, rtol=1e-4)


@pytest.mark.parametrize("adjoint, tolerance", [("discrete", 2e-5), ("continuous", 5e-5)])
def test_both_adjoints(adjoint, tolerance):
    def loss(y0, ts, p):
        return (ga.odeint(predators, y0, ts, *p, adjoint=adjoint) ** 2).sum()

    def exact(y0, ts, p):
        return (reference(y0, ts, p) ** 2).sum()

    g_y, g_t, g_p = ga.grad(loss, wrt=(0, 1, 2))(Y0, TS, P)
    h = 1e-5
    for i in range(2):
        e = h * np.eye(2)[i]
        want = (exact(Y0 + e, TS, P) - exact(Y0 - e, TS, P)) / (2 * h)
        np.testing.assert_allclose(g_y[i], want, rtol=tolerance)
    for i in range(4):
        more, less = list(P), list(P)
        more[i], less[i] = P[i] + h, P[i] - h
        want = (exact(Y0, TS, more) - exact(Y0, TS, less)) / (2 * h)
        np.testing.assert_allclose(g_p[i], want, rtol=tolerance)
    for i in (0, 7, 19):
        more, less = TS.copy(), TS.copy()
        more[i], less[i] = TS[i] + h, TS[i] - h
        want = (exact(Y0, more, P) - exact(Y0, less, P)) / (2 * h)
        np.testing.assert_allclose(g_t[i], want, rtol=2e-3)


def test_odeint_of_a_pytree_forward_mode_second_order_and_batches():
    def f(w, x0):
        out = ga.odeint(lambda y, t: {"x": y["v"], "v": -w * w * y["x"]}, {"x": x0, "v": 0.0},
                        np.array([0.0, 0.5, 1.0]))  # fmt: skip
        return out["x"][-1]

    np.testing.assert_allclose(ga.function(f)(2.0, 3.0), 3 * np.cos(2.0), rtol=1e-7)
    np.testing.assert_allclose(ga.jvp(f)(2.0, 3.0, tangents=1.0)[1], -3 * np.sin(2.0), rtol=1e-6)
    np.testing.assert_allclose(ga.hessian(f)(2.0, 3.0), -3 * np.cos(2.0), rtol=1e-5)
    ws = np.array([0.5, 1.0, 2.0])
    got = ga.vmap(ga.grad(f), in_axes=(0, None))(ws, 3.0)
    np.testing.assert_allclose(got, -3 * np.sin(ws), rtol=1e-6)


def test_solutions_that_end_are_nan():
    out = ga.odeint(lambda y, t: y * y, 1.0, np.array([0.0, 2.0]))
    assert np.isnan(out[-1])
