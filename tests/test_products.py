"""Sums and products regrouped: the same numbers from less work, and only where it is safe."""

import numpy as np
import pytest

import graphad as ga
from graphad.lower.program import Product
from graphad.ops.work import operations
from graphad.rewrite.products import reassociate

rng = np.random.default_rng(0)


def regrouped(f, *args):
    """(the work before, the work after, the graph after), checked against NumPy."""
    lowered = ga.function(f).lower(*args)
    graph = reassociate(lowered.graph)
    np.testing.assert_allclose(ga.function(f)(*args), f(*args), rtol=1e-12, atol=1e-12)
    return operations(lowered.graph.nodes), operations(graph.nodes), graph


def sizes(graph):
    return [n.spec.size for n in graph.nodes if n.op.name == "contract"]


A, B, C = rng.normal(size=(30, 40)), rng.normal(size=(40, 50)), rng.normal(size=(30, 50))
T, L = rng.normal(size=(60, 5, 7)), rng.normal(size=(5, 7, 7))


def test_a_sum_goes_into_the_operand_that_has_the_axis():
    before, after, graph = regrouped(lambda a, b: (a @ b).sum(0), A, B)
    assert after < before / 10 and sizes(graph) == [50]


def test_a_sum_over_both_axes_leaves_a_product_of_vectors():
    _, after, graph = regrouped(lambda a, b: (a @ b).sum(), A, B)
    assert sizes(graph) == [1] and after < A.size + B.size + 200


def test_a_sum_over_the_batch_of_a_batched_product_is_one_product():
    f = lambda t, u: np.einsum("nki,nkj->kij", t, u).sum(0)  # noqa: E731
    _, _, graph = regrouped(f, T, T)
    assert sizes(graph) == [49]


def test_linear_things_on_the_way_are_gone_through():
    def f(t, lower, d):
        turned = np.einsum("nki,kij->nkj", t, lower)
        return -(turned - t * d).sum(0) + (d * np.einsum("nki,kji->nkj", t, lower)).sum(0)

    before, after, graph = regrouped(f, T, L, rng.normal(size=(5, 7)))
    assert after < before / 4 and all(s <= 35 for s in sizes(graph))


def test_a_product_that_is_used_elsewhere_stays():
    def f(a, b):
        c = a @ b
        return c.sum(0) + c[0]

    _, _, graph = regrouped(f, A, B)
    assert sizes(graph) == [1500]


def test_an_output_stays():
    lowered = ga.function(lambda a, b: (a @ b, (a @ b).sum(0))).lower(A, B)
    assert sizes(reassociate(lowered.graph)) == [1500]


def test_products_of_three_are_grouped_by_cost():
    V, W, s = rng.normal(size=(3, 40)), rng.normal(size=(40, 3)), rng.normal(size=(500, 40))
    f = lambda v, w, s: np.einsum("oh,nhi->noi", v, s[:, :, None] * w)  # noqa: E731
    before, after, graph = regrouped(f, V, W, s)
    assert after < before and max(n.spec.size for n in graph.nodes) == 500 * 40


def test_a_jacobian_of_many_points_multiplies_the_weights_first():
    W, V = rng.normal(size=(64, 2)), rng.normal(size=(2, 64))
    many = ga.vmap(ga.jacobian(lambda x: V @ np.tanh(W @ x)))
    x = rng.normal(size=(300, 2))
    graph = reassociate(many.lower(x).graph)
    assert max(n.spec.size for n in graph.nodes) == 300 * 64
    t = np.tanh(x @ W.T)
    want = np.einsum("oh,nh,hi->noi", V, 1 - t * t, W)
    np.testing.assert_allclose(many(x), want, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["sqrt", "log"])
def test_strong_zeros_stay_zeros(name):
    """Where a partial may be infinite, a tangent of zero is not multiplied by it out of turn."""
    f = getattr(np, name)
    W, V = rng.normal(size=(64, 2)), rng.normal(size=(2, 64))
    W[3] = 0.0
    many = ga.vmap(ga.jacobian(lambda x: V @ f((W @ x) ** 2 + (np.arange(64) != 3))))
    with np.errstate(all="ignore"):
        got = many(rng.normal(size=(300, 2)))
    assert np.isfinite(got).all()


def test_symbolic_sizes_are_left_to_the_call():
    f = ga.function(lambda a, b: (a @ b).sum(0), signature=(ga.spec("n m"), ga.spec("m k")))
    np.testing.assert_allclose(f(A, B), (A @ B).sum(0), rtol=1e-12)


def test_sums_that_are_added_up_are_one_sum():
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=(5, 30, 4)), rng.normal(size=(5, 30, 6))

    def outer(a, b):
        return (a[:, :, None] * b[:, None, :]).sum(0)

    def f(left, right):
        out = 0.5 * right[0, :4] - outer(left[1], right[1])
        return out - sum(outer(a, b) for a, b in zip(left[2:], right[2:], strict=True))

    lowered = ga.function(f).lower(left, right)
    stores = [s for r in lowered.program.regions for s in getattr(r, "stores", ())]
    assert sum(s.reduce == "sum" for s in stores) == 1
    np.testing.assert_allclose(ga.function(f)(left, right), f(left, right), rtol=1e-12, atol=1e-13)


def test_sums_of_other_shapes_stay_apart():
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(9, 4))
    f = lambda x, y: x.sum(0) + y.sum(0) - (x * x).sum(0) - x.sum(0)[::-1]  # noqa: E731
    np.testing.assert_allclose(ga.function(f)(x, y), f(x, y), rtol=1e-12)
    g = ga.grad(lambda x: f(x, y) @ np.arange(4.0))
    np.testing.assert_allclose(g(x), np.arange(4) * (1 - 2 * x) - np.arange(4)[::-1], rtol=1e-12)


@pytest.mark.parametrize("scaled", [False, True])
def test_long_chains_of_additions_under_a_sum(scaled):
    w, x, v = rng.normal(size=(20, 20)), rng.normal(size=(20, 20)), np.linspace(0.9, 1.0, 20)

    def f(w, x):
        out = w @ x
        for k in range(600):
            out = out * v + x if scaled else out + np.sin(x * k)
        return out.sum(0)

    np.testing.assert_allclose(ga.function(f)(w, x), f(w, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("labels", ["ab,bc->ac", "ab,cb->ac", "ba,bc->ac", "ab,ac->bc", "ab,ab->a"])
def test_a_diagonal_matrix_scales(labels):
    """The cotangent of a diagonal is such a matrix; no product is made with it."""
    a, v = rng.normal(size=(200, 200)), rng.normal(size=200)

    def f(a, v):
        spread = ga.grad(lambda a: (np.diagonal(a) * v).sum())(a)
        return np.einsum(labels, spread, a), np.einsum(labels, a, spread)

    g = ga.function(f)
    assert not any(isinstance(r, Product) for r in g.lower(a, v).program.regions)
    diagonal = np.diag(v)
    for got, want in zip(g(a, v), (np.einsum(labels, diagonal, a), np.einsum(labels, a, diagonal)),
                         strict=True):  # fmt: skip
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)


def test_the_gradient_of_a_log_determinant_by_its_factor():
    s = rng.normal(size=(200, 200))
    s = s @ s.T + 200 * np.eye(200)
    g = ga.value_and_grad(lambda s: 2 * np.log(np.diagonal(np.linalg.cholesky(s))).sum())
    assert not any(isinstance(r, Product) for r in g.lower(s).program.regions)
    value, gradient = g(s)
    np.testing.assert_allclose(value, np.linalg.slogdet(s)[1], rtol=1e-13)
    np.testing.assert_allclose(gradient + gradient.T, 2 * np.linalg.inv(s), rtol=1e-9, atol=1e-12)
