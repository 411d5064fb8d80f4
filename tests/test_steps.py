"""Loops over steps as one kernel, what their loops read, and what is made inside of them."""

import threading

import numpy as np
import pytest
from arrays import at_once

import graphad as ga
from graphad.lower.program import Nest, Repeat
from graphad.process.once import once
from graphad.reference import evaluate
from graphad.trace import pytree

RNG = np.random.default_rng(0)


def regions(f, *args, kind=Nest):
    return [r for r in f.lower(*args).program.regions if isinstance(r, kind)]


def in_steps(f, *args):
    return [r for r in regions(f, *args) if r.in_steps]


def close(f, *args):
    """The compiled function against the reference interpreter of its traced graph."""
    lowered = f.lower(*args)
    want = evaluate(lowered.traced, [np.asarray(a) for a in args])
    got, _ = pytree.flatten(f(*args))
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-12 * max(1.0, np.abs(w).max()))


N = 40
W, START, XS = RNG.normal(size=(N, N)) / 6, RNG.normal(size=N), RNG.normal(size=(30, N))


def test_a_recurrent_layer_is_one_kernel_each_way():
    def f(w, xs):
        ys = ga.scan(lambda c, x: (np.tanh(w @ c + x), c), START, xs)[1]
        return ((ys - xs) ** 2).sum()

    g = ga.value_and_grad(f, wrt=(0, 1))
    assert len(in_steps(g, W, XS)) == 2 and not regions(g, W, XS, kind=Repeat)
    c, ys = START, []
    for x in XS:
        ys.append(c)
        c = np.tanh(W @ c + x)
    value, (dw, dxs) = g(W, XS)
    np.testing.assert_allclose(value, ((np.array(ys) - XS) ** 2).sum(), rtol=1e-13)
    tw, txs = RNG.normal(size=W.shape), RNG.normal(size=XS.shape)
    step = 1e-6
    slope = (f(W + step * tw, XS + step * txs) - f(W - step * tw, XS - step * txs)) / (2 * step)
    np.testing.assert_allclose((dw * tw).sum() + (dxs * txs).sum(), slope, rtol=1e-7)


@pytest.mark.parametrize("reverse", [False, True])
def test_steps(reverse):
    """Carries that swap, are read at other places, and do not change at once; the index; sums and
    extremes of a step, whole rows of ys and numbers."""

    def body(carry, x):
        a, b, t = carry
        mean = (a * x).mean()
        low = np.minimum(a, b).min()
        new_a = b * 0.5 + np.roll(a, 1) * 0.25 + mean
        new_b = a + low * x
        return (new_a, new_b, t + a.argmax()), (a[::-1] * 2.0, mean, t)

    start = (START, START[::-1] * 0.1, 0)
    f = ga.function(lambda xs: ga.scan(body, start, xs, reverse=reverse))
    got, (rows, means, ts) = f(XS)
    a, b, t = start
    order = range(len(XS))[::-1] if reverse else range(len(XS))
    for k in order:
        (a2, b2, t2), (row, mean, count) = body((a, b, t), XS[k])
        np.testing.assert_allclose(rows[k], row, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(means[k], mean, rtol=1e-12, atol=1e-13)
        assert ts[k] == count
        a, b, t = a2, b2, t2
    for g, w in zip(got, (a, b, t), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-13)
    assert in_steps(f, XS)


def test_the_index_of_a_step():
    f = ga.function(lambda x: ga.fori_loop(3, 20, lambda k, c: np.sin(c + k) * x, START))
    assert in_steps(f, START)
    c = START
    for k in range(3, 20):
        c = np.sin(c + k) * START
    np.testing.assert_allclose(f(START), c, rtol=1e-12)


def test_loops_in_loops_and_second_derivatives():
    def f(w, c):
        inner = lambda k, c: np.tanh(w @ c)  # noqa: E731
        return ga.fori_loop(0, 4, lambda k, c: ga.fori_loop(0, 3, inner, c) + 0.1 * k, c).sum()

    close(ga.value_and_grad(f, wrt=(0, 1)), W, START)
    v = RNG.normal(size=N)
    got = ga.grad(lambda c: ga.grad(f, wrt=1)(W, c) @ v)(START)
    g = ga.grad(f, wrt=1)
    step = 1e-6
    np.testing.assert_allclose(
        got, (g(W, START + step * v) - g(W, START - step * v)) / (2 * step), rtol=1e-6, atol=1e-8
    )


def test_long_loops_of_a_step_are_left_to_threads():
    x = RNG.normal(size=300_000)
    f = ga.function(lambda x: ga.fori_loop(0, 3, lambda k, c: np.sin(c) + x, x))
    assert not in_steps(f, x) and regions(f, x, kind=Repeat)
    np.testing.assert_allclose(f(x), np.sin(np.sin(np.sin(x) + x) + x) + x, rtol=1e-12, atol=1e-13)


def test_nothing_is_stored_that_a_step_can_make():
    """The cotangent 2 (ys - t) of a scan's results, row by row."""

    def f(w, t):
        ys = ga.scan(lambda c, _: (np.tanh(w @ c), c), START, None, length=500)[1]
        return ((ys - t) ** 2).sum()

    t = RNG.normal(size=(500, N))
    lowered = ga.grad(f).lower(W, t)
    stored = [b for b in lowered.program.buffers
              if b.kind == "temporary" and b.spec.shape == (500, N)]  # fmt: skip
    assert len(stored) == 3  # the states, the slopes of tanh, the cotangents that dW sums
    close(ga.grad(f), W, t)


def test_an_array_that_others_read_too_stays():
    def f(w, t):
        u = 3.0 * t
        ys = ga.scan(lambda c, x: (np.tanh(w @ c + x), c), START, u)[1]
        return ys * u

    close(ga.function(f), W, XS)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("n", [3, 7, 8, 16, 31, 32, 40, 64, 72, 128, 200, 256, 300])
def test_rows_and_columns_of_any_length(n, dtype):
    """Known lengths have functions of their own, whose sums are those of the general ones."""
    a = RNG.normal(size=(45, n)).astype(dtype)
    x, y = RNG.normal(size=n).astype(dtype), RNG.normal(size=45).astype(dtype)
    tolerance = 1e-12 if dtype == "f8" else 2e-5
    rows, columns = ga.function(lambda a, x: a @ x), ga.function(lambda a, y: y @ a)
    np.testing.assert_allclose(rows(a, x), a.astype("f8") @ x, rtol=tolerance, atol=tolerance * 10)
    np.testing.assert_allclose(columns(a, y), y @ a.astype("f8"), rtol=tolerance,
                               atol=tolerance * 10)  # fmt: skip
    products = [ga.function(lambda p: p.sum())(row * x) for row in a]
    np.testing.assert_array_equal(rows(a, x), products)
    some = ga.function(lambda a, x: a[::3, :] @ x)  # rows apart, and fewer than go together
    np.testing.assert_array_equal(some(a, x), rows(a, x)[::3])
    by_row = np.zeros(n, dtype)
    for row, weight in zip(a, y, strict=True):
        by_row = by_row + row * weight
    if n >= 8:  # what is shorter is written out, with sums in lanes
        np.testing.assert_array_equal(columns(a, y), by_row)
    np.testing.assert_array_equal(ga.function(lambda a: a.sum(axis=0))(a), sum(a))


def test_first_calls_while_others_trace():
    """Gates are shut while anything is traced; a call then goes another way, and gives the same."""

    def work(k):
        f = ga.function(lambda a: np.exp(a / (k + 1)).sum(axis=0))
        np.testing.assert_allclose(f(W), np.exp(W / (k + 1)).sum(axis=0), rtol=1e-12)

    for _ in range(10):
        assert not at_once(work, range(6))


def test_made_once_by_one_of_several_threads():
    barrier, made = threading.Barrier(4), []

    @once
    def slow():
        made.append(object())
        return made[-1]

    found = []

    def work(_):
        barrier.wait()
        found.append(slow())

    assert not at_once(work, range(4))
    assert len(found) == 4
    assert len(made) == 1 and all(f is made[0] for f in found)
