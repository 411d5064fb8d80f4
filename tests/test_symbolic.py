"""Symbolic dims: every example that needs no number of its own, compiled once for any size."""

import warnings

import numpy as np
import pytest
from arrays import ARRAYS, assert_close, names_in
from test_ops import EXAMPLES, call

import graphad as ga
from graphad.errors import GraphadError
from graphad.spec import Dim, Spec

# Examples whose arguments are numbers that stand for a size, or that unroll.
NEED_NUMBERS = {
    "einsum", "split", "roll", "pad", "take", "repeat", "squeeze", "reshape", "broadcast_to",
    "diagonal", "trace", "cross", "diag", "where", "sum", "svd", "svdvals", "cond", "matrix_rank",
    "matrix_norm", "qr", "pinv", "lstsq",
    "norm", "quantile", "percentile", "median", "slogdet", "det", "solve", "trapezoid", "average",
    "take_along_axis", "array_split", "kron", "meshgrid", "column_stack", "hstack", "vstack",
    "dstack", "corrcoef", "interp", "bincount", "correlate", "convolve", "multi_dot", "matrix_power",
    "delete", "hsplit", "insert", "matvec", "polyadd", "polyder", "polyint", "polymul", "polysub",
    "polyval", "unstack", "vander",
}  # fmt: skip


def symbolic(name, array):
    dims = tuple(Dim.symbol(f"{name}_{a}") for a in range(array.ndim))
    return Spec(dims, array.dtype)


@pytest.mark.parametrize("f, text", EXAMPLES)
def test_example(f, text):
    names = names_in(text)
    run = call(f, text, names)
    arrays = [ARRAYS[n] for n in names]
    g = ga.function(run, signature=tuple(map(symbolic, names, arrays)))
    try:
        got = g(*arrays)
    except GraphadError as error:
        assert f.__name__ in NEED_NUMBERS, error
        return
    assert_close(got, run(*arrays))
    if names == ["A34"] and f.__name__ not in ("take", "broadcast_to"):
        for shape in ((5, 7), (64, 40), (1, 2)):
            x = np.random.default_rng(0).normal(size=shape)
            try:
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # NumPy's, of too few observations
                    want = run(x)
            except (IndexError, ValueError):
                continue
            np.testing.assert_allclose(g(x), want, rtol=1e-9, atol=1e-9)


def test_gradients_for_all_sizes():
    def loss(w, x, y):
        return np.mean((np.tanh(x @ w) - y) ** 2) + np.var(w) + np.max(x)

    specs = (ga.spec("d k"), ga.spec("n d"), ga.spec("n k"))
    g = ga.function(ga.value_and_grad(loss, wrt=(0, 1)), signature=specs)
    rng = np.random.default_rng(0)
    for n, d, k in ((3, 2, 4), (50, 20, 30), (1, 1, 1)):
        args = rng.normal(size=(d, k)), rng.normal(size=(n, d)), rng.normal(size=(n, k))
        value, grads = g(*args)
        want_value, want = ga.value_and_grad(loss, wrt=(0, 1))(*args)
        np.testing.assert_allclose(value, want_value, rtol=1e-12)
        for a, b in zip(grads, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_slices_are_checked_at_the_call():
    f = ga.function(lambda x: x[:3] + x[-3:], signature=ga.spec("n"))
    x = np.arange(7.0)
    np.testing.assert_array_equal(f(x), x[:3] + x[-3:])
    with pytest.raises(ValueError, match="slice"):
        f(np.arange(2.0))


def test_products_over_empty_axes(capfd):
    f = ga.function(lambda x, y: x @ y, signature=(ga.spec("m k"), ga.spec("k n")))
    g = ga.function(lambda x, y: x.T @ y, signature=(ga.spec("k m"), ga.spec("k n")))
    for m, k, n in ((3, 0, 4), (0, 3, 4), (3, 4, 0), (0, 0, 0), (30, 20, 10)):
        x, y = np.ones((m, k)), np.ones((k, n))
        np.testing.assert_array_equal(f(x, y), x @ y)
        np.testing.assert_array_equal(g(x.T, y), x @ y)
    assert "illegal" not in capfd.readouterr().err
