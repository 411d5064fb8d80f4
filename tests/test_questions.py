"""The questions of docs/coming_from_tensorflow.md, with their numbers."""

import numpy as np
import pytest

import graphad as ga

RNG = np.random.default_rng(0)
W1, W2 = RNG.normal(size=(2, 64)), RNG.normal(size=(64, 2))


def net(x, y):
    h = np.tanh(W1[0] * x + W1[1] * y)
    out = h @ W2
    return out[0], out[1]


def test_1_several_outputs():
    x, y, e = 0.3, -0.7, 1e-6
    jacobian = ga.jacobian(net, wrt=(0, 1))
    j = jacobian(x, y)
    for i in range(2):
        np.testing.assert_allclose(
            j[i][0], (net(x + e, y)[i] - net(x - e, y)[i]) / (2 * e), rtol=1e-6
        )
        np.testing.assert_allclose(
            j[i][1], (net(x, y + e)[i] - net(x, y - e)[i]) / (2 * e), rtol=1e-6
        )
    assert ga.jacobian(lambda v: v * v)(np.array([1.0, 2.0])).tolist() == [[2, 0], [0, 4]]
    xs, ys = RNG.normal(size=50), RNG.normal(size=50)
    many = ga.vmap(jacobian)(xs, ys)
    for k in (0, 17, 49):
        one = jacobian(xs[k], ys[k])
        for i in range(2):
            for m in range(2):
                np.testing.assert_allclose(many[i][m][k], one[i][m], rtol=1e-12)
    summed = ga.grad(lambda x, y: net(x, y)[0] + net(x, y)[1], wrt=(0, 1))(x, y)
    np.testing.assert_allclose([j[0][0] + j[1][0], j[0][1] + j[1][1]], summed, rtol=1e-12)


def test_2_log_prob_of_a_flow_over_images():
    key = ga.random.key(0)
    flow = ga.flows.RealNVP(event_shape=(32, 32, 3), transforms=2, hidden=(8,), key=key)
    assert (flow.event_shape, flow.batch_shape) == ((32, 32, 3), ())
    images = RNG.normal(size=(2, 5, 32, 32, 3))
    log_p = flow.log_prob(images)
    assert log_p.shape == (2, 5)
    one = flow.log_prob(images[1, 2])
    assert one.shape == () and np.isclose(one, log_p[1, 2])
    base, bijector = flow.base, flow.bijector
    x, log_det = bijector.inverse_and_log_det(images)
    np.testing.assert_allclose(base.log_prob(x) + log_det, log_p)
    diagonal = ga.flows.MultivariateNormalDiag(np.zeros(3), np.ones(3))
    assert diagonal.log_prob(images[0, 0]).shape == (32, 32)
    with pytest.raises(ga.errors.ShapeError, match=r"sample shape[\s\S]*batch shape[\s\S]*event"):
        flow.log_prob(np.zeros((5, 3, 32, 32)))


def test_3_vector_jacobian_product_without_the_jacobian():
    f = ga.vjp(lambda x: x * x)
    x = np.array([1.0, 2.0])
    outputs, gradients = f(x, cotangents=np.array([2.0, 3.0]))
    assert outputs.tolist() == [1, 4] and gradients.tolist() == [4, 12]
    assert f(x)[1].tolist() == [2, 4]

    def layer(weights, x):
        return np.tanh(weights @ x)

    weights, x = RNG.normal(size=(300, 200)), RNG.normal(size=200)
    v = RNG.normal(size=300)
    pulled = ga.vjp(layer, wrt="weights")
    outputs, gradients = pulled(weights, x, cotangents=v)
    np.testing.assert_allclose(gradients, np.outer(v * (1 - outputs**2), x), rtol=1e-12)
    # One reverse pass whatever the number of outputs: no Jacobian of 300 x 60 000 in the plan.
    assert pulled.lower(weights, x, cotangents=v).memory.peak < 2.5 * weights.nbytes


def test_4_grad_ys():
    @ga.function
    def weighted(x):
        y1, y2 = np.sin(x), x**2
        (g,) = ga.gradients([y1, y2], [x], grad_ys=[np.full(3, 2.0), np.full(3, 5.0)])
        return g

    x = np.array([0.1, 0.2, 0.3])
    np.testing.assert_allclose(weighted(x), 2 * np.cos(x) + 10 * x, rtol=1e-13)

    @ga.function
    def approximated(x):
        y = np.sin(x)
        return ga.gradients(y, x, grad_ys=0.5 * y)  # an approximate dz/dy fed in

    np.testing.assert_allclose(approximated(x)[0], 0.5 * np.sin(x) * np.cos(x), rtol=1e-13)


def deep(y):
    for k in range(10):
        y = np.tanh(y * (1.0 + 0.1 * k))
    return np.sum(y)


def branch(x, k):
    return np.sin(x * (1.0 + k)) * np.cos(x)


def test_4_a_huge_fan_in_branch_by_branch():
    n, branches = 5000, 100
    xs = [RNG.normal(size=n) for _ in range(branches)]

    def whole(xs):
        return deep(sum(branch(x, k) for k, x in enumerate(xs)))

    def joined(xs):
        return sum(branch(x, k) for k, x in enumerate(xs))

    full = ga.grad(whole)
    top = ga.grad(deep)
    part = [
        ga.function(lambda x, g, k=k: ga.gradients(branch(x, k), x, grad_ys=g)[0]) for k in range(3)
    ]
    want = full(xs)
    g = top(ga.function(joined)(xs))
    for k in range(3):
        np.testing.assert_allclose(part[k](xs[k], g), want[k], rtol=1e-12)
    peak_whole = full.lower(xs).memory.peak
    peak_parts = max(top.lower(g).memory.peak, part[0].lower(xs[0], g).memory.peak)
    assert peak_parts < 0.2 * peak_whole


def test_5_backpropagation_in_parts():
    def model(W, b, x):
        h = ga.tag(W @ x + b, "h")
        y = ga.tag(np.tanh(h), "y")
        return np.sum(y**2)

    W, b, x = RNG.normal(size=(4, 3)), RNG.normal(size=4), RNG.normal(size=3)
    head, tail = ga.cut(model, at="h")
    h = head(W, b, x)
    upper = ga.grad(tail, wrt="h")(W, b, x, h)
    jac = ga.jacobian(head, wrt="W")(W, b, x)
    assert jac.shape == (4, 4, 3)
    np.testing.assert_allclose(
        np.einsum("i,ijk->jk", upper, jac), ga.grad(model)(W, b, x), rtol=1e-12
    )
    both_head, both_tail = ga.cut(model, at=("h", "y"))
    hy = both_head(W, b, x)
    np.testing.assert_allclose(both_tail(W, b, x, *hy), model(W, b, x), rtol=1e-12)

    @ga.function
    def inside(W, b, x):
        h = W @ x + b
        loss = np.sum(np.tanh(h) ** 2)
        (dh,) = ga.gradients(loss, [h])
        return dh, ga.jacobians(h, [W])[0]

    dh, dh_dw = inside(W, b, x)
    np.testing.assert_allclose(dh, upper, rtol=1e-12)
    np.testing.assert_allclose(dh_dw, jac, rtol=1e-12)


def test_6_a_tensor_at_random_by_weight():
    """Many draws in one call, log-weights, zero weights never drawn; of functions one runs."""
    key = ga.random.key(6)
    logits = np.array([0.0, -np.inf, np.log(3.0)])
    tensors = [np.full((2, 2), float(k)) for k in range(3)]
    drawn = ga.random.select(key, logits, tensors, num_samples=4000)
    assert drawn.shape == (4000, 2, 2)
    counts = np.bincount(drawn[:, 0, 0].astype(int), minlength=3)
    assert counts[1] == 0 and abs(counts[2] / 4000 - 0.75) < 0.04

    ran = []

    def option(k):
        def f(x):
            ran.append(k)
            return x + k

        return f

    got = ga.random.select(key, logits, [option(k) for k in range(3)], operands=(10.0,))
    assert ran == [int(got) - 10] and ran[0] != 1
    many = ga.function(
        lambda key, x: ga.random.select(
            key, logits, [lambda x, k=k: x + k for k in range(3)], num_samples=7, operands=(x,)
        )
    )
    at = ga.random.categorical(key, logits, 7)
    np.testing.assert_array_equal(many(key, 10.0), 10.0 + at)
