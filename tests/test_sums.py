"""The order of sums (docs/design.md, "Sums"), written out in Python and compared bit for bit."""

import numpy as np
import pytest

import graphad as ga

RNG = np.random.default_rng(0)


def block(values):
    """Lanes of 32 and a tree of halves, of what is left lanes of 8 likewise, then the rest."""
    total = 0.0
    for width in (32, 8):
        wide = len(values) // width * width
        if wide:
            lanes = values[:width]
            for k in range(width, wide, width):
                lanes = lanes + values[k : k + width]
            while len(lanes) > 1:
                half = len(lanes) // 2
                lanes = lanes[:half] + lanes[half:]
            total = total + lanes[0]
        values = values[wide:]
    for v in values:
        total = total + v
    return total


def line(values):
    total = 0.0
    for k in range(0, len(values), 256):
        total = total + block(values[k : k + 256])
    return total


def in_order(x):
    """The innermost axis in lanes, then the outer ones one after another."""
    total = 0.0
    for row in x.reshape(-1, x.shape[-1]):
        total = total + line(row)
    return total


@pytest.mark.parametrize(
    "n", [1, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 63, 100, 255, 256, 257, 300, 1000, 5003]
)
def test_along_one_axis(n):
    x = RNG.normal(size=n)
    assert ga.function(np.sum)(x) == line(x)
    assert ga.function(lambda x: np.sum(x * 3.0))(x) == line(x * 3.0)
    rows = RNG.normal(size=(3, n))
    got = ga.function(lambda x: x.sum(axis=1))(rows)
    np.testing.assert_array_equal(got, [line(r) for r in rows])


@pytest.mark.parametrize("shape", [(1000, 5), (40, 30, 3), (2, 50, 16), (300, 2), (4, 70), (9, 9)])
def test_over_everything_beside_a_row_sum(shape):
    """Short rows are written out, and the sums of rows then added one after another."""
    x = RNG.normal(size=shape)
    got = ga.function(lambda x: (x * np.abs(x).max(-1, keepdims=True)).sum())(x)
    assert got == in_order(x * np.abs(x).max(-1, keepdims=True))


@pytest.mark.parametrize("reduce", [np.max, np.min, np.prod])
@pytest.mark.parametrize("shape", [(500, 3), (20, 30, 4)])
def test_other_reductions_over_everything(reduce, shape):
    x = 1 + 0.01 * RNG.normal(size=shape)
    f = lambda x: reduce(x / x.max(-1, keepdims=True))  # noqa: E731
    np.testing.assert_allclose(ga.function(f)(x), f(x), rtol=1e-12)
    x[-1, -1] = np.nan
    assert np.isnan(ga.function(f)(x)) == np.isnan(f(x))
