"""The table drives these: every example compiled against NumPy, and its derivatives."""

import numpy as np
import pytest
from arrays import ARRAYS, assert_close, names_in

import graphad as ga
from graphad.op import TABLE

EXAMPLES = [
    pytest.param(f, text, id=f"{name}-{k}")
    for name, pairs in sorted(TABLE.examples.items())
    for k, (f, text) in enumerate(pairs)
]


def call(f, text, names):
    """The example as a function of its arrays."""
    code = compile(text, "<example>", "eval")

    def run(*arrays):
        return eval(code, {"f": f, "np": np, **dict(zip(names, arrays, strict=True))})

    return run


def case(f, text):
    """Names of an example's arrays, the example as a function of them, and the arrays."""
    names = names_in(text)
    return names, call(f, text, names), [ARRAYS[n] for n in names]


def float_names(names):
    return [n for n in names if n.startswith("A")]


@pytest.mark.parametrize("f, text", EXAMPLES)
def test_value(f, text, regime):
    _, run, arrays = case(f, text)
    want = run(*arrays)
    got = ga.function(run)(*arrays)
    assert np.shape(got) == np.shape(want)
    assert np.asarray(got).dtype == np.asarray(want).dtype
    assert_close(got, want)


@pytest.mark.parametrize("f, text", EXAMPLES)
def test_value_f32(f, text):
    names = names_in(text)
    run = call(f, text, names)
    arrays = [ARRAYS[n].astype("f4") if n.startswith("A") else ARRAYS[n] for n in names]
    want = run(*arrays)
    got = ga.function(run)(*arrays)
    assert np.asarray(got).dtype == np.asarray(want).dtype
    assert_close(got, want, "f4", 5)


@pytest.mark.parametrize("f, text", [p for p in EXAMPLES if float_names(names_in(p.values[1]))])
def test_gradient_f32(f, text):
    """Reverse mode in single precision against double."""
    names, run, arrays = case(f, text)
    index = names.index(float_names(names)[0])
    if np.asarray(run(*arrays)).dtype.kind != "f":
        return  # argmax, any and their kin
    single = [a.astype("f4") if a.dtype.kind == "f" else a for a in arrays]
    pulled = ga.vjp(run, wrt=index)
    got, want = pulled(*single)[1], pulled(*arrays)[1]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4 * (1 + np.abs(want).max()))


def complex_step(run, arrays, index, direction, h=1e-30):
    """The derivative along a direction by the complex step: exact to rounding."""
    moved = list(arrays)
    moved[index] = arrays[index] + 1j * h * direction
    return np.imag(run(*moved)) / h


def contour(run, arrays, index, direction, radius=0.02, n=16):
    """The second derivative along a direction, by Cauchy's integral on a circle of complex steps."""
    total = 0.0
    for k in range(n):
        z = np.exp(2j * np.pi * k / n)
        moved = list(arrays)
        moved[index] = arrays[index] + radius * z * direction
        total = total + run(*moved) * z**-2
    return 2.0 * np.real(total) / (n * radius**2)


def central(run, arrays, index, direction, h=1e-6):
    """The derivative along a direction by central differences."""
    out = []
    for sign in (1, -1):
        moved = list(arrays)
        moved[index] = arrays[index] + sign * h * direction
        out.append(np.asarray(run(*moved)))
    return (out[0] - out[1]) / (2 * h)


# NumPy's complex versions of these are other functions (they take absolute values), or none.
NOT_ANALYTIC = {"norm", "var", "std", "clip", "cov", "corrcoef", "interp", "vdot", "correlate",
                "quantile", "percentile", "bincount", "around", "round", "cholesky", "eig", "eigvals", "eigh",
                "eigvalsh", "qr", "svd", "svdvals", "pinv", "lstsq", "slogdet", "select", "matrix_norm",
                "vector_norm", "cond", "real", "real_if_close", "imag", "conjugate", "angle", "fix",
                "unwrap", "vecdot", "vecmat", "nanvar", "nanstd", "insert"}  # fmt: skip


def is_float(f, text):
    names = names_in(text)
    out = call(f, text, names)(*[ARRAYS[n] for n in names])
    return bool(float_names(names)) and np.asarray(out).dtype.kind == "f"


FLOAT_EXAMPLES = [p for p in EXAMPLES if is_float(*p.values)]


@pytest.mark.parametrize("f, text", FLOAT_EXAMPLES)
def test_derivatives(f, text, regime):
    """Forward mode against the complex step, and reverse mode against forward by the adjoint."""
    names, run, arrays = case(f, text)
    rng = np.random.default_rng(3)
    for index, name in enumerate(names):
        if not name.startswith("A"):
            continue
        t = rng.normal(size=arrays[index].shape)
        out, push = ga.jvp(run, wrt=index)(*arrays, tangents=t)
        if f.__name__ in NOT_ANALYTIC:
            np.testing.assert_allclose(push, central(run, arrays, index, t), rtol=2e-6, atol=2e-6)
        else:
            assert_close(push, complex_step(run, arrays, index, t))
        ct = rng.normal(size=np.shape(out))
        _, pull = ga.vjp(run, wrt=index)(*arrays, cotangents=ct)
        left, right = np.sum(ct * push), np.sum(pull * t)
        np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("f, text", FLOAT_EXAMPLES)
def test_second_derivatives(f, text):
    """hvp of a quadratic of the result: along a direction against complex steps, and whole."""
    names = names_in(text)
    arrays = [ARRAYS[n] for n in names]
    inner = call(f, text, names)
    index = names.index(float_names(names)[0])

    def run(*args):
        return (inner(*args) ** 2).sum()

    t = np.random.default_rng(4).normal(size=arrays[index].shape)
    got = ga.hvp(run, wrt=index)(*arrays, tangents=t)
    if f.__name__ not in NOT_ANALYTIC:
        near_ties = f.__name__ in (
            "max",
            "min",
            "amax",
            "amin",
            "ptp",
            "sort",
            "median",
        )  # a small circle changes no winner
        curvature = contour(run, arrays, index, t, 1e-3 if near_ties else 0.02)
        tolerance = (1e-7 if near_ties else 1e-10) * (1.0 + abs(curvature))
        np.testing.assert_allclose(np.sum(t * got), curvature, rtol=0, atol=tolerance)
    gradient = ga.grad(run, wrt=index)
    d = [central(gradient, arrays, index, t, h) for h in (1e-3, 5e-4)]
    want = (4 * d[1] - d[0]) / 3
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7 * (1 + np.abs(want).max()))


@pytest.mark.parametrize("f, text", [p for p in EXAMPLES if float_names(names_in(p.values[1]))])
def test_vmap(f, text):
    """The batching rule against a loop."""
    names, run, arrays = case(f, text)
    first = names.index(float_names(names)[0])
    stacked = np.stack([arrays[first], -0.7 * arrays[first], arrays[first] ** 2])
    axes = tuple(0 if k == first else None for k in range(len(names)))
    batch = [stacked if k == first else a for k, a in enumerate(arrays)]
    got = ga.vmap(run, in_axes=axes)(*batch)
    want = [run(*[row if k == first else a for k, a in enumerate(arrays)]) for row in stacked]
    assert_close(got, np.stack(want))


@pytest.mark.parametrize("f, text", EXAMPLES)
def test_strided_arguments(f, text):
    _, run, arrays = case(f, text)
    layouts = [
        [np.asfortranarray(a) for a in arrays],
        [np.repeat(a, 2, axis=-1)[..., ::2] for a in arrays],
        [np.flip(np.flip(a).copy()) for a in arrays],
    ]
    g = ga.function(run)
    for views in layouts:
        assert_close(g(*views), run(*arrays))
