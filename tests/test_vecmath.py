"""The arithmetic bodies against mpmath: at most 1.45 units in the last place over the domain."""

import re

import mpmath
import numpy as np
import pytest

import graphad as ga
from graphad.op import TABLE

FUNCTIONS = {
    "exp": (np.exp, mpmath.exp),
    "expm1": (np.expm1, mpmath.expm1),
    "log": (np.log, mpmath.log),
    "log2": (np.log2, lambda x: mpmath.log(x) / mpmath.log(2)),
    "log10": (np.log10, mpmath.log10),
    "log1p": (np.log1p, mpmath.log1p),
    "sin": (np.sin, mpmath.sin),
    "cos": (np.cos, mpmath.cos),
    "tan": (np.tan, mpmath.tan),
    "arcsin": (np.arcsin, mpmath.asin),
    "arccos": (np.arccos, mpmath.acos),
    "arctan": (np.arctan, mpmath.atan),
    "sinh": (np.sinh, mpmath.sinh),
    "cosh": (np.cosh, mpmath.cosh),
    "tanh": (np.tanh, mpmath.tanh),
    "arctan2": (np.arctan2, mpmath.atan2),
    "exp2": (np.exp2, lambda x: mpmath.mpf(2) ** x),
    "cbrt": (np.cbrt, lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x))),
    "arcsinh": (np.arcsinh, mpmath.asinh),
    "arccosh": (np.arccosh, mpmath.acosh),
    "arctanh": (np.arctanh, mpmath.atanh),
    "hypot": (np.hypot, mpmath.hypot),
    "power": (np.power, mpmath.power),
}
BINARY = ("arctan2", "hypot", "power")
BOUND = 1.45
BOUNDS = {"tan": 2.0, "tanh": 2.0, "arccosh": 2.0, "arcsinh": 1.6}
# Name: (exact, arguments).
SPECIAL_FUNCTIONS = {
    "erf": (mpmath.erf, "all"),
    "erfc": (mpmath.erfc, "all"),
    "ndtr": (mpmath.ncdf, "all"),
    "log_ndtr": (lambda x: mpmath.log1p(-mpmath.erfc(x / mpmath.sqrt(2)) / 2) if x > 0
                 else mpmath.log(mpmath.erfc(-x / mpmath.sqrt(2)) / 2), "all"),
    "expit": (lambda x: 1 / (1 + mpmath.exp(-x)), "all"),
    "softplus": (lambda x: mpmath.log1p(mpmath.exp(x)), "all"),
    "logit": (lambda x: mpmath.log(x / (1 - x)), "unit"),
    "erfinv": (mpmath.erfinv, "sign"),
    "trigamma": (lambda x: mpmath.polygamma(1, x), "positive"),
    "gammaln": (lambda x: mpmath.loggamma(x).real, "positive"),
    "digamma": (mpmath.digamma, "positive"),
    "i0e": (lambda x: mpmath.besseli(0, x) * mpmath.exp(-abs(x)), "all"),
    "i1e": (lambda x: mpmath.besseli(1, x) * mpmath.exp(-abs(x)), "all"),
}  # fmt: skip


def points(name, dtype):
    rng = np.random.default_rng(0)
    limits = np.finfo(dtype)
    x = np.concatenate([rng.normal(size=200) * s for s in (1e-8, 1e-3, 0.1, 1.0, 10.0, 60.0)])
    low, high = np.log10(limits.smallest_subnormal), np.log10(limits.max)
    wide = 10.0 ** rng.uniform(low + 1, high, 400) * rng.choice([-1, 1], 400)
    x = np.concatenate([x, wide])
    if name == "arccosh":
        x = 1 + np.abs(x)
    elif name == "arctanh":
        x = np.concatenate([rng.uniform(-1, 1, 800), 1 - 10.0 ** rng.uniform(-12, -1, 200)])
    elif name == "exp2":
        x = np.concatenate([x[np.abs(x) < 200], rng.uniform(-150, 120, 300)])
    elif name in ("log", "log2", "log10", "power"):
        x = np.concatenate([np.abs(x), 1.0 + rng.normal(size=300) * 1e-3])
    elif name == "log1p":
        x = np.concatenate([np.where(x > -1, x, -x), -1.0 + 10.0 ** rng.uniform(-7, 0, 300)])
    elif name == "exp":
        edge = 700.0 if dtype == "f8" else 87.0
        x = np.concatenate([x, rng.uniform(-1.06 * edge, edge * 1.01, 500)])
    elif name in ("arcsin", "arccos"):
        x = np.concatenate([rng.uniform(-1, 1, 800), 1 - 10.0 ** rng.uniform(-12, 0, 200)])
    elif name in ("sin", "cos", "tan"):
        x = np.concatenate([x, rng.integers(-(10**6), 10**6, 300) * (np.pi / 4)])
    return x.astype(dtype)


def arguments(name, dtype):
    x = points(name, dtype)
    if name not in BINARY:
        return [x]
    rng = np.random.default_rng(1)
    if name == "power":
        return [x, (rng.normal(size=len(x)) * rng.choice([1, 10, 100], len(x))).astype(dtype)]
    return [x, rng.permutation(x)]


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_units_in_the_last_place(name, dtype):
    numpy_function, exact = FUNCTIONS[name]
    args = arguments(name, dtype)
    got = ga.function(lambda *x: numpy_function(*x))(*args)
    limits = np.finfo(dtype)
    largest = float(limits.max)
    worst = 0.0
    with mpmath.workprec(200):
        for *xs, b in zip(*args, got, strict=True):
            want = exact(*[mpmath.mpf(float(x)) for x in xs])
            if abs(want) > largest:
                assert np.isinf(b) or abs(float(b)) == largest, (xs, b)
                continue
            with np.errstate(over="ignore"):
                nearest = np.dtype(dtype).type(min(abs(float(want)), largest))
            unit = max(float(np.spacing(nearest)), float(limits.smallest_subnormal))
            error = abs(float((mpmath.mpf(float(b)) - want) / unit))
            assert error <= BOUNDS.get(name, BOUND), (xs, b, error)
            worst = max(worst, error)
    assert worst > 0.1  # the comparison compares


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("name", SPECIAL_FUNCTIONS)
def test_special_functions(name, dtype):
    exact, where = SPECIAL_FUNCTIONS[name]
    bounds = TABLE.ops[name].units
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(size=60) * s for s in (1e-6, 0.1, 1.0, 4.0, 12.0)])
    if where == "unit":
        x = np.concatenate([rng.uniform(0.001, 0.999, 200), 0.5 + 1e-3 * x[:60]])
    elif where == "sign":
        x = np.concatenate([rng.uniform(-1, 1, 200), 1 - 10.0 ** rng.uniform(-6, -1, 60)])
    elif where == "positive":
        near = np.concatenate([p + rng.normal(size=40) * 1e-3 for p in (1.0, 1.461632, 2.0)])
        x = np.concatenate([10.0 ** rng.uniform(-3, 4, 300), rng.uniform(0, 12, 200), near])
    x = x.astype(dtype)
    got = getattr(ga.special, name)(x)
    limits = np.finfo(dtype)
    with mpmath.workprec(300):
        for a, b in zip(x, got, strict=True):
            want = exact(mpmath.mpf(float(a)))
            near = np.dtype(dtype).type(abs(float(want)))
            unit = max(float(np.spacing(near)), float(limits.smallest_subnormal))
            error = abs(float((mpmath.mpf(float(b)) - want) / unit))
            assert error <= bounds[dtype == "f4"], (a, b, error)


SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, -3.0, 1e-310, -1e-310, 1e300, -1e300,
           1e17, -1e17, np.inf, -np.inf, np.nan, 5e-324, 1.7976931348623157e308]  # fmt: skip


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values_are_numpys(name, dtype):
    f = FUNCTIONS[name][0]
    with np.errstate(all="ignore"):
        x = np.array(SPECIAL).astype(dtype)
        args = [x] if name not in BINARY else [a.ravel() for a in np.meshgrid(x, x)]
        want = f(*args)
    got = ga.function(lambda *a: f(*a))(*args)
    np.testing.assert_allclose(
        got, want, rtol=1e-6 if dtype == "f4" else 1e-15, atol=np.finfo(dtype).smallest_subnormal
    )
    np.testing.assert_array_equal(
        np.signbit(got[~np.isnan(got)]), np.signbit(want[~np.isnan(want)])
    )


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_vectors_and_numbers_have_the_same_bits(name, dtype):
    """Loops may use instructions that exist for vectors alone; one number at a time does not."""
    f = ga.function(lambda *a: FUNCTIONS[name][0](*a))
    with np.errstate(all="ignore"):
        special = np.array(SPECIAL).astype(dtype)
    args = [np.concatenate([x, special]) for x in arguments(name, dtype)]
    many = f(*args)
    single = np.array([f(*xs) for xs in zip(*args, strict=True)])
    np.testing.assert_array_equal(many, single)
    assert many.dtype == single.dtype


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_a_far_argument_beside_near_ones_changes_nothing_else(name):
    f = ga.function(lambda x: FUNCTIONS[name][0](x) * 2.0)
    x = np.linspace(-50, 50, 1003)
    alone = f(x)
    x[[3, 77, 500, 1001]] = 1e22, -3e15, np.inf, np.nan
    mixed = f(x)
    kept = np.abs(x) < 100
    np.testing.assert_array_equal(mixed[kept], alone[kept])
    assert abs(mixed[3] / 2 - float(FUNCTIONS[name][1](mpmath.mpf(1e22)))) < 1e-15


def test_the_coefficients_are_those_of_the_fit():
    from graphad.bodies import coefficients
    from tests import fit_coefficients as fit

    f, interval, count, _ = fit.FITS["SIN"]
    found, error = fit.minimax(f, interval, count)
    assert error < 1e-16
    assert tuple(float(c) for c in found) == coefficients.SIN_F8


def test_the_same_bits_at_every_position_and_in_both_regimes():
    x = np.linspace(-3, 3, 37)
    f = ga.function(lambda x: np.tanh(np.exp(x)) + np.log1p(np.exp(-x)))
    whole = f(x)
    for k in (0, 5, 36):
        assert f(x[k : k + 1])[0] == whole[k]
    wide = np.tile(x, 50)
    np.testing.assert_array_equal(f(wide), np.tile(whole, 50))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "name", ["exp", "expm1", "log", "log1p", "log10", "arctan", "tanh", "power"]
)
def test_loops_with_tables_are_vectorised(name, dtype):
    """Where gathers are slow too: what finds a place in a table is computed in vectors."""
    f = getattr(np, name)
    x = np.ones(1000, dtype)
    text = ga.function(lambda *a: f(*a)).lower(*[x] * (1 + (name == "power"))).llvm
    kind = {"float64": "double", "float32": "float"}[dtype]
    body = text.partition("vector.body:")[2].partition("middle.block")[0]
    assert re.search(rf"(fmul|fadd) (\w+ )*<\d+ x {kind}>", body)
    assert not re.search(rf"(fmul|fadd) (\w+ )*{kind}", body)


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integers_of_64_bits_as_doubles(dtype):
    """In a loop of vectors, rounded once: against NumPy, at every size and around ties."""
    rng = np.random.default_rng(5)
    words = rng.integers(0, 2**64, 4000, "uint64") >> rng.integers(0, 64, 4000).astype("uint64")
    ends = [2**53 + 1, 2**53 + 3, 2**54 + 2, 2**63 - 1, 2**63, 2**64 - 1, 2**64 - 1024, 0, 1]
    words = np.concatenate([words, np.array(ends, "uint64")])
    n = np.concatenate([words, ~words]).view(dtype)
    got = ga.function(lambda n, x: n.astype("float64") * np.exp(x))(n, np.zeros(len(n)))
    np.testing.assert_array_equal(got, n.astype("float64"))
