"""NumPy's functions of lists that hold traced values, against NumPy itself."""

import threading

import numpy as np
import pytest
from numpy import array, mean

import graphad as ga
from graphad.trace import coercion

V = np.arange(3.0)
CASES = {
    "log of an array": lambda x: np.log(np.array([1.0, x])),
    "log of a list": lambda x: np.log([1.0, x]),
    "nested": lambda x: np.array([[1.0, x], [0.0, 2.0]]),
    "arrays in a list": lambda x: np.array([V, x * V]),
    "a tuple": lambda x: np.array((x, 2 * x)).sum(),
    "integers": lambda x: np.array([1, x]),
    "bools": lambda x: np.array([x > 1, True]),
    "dtype": lambda x: np.array([x, 1], dtype=np.float32),
    "asarray": lambda x: np.asarray(x) + 1,
    "ndmin": lambda x: np.array(x, ndmin=2),
    "contiguous": lambda x: np.ascontiguousarray(x),
    "mean": lambda x: np.mean([1.0, x]),
    "mean by name": lambda x: mean([1.0, x]) + array([x, 1.0]),
    "max": lambda x: np.max([1.0, x]),
    "max of an array": lambda x: np.max(np.array([1.0, x])),
    "sum of rows": lambda x: np.sum([[1.0, x], [x, x]], axis=0),
    "reduce": lambda x: np.add.reduce([1.0, x]),
    "outer": lambda x: np.multiply.outer([1.0, x], [x, 2.0]),
    "of a ufunc": lambda x: np.add.identity + np.add.nin + x,
    "full": lambda x: np.full((2, 3), x),
    "stack": lambda x: np.stack([1.0, x]),
    "concatenate": lambda x: np.concatenate([[1.0, x], [x]]),
    "hstack": lambda x: np.hstack([1.0, x, V]),
    "where": lambda x: np.where([True, False], [1.0, x], x),
    "solve": lambda x: np.linalg.solve([[1.0, x], [0.0, 2.0]], [1.0, x]),
    "det": lambda x: np.linalg.det(np.array([[1.0, x], [0.0, x]])),
    "norm": lambda x: np.linalg.norm([1.0, x]),
    "einsum": lambda x: np.einsum("i,i", [1.0, x], [x, x]),
    "keyword": lambda x: np.average([1.0, x], weights=[x, 1.0]),
    "sort": lambda x: np.sort([3.0, x, 1.0]),
    "interp": lambda x: np.interp(x, [0.0, 1.0, 3.0], [1.0, 2.0, x]),
}


@pytest.mark.parametrize("x", [2.0, np.float32(2.0)], ids=["float", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_values_dtypes_and_shapes_are_numpys(name, x):
    f = CASES[name]
    expected, found = f(x), ga.function(f)(x)
    np.testing.assert_allclose(found, expected, rtol=1e-6, strict=np.ndim(expected) > 0)
    assert np.asarray(found).dtype == np.asarray(expected).dtype


def test_their_derivatives():
    def solve(x):
        return np.linalg.solve(np.array([[1.0, x], [0.0, 2.0]]), np.ones(2)).sum()

    assert ga.grad(lambda x: np.log(np.array([1.0, x])).sum())(2.0) == 0.5
    assert ga.grad(solve)(2.0) == pytest.approx(-0.5, rel=1e-14)
    assert ga.grad(lambda x: np.max([1.0, x]))(2.0) == 1.0
    assert ga.grad(ga.grad(lambda x: np.prod([x, x, 3.0])))(2.0) == pytest.approx(6.0, rel=1e-14)
    np.testing.assert_allclose(
        ga.vmap(lambda x: np.array([1.0, x]) * x)(V), np.stack([V, V**2], 1), rtol=1e-15
    )


def test_within_branches_and_loops():
    def step(c, x):
        c = np.array([x, 1.0]) + np.mean([c[0], 2.0])
        return c, np.max([x, c[1]])

    def walked(xs):
        c, found = np.zeros(2), []
        for x in xs:
            c, y = step(c, x)
            found.append(y)
        return c, np.array(found)

    for found, expected in zip(ga.scan(step, np.zeros(2), V), walked(V), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-15)
    one = ga.function(lambda x: ga.cond(x > 0, lambda: np.array([x, 1.0]), lambda: np.zeros(2)))
    np.testing.assert_array_equal(one(3.0), [3.0, 1.0])


def test_names_are_numpys_again_afterwards():
    def fails(x):
        np.array([1.0, x])
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        ga.function(fails)(1.0)
    assert type(np).__name__ == "module" and array is np.array
    assert coercion._OWN.noted is None and not coercion._OWN.interrupts


def test_other_threads_find_numpy_while_one_traces():
    inside, go_on, seen = threading.Event(), threading.Event(), []

    def slow(x):
        y = np.array([1.0, x])
        inside.set()
        go_on.wait(10)
        return y

    ga.function(lambda x: np.array([1.0, x]))(1.0)  # names of this module are known
    tracing = threading.Thread(target=lambda: seen.append(ga.function(slow)(2.0)))
    tracing.start()
    assert inside.wait(10)
    try:
        assert isinstance(np.array([1, 2]), np.ndarray) and np.add.reduce([1, 2]) == 3
        assert np.mean([1.0, 2.0]) == 1.5 and np.linalg.norm([3.0, 4.0]) == 5.0
        assert np.float64 is type(np.float64(1)) and np.array([1], np.int8).dtype == np.int8
    finally:
        go_on.set()
        tracing.join()
    np.testing.assert_array_equal(seen[0], [1.0, 2.0])


def test_ragged_lists_are_errors():
    with pytest.raises(ValueError, match="shapes differ"):
        ga.function(lambda x: np.array([x, [1.0, 2.0]]))(1.0)


def test_by_a_local_name_the_error_says_what_to_do():
    def f(x):
        import numpy

        return numpy.log(numpy.array([1.0, x]))

    with pytest.raises(TypeError, match="at the top of the module"):
        ga.function(f)(2.0)
