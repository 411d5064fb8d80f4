"""Indexing in every form against NumPy, with gradients and under vmap; and x.at."""

import numpy as np
import pytest

import graphad as ga

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
