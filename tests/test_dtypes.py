"""Every dtype through arithmetic and reductions: results and their dtypes as NumPy has them."""

import itertools

import numpy as np
import pytest

import graphad as ga

KINDS = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"]
VALUES = {k: np.array([3, 1, 100, 7] if k[0] == "u" else [3, -1, 100, -7]).astype(k) for k in KINDS}
VALUES["?"] = np.array([False, True, True, False])
PAIRWISE = [np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum, np.less, np.equal,
            np.hypot, np.logical_and]  # fmt: skip
SINGLE = [np.negative, np.abs, np.sign, np.exp, np.floor, np.square, np.sum, np.max, np.min,
          np.argmax, np.cumsum, np.mean, np.prod]  # fmt: skip


def expected(f, *xs):
    """NumPy's result, or None where it refuses or answers in half precision."""
    try:
        with np.errstate(all="ignore"):
            out = np.asarray(f(*xs))
    except TypeError:
        return None
    return None if out.dtype == np.float16 else out


def assert_as_numpy(f, arguments):
    cases = [(args, expected(f, *args)) for args in arguments]
    cases = [(args, want) for args, want in cases if want is not None]
    n = len(cases[0][0])
    run = ga.function(lambda *xs: tuple(f(*xs[i : i + n]) for i in range(0, len(xs), n)))
    got = run(*[x for args, _ in cases for x in args])
    for g, (args, want) in zip(got, cases, strict=True):
        g = np.asarray(g)
        assert g.dtype == want.dtype, ([x.dtype for x in args], g.dtype, want.dtype)
        np.testing.assert_allclose(g, want, rtol=1e-6)


@pytest.mark.parametrize("f", PAIRWISE, ids=lambda f: f.__name__)
def test_pairs(f):
    assert_as_numpy(f, [(VALUES[a], VALUES[b]) for a, b in itertools.product(KINDS, KINDS)])


@pytest.mark.parametrize("f", SINGLE, ids=lambda f: f.__name__)
def test_single(f, regime):
    assert_as_numpy(f, [(VALUES[k],) for k in KINDS])


@pytest.mark.parametrize("number", [2, 2.5, True])
def test_python_numbers_take_the_arrays_dtype(number):
    assert_as_numpy(lambda x: x * number, [(VALUES[k],) for k in KINDS])
    assert_as_numpy(lambda x: number + x, [(VALUES[k],) for k in KINDS])
