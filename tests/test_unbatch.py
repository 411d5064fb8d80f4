"""Small work for each of many examples becomes a loop over straight-line code, with the same bits."""

import numpy as np
import pytest

import graphad as ga
from graphad.lower.straight import takes_each
from graphad.lower.unbatch import unbatched
from graphad.reference import evaluate

RNG = np.random.default_rng(0)
M = RNG.normal(size=(3, 3))


def turn(x, a):
    c, s = np.cos(a), np.sin(a)
    return np.stack([c * x[0] - s * x[1], s * x[0] + c * x[1], x[2] * a])


EXAMPLES = {
    "matrix": (lambda x: M @ x, [(3,)]),
    "rotation": (turn, [(3,), ()]),
    "jacobian": (ga.jacobian(turn), [(3,), ()]),
    "hessian": (ga.hessian(lambda x: np.prod(x[1:] - x[:-1] ** 2)), [(4,)]),
    "norms": (lambda x: (np.sqrt((x * x).sum()), x.max(), x.argmax(), x / x.sum()), [(5,)]),
    "joined": (lambda x, y: np.concatenate([x[::2], y.ravel(), np.cumsum(x)]), [(3,), (2, 2)]),
    "transposed": (lambda y: (y.T @ y + np.arange(2.0)).reshape(4), [(3, 2)]),
    "compared": (lambda x: np.where(x > 0, x, 0 * x).sum() + np.float64(x.shape[0]), [(4,)]),
}


@pytest.mark.parametrize("count", [64, 257])
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_has_the_bits_that_it_has_alone(name, count):
    f, shapes = EXAMPLES[name]
    arrays = [RNG.normal(size=(count, *s)) for s in shapes]
    many = ga.vmap(f)
    assert takes_each(many.lower(*arrays).graph)
    got = many(*arrays)
    one = ga.function(f)
    for i in (0, 1, count // 2, count - 1):
        want = one(*[a[i] for a in arrays])
        pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
        for g, w in pairs:
            np.testing.assert_array_equal(g[i], w)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_graph_of_one_example_means_the_same(name):
    f, shapes = EXAMPLES[name]
    arrays = [RNG.normal(size=(70, *s)) for s in shapes]
    whole = ga.vmap(f).lower(*arrays).graph
    one = unbatched(whole)
    want = evaluate(whole, arrays)
    for i in (0, 69):
        for g, w in zip(evaluate(one.graph, [a[i] for a in arrays]), want, strict=True):
            np.testing.assert_array_equal(g, w[i])


@pytest.mark.parametrize(
    "f, shapes",
    [
        (lambda x: x - x.mean(axis=0), [(100, 3)]),
        (lambda x: x.sum(axis=1).sum(), [(100, 3)]),
        (lambda x: np.cumsum(x.sum(axis=1)), [(100, 3)]),
        (lambda x: x[::-1] + x.sum(axis=1)[:, None], [(100, 3)]),
        (lambda x, y: x @ y, [(100, 3), (3, 100)]),
        (lambda x: x.T + x.sum(axis=1), [(80, 80)]),
        (lambda x: x.reshape(300)[:100] + x.sum(axis=1), [(100, 3)]),
        (lambda x, i: x[i].sum(axis=1), [(100, 3), "i"]),
    ],
)
def test_examples_that_meet_are_left_together(f, shapes):
    arrays = [RNG.integers(0, 100, 100) if s == "i" else RNG.normal(size=s) for s in shapes]
    function = ga.function(f)
    assert not takes_each(function.lower(*arrays).graph)
    np.testing.assert_allclose(function(*arrays), f(*arrays), rtol=1e-12, atol=1e-12)


def test_shared_arguments_symbolic_counts_and_njit():
    import numba

    def each(x, w):
        return ga.vmap(lambda x: np.sin(w @ x) * x.sum())(x)

    w = RNG.normal(size=(2, 3))
    f = ga.function(each, signature=(ga.spec("n 3"), ga.spec("2 3")))
    for n in (1, 64, 1000):
        x = RNG.normal(size=(n, 3))
        want = np.sin(x @ w.T) * x.sum(axis=1)[:, None]
        np.testing.assert_allclose(f(x, w), want, rtol=1e-12)
    np.testing.assert_allclose(numba.njit(lambda x, w: f(x, w))(x, w), want, rtol=1e-12)
    assert f(np.zeros((0, 3)), w).shape == (0, 2)
