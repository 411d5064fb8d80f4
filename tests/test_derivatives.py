"""Conventions of docs/derivatives.md, one test each, and what tf.gradients means."""

import numpy as np
import pytest

import graphad as ga
from graphad.lower.straight import Straight


@pytest.mark.parametrize(
    "f, x, want",
    [
        (np.abs, 0.0, 0.0),
        (np.sign, 0.0, 0.0),
        (np.floor, 1.5, 0.0),
        (lambda x: np.maximum(x, 0.0), 0.0, 0.5),
        (lambda x: np.minimum(x, 0.0), 0.0, 0.5),
        (lambda x: np.clip(x, 0.0, 1.0), 0.0, 1.0),
        (lambda x: np.clip(x, 0.0, 1.0), 1.0, 1.0),
        (lambda x: np.clip(x, 0.0, 1.0), 1.1, 0.0),
        (np.sqrt, 0.0, np.inf),
        (lambda x: x**2.0, 0.0, 0.0),
        (lambda x: x**1.0, 0.0, 1.0),
        (lambda x: x**0.0, 0.0, 0.0),
        (lambda x: x**0.5, 0.0, np.inf),
        (lambda x: 0.0**x, 2.0, 0.0),
        (lambda x: np.hypot(x, 0.0), 0.0, 0.0),
        (lambda x: np.linalg.norm(np.array([x, x])), 0.0, 0.0),
        (lambda x: np.std(np.stack([x, x, x])), 1.0, 0.0),
        (lambda x: np.where(x > 0, np.sqrt(x), 0.0), 0.0, 0.0),
        (lambda x: np.where(x > 0, np.log(x), x), -1.0, 1.0),
        (lambda x: np.where(x != 0, np.sin(x) / x, 1.0), 0.0, 0.0),
        (lambda x: np.logaddexp(0.0, x), 1000.0, 1.0),
        (lambda x: np.logaddexp(0.0, x), -1000.0, 0.0),
        (lambda x: np.logaddexp(x, x), np.inf, 1.0),
        (np.tanh, 1000.0, 0.0),
        (lambda x: np.arctan2(x, 0.0 * x), 0.0, 0.0),
    ],
)
def test_conventions(f, x, want, regime):
    assert ga.grad(f)(x) == want
    assert ga.jvp(f)(x, tangents=1.0)[1] == want
    many = ga.vmap(ga.grad(f))(np.full(3, x))
    assert many.tolist() == [want] * 3


def test_ties_share_equally(regime):
    x = np.array([1.0, 3.0, 3.0, 3.0])
    np.testing.assert_allclose(ga.grad(np.max)(x), [0, 1 / 3, 1 / 3, 1 / 3])
    np.testing.assert_allclose(ga.grad(lambda x: np.min(-x))(x), [0, -1 / 3, -1 / 3, -1 / 3])
    a, b = ga.grad(lambda a, b: np.maximum(a, b), wrt=(0, 1))(2.0, 2.0)
    assert (a, b) == (0.5, 0.5)


def test_strong_zeros_to_second_order(regime):
    def f(x):
        return np.where(x > 0, np.sqrt(x), 0.0).sum()

    x = np.array([0.0, 4.0, -1.0])
    np.testing.assert_array_equal(ga.grad(f)(x), [0.0, 0.25, 0.0])
    np.testing.assert_array_equal(ga.hessian(f)(x), np.diag([0.0, -1 / 32, 0.0]))


def test_prod_with_zeros(regime):
    for x in ([2.0, 3.0, 4.0], [0.0, 3.0, 4.0], [0.0, 0.0, 4.0], [2.0], [1.0, 0.0, 2.0, 3.0, 5.0]):
        x = np.array(x)
        n = len(x)
        want = [np.prod(np.delete(x, i)) for i in range(n)]
        np.testing.assert_allclose(ga.grad(np.prod)(x), want)
        second = [
            [0 if i == j else np.prod(np.delete(x, [i, j])) for j in range(n)] for i in range(n)
        ]
        np.testing.assert_allclose(ga.hessian(np.prod)(x), second)


def test_mask_never_lets_the_other_branch_through():
    def f(x):
        inner = np.where(x > 1.0, x, 1.0)
        return np.sum(np.where(x > 1.0, np.log(inner - 1.0), x * x))

    np.testing.assert_array_equal(ga.grad(f)(np.array([0.5, 3.0])), [1.0, 0.5])


def test_gradients_as_tf_gradients():
    @ga.function
    def f(x, w):
        h = x * w
        y = np.sin(h)
        z = y * h
        out = {
            "total": ga.gradients(z, [h])[0],
            "stopped": ga.gradients(z, [h], stop=[y])[0],
            "both": ga.gradients([y, z], h)[0],
            "zero": ga.gradients(y, w * 2.0, unconnected="zero")[0],
        }
        assert ga.gradients(y, w * 2.0) == [None]
        chain = ga.gradients(z, [x, h])
        out["x"], out["h"] = chain
        return out

    x, w = 0.7, 1.3
    h = x * w
    got = f(x, w)
    total = np.cos(h) * h + np.sin(h)
    np.testing.assert_allclose(got["total"], total)
    np.testing.assert_allclose(got["stopped"], np.sin(h))
    np.testing.assert_allclose(got["both"], total + np.cos(h))
    np.testing.assert_allclose(got["x"], total * w)
    np.testing.assert_allclose(got["h"], total)
    assert got["zero"] == 0.0


def test_higher_order_inside():
    @ga.function
    def f(x):
        y = x**4
        (g,) = ga.gradients(y, x)
        (h,) = ga.gradients(g, x)
        return g, h

    assert f(2.0) == (32.0, 48.0)


def test_perturbations_are_not_confused():
    # d/dx [x * d/dy (x + y)] = 1, the classic test of nested derivatives.
    assert ga.grad(lambda x: x * ga.grad(lambda y: x + y)(1.0))(2.0) == 1.0
    assert ga.grad(lambda x: ga.grad(lambda y: x * y * y)(x))(3.0) == 12.0


def test_stop_gradient_and_aux():
    f = ga.grad(lambda x: x * ga.stop_gradient(x))
    assert f(3.0) == 3.0
    (value, aux), g = ga.value_and_grad(lambda x: (x**2, {"twice": 2.0 * x}), has_aux=True)(3.0)
    assert (value, aux["twice"], g) == (9.0, 6.0, 6.0)


def test_vmap_axes():
    x, m = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    f = ga.vmap(lambda a, b: a @ b, in_axes=(0, None))
    np.testing.assert_allclose(f(x, m), x @ m)
    g = ga.vmap(lambda a: a * 2.0, in_axes=1, out_axes=1)
    np.testing.assert_allclose(g(x), 2 * x)
    h = ga.vmap(ga.vmap(lambda a, b: a * b, in_axes=(None, 0)), in_axes=(0, None))
    np.testing.assert_allclose(h(x[0], m[0]), np.outer(x[0], m[0]))
    per_example = ga.vmap(ga.grad(lambda w, x: np.tanh(w @ x)), in_axes=(None, 0))
    w = np.array([0.1, 0.2, 0.3])
    want = np.stack([ga.grad(lambda w, x: np.tanh(w @ x))(w, row) for row in x])
    np.testing.assert_allclose(per_example(w, x), want, rtol=1e-13)


def test_custom_derivative_in_both_modes_and_batches():
    @ga.custom_derivative
    def f(x):
        return x**2

    @f.define_vjp
    def rule(primals, outputs, cotangents):
        return (3.0 * primals[0] * cotangents,)

    x = np.array([1.0, 2.0])
    assert ga.grad(lambda x: f(x).sum())(x).tolist() == [3, 6]
    assert ga.jvp(f)(x, tangents=np.ones(2))[1].tolist() == [3, 6]
    assert ga.jacobian(f, mode="forward")(x).tolist() == [[3, 0], [0, 6]]
    assert ga.vmap(ga.grad(f))(x).tolist() == [3, 6]
    assert ga.grad(ga.grad(f))(2.0) == 3.0

    @ga.custom_derivative
    def g(x, y):
        return x * y

    @g.define_jvp
    def rule2(primals, tangents):
        (x, y), (a, b) = primals, tangents
        return x * y, 10.0 * (a * y + x * b)

    assert ga.grad(g, wrt=(0, 1))(2.0, 3.0) == (30.0, 20.0)
    assert ga.vmap(ga.grad(g), in_axes=(0, None))(x, 3.0).tolist() == [30, 30]


def test_checkpoint_keeps_values_and_saves_memory():
    W = np.eye(256) * 0.5

    def block(x):
        for _ in range(8):
            x = np.tanh(x @ W)
        return x

    def model(x, wrap):
        for _ in range(8):
            x = wrap(block)(x)
        return np.sum(x)

    x = np.random.default_rng(0).normal(size=(256, 256))
    plain = ga.grad(lambda x: model(x, lambda f: f))
    saved = ga.grad(lambda x: model(x, ga.checkpoint))
    np.testing.assert_allclose(plain(x), saved(x), rtol=1e-12)
    assert saved.lower(x).memory.peak < 0.45 * plain.lower(x).memory.peak
    hess = [ga.hvp(lambda x, w=w: model(x, w))(x, tangents=x) for w in (lambda f: f, ga.checkpoint)]
    np.testing.assert_allclose(hess[0], hess[1], rtol=1e-9, atol=1e-12)


def test_memory_of_a_deep_chain():
    """Fifty products and tanhs: no more than 1.2 times what reverse mode must keep."""
    W = [np.eye(64) * 0.9 for _ in range(50)]

    def chain(x, ws):
        for w in ws:
            x = np.tanh(x @ w)
        return np.sum(x**2)

    x = np.random.default_rng(0).normal(size=(512, 64))
    memory = ga.grad(chain).lower(x, W).memory
    must_keep = 50 * x.nbytes  # each layer's result
    assert memory.peak <= 1.2 * must_keep, memory


def test_sympy_round_trip():
    import sympy as sp

    x, y = sp.symbols("x y", real=True)
    e = sp.exp(-(x**2)) * sp.sin(y) + sp.Piecewise((x, x > y), (y**2, True))
    f = ga.from_sympy(e, [x, y])
    for at in ((0.3, 0.7), (0.9, 0.1)):
        np.testing.assert_allclose(f(*at), float(e.subs({x: at[0], y: at[1]})), rtol=1e-13)
        g = ga.grad(f, wrt=(0, 1))(*at)
        want = [float(sp.diff(e, s).subs({x: at[0], y: at[1]})) for s in (x, y)]
        np.testing.assert_allclose(g, want, rtol=1e-13)
    back = ga.grad(lambda x: np.sin(x) * x).lower(1.0).sympy
    s = sp.Symbol("x", real=True)
    assert sp.simplify(back - (sp.cos(s) * s + sp.sin(s))) == 0
    assert "cos" in sp.pretty(back)
    v = sp.IndexedBase("v")
    m = sp.Matrix([[v[0], v[1]], [v[0] * v[1], 1]])
    assert ga.from_sympy(m, [v])(np.array([2.0, 3.0])).tolist() == [[2, 3], [6, 1]]


def test_checkpoint_under_vmap():
    f = ga.checkpoint(lambda x, w: np.tanh(x * w))
    x = np.array([0.1, 0.2, 0.3])
    got = ga.vmap(ga.grad(lambda x: f(f(x, 2.0), 3.0)))(x)
    want = [ga.grad(lambda x: np.tanh(np.tanh(x * 2.0) * 3.0))(v) for v in x]
    np.testing.assert_allclose(got, want, rtol=1e-13)


def test_a_graph_of_a_hundred_thousand_nodes():
    """No recursion anywhere: traced, differentiated, simplified and printed."""

    def f(x):
        for k in range(16_700):
            x = np.sin(x) * (0.5 + 1e-6 * k)
        return x

    lowered = ga.grad(f).lower(0.5)
    assert len(lowered.traced.nodes) > 100_000
    assert str(lowered.graph).count("\n") == len(lowered.graph.nodes)


def test_jacobian_chooses_its_mode_from_the_graph():
    W, V = np.ones((30, 40)), np.ones((35, 3))

    def narrow_at_the_end(x):  # the last layers are cheap to pull back through, few to push
        return V @ (np.tanh(W @ x)[:3] ** 2)

    def wide_first(x):
        return np.sin(x[:5]) * 2.0

    for f, x in ((narrow_at_the_end, np.linspace(0, 1, 40)), (wide_first, np.linspace(0, 1, 20))):
        costs = {
            m: ga.jacobian(f, mode=m).lower(x).cost.operations
            for m in ("auto", "forward", "reverse")
        }
        assert costs["auto"] <= 1.01 * min(costs["forward"], costs["reverse"])
        both = [ga.jacobian(f, mode=m)(x) for m in ("forward", "reverse")]
        np.testing.assert_allclose(both[0], both[1], rtol=1e-12, atol=1e-12)


def test_a_sparse_hessian_is_straight_line_code():
    """Most of the work on its tangents is with zeros that stay zeros."""

    def f(x):
        return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    x = np.linspace(-1.0, 1.0, 10)
    h = ga.hessian(f)
    (region,) = h.lower(x).program.regions
    assert isinstance(region, Straight)
    want = np.zeros((10, 10))
    k = np.arange(9)
    want[k, k] = 1200 * x[:-1] ** 2 - 400 * x[1:] + 2
    want[k + 1, k + 1] += 200
    want[k, k + 1] = want[k + 1, k] = -400 * x[:-1]
    np.testing.assert_allclose(h(x), want, rtol=1e-13, atol=1e-12)
    assert not np.signbit(h(x)[0, 2])
