"""Indexing in every form against NumPy, with gradients and under vmap; and x.at."""

import numpy as np
import pytest

import graphad as ga
from graphad import errors

RNG = np.random.default_rng(0)
A = RNG.normal(size=(4, 5, 6))
I, J = np.array([2, 0, -1]), np.array([[1], [3]])  # noqa: E741
MASK = A[:, 0, 0] > 0
KEYS = [
    np.s_[0], np.s_[-1], np.s_[1:3], np.s_[::-1], np.s_[..., 0], np.s_[None, 0], np.s_[0, None, 1],
    np.s_[I], np.s_[I, 1], np.s_[I, J], np.s_[1, I], np.s_[1, :, I], np.s_[I, :, J], np.s_[..., I],
    np.s_[None, I], np.s_[0, 1, 2], np.s_[::2, ::-2], np.s_[[0, 2]], np.s_[MASK], np.s_[A > 0],
    np.s_[0, I, 1:3], np.s_[1:3, I, None], np.s_[I, ..., 0], np.int64(2), np.s_[1:, -3:-1], (),
    np.s_[...], None, np.s_[3:1], np.s_[10:], np.s_[I[:0]], np.array(1), np.s_[J, I, 0],
    np.s_[I, 1:3, J], np.s_[[True, False, True, True]], np.s_[:, [0, 0, 1]],
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(KEYS)))
def test_key(k, regime):
    key = KEYS[k]
    want = A[key]
    got = ga.function(lambda x: x[key])(A)
    assert np.shape(got) == np.shape(want)
    np.testing.assert_array_equal(got, want)
    c = RNG.normal(size=np.shape(want))
    g = ga.grad(lambda x: np.sum(x[key] * c))(A)
    expected = np.zeros(A.size)
    np.add.at(expected, np.ravel(np.arange(A.size).reshape(A.shape)[key]), np.ravel(c))
    np.testing.assert_allclose(g, expected.reshape(A.shape))
    batch = np.stack([A, 2 * A, -A])
    np.testing.assert_array_equal(
        ga.vmap(lambda x: x[key])(batch), np.stack([b[key] for b in batch])
    )


def test_traced_indices(regime):
    f = ga.function(lambda x, i, j: x[i, :, j])
    np.testing.assert_array_equal(f(A, I, I), A[I, :, I])
    np.testing.assert_array_equal(ga.function(lambda x, i: x[i])(A, 2), A[2])
    rows = ga.vmap(lambda x, i: x[i])(A, np.array([1, -1, 0, 4]))
    np.testing.assert_array_equal(rows, A[np.arange(4), [1, -1, 0, 4]])


@pytest.mark.parametrize("how", ["set", "add", "multiply", "max", "min"])
@pytest.mark.parametrize("k", [0, 2, 4, 7, 16, 17, 20])
def test_at(how, k, regime):
    key, v = KEYS[k], 0.7

    def f(x):
        return getattr(x.at[key], how)(v)

    want = A.copy()
    old = want[key]
    want[key] = {"set": v + 0 * old, "add": old + v, "multiply": old * v,
                 "max": np.maximum(old, v), "min": np.minimum(old, v)}[how]  # fmt: skip
    np.testing.assert_allclose(ga.function(f)(A), want)
    slope = ga.grad(lambda x: np.sum(f(x)))(A)
    changed = np.zeros(A.shape, bool)
    changed[key] = True
    inside = {"set": 0.0, "add": 1.0, "multiply": v, "max": v < A, "min": v > A}[how]
    np.testing.assert_allclose(slope, np.where(changed, inside, 1.0))


def test_equal_indices():
    x, i, v = np.zeros(4), np.array([1, 1, 3]), np.array([5.0, 6.0, 7.0])
    assert ga.function(lambda x: x.at[i].add(v))(x).tolist() == [0, 11, 0, 7]
    assert ga.function(lambda x, i: x.at[i].set(v))(x, i).tolist() == [0, 6, 0, 7]
    weights = np.arange(4.0)
    g = ga.grad(
        lambda v: np.sum(ga.function(lambda x, v: x.at[i].set(v))(x + 0 * v[0], v) * weights)
    )
    assert g(v).tolist() == [0, 1, 3]  # only the last of equal indices is kept


def test_at_under_vmap():
    x, i = np.zeros(4), np.array([1, 3])
    for how in ("set", "add"):
        got = ga.vmap(lambda i, how=how: getattr((i * 0.0 + x).at[i], how)(1.0))(i)
        assert got.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]


def test_nan_to_num():
    x = np.array([1.0, np.nan, np.inf, -np.inf, -2.0])
    for options in ({}, {"nan": 1.5, "posinf": 2.0, "neginf": -3.0}):
        got = ga.function(lambda x, o=options: np.nan_to_num(x, **o))(x)
        np.testing.assert_array_equal(got, np.nan_to_num(x, **options))
    gradient = ga.grad(lambda x: (np.nan_to_num(x, posinf=1.0, neginf=1.0) ** 2).sum())(x)
    np.testing.assert_array_equal(gradient, [2.0, 0.0, 0.0, 0.0, -4.0])


def test_sort_keeps_equal_elements_in_order_and_puts_nan_last():
    rng = np.random.default_rng(0)
    for dtype in ("f8", "f4", "i8", "i4", "u1", "?"):
        for n in (0, 1, 17, 1500, 5000):
            x = np.abs(rng.normal(size=(2, n)) * 9).astype(dtype)
            if dtype[0] == "f" and n > 3:
                x[0, :4] = np.nan, -np.inf, -0.0, 0.0
            order = np.argsort(x, axis=-1, kind="stable")
            np.testing.assert_array_equal(ga.function(np.argsort)(x), order)
            np.testing.assert_array_equal(ga.function(np.sort)(x), np.take_along_axis(x, order, -1))


def test_searchsorted_and_bincount_at_the_ends():
    a = np.array([0.0, 1.0, 1.0, 3.0, np.nan])
    v = np.array([-1.0, 0.0, 1.0, 2.0, 3.0, 9.0, np.nan])
    for side in ("left", "right"):
        got = ga.function(lambda a, v, s=side: np.searchsorted(a, v, side=s))(a, v)
        np.testing.assert_array_equal(got, np.searchsorted(a, v, side=side))
    counted = ga.function(lambda k: np.bincount(k, minlength=4))
    np.testing.assert_array_equal(counted(np.array([0, 2, 2])), [1, 0, 2, 0])
    with pytest.raises(IndexError):
        counted(np.array([4]))
    with pytest.raises(errors.NotCoveredError, match="minlength"):
        ga.function(lambda k: np.bincount(k))(np.array([0, 2, 2]))


def test_remainders_of_integers_never_trap():
    x = np.array([7, -7, 0, -(2**63), 5], "i8")
    y = np.array([0, 2, 3, -1, -3], "i8")
    with np.errstate(all="ignore"):
        for f in (np.remainder, np.floor_divide, np.fmod):
            for dtype in ("i8", "i4", "u2"):
                a, b = x.astype(dtype), y.astype(dtype)
                np.testing.assert_array_equal(ga.function(lambda a, b, f=f: f(a, b))(a, b), f(a, b))


def test_remainders_of_floats_are_numpys():
    values = np.array([7.5, -7.5, 0.0, -0.0, np.inf, -np.inf, np.nan, 1e300, 5e-324, 3.0])
    a, b = [v.ravel() for v in np.meshgrid(values, values)]
    with np.errstate(all="ignore"):
        for f in (np.remainder, np.floor_divide, np.fmod):
            want = f(a, b)
            got = ga.function(lambda a, b, f=f: f(a, b))(a, b)
            np.testing.assert_array_equal(got, want)
            np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(want[want == 0]))
    assert ga.function(lambda x: divmod(x, 2.0))(7.5) == (3.0, 1.5)
    assert ga.function(lambda x: 7 // x + 7 % x)(2) == 4


def test_convolutions_of_every_length_and_batch():
    rng = np.random.default_rng(1)
    for n, m in ((1, 1), (5, 1), (7, 4), (4, 7), (5000, 30)):
        a, v = rng.normal(size=n), rng.normal(size=m)
        for mode in ("full", "same", "valid"):
            for f in (np.convolve, np.correlate):
                run = lambda a, v, f=f, mode=mode: f(a, v, mode=mode)  # noqa: E731
                np.testing.assert_allclose(
                    ga.function(run)(a, v), run(a, v), rtol=1e-12, atol=1e-13
                )
    a, v = rng.normal(size=(3, 50)), rng.normal(size=5)
    got = ga.vmap(
        ga.grad(lambda a, v: (np.convolve(a, v) ** 2).sum(), wrt=(0, 1)), in_axes=(0, None)
    )(a, v)
    want = [ga.grad(lambda a, v: (np.convolve(a, v) ** 2).sum(), wrt=(0, 1))(row, v) for row in a]
    np.testing.assert_allclose(got[0], [w[0] for w in want], rtol=1e-12)
    np.testing.assert_allclose(got[1], [w[1] for w in want], rtol=1e-12)


def test_long_arithmetic_on_what_is_looked_up_is_done_once_an_element():
    table, i = RNG.normal(size=(40, 6)), RNG.integers(-40, 40, 300)
    f = ga.function(lambda t, i: (np.tanh(2.0 * t[i] + 1.0), np.exp(t[i]) * t[i]))
    sizes = [r.space for r in f.lower(table, i).program.regions if any(
        s.op in ("tanh", "exp") for s in r.body)]  # fmt: skip
    assert sizes and all(np.prod(s) == table.size for s in sizes)
    for got, want in zip(f(table, i), (np.tanh(2 * table[i] + 1), np.exp(table[i]) * table[i]),
                         strict=True):  # fmt: skip
        np.testing.assert_allclose(got, want, rtol=1e-14)
    g = ga.grad(lambda t: (np.tanh(t[i]) ** 2).sum())
    slopes = np.zeros_like(table)
    np.add.at(slopes, i, 2 * np.tanh(table[i]) / np.cosh(table[i]) ** 2)
    np.testing.assert_allclose(g(table), slopes, rtol=1e-12, atol=1e-14)
    few = ga.function(lambda t, i: np.tanh(t[i]))
    body = few.lower(table, i[:5]).program.regions[0]
    assert np.prod(body.space) == 30  # fewer than the table has
