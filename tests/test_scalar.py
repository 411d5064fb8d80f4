"""Every elementwise operation: against NumPy, mpmath, its own expression, and at special values."""

import mpmath
import numpy as np
import pytest
import scipy.special
import sympy

import graphad as ga
from graphad.op import TABLE
from graphad.ops.value import Value, apply

UFUNCS = {}
for _function, _implementation in list(TABLE.numpy.items()):
    if isinstance(_function, np.ufunc) and _function.signature is None:  # elementwise
        UFUNCS[_function.__name__] = _function

del UFUNCS["divmod"]
for _name in ga.special.__all__:
    if _name in TABLE.scipy:
        UFUNCS[_name] = getattr(scipy.special, _name, getattr(ga.special, _name))


def within(name):
    """An operation that only derivatives use."""

    def call(*xs):
        if any(isinstance(x, Value) for x in xs):
            return apply(name, *xs)
        dtype = np.result_type(*xs)
        dtype = dtype if dtype.kind == "f" else np.dtype("f8")
        xs = np.broadcast_arrays(*[np.asarray(x, dtype) for x in xs])
        with np.errstate(all="ignore"):
            return TABLE.ops[name].reference(xs, {}, None)

    return call


for _name in ("exp_minus_square", "exp_minus_half_square", "inverse_mills", "logistic_density",
              "logit_slope", "ratio", "difference", "log_ratio"):  # fmt: skip
    UFUNCS[_name] = within(_name)

NAMES = {
    "sub": "subtract",
    "neg": "negative",
    "mul": "multiply",
    "div": "divide",
    "abs": "absolute",
}
# Their derivatives are those of functions of fewer arguments: see tests/test_special_points.py.
PARTLY = {"quantile_slope", "gamma_power", "beta_power", "i1_over", "i1e_over", "j1_over"}
ELEMENTWISE = sorted(n for n, op in TABLE.ops.items() if op.meaning is not None and n not in PARTLY)
SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.0,
    np.inf,
    -np.inf,
    np.nan,
    1e300,
    -1e300,
    1e-300,
    5e-324,
    745.0,
    -745.0,
]


def ufunc_of(name):
    return UFUNCS[NAMES.get(name, name)]


ABSOLUTE = {"kl_div": 1e-15}  # a small difference, which SciPy rounds by what it is made of


def samples(op, n=40, seed=0):
    rng = np.random.default_rng(seed)
    domain = op.domain if len(op.domain) == op.arity else op.domain * op.arity
    return [rng.uniform(lo, hi, n) for lo, hi in domain]


def mp_function(name):
    op = TABLE.ops[name]
    symbols = sympy.symbols(f"x:{op.arity}", real=True)
    return symbols, op.meaning(*symbols)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_against_mpmath(name, regime):
    """Values and all first and second derivatives, from the sympy meaning at 30 digits."""
    op = TABLE.ops[name]
    ufunc = ufunc_of(name)
    xs = samples(op, 12)

    def f(*args):
        return ufunc(*args)

    which = tuple(range(op.arity))
    first = ga.vmap(ga.grad(f, wrt=which))
    second = ga.vmap(ga.hessian(f, wrt=which))
    value, g, h = ga.function(f)(*xs), first(*xs), second(*xs)
    atol = ABSOLUTE.get(name, 0)
    np.testing.assert_allclose(value, op.reference(xs, {}, None), rtol=1e-14, atol=atol)
    symbols, meaning = mp_function(name)
    with mpmath.workdps(30):
        expressions = [meaning]
        expressions += [sympy.diff(meaning, s) for s in symbols]
        expressions += [sympy.diff(meaning, s, t) for s in symbols for t in symbols]
        found = [value, *g, *[h[i][j] for i in which for j in which]]
        for expression, got in zip(expressions, found, strict=True):
            # sympy leaves the derivative of floor as it is: zero between the integers.
            flat = expression.has(sympy.Derivative, sympy.Subs, sympy.DiracDelta)
            exact = None if flat else sympy.lambdify(symbols, expression, "mpmath")
            for k in range(12):
                point = [mpmath.mpf(float(x[k])) for x in xs]
                want = 0.0 if exact is None else complex(exact(*point))
                assert abs(got[k] - want) <= 4e-14 * max(1.0, abs(want)), (expression, point)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_special_values(name, dtype, regime):
    """Zeros, infinities, nan, the largest and the smallest: as NumPy, sign of zero included."""
    op = TABLE.ops[name]
    ufunc = ufunc_of(name)
    with np.errstate(all="ignore"):
        points = np.array(SPECIAL).astype(dtype)
        if op.arity == 1:
            xs = [points]
        else:
            xs = [a.ravel() for a in np.meshgrid(points, points)]
        want = ufunc(*xs)
    if name == "kl_div":  # SciPy's overflows where the quotient does
        fine = np.isfinite(want)
        xs, want = [x[fine] for x in xs], want[fine]
    if name == "log_ratio":  # of positive numbers
        fine = (xs[0] > 0) & (xs[1] > 0) & np.isfinite(want)
        xs, want = [x[fine] for x in xs], want[fine]
    if name == "gammaln":  # SciPy's is infinite for subnormal numbers
        fine = (points == 0) | ~(abs(points) < np.finfo(dtype).smallest_normal)
        xs, want = [x[fine] for x in xs], want[fine]
    if name == "betaln":  # SciPy's is infinite for subnormal numbers, and takes limits at poles
        normal = (xs[0] >= np.finfo(dtype).tiny) & (xs[1] >= np.finfo(dtype).tiny)
        fine = normal & np.isfinite(want)
        xs, want = [x[fine] for x in xs], want[fine]
    xs = [np.ascontiguousarray(x) for x in xs]
    got = ga.function(lambda *a: ufunc(*a))(*xs)
    assert got.dtype == want.dtype
    limits = np.finfo(dtype)
    loose = name in ("expit", "erfinv", "i1e")  # where SciPy's subnormals are a unit off
    atol = limits.smallest_subnormal if loose else 0
    rtol = max(8 * limits.eps, 1e-12 if name == "betaln" else 0)  # as far as SciPy's is right
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)
    zero = (want == 0) & (got == 0)
    if name not in (
        "maximum",
        "minimum",
        "erfinv",
        "i1e",
    ):  # NumPy's own choice of ±0 differs between machines
        np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_shapes(name, regime):
    """Empty, 0-d, broadcast and strided operands, values and gradients."""
    op, ufunc = TABLE.ops[name], ufunc_of(name)
    f = ga.function(lambda *xs: ufunc(*xs))
    total = ga.grad(lambda *xs: np.sum(ufunc(*xs)), wrt=tuple(range(op.arity)))
    xs = samples(op, 12)
    rows = [xs[0][:3].reshape(3, 1), *[x[:4].reshape(1, 4) for x in xs[1:]]]
    for args in (
        [x[:0] for x in xs],
        [np.array(x[0]) for x in xs],
        rows,
        [x[::-2] for x in xs],
        [x.reshape(4, 3).T for x in xs],
    ):
        want = ufunc(*args)
        got = f(*args)
        assert np.shape(got) == np.shape(want)
        np.testing.assert_allclose(got, want, rtol=1e-14, atol=ABSOLUTE.get(name, 0))
        each = np.broadcast_arrays(*args)
        for x, g, whole in zip(args, total(*args), total(*map(np.array, each)), strict=True):
            lost = tuple(a for a in range(x.ndim) if x.shape[a] != whole.shape[a])
            assert np.shape(g) == np.shape(x)
            np.testing.assert_allclose(
                g, np.sum(whole, axis=lost, keepdims=True) if lost else whole, rtol=1e-13
            )


@pytest.mark.parametrize("name", sorted(UFUNCS))
def test_dtypes(name):
    """Result dtypes as NumPy 2 has them, for bools, integers, floats and Python numbers."""
    ufunc = UFUNCS[name]
    arrays = [np.array([1, 2, 3], "i8"), np.array([1.0, 2.0, 3.0], "f4"), np.array([1.0, 2, 3])]
    if name.startswith("logical"):
        arrays = [np.array([True, False, True])]
    elif name.startswith(("invert", "bitwise", "left", "right")):
        arrays = [np.array([1, 2, 60], c) for c in ("i8", "i4", "u1", "u8")]
        arrays += [] if "shift" in name else [np.array([True, False, True])]
    for x in arrays:
        count = getattr(ufunc, "nin", None) or TABLE.ops[name].arity
        args = [x / 4 if name in ("arcsin", "arccos", "arctanh") else x] * count
        want = ufunc(*args)
        got = ga.function(lambda *a: ufunc(*a))(*args)
        assert got.dtype == want.dtype, (x.dtype, got.dtype, want.dtype)
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_python_numbers_are_weak():
    x = np.ones(3, "f4")
    assert ga.function(lambda x: 2.0 * x + 1)(x).dtype == np.float32
    assert ga.function(lambda x, a: a * x)(x, 2.0).dtype == np.float32
    assert ga.function(lambda x, a: a * x)(x, np.float64(2.0)).dtype == np.float64
    assert ga.function(lambda x: x / 2)(np.arange(3)).dtype == np.float64
    assert isinstance(ga.function(lambda x: x.sum())(x), np.float32)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_derivatives_in_single_precision(name):
    """Gradients to order two and tangents are f32 where the arguments are, and near those in f64."""
    op = TABLE.ops[name]
    ufunc = ufunc_of(name)
    xs = samples(op, 9, seed=3)
    narrow = [x.astype("f4") for x in xs]
    wrt = tuple(range(op.arity))

    def total(*args):
        return (ufunc(*args) * 3).sum()

    def slopes(*args):
        return sum((g * g).sum() for g in ga.grad(total, wrt=wrt)(*args))

    for f in (total, slopes):
        for got, want in zip(ga.grad(f, wrt=wrt)(*narrow), ga.grad(f, wrt=wrt)(*xs), strict=True):
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-3)
    tangents = tuple(np.ones_like(x) for x in narrow)
    _, pushed = ga.jvp(ufunc, wrt=wrt)(*narrow, tangents=tangents)
    assert pushed.dtype == np.float32
    if op.arity == 2:  # a Python number takes the array's dtype
        got = ga.grad(lambda x: ufunc(x, 2).sum())(narrow[0])
        assert got.dtype == np.float32
        got = ga.grad(lambda x: ufunc(0.5, x).sum())(narrow[1])
        assert got.dtype == np.float32
