"""Calling: argument forms, memory layouts, out=, threads, methods, pickling, njit code."""

import dataclasses
import functools
import os
import pickle
import subprocess
import sys
from typing import NamedTuple

import numba
import numpy as np
import pytest
from arrays import at_once

import graphad as ga
from graphad.compile.build import COUNTERS
from graphad.run import gate
from graphad.trace.pytree import flatten


@ga.function
def u(x, y):
    return np.sin(x) * y, (x * y).sum()


gradient = ga.grad(lambda x, y: np.sin(x) @ y + x[0] * 2.0)


@dataclasses.dataclass
class Layer:
    w: object
    b: object


class Point(NamedTuple):
    x: object
    y: object


class Pair:
    def __init__(self, a, b):
        self.a, self.b = a, b


ga.register_pytree(Pair, lambda p: ((p.a, p.b), None), lambda _, c: Pair(*c))


def test_layouts(regime):
    rng = np.random.default_rng(0)
    base = rng.normal(size=(12, 10))
    f = ga.function(lambda x: np.tanh(x).sum(axis=0) + x[0])
    readonly = base.copy()
    readonly.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + base.tobytes(), np.uint8)[1:].view("f8").reshape(12, 10)
    big_endian = base.astype(">f8")
    for x in (base, np.asfortranarray(base), base[::2], base[:, ::-1], base.T, base[::-1, 1::3],
              readonly, unaligned, big_endian, np.broadcast_to(base[0], (4, 10)),
              np.zeros((0, 10))[:, :]):  # fmt: skip
        if x.shape[0] == 0:
            with pytest.raises(ga.errors.GraphIndexError):
                f(x)
            continue
        for _ in range(3):
            np.testing.assert_allclose(f(x), np.tanh(x).sum(axis=0) + x[0], rtol=1e-12)


def test_empty_and_zero_dimensional(regime):
    f = ga.function(lambda x: (np.exp(x) * 2.0, x.sum(), x.reshape(-1)))
    for shape in ((0,), (3, 0), (0, 3), ()):
        x = np.ones(shape)
        got, want = f(x), (np.exp(x) * 2.0, x.sum(), x.reshape(-1))
        for g, w in zip(got, want, strict=True):
            assert np.shape(g) == np.shape(w)
            np.testing.assert_allclose(g, w)
    g = ga.grad(lambda x: np.sum(x**2))(np.zeros((0, 2)))
    assert g.shape == (0, 2)


def test_results_are_numpys():
    f = ga.function(lambda x: (x.sum(), x.argmax(), x.max() > 0.5, x))
    total, where, mask, same = f(np.arange(3.0))
    assert type(total) is np.float64 and type(where) is np.int64 and type(mask) is np.bool_
    assert isinstance(same, np.ndarray)
    x = np.arange(3.0)
    out = ga.function(lambda x: x)(x)
    assert out is not x and not np.shares_memory(out, x)


def test_pytrees():
    f = ga.function(
        lambda p, q: {"sum": [p.w + q[0], p.b * q[1]], "pt": Point(q[0], p.b), "none": None}
    )
    out = f(Layer(np.ones(2), 3.0), (1.0, 2.0))
    assert list(out) == ["sum", "pt", "none"] and out["none"] is None
    assert isinstance(out["pt"], Point) and out["pt"].y == 3.0
    g = ga.grad(lambda p: (p.w**2).sum() * p.b)(Layer(np.array([1.0, 2.0]), 3.0))
    assert isinstance(g, Layer) and g.b == 5.0
    np.testing.assert_array_equal(g.w, [6.0, 12.0])
    g = ga.grad(lambda p: p.a * p.b)(Pair(2.0, 3.0))
    assert (g.a, g.b) == (3.0, 2.0)


def test_argument_forms():
    def f(x, y=2.0, *rest, scale=1.0, **named):
        return (x * y + sum(rest)) * scale + sum(named.values())

    g = ga.function(f)
    assert g(3.0) == f(3.0)
    assert g(3.0, 4.0) == f(3.0, 4.0)
    assert g(3.0, y=4.0) == f(3.0, y=4.0)
    assert g(3.0, 4.0, 5.0, 6.0) == f(3.0, 4.0, 5.0, 6.0)
    assert g(3.0, scale=2.0, extra=7.0) == f(3.0, scale=2.0, extra=7.0)
    assert ga.grad(f, wrt="scale")(3.0, 4.0, scale=2.0) == 12.0
    assert ga.grad(f, wrt=(0, 3))(3.0, 4.0, 5.0, 6.0) == (4.0, 1.0)
    assert ga.grad(f, wrt="extra")(3.0, extra=1.0) == 1.0
    assert ga.grad(functools.partial(f, y=5.0))(3.0) == 5.0


def test_methods_and_closures():
    class Model:
        def __init__(self, k):
            self.k = k

        @ga.function
        def run(self, x):
            return self.k * x**2

        def plain(self, x):
            return self.k * x**3

    a, b = Model(2.0), Model(3.0)
    assert a.run(3.0) == 18.0 and b.run(3.0) == 27.0
    assert ga.grad(a.run)(3.0) == 12.0 and ga.grad(a.plain)(1.0) == 6.0
    table = np.arange(3.0)
    f = ga.function(lambda x: x + table)
    assert f(np.zeros(3)).tolist() == [0, 1, 2]
    table[0] = 10.0  # captured arrays are read at each call
    assert f(np.zeros(3)).tolist() == [10, 1, 2]


def test_static_and_nested():
    @ga.function(static="n")
    def power(x, n):
        out = 1.0
        for _ in range(n):
            out = out * x
        return out

    assert power(2.0, 3) == 8.0 and power(2.0, n=5) == 32.0
    outer = ga.function(lambda x: power(x, 2) + u(x, x)[1])
    assert outer(np.float64(3.0)) == 18.0
    assert ga.grad(power)(2.0, 3) == 12.0
    assert ga.function(numba.njit(lambda x: np.sin(x) + 1.0))(0.0) == 1.0
    assert ga.grad(numba.njit(lambda x: np.sum(x**2)))(np.array([3.0])) == 6.0


def test_signature_compiles_once_for_all_sizes():
    f = ga.function(
        lambda x, y: np.tanh(x @ y).sum(axis=0), signature=(ga.spec("n 3"), ga.spec("3 4"))
    )
    y = np.ones((3, 4)) * 0.1
    for _ in range(2):  # the gate, too
        f(np.ones((2, 3)), y)
    before = COUNTERS.compiled + COUNTERS.loaded
    for n in (1, 5, 100, 0):
        x = np.linspace(0, 1, 3 * n).reshape(n, 3)
        np.testing.assert_allclose(f(x, y), np.tanh(x @ y).sum(axis=0), rtol=1e-12)
    assert COUNTERS.compiled + COUNTERS.loaded == before
    g = ga.function(ga.grad(lambda x: np.mean(x[1:] ** 2)), signature=ga.spec("n"))
    for n in (2, 7):
        x = np.arange(float(n))
        want = np.concatenate([[0.0], 2 * x[1:] / (n - 1)])
        np.testing.assert_allclose(g(x), want, rtol=1e-12)
    two = ga.function(lambda a, b: a + b, signature=(ga.spec("n"), ga.spec("m")))
    np.testing.assert_array_equal(two(np.ones(3), np.ones(3)), 2 * np.ones(3))
    with pytest.raises(ga.errors.ShapeError, match=r"to be equal differ"):
        two(np.ones(3), np.ones(4))


def test_a_ufunc_itself():
    x, y = np.linspace(0.1, 1.0, 50), np.linspace(1.0, 2.0, 50)
    out = np.empty(50)
    f = ga.function(np.exp)
    assert f(x, out=out) is out
    np.testing.assert_allclose(out, np.exp(x), rtol=4e-16)
    np.testing.assert_allclose(ga.function(np.arctan2)(x, y), np.arctan2(x, y), rtol=1e-15)
    slope = ga.grad(lambda *a: ga.function(np.hypot)(*a).sum(), wrt=1)(x, y)
    np.testing.assert_allclose(slope, y / np.hypot(x, y), rtol=1e-15)


def test_out(regime):
    f = ga.function(lambda x: np.exp(x) * 2.0)
    x = np.linspace(0, 1, 7)
    want = np.exp(x) * 2.0
    out = np.empty(7)
    assert f(x, out=out) is out
    np.testing.assert_allclose(out, want)
    wide = np.zeros(14)
    f(x, out=wide[::2])
    np.testing.assert_allclose(wide[::2], want)
    roll = ga.function(lambda x: np.roll(x, 1) + np.cumsum(x))
    y = x.copy()
    want = np.roll(y, 1) + np.cumsum(y)
    roll(y, out=y)
    np.testing.assert_allclose(y, want)
    a, b = np.empty(7), np.zeros(())
    two = ga.function(lambda x: (x + 1.0, x.sum()))
    two(x, out=(a, b))
    np.testing.assert_allclose(a, x + 1.0)
    assert b == x.sum()


def test_reentrant_in_threads():
    f = ga.value_and_grad(lambda x, w: np.tanh(x @ w).sum(), wrt=1)
    rng = np.random.default_rng(0)
    data = [(rng.normal(size=(40, 30)), rng.normal(size=(30, 20))) for _ in range(8)]
    want = [f(*d) for d in data]
    wrong = []

    def work(k):
        for _ in range(50):
            value, grad = f(*data[k])
            if value != want[k][0] or not np.array_equal(grad, want[k][1]):
                wrong.append(k)

    assert not at_once(work, range(8))
    assert not wrong


def test_pickling():
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    head, tail = ga.cut(lambda x: ga.tag(x * 2.0, "h") + 1.0, at="h")
    for f, args in (
        (u, (x, y)), (gradient, (x, y)), (ga.vmap(gradient), (x[:, None], y[:, None])),
        (ga.hessian(lambda x: (x**3).sum()), (x,)), (tail, (x, x)), (head, (x,)),
        (ga.function(lambda x, n: x * n, static="n"), (x, 3)),
    ):  # fmt: skip
        again = pickle.loads(pickle.dumps(f))
        pairs = zip(flatten(f(*args))[0], flatten(again(*args))[0], strict=True)
        for a, b in pairs:
            np.testing.assert_array_equal(a, b)
    assert pickle.loads(pickle.dumps(u)) is u


def in_another_process(f, x):
    from graphad.compile.build import COUNTERS as here

    return f(x), here.compiled


def test_joblib_and_cloudpickle():
    import cloudpickle
    import joblib

    f = ga.grad(lambda x: np.sum(x**3))
    x = np.arange(3.0)
    again = cloudpickle.loads(cloudpickle.dumps(f))
    np.testing.assert_array_equal(again(x), f(x))
    done = joblib.Parallel(n_jobs=2)(joblib.delayed(f)(k * x) for k in range(3))
    np.testing.assert_array_equal(done, [f(k * x) for k in range(3)])


def test_dask():
    import dask

    f = ga.grad(lambda x: np.sum(np.sin(x)))
    tasks = [dask.delayed(f)(np.full(3, float(k))) for k in range(3)]
    done = dask.compute(*tasks, scheduler="threads")
    np.testing.assert_allclose(done, [np.cos(np.full(3, float(k))) for k in range(3)])


def test_multiprocessing():
    import concurrent.futures
    import multiprocessing

    f = ga.grad(lambda x: np.sum(np.exp(x) * x))
    x = np.linspace(0, 1, 500)
    want = f(x)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        got, compiled = pool.submit(in_another_process, f, x).result()
    np.testing.assert_array_equal(got, want)
    assert compiled == 0


@numba.njit
def sum_over_rows(a, b):
    total = 0.0
    for i in range(a.shape[0]):
        p, q = u(a[i], b[i])
        total += p.sum() + q + gradient(a[i], b[i])[0]
    return total


@numba.njit(parallel=True)
def rows_in_parallel(a, b):
    out = np.zeros(a.shape[0])
    for i in numba.prange(a.shape[0]):
        out[i] = u(a[i], b[i])[1]
    return out


@numba.njit
def apply_to(f, x):
    return f(x, 2.0)


def test_njit():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    want = sum(
        (np.sin(x) * y).sum() + x @ y + np.cos(x[0]) * y[0] + 2.0 for x, y in zip(a, b, strict=True)
    )
    for layout in (a, np.asfortranarray(a), a[:, ::-1][:, ::-1]):
        np.testing.assert_allclose(sum_over_rows(layout, b), want, rtol=1e-12)
    np.testing.assert_allclose(rows_in_parallel(a, b), (a * b).sum(axis=1), rtol=1e-12)
    assert apply_to(ga.function(lambda x, y: x * y + 1.0), 3.0) == 7.0
    dispatcher = u.njit(a[0], b[0])
    np.testing.assert_allclose(dispatcher(a[0], b[0])[0], np.sin(a[0]) * b[0], rtol=1e-12)
    jacobian = ga.jacobian(lambda x: np.array([x[0] * x[1], np.sin(x[0])])).njit(ga.spec("2"))
    np.testing.assert_allclose(jacobian(np.array([2.0, 3.0])), [[3, 2], [np.cos(2.0), 0]])


def test_njit_needs_numbers_only_where_it_must():
    loops = ga.function(lambda x: np.stack([x[i] for i in range(len(x))]))

    @numba.njit
    def caller(x):
        return loops(x)

    with pytest.raises(numba.core.errors.TypingError, match="signature="):
        caller(np.ones(3))


def test_a_caching_caller_is_not_cached_with_our_addresses(tmp_path):
    """Numba must refuse to cache code that holds the address of an image."""
    f = ga.function(lambda x: x * 2.0)

    @numba.njit
    def caller(x):
        return f(x)

    caller(3.0)
    library = next(iter(caller.overloads.values())).library
    assert library.has_dynamic_globals


def test_options(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHAD_CACHE_DIR", str(tmp_path / "c"))
    x = np.linspace(0, 1, 1000)
    c = float(np.random.default_rng().uniform())
    for options in ({"cache": False}, {"fastmath": True}, {"name": "named"}):
        f = ga.function(lambda x: np.exp(x * c) + np.sum(x), **options)
        np.testing.assert_allclose(f(x), np.exp(x * c) + np.sum(x), rtol=1e-13)
        kept = {p.name for p in (tmp_path / "c").glob("*.o")}
        if options == {"cache": False}:
            assert not kept
    assert kept
    assert "fast-math" in ga.function(lambda x: x * 2.0, fastmath=True).lower(x).source


def test_threads_do_not_change_a_bit():
    """Large loops are split among threads; the bits are those of one thread."""
    x = np.random.default_rng(0).normal(size=(2000, 601))

    def rows(x):
        return np.tanh(x) * np.exp(-x * x), np.exp(x).sum(axis=1)

    def columns(x):
        return (np.tanh(x) * np.exp(-x * x)).sum(axis=0)

    def totals(x):
        return (np.tanh(x) * np.cos(x)).sum(), np.sin(x).max()

    def flat(x):
        return np.tanh(x.ravel() ** 2).sum()

    import graphad.run.image as image

    before = image.threads_for
    image.threads_for = lambda parallel: 1 if parallel is False else 3
    try:
        for f, y in ((rows, x), (columns, x), (totals, x), (flat, x), (flat, x[:-1, :-1].copy())):
            serial, split = ga.function(f, parallel=False), ga.function(f, parallel="auto")
            assert max(k.work for k in split.lower(y).kernels if k) > 5_000_000
            results = [r if isinstance(r, tuple) else (r,) for r in (serial(y), split(y), f(y))]
            for a, b, c in zip(*results, strict=True):
                np.testing.assert_array_equal(a, b)
                np.testing.assert_allclose(a, c, rtol=1e-9, atol=1e-12)
    finally:
        image.threads_for = before


SHARED = """
import os, threading
os.environ["GRAPHAD_NUM_THREADS"] = "3"
import numpy as np, graphad as ga
x = np.linspace(-2, 2, 2_000_000)
f = ga.function(lambda x: (np.tanh(x) * np.exp(-x * x) + np.log1p(np.exp(x))).sum())
want = f(x)
wrong = []
def work():
    for _ in range(5):
        if f(x) != want:
            wrong.append(1)
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
child = os.fork()
if child == 0:
    os._exit(0 if all(f(x) == want for _ in range(3)) else 1)
_, status = os.waitpid(child, 0)
assert f(x) == want
print(len(wrong), status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_shared_loops_from_several_threads_and_after_fork():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SHARED], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["0", "0"], done.stderr


def test_nested_arguments_after_the_first_call():
    f = ga.function(lambda p, x: {"y": p["a"] * x + p["b"][0], "n": (p["b"][1], x.sum())})
    rng = np.random.default_rng(0)
    for k in range(4):
        for dtype, n in (("f8", 3), ("f4", 3), ("f8", 5)):
            x = rng.normal(size=n).astype(dtype)
            p = {"a": x * k, "b": [x + 1, float(k)]}
            got = f(p, x)
            np.testing.assert_allclose(got["y"], p["a"] * x + p["b"][0], rtol=1e-6)
            assert got["n"][0] == k and got["y"].dtype == dtype
    with pytest.raises(ga.errors.GraphadError):
        f({"a": "text", "b": [x, 1.0]}, x)
    q = {"a": x[::-1], "b": [np.asfortranarray(np.ones((5, 5))), 2]}
    np.testing.assert_allclose(f(q, x)["y"], x[::-1] * x + np.ones((5, 5)))


def test_a_warm_function_is_staged_within_a_trace():
    table = np.ones(3)
    inner = ga.function(lambda t: t * 2.0)
    inner(table)
    inner(table)
    outer = ga.function(lambda x: inner(table) + x)
    np.testing.assert_array_equal(outer(np.zeros(3)), 2 * table)
    table[:] = 5.0
    np.testing.assert_array_equal(outer(np.zeros(3)), [10.0, 10.0, 10.0])


def test_arguments_of_every_layout_go_the_native_way():
    f = ga.function(lambda x, k: x * k)
    base = np.arange(24.0).reshape(4, 6)
    views = (base, base.T, base[::2, ::-1], base[:, :1], base[:0], np.broadcast_to(base[0], (3, 6)))
    for _ in range(2):
        for view in views:
            np.testing.assert_array_equal(f(view, 2), view * 2)
            np.testing.assert_array_equal(f(view, np.float64(3)), view * 3)
    big = np.frombuffer(b"\0" + base.tobytes(), np.uint8)[1:].view(np.float64)  # unaligned
    np.testing.assert_array_equal(f(big, 2), base.ravel() * 2)
    assert f(base, 2**60)[0, 1] == 2.0**60


def test_interpreters_with_other_objects_call_in_python(monkeypatch):

    monkeypatch.setattr(gate, "supported", lambda: False)
    f = ga.function(lambda x, y: (x @ y, x.sum(), y[::-1]))
    x, y = np.random.default_rng(0).normal(size=(3, 4)), np.arange(4.0)
    for _ in range(2):
        got = f(x.T.copy().T, y)
        np.testing.assert_allclose(got[0], x @ y)
        np.testing.assert_array_equal(got[2], y[::-1])
        assert type(got[1]) is np.float64
    out = (np.empty(3), np.empty(()), np.empty(4))
    f(x, y, out=out)
    np.testing.assert_allclose(out[0], x @ y)
    with pytest.raises(ga.errors.GraphIndexError):
        ga.function(lambda x, i: x[i])(y, np.array([9]))


def test_out_goes_the_native_way_where_it_can():
    f = ga.function(lambda x, y: x * y + 1.0)
    x, y = np.arange(16.0), np.arange(16.0)[::-1]
    f(x[:8], y[:8])
    out = np.empty(8)
    assert f(x[:8], y[:8], out=out) is out
    np.testing.assert_array_equal(out, x[:8] * y[:8] + 1)
    want = x[:8] * x[4:12] + 1
    f(x[:8], x[4:12], out=x[2:10])  # overlaps both
    np.testing.assert_array_equal(x[2:10], want)
    strided = np.zeros(16)[::2]
    assert f(y[:8], y[:8], out=strided) is strided
    np.testing.assert_array_equal(strided, y[:8] ** 2 + 1)
    for bad in (np.empty(7), np.empty(8, "f4"), np.empty((8, 1))):
        with pytest.raises(ga.errors.ShapeError):
            f(y[:8], y[:8], out=bad)
    locked = np.empty(8)
    locked.flags.writeable = False
    with pytest.raises(ValueError):
        f(y[:8], y[:8], out=locked)


def test_a_parameter_called_out_is_the_functions_own():
    f = ga.function(lambda x, out=2.0: x * out)
    x = np.arange(3.0)
    for _ in range(2):
        np.testing.assert_array_equal(f(x), 2 * x)
        np.testing.assert_array_equal(f(x, out=np.ones(3)), x)


def test_a_signature_goes_the_native_way_for_every_size():
    f = ga.function(
        lambda x, y, k: (x @ y) * k,
        signature=(ga.spec("n 3", "f4"), ga.spec("3", "f4"), ga.spec("", "f4")),
    )
    for _ in range(2):
        for n in (1, 5, 70):
            x, y = np.ones((n, 3), "f4"), np.arange(3, dtype="f4")
            for k in (2.0, np.float32(2.0)):
                got = f(x, y, k)
                assert got.dtype == np.float32
                np.testing.assert_array_equal(got, np.full(n, 6))
    with pytest.raises(ga.errors.ShapeError):
        f(np.ones((5, 4), "f4"), np.ones(4, "f4"), 1.0)


def test_timings_are_printed_when_asked_for():
    code = "import numpy as np, graphad as ga; ga.function(lambda x: np.sin(x))(np.ones(3))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "GRAPHAD_TIMINGS": "1"},
    )
    stages = {line.split()[1] for line in done.stderr.splitlines() if line.startswith("graphad")}
    assert {"trace", "simplify", "emit", "link", "all"} <= stages, done.stderr


def test_arguments_by_name_go_the_native_way():
    """By their names, in any order of the call; other names and defaults as Python has them."""
    x, t = np.arange(3.0), np.array([1.0, 2.0, 4.0])
    f = ga.function(lambda a, b=2.0, *, c=0.0: a * b + c)
    for _ in range(3):
        np.testing.assert_array_equal(f(x, b=t), x * t)
        np.testing.assert_array_equal(f(x, c=t), 2 * x + t)
        np.testing.assert_array_equal(f(b=t, a=x), x * t)
        np.testing.assert_array_equal(f(a=t, b=x, c=1.0), x * t + 1)
        np.testing.assert_array_equal(f(x, t, c=x), x * t + x)
        np.testing.assert_array_equal(f(c=x, b=t, a=x), x * t + x)
        with pytest.raises(TypeError):
            f(x, d=t)
        with pytest.raises(TypeError):
            f(x, a=t)
    h = ga.hvp(lambda x: (x**3).sum())
    for _ in range(3):
        np.testing.assert_array_equal(h(x, tangents=t), 6 * x * t)
    assert len(h._calls._table().plans) == 1
    name = "".join(["tan", "gents"])  # not the same object as in the code above
    np.testing.assert_array_equal(h(x, **{name: t}), 6 * x * t)
