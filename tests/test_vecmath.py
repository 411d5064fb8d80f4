"""The arithmetic bodies against mpmath: at most 2.5 units in the last place over the domain."""

import mpmath
import numpy as np
import pytest

import graphad as ga

FUNCTIONS = {
    "exp": (np.exp, mpmath.exp),
    "expm1": (np.expm1, mpmath.expm1),
    "log": (np.log, mpmath.log),
    "log1p": (np.log1p, mpmath.log1p),
    "tanh": (np.tanh, mpmath.tanh),
}
BOUND = {"exp": 1.1, "expm1": 2.0, "log": 1.1, "log1p": 1.6, "tanh": 2.5}


def points(name, dtype):
    rng = np.random.default_rng(0)
    limits = np.finfo(dtype)
    x = np.concatenate([rng.normal(size=300) * s for s in (1e-8, 1e-3, 0.1, 1.0, 10.0, 60.0)])
    low, high = np.log10(limits.smallest_subnormal), np.log10(limits.max)
    wide = 10.0 ** rng.uniform(low + 1, high, 500)
    if name == "log":
        x = np.concatenate([np.abs(x), wide, 1.0 + rng.normal(size=300) * 1e-3])
    elif name == "log1p":
        x = np.concatenate([x[x > -1], wide, -1.0 + 10.0 ** rng.uniform(-7, 0, 300)])
    elif name == "exp":
        edge = 700.0 if dtype == "f8" else 87.0
        x = np.concatenate([x, rng.uniform(-1.06 * edge, edge * 1.01, 500)])
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_units_in_the_last_place(name, dtype):
    numpy_function, exact = FUNCTIONS[name]
    x = points(name, dtype)
    got = ga.function(lambda x: numpy_function(x))(x)
    largest = float(np.finfo(dtype).max)
    worst = 0.0
    with mpmath.workprec(120):
        for a, b in zip(x, got, strict=True):
            want = exact(mpmath.mpf(float(a)))
            if abs(want) > largest:
                assert np.isinf(b) or float(b) == largest, (a, b)
                continue
            with np.errstate(over="ignore"):
                nearest = np.dtype(dtype).type(float(want))
            ulp = max(float(np.spacing(np.abs(nearest))), float(np.finfo(dtype).smallest_subnormal))
            worst = max(worst, abs(float((mpmath.mpf(float(b)) - want) / ulp)))
    assert worst <= BOUND[name]


def test_the_same_bits_at_every_position_and_in_both_regimes():
    x = np.linspace(-3, 3, 37)
    f = ga.function(lambda x: np.tanh(np.exp(x)) + np.log1p(np.exp(-x)))
    whole = f(x)
    for k in (0, 5, 36):
        assert f(x[k : k + 1])[0] == whole[k]
    wide = np.tile(x, 50)
    np.testing.assert_array_equal(f(wide), np.tile(whole, 50))
