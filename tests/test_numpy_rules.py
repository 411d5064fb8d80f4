"""Where NumPy's rules are easily missed."""

import io

import networkx as nx
import numpy as np
import pytest

import graphad as ga
from graphad.errors import TraceError

COMPARISONS = (np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_integers_compared_with_numbers_beyond_their_range(dtype):
    held = np.iinfo(dtype)
    x = np.array([held.min, 0, 3, held.max], dtype)
    numbers = (-1, 300, -(2**40), 2**40, -(2**70), 2**70, int(held.min) - 1, int(held.max) + 1)
    numbers = [n for n in numbers if not held.min <= n <= held.max]
    run = ga.function(lambda x: [[c(x, n), c(n, x)] for c in COMPARISONS for n in numbers])
    cases = iter(run(x))
    for compare in COMPARISONS:
        for n in numbers:
            got = next(cases)
            np.testing.assert_array_equal(got, [compare(x, n), compare(n, x)])
    np.testing.assert_array_equal(ga.function(lambda x: (x > -1) & (x != 2**70))(x), x > -1)


@pytest.mark.parametrize(
    "f", [np.sum, np.prod, np.max, np.min, np.any, np.all, np.argmax, np.argmin]
)
@pytest.mark.parametrize("axis", [0, -1])
def test_reductions_of_numbers_along_their_axis(f, axis):
    got = ga.function(lambda x: f(x, axis=axis))(3.0)
    want = f(np.float64(3.0), axis=axis)
    assert got == want and np.shape(got) == np.shape(want)
    with pytest.raises(np.exceptions.AxisError):
        ga.function(lambda x: f(x, axis=1))(3.0)


def test_the_median_of_nothing():
    for shape, axis, keep in (((0, 4), 0, False), ((3, 0), 1, True), ((0,), None, False)):
        with np.errstate(all="ignore"), pytest.warns(RuntimeWarning):
            want = np.median(np.zeros(shape), axis=axis, keepdims=keep)
        got = ga.function(lambda x, a=axis, k=keep: np.median(x, axis=a, keepdims=k))(
            np.zeros(shape)
        )
        np.testing.assert_array_equal(got, want)


def test_changing_an_argument_in_place_is_an_error():
    def direct(x):
        x += 1.0
        return x.sum()

    def view(x):
        y = x.T
        y *= 2.0
        return y.sum()

    x = np.ones((2, 3))
    for f in (direct, view):
        for transform in (ga.function, ga.grad):
            with pytest.raises(TraceError, match="caller's array") as caught:
                transform(f)(x)
            assert "test_numpy_rules.py" in str(caught.value) and "fix:" in str(caught.value)


def test_changing_what_the_function_made_is_fine():
    def f(x, n):
        y = x * 2.0
        y += 1.0
        y **= 2
        n += 1.0  # a number is bound anew, in Python too
        for _ in range(2):
            y -= x
        return (y * n).sum()

    x = np.array([1.0, 2.0])
    np.testing.assert_allclose(ga.function(f)(x, 1.0), f(x, 1.0))
    np.testing.assert_allclose(ga.grad(f)(x, 1.0), 2 * (4 * (2 * x + 1) - 2))

    def step(c, x):
        c += x
        return c, c

    assert ga.scan(step, 0.0, np.ones(3))[0] == 3.0


@pytest.mark.parametrize("f", [lambda x: f"{x:.2f}", lambda x: f"{x:>10}", lambda x: format(x, "g")])  # fmt: skip
def test_formats_of_traced_values(f):
    with pytest.raises(TraceError, match="while tracing"):
        ga.function(lambda x: x if f(x) else -x)(1.0)
    assert ga.function(lambda x: x if f"{x} {x!r}" else -x)(1.0) == 1.0


def test_a_schedule_of_the_learning_rate():
    optimiser = ga.optim.adam(lambda step: 0.1 / (1 + step))
    p = {"a": np.ones(2)}
    state = optimiser.init(p)
    for rate in (0.1, 0.05, 0.1 / 3):
        before = p["a"]
        p, state = ga.function(optimiser.update)({"a": np.ones(2)}, state, p)
        np.testing.assert_allclose(before - p["a"], rate, rtol=1e-6)


def test_a_graph_is_written_as_graphml():
    graph = ga.grad(lambda x: np.sum(np.sin(x) ** 2)).lower(np.ones(3)).graph.nx
    file = io.BytesIO()
    nx.write_graphml(graph, file)
    again = nx.read_graphml(io.BytesIO(file.getvalue()))
    assert len(again) == len(graph) and "f64[3]" in {d["spec"] for _, d in again.nodes(data=True)}


@pytest.mark.parametrize(
    "module", ["", "linalg", "special", "optim", "primitives", "random", "flows"]
)
def test_names_to_complete_are_the_public_ones(module):
    space = getattr(ga, module) if module else ga
    shown = {n for n in dir(space) if not n.startswith("__")}
    assert shown == set(space.__all__)
    assert all(hasattr(space, n) for n in shown)
