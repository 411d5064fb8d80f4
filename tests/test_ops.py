"""The table drives these: every example compiled against NumPy, and its derivatives."""

import numpy as np
import pytest
from arrays import ARRAYS, close, names_in

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


def float_names(names):
    return [n for n in names if n.startswith("A")]


@pytest.mark.parametrize("f, text", EXAMPLES)
def test_value(f, text, regime):
    names = names_in(text)
    run = call(f, text, names)
    arrays = [ARRAYS[n] for n in names]
    want = run(*arrays)
    got = ga.function(run)(*arrays)
    assert np.shape(got) == np.shape(want)
    assert np.asarray(got).dtype == np.asarray(want).dtype
    close(got, want)


@pytest.mark.parametrize("f, text", EXAMPLES)
def test_value_f32(f, text):
    names = names_in(text)
    run = call(f, text, names)
    arrays = [ARRAYS[n].astype("f4") if n.startswith("A") else ARRAYS[n] for n in names]
    want = run(*arrays)
    got = ga.function(run)(*arrays)
    assert np.asarray(got).dtype == np.asarray(want).dtype
    close(got, want, "f4", 5)


def complex_step(run, arrays, index, direction, h=1e-30):
    """The derivative along a direction by the complex step, or None where NumPy's f is real."""
    moved = list(arrays)
    moved[index] = arrays[index] + 1j * h * direction
    return np.imag(run(*moved)) / h


def central(run, arrays, index, direction, h=1e-6):
    """The derivative along a direction by central differences."""
    out = []
    for sign in (1, -1):
        moved = list(arrays)
        moved[index] = arrays[index] + sign * h * direction
        out.append(np.asarray(run(*moved)))
    return (out[0] - out[1]) / (2 * h)


@pytest.mark.parametrize("f, text", EXAMPLES)
def test_derivatives(f, text, regime):
    """Forward mode against differences, and reverse mode against forward by the adjoint."""
    names = names_in(text)
    if (
        not float_names(names)
        or np.asarray(call(f, text, names)(*[ARRAYS[n] for n in names])).dtype.kind != "f"
    ):
        assert not f.__name__.startswith("exp")
        return
    run = call(f, text, names)
    arrays = [ARRAYS[n] for n in names]
    rng = np.random.default_rng(3)
    for index, name in enumerate(names):
        if not name.startswith("A"):
            continue
        t = rng.normal(size=arrays[index].shape)
        out, push = ga.jvp(run, wrt=index)(*arrays, tangents=t)
        want = central(run, arrays, index, t)
        np.testing.assert_allclose(push, want, rtol=2e-6, atol=2e-6)
        ct = rng.normal(size=np.shape(out))
        _, pull = ga.vjp(run, wrt=index)(*arrays, cotangents=ct)
        left, right = np.sum(ct * push), np.sum(pull * t)
        np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12)
