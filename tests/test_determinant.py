"""log |det J| by the structure of J: what is found, and that the value is that of the whole matrix."""

import numpy as np
import pytest

import graphad as ga
from graphad.diff.sparsity import block_form
from graphad.errors import DerivativeError, ShapeError
from graphad.primitives import structure_of, value_and_log_det

RNG = np.random.default_rng(0)
W, SMALL = RNG.normal(size=(6, 6)), RNG.normal(size=(2, 2))
IN, OUT = RNG.normal(size=(4, 8)), RNG.normal(size=(8, 4))
DEGREES = np.arange(8) % 3
FIRST, LAST = np.arange(4)[:, None] <= DEGREES, DEGREES[:, None] < np.arange(4)
ORDER = [3, 1, 0, 2, 5, 4]


def coupling(x):
    kept, moved = x[:2], x[2:]
    raw = np.tanh(kept @ IN[:2]) @ OUT
    return np.concatenate([kept, moved * np.exp(raw[:2]) + raw[2:]])


def masked(x):
    s = np.tanh(x @ (IN * FIRST)) @ (OUT * LAST)
    return x * np.exp(s) + s


def pairs(x):
    z = x.reshape(2, 2)
    return np.concatenate([np.tanh(z[0] @ SMALL), z[1] @ SMALL * np.exp(z[0].sum())])


def written(x):
    return x.at[2].set(x[2] * np.exp(x[0])).at[[1, 3]].add(x[[0, 2]])


# name: f, elements, kind, forward passes
MAPS = {
    "elementwise": (lambda x: np.sinh(x) * 2, 6, "diagonal", 1),
    "permuted": (lambda x: np.exp(x)[ORDER], 6, "diagonal", 1),
    "cumulated": (lambda x: np.cumsum(x**3), 6, "triangular", 1),
    "cumulated backward": (lambda x: np.cumsum(x[::-1])[::-1] ** 3, 6, "triangular", 1),
    "lower triangle": (lambda x: np.tril(W) @ x + x**3, 6, "triangular", 1),
    "upper triangle": (lambda x: x @ np.tril(W), 6, "triangular", 1),
    "coupling": (coupling, 4, "triangular", 1),
    "masked network": (masked, 4, "triangular", 1),
    "composed": (lambda x: masked(np.tanh(masked(x))), 4, "triangular", 1),
    "through an average": (lambda x: x + np.concatenate([np.zeros(1), np.cumsum(np.tanh(x[:-1]))]),
                           5, "triangular", 1),
    "reversed between": (lambda x: masked(masked(x)[::-1]), 4, "dense", 4),
    "writes": (written, 4, "triangular", 1),
    "checkpointed": (lambda x: ga.checkpoint(lambda v: np.tanh(v) * v[0])(x), 4, "triangular", 4),
    "pairs": (pairs, 4, "block triangular", 2),
    "pairs apart": (lambda x: (x.reshape(3, 2) @ SMALL + x.reshape(3, 2) ** 3).reshape(-1), 6,
                    "block diagonal", 2),
    "matrix": (lambda x: W @ x + np.tanh(x), 6, "dense", 6),
    "loop": (lambda x: ga.scan(lambda c, v: (np.tanh(c) + v, np.tanh(c) + v), 0.0, x)[1], 4,
             "dense", 4),
    "of an image": (lambda x: np.stack([x[0] * np.exp(x[1]), x[1]]), (2, 3), "triangular", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", MAPS)
def test_log_det_is_that_of_the_whole_matrix(name):
    f, shape, kind, passes = MAPS[name]
    x = np.random.default_rng(1).normal(size=shape)
    structure = structure_of(f)(x)
    assert structure.kind == kind
    assert (structure.largest if structure.separable else x.size) == passes
    y, log_det = value_and_log_det(f)(x)
    # Differences of fourth order share no code with the derivative.
    columns = [(f_at(f, x, k, 1e-4, 8) - f_at(f, x, k, 2e-4, 1)) / 12e-4 for k in range(x.size)]
    want = np.linalg.slogdet(np.stack(columns, 1))[1]
    assert abs(log_det - want) < 1e-7
    np.testing.assert_allclose(y, ga.function(f)(x), rtol=1e-14)

    def whole(x):
        return np.linalg.slogdet(ga.jacobian(f)(x).reshape(x.size, x.size))[1]

    np.testing.assert_allclose(log_det, whole(x), atol=1e-12)
    gradient = ga.grad(lambda x: value_and_log_det(f)(x)[1])(x)
    np.testing.assert_allclose(gradient, ga.grad(whole)(x), atol=1e-10)
    both = ga.vmap(value_and_log_det(f))(np.stack([x, x + 0.5]))[1]
    np.testing.assert_allclose(both[0], log_det, atol=1e-13)


def f_at(f, x, k, h, weight):
    """weight * (f(x + h e_k) - f(x - h e_k)), flat."""
    step = h * np.eye(x.size)[k].reshape(x.shape)
    run = ga.function(f)
    return weight * (run(x + step) - run(x - step)).reshape(-1)


def test_patterns_cover_every_entry_that_is_not_zero():
    """The pattern of random programs contains their Jacobian's."""
    from graphad.diff.sparsity import Dependence

    for seed in range(30):
        rng = np.random.default_rng(seed)
        f = random_map(rng)
        x = rng.normal(size=6)
        graph = ga.function(f).lower(x).traced
        found = Dependence(graph.nodes, graph.captured, graph.inputs[0], graph.outputs[0])
        pattern = found.forward[graph.outputs[0]].toarray()
        entries = ga.jacobian(f)(x)
        assert not (entries[~pattern] != 0).any()
        if pattern.diagonal().all() and block_form(pattern) is not None:
            _, log_det = value_and_log_det(f)(x)
            want = np.linalg.slogdet(entries)[1]
            assert abs(log_det - want) < 1e-9 * (1 + abs(want)) or want < -30


def random_map(rng):
    """A map of six numbers made of random steps."""
    steps = [
        lambda v: np.tanh(v) + 0.3 * v,
        lambda v: v + 0.2 * np.concatenate([np.zeros(2), v[:-2]]),
        lambda v: v * np.exp(0.1 * np.concatenate([np.zeros(1), np.cumsum(v)[:-1]])),
        lambda v: v[::-1],
        lambda v: v[[1, 0, 2, 3, 5, 4]],
        lambda v: np.tril(W) @ v + 3 * v,
        lambda v: (v.reshape(3, 2) @ (SMALL + 3 * np.eye(2))).reshape(-1),
        lambda v: np.where(np.arange(6) < 3, v, v * v[0] + v),
        lambda v: v.at[4].add(np.sin(v[1])),
    ]
    chosen = [steps[k] for k in rng.integers(len(steps), size=rng.integers(1, 5))]

    def f(v):
        for step in chosen:
            v = step(v)
        return v

    return f


def test_one_pass_costs_about_twice_the_function():
    def f(x):
        s = np.tanh(x @ np.triu(np.ones((64, 64)), 1))
        return x * np.exp(s) + s

    x = ga.spec("64")
    alone, both = (int(ga.function(g).lower(x).cost.operations)
                   for g in (f, value_and_log_det(f)))  # fmt: skip
    assert both <= 2.5 * alone


def test_block_form_of_a_matrix_with_known_blocks():
    pattern = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 1, 1], [0, 1, 1, 1]], bool)
    s = block_form(pattern)
    assert s.kind == "block triangular" and s.largest == 2
    assert [s.level[k] for k in range(4)] == [0, 0, 1, 1]
    assert block_form(np.array([[1, 1], [0, 0]], bool)) is None


def test_errors():
    with pytest.raises(
        DerivativeError, match=r"singular for any values[\s\S]*element 1 of the arg"
    ):
        value_and_log_det(lambda x: x * 0 + x[0])(np.ones(3))
    with pytest.raises(DerivativeError, match="element 2 of the result, which depends on nothing"):
        value_and_log_det(lambda x: np.concatenate([x[:2], np.ones(1)]))(np.ones(3))
    with pytest.raises(ShapeError, match="square Jacobian"):
        value_and_log_det(lambda x: x[:2])(np.ones(3))
