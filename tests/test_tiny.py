"""The tour: what graphad does, in the order a newcomer meets it."""

import numpy as np

import graphad as ga
from graphad.graph import Graph


def energy(x, w):
    return np.sum(np.tanh(x @ w) ** 2)


X, W = np.linspace(-1, 1, 6).reshape(2, 3), np.linspace(0, 1, 6).reshape(3, 2)


def test_a_function_is_compiled_for_what_it_is_called_with():
    f = ga.function(energy)
    np.testing.assert_allclose(f(X, W), energy(X, W), rtol=1e-14)
    assert f(X.astype("f4"), W.astype("f4")).dtype == np.float32


def test_a_gradient_is_a_function_too():
    g = ga.grad(energy, wrt="w")
    h = 2 * np.tanh(X @ W) * (1 - np.tanh(X @ W) ** 2)
    np.testing.assert_allclose(g(X, W), X.T @ h, rtol=1e-13)


def test_transforms_nest():
    third = ga.grad(ga.grad(ga.grad(lambda x: x**5)))
    assert third(2.0) == 60 * 4.0
    assert ga.vmap(third)(np.array([1.0, 2.0])).tolist() == [60.0, 240.0]


def test_the_graph_is_text_in_and_text_out():
    graph = ga.grad(lambda x, y: x * np.sin(y), wrt="y").lower(1.0, 2.0).graph
    text = str(graph)
    assert text.splitlines()[-2] == "%3: f64~[] = scale(%0, %2)"
    assert str(Graph.parse(text)) == text
    assert sorted(graph.nx.edges) == [(0, 3), (1, 2), (2, 3)]


def test_every_stage_can_be_printed():
    stages = ga.grad(energy, wrt="w").lower(np.ones((50, 30)), np.ones((30, 20)))
    assert "tanh" in str(stages.graph)
    assert "product" in str(stages.program)
    assert "def kernel(table, start, stop):" in stages.source
    assert "test_tiny.py" in stages.source  # the user's line stands beside each statement
    assert "define" in stages.llvm
    assert stages.memory.peak > 0 and "peak" in str(stages.memory)
    cost = stages.cost
    assert cost.operations > 2 * 50 * 30 * 20 and cost.bytes_moved >= 8 * (50 * 30 + 30 * 20)
    product = next(r for r in cost.regions if r.what == "product")
    assert product.operations == 2 * 50 * 30 * 20 and product.bound_by == "arithmetic"
    assert "product" in str(cost) and "test_tiny.py" in str(cost)
    symbolic = ga.function(lambda x: np.sin(x).sum()).lower(ga.spec("n")).cost
    assert "n" in str(symbolic.operations) and symbolic.regions[0].bound_by == ""
    assert str(ga.grad(lambda x: x**2).lower(1.0).sympy) == "2*x"


def test_the_interpreter_finds_the_first_nan(capsys):
    def f(x):
        y = np.log(x - 1.0)  # makes a nan
        return y.sum()

    ga.function(f).interpret(np.array([2.0, 0.5]))
    said = capsys.readouterr().out
    assert "first nan" in said and "# makes a nan" in said
