"""Control flow against the same code run by Python, unrolled while tracing, and by NumPy."""

import numpy as np
import pytest

import graphad as ga
from graphad import errors
from graphad.graph import Graph

RNG = np.random.default_rng(5)
W = RNG.normal(size=(4, 4)) * 0.5
XS = RNG.normal(size=(7, 4))


def plain_scan(f, init, xs, reverse=False):
    """The same by a Python loop, which a trace unrolls."""
    carry, ys = init, [None] * len(xs)
    for k in reversed(range(len(xs))) if reverse else range(len(xs)):
        carry, ys[k] = f(carry, xs[k])
    return carry, np.stack(ys)


def recurrent(scan, **options):
    def f(w, xs):
        def step(c, x):
            h = np.tanh(w @ c + x)
            return 0.9 * h + 0.1 * c, h * x

        carry, ys = scan(step, np.full(4, 0.2) * xs[0, 0], xs, **options)
        return (carry**2).sum() + np.sum(ys * np.sin(ys))

    return f


LOOPED, PLAIN = recurrent(ga.scan), recurrent(plain_scan)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("checkpoint", ["all", "none", "sqrt", 1, 3, 20])
@pytest.mark.parametrize("unroll", [1, 2, 9])
def test_scan_and_its_gradient(checkpoint, unroll, reverse):
    f = recurrent(ga.scan, checkpoint=checkpoint, unroll=unroll, reverse=reverse)
    g = recurrent(plain_scan, reverse=reverse)
    value, gradient = ga.value_and_grad(f, wrt=(0, 1))(W, XS)
    want, expected = ga.value_and_grad(g, wrt=(0, 1))(W, XS)
    np.testing.assert_allclose(value, g(W, XS), rtol=1e-13)
    np.testing.assert_allclose(value, want, rtol=1e-13)
    for a, b in zip(gradient, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


TRANSFORMS = {
    "value": lambda f: f,
    "jvp": lambda f: lambda w, xs: ga.jvp(f, wrt=(0, 1))(w, xs, tangents=(W[::-1] * 1.0, XS * 0.3)),
    "hvp": lambda f: lambda w, xs: ga.hvp(f)(w, xs, tangents=W.T * 1.0),
    "hessian": lambda f: ga.hessian(f),
    "third": lambda f: ga.grad(lambda w, xs: (ga.grad(f)(w, xs) ** 2).sum(), wrt=1),
    "reverse over forward": lambda f: ga.grad(
        lambda w, xs: ga.jvp(f)(w, xs, tangents=W * 1.0)[1], wrt=1
    ),
    "vmap": lambda f: (
        lambda w, xs: ga.vmap(ga.grad(f), in_axes=(0, None))(np.stack([w, 2 * w, w * w]), xs)
    ),
    "vmap xs": lambda f: (
        lambda w, xs: ga.vmap(ga.value_and_grad(f), in_axes=(None, 0))(w, np.stack([xs, 2 * xs]))
    ),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_of_scan(name, regime):
    transform = TRANSFORMS[name]
    got = ga.function(transform(LOOPED))(W, XS)
    want = ga.function(transform(PLAIN))(W, XS)
    for a, b in zip(np.atleast_1d(got), np.atleast_1d(want), strict=True) if not isinstance(got, tuple) else zip(got, want, strict=True):  # fmt: skip
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_jacobians_of_scan(mode):
    def states(scan):
        return lambda x: scan(lambda c, r: (np.sin(c + r), c * r), x[0] * 0.5, x)[1]

    got = ga.jacobian(states(ga.scan), mode=mode)(XS)
    np.testing.assert_allclose(got, ga.jacobian(states(plain_scan))(XS), rtol=1e-12, atol=1e-15)


def test_a_wide_scan_runs_region_by_region():
    """The same with a body too large for straight-line code, in both precisions."""
    rng = np.random.default_rng(0)
    w, xs = rng.normal(size=(50, 50)) / 8, rng.normal(size=(6, 50))

    def f(scan):
        def g(w, xs):
            carry, ys = scan(
                lambda c, x: (np.tanh(w @ c + x), c[::-1] * x), np.ones(50, w.dtype), xs
            )
            return (carry * ys[-1]).sum() + (ys**2).sum()

        return g

    for dtype, tolerance in (("f8", 1e-11), ("f4", 1e-4)):
        args = w.astype(dtype), xs.astype(dtype)
        got = ga.value_and_grad(f(ga.scan), wrt=(0, 1))(*args)
        want = ga.value_and_grad(f(plain_scan), wrt=(0, 1))(*args)
        assert got[1][0].dtype == dtype
        np.testing.assert_allclose(got[0], want[0], rtol=tolerance)
        for a, b in zip(got[1], want[1], strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_a_constant_matrix_gets_its_gradient_by_one_product():
    lowered = ga.grad(lambda w, xs: ga.scan(lambda c, x: (np.tanh(w @ c + x), None),
                                            np.zeros(50), xs)[0].sum()).lower(
        ga.spec("50 50", "f8"), ga.spec("30 50", "f8"))  # fmt: skip
    loops = [n for n in lowered.graph.nodes if n.op.name == "iterate"]
    assert len(loops) == 2  # the first run of the loop is not made twice
    assert not any(s.shape == (50, 50) for n in loops for s in n.spec)
    assert str(Graph.parse(str(lowered.graph))) == str(lowered.graph)


def test_compiling_does_not_depend_on_the_number_of_steps():
    def lowered(n):
        def loss(w, xs):
            return ga.scan(lambda c, x: (np.tanh(w * c + x), c), np.zeros(4), xs)[1].sum()

        return ga.grad(loss).lower(np.zeros(4), np.zeros((n, 4)))

    assert lowered(1000).source == lowered(100_000).source


def test_pytrees_integers_and_bools_in_the_carry():
    def f(x):
        def step(carry, row):
            count, flag, state = carry["n"], carry["up"], carry["s"]
            bigger = row["a"] > state[0]
            state = (np.where(bigger, row["a"], state[0]), state[1] + row["b"] * count)
            return {"n": count + 1, "up": bigger | flag, "s": state}, (count, None)

        start = {"n": 0, "up": False, "s": (x[0, 0], 0.0)}
        return ga.scan(step, start, {"a": x[:, 0], "b": x[:, 1]})

    carry, (counts, nothing) = ga.function(f)(XS)
    assert nothing is None
    np.testing.assert_array_equal(counts, np.arange(7))
    assert carry["n"] == 7 and carry["n"].dtype == np.int64 and carry["up"]
    assert carry["s"][0] == XS[:, 0].max()
    np.testing.assert_allclose(carry["s"][1], XS[:, 1] @ np.arange(7))
    gradient = ga.grad(lambda x: sum(f(x)[0]["s"]))(XS)
    want = np.zeros_like(XS)
    want[:, 1] = np.arange(7)
    want[np.argmax(XS[:, 0]), 0] = 1
    np.testing.assert_allclose(gradient, want)


def test_a_python_number_takes_the_dtype_of_the_carry():
    out = ga.function(lambda x: ga.scan(lambda c, r: (c + r.sum(), c), 0.0, x))(XS.astype("f4"))
    assert out[0].dtype == np.float32 and out[1].dtype == np.float32
    grown = ga.function(lambda x: ga.fori_loop(0, 3, lambda i, c: c * x, 2))(1.5)
    assert grown == 2 * 1.5**3


def test_empty_and_single_steps():
    f = ga.value_and_grad(lambda c, xs: np.sum(ga.scan(lambda c, x: (c * x, c), c, xs)[0]))
    value, gradient = f(2.0, np.zeros(0))
    assert value == 2.0 and gradient == 1.0
    assert f(2.0, np.array([3.0])) == (6.0, 3.0)
    assert ga.function(lambda x: ga.scan(lambda c, x: (c, x), 0.0, x)[1])(
        np.zeros((0, 3))
    ).shape == (0, 3)


# -- while and for -------------------------------------------------------------------------------
def sqrt_by_newton(x, max_steps=None):
    return ga.while_loop(lambda s: abs(s * s - x) > 1e-14 * x, lambda s: 0.5 * (s + x / s), x,
                         max_steps=max_steps)  # fmt: skip


def test_while_loop_to_second_order(regime):
    f = ga.function(lambda x: sqrt_by_newton(x, 60))
    np.testing.assert_allclose(f(7.0), np.sqrt(7.0), rtol=1e-14)
    np.testing.assert_allclose(ga.grad(f)(7.0), 0.5 / np.sqrt(7.0), rtol=1e-9)
    np.testing.assert_allclose(ga.hessian(f)(7.0), -0.25 * 7**-1.5, rtol=1e-6)
    np.testing.assert_allclose(ga.jvp(sqrt_by_newton)(7.0, tangents=2.0)[1], 7**-0.5, rtol=1e-9)
    xs = np.array([1.5, 2.0, 1e4, 3e-5])
    np.testing.assert_allclose(ga.vmap(f)(xs), np.sqrt(xs), rtol=1e-14)
    np.testing.assert_allclose(ga.vmap(ga.grad(f))(xs), 0.5 / np.sqrt(xs), rtol=1e-8)


def test_under_vmap_each_element_takes_its_own_steps():
    def collatz(n):
        def step(s):
            odd = s[0] - 2 * np.floor(s[0] / 2) > 0
            return np.where(odd, 3 * s[0] + 1, s[0] / 2), s[1] + 1

        return ga.while_loop(lambda s: s[0] > 1, step, (n, 0))[1]

    np.testing.assert_array_equal(
        ga.vmap(collatz)(np.array([1.0, 6.0, 27.0, 97.0])), [0, 8, 111, 118]
    )


def test_while_loop_stops_at_its_bound():
    f = ga.function(lambda x: ga.while_loop(lambda c: c > 0, lambda c: c + x, x, max_steps=5))
    assert f(1.0) == 6.0
    assert ga.grad(f)(1.0) == 6.0


def test_reverse_mode_of_an_unbounded_loop_is_an_error():
    with pytest.raises(errors.DerivativeError, match="max_steps"):
        ga.grad(sqrt_by_newton)(2.0)
    f = ga.grad(lambda x, n: ga.fori_loop(0, n, lambda i, c: c * x, 1.0))
    with pytest.raises(errors.DerivativeError, match="scan"):
        f(2.0, 3)


def test_fori_loop_with_traced_bounds():
    f = ga.function(lambda a, b, x: ga.fori_loop(a, b, lambda i, c: c + i * x, 0.0))
    assert f(2, 5, 10.0) == 90.0
    assert f(5, 2, 10.0) == 0.0
    assert ga.jvp(f, wrt=2)(2, 5, 10.0, tangents=1.0)[1] == 9.0
    np.testing.assert_array_equal(
        ga.vmap(f, in_axes=(None, 0, None))(0, np.array([1, 3, 2]), 1.0), [0, 3, 1]
    )
    assert ga.grad(lambda x: ga.fori_loop(0, 4, lambda i, c: c * (x + i), 1.0))(1.0) == 50.0


def test_loops_within_loops(regime):
    def f(x):
        def outer(c, row):
            inner = ga.fori_loop(0, 3, lambda i, v: v + np.sin(c * v) * 0.1, row)
            return c + inner.sum(), ga.scan(lambda d, e: (d * e, d + e), c, row)[1]

        carry, ys = ga.scan(outer, 0.1, x)
        return carry + (ys**2).sum()

    def plain(x):
        c, total = 0.1, 0.0
        for row in x:
            v = row
            for _ in range(3):
                v = v + np.sin(c * v) * 0.1
            d = c
            for e in row:
                total, d = total + (d + e) ** 2, d * e
            c = c + v.sum()
        return c + total

    x = XS[:3, :3] * 0.5
    np.testing.assert_allclose(ga.function(f)(x), plain(x), rtol=1e-13)
    np.testing.assert_allclose(ga.grad(f)(x), ga.grad(plain)(x), rtol=1e-11)
    got, want = ga.hvp(f)(x, tangents=x), ga.hvp(plain)(x, tangents=x)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
    batch = np.stack([x, -x])
    np.testing.assert_allclose(ga.vmap(ga.grad(f))(batch)[1], ga.grad(plain)(-x), rtol=1e-11)


# -- branches ------------------------------------------------------------------------------------
def test_only_the_branch_taken_is_run(regime):
    """The other one would fail: an index out of bounds."""
    table = np.arange(5.0)

    def f(k, x):
        def far(x):
            return x * np.asarray(table, like=k)[k + 100]

        return ga.cond(x > 0, lambda x: x * 2, far, x)

    g = ga.function(f)
    assert g(1, 3.0) == 6.0
    with pytest.raises(IndexError):
        g(1, -3.0)
    assert ga.grad(f, wrt=1)(1, 3.0) == 2.0
    np.testing.assert_array_equal(
        ga.vmap(f, in_axes=(None, 0))(1, np.array([1.0, 2.0])), [2.0, 4.0]
    )
    with pytest.raises(IndexError):
        ga.vmap(f, in_axes=(None, 0))(1, np.array([1.0, -2.0]))


def branches():
    return [lambda x, y: (np.sin(x) * y, x), lambda x, y: (x**3 + y, 2.0), lambda x, y: (0.0, y)]


@pytest.mark.parametrize("k", [-3, 0, 1, 2, 7])
def test_switch(k, regime):
    f = ga.function(lambda k, x, y: ga.switch(k, branches(), x, y))
    chosen = branches()[min(max(k, 0), 2)]
    assert f(k, 0.7, 1.3) == chosen(0.7, 1.3)
    got = ga.jacobian(f, wrt=(1, 2))(k, 0.7, 1.3)
    want = ga.jacobian(
        ga.function(lambda x, y: tuple(v + 0 * x for v in chosen(x, y))), wrt=(0, 1)
    )(0.7, 1.3)
    np.testing.assert_allclose(got, want, rtol=1e-14)
    second = ga.hessian(lambda k, x, y: sum(f(k, x, y)), wrt=(1, 2))(k, 0.7, 1.3)
    np.testing.assert_allclose(
        second, ga.hessian(lambda x, y: sum(chosen(x, y)) + 0 * x, wrt=(0, 1))(0.7, 1.3), rtol=1e-13
    )


def test_vmap_of_switch_chooses_for_each_element(regime):
    ks, xs, ys = np.array([2, 0, 1, 0, 9]), RNG.normal(size=5), RNG.normal(size=5)

    def f(k, x, y):
        return ga.switch(k, branches(), x, y)

    got = ga.vmap(f)(ks, xs, ys)
    want = np.array([branches()[min(k, 2)](x, y) for k, x, y in zip(ks, xs, ys, strict=True)])
    np.testing.assert_allclose(np.stack(got, axis=1), want, rtol=1e-15)
    gradient = ga.vmap(ga.grad(lambda k, x, y: f(k, x, y)[0], wrt=1))(ks, xs, ys)
    chosen = [branches()[min(k, 2)] for k in ks]
    slopes = [
        ga.grad(lambda x, y, b=b: b(x, y)[0] + 0 * x)(x, y)
        for b, x, y in zip(chosen, xs, ys, strict=True)
    ]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-14)
    # A shared choice stays one branch on the whole batch.
    shared = ga.vmap(f, in_axes=(None, 0, 0)).lower(1, xs, ys).graph
    assert [n.op.name for n in shared.nodes].count("switch") == 1


def test_branches_see_values_around_them():
    def f(x, y):
        z = np.exp(y)
        return ga.cond(x.sum() > 0, lambda: np.sin(x) * z, lambda: x - z)

    for sign in (1, -1):
        x, y = sign * np.arange(3.0), 0.3
        want = np.sin(x) * np.exp(y) if sign > 0 else x - np.exp(y)
        np.testing.assert_allclose(ga.function(f)(x, y), want, rtol=1e-15)
        slope = ga.grad(lambda x, y: f(x, y).sum(), wrt=1)(x, y)
        np.testing.assert_allclose(slope, np.exp(y) * (np.sin(x).sum() if sign > 0 else -3))


def test_outside_of_a_trace_the_same_calls_run_at_once():
    assert ga.cond(True, lambda x: x + 1, lambda x: x - 1, 3) == 4
    assert ga.switch(5, [lambda: "a", lambda: "b"]) == "b"
    carry, ys = ga.scan(lambda c, x: (c + x, c), 0.0, np.arange(4.0))
    assert carry == 6.0
    np.testing.assert_array_equal(ys, [0, 0, 1, 3])
    assert ga.while_loop(lambda n: n < 10, lambda n: n * 3, 1) == 27


def test_loops_work_in_njit_code():
    import numba

    f = ga.value_and_grad(lambda x: ga.scan(lambda c, r: (np.sin(c) + r, c), 0.0, x)[0])

    @numba.njit
    def use(x):
        value, gradient = f(x)
        return value + gradient.sum()

    value, gradient = f(XS[0])
    np.testing.assert_allclose(use(XS[0]), value + gradient.sum(), rtol=1e-14)


def test_symbolic_lengths():
    f = ga.function(
        ga.value_and_grad(
            lambda w, xs: ga.scan(lambda c, x: (np.tanh(w @ c + x), c), np.zeros(4), xs)[1].sum()
        ),
        signature=(ga.spec("4 4", "f8"), ga.spec("n 4", "f8")),
    )
    for n in (1, 5, 7):
        value, gradient = f(W, XS[:n])
        want = ga.value_and_grad(
            lambda w, xs: plain_scan(lambda c, x: (np.tanh(w @ c + x), c), np.zeros(4), xs)[1].sum()
        )(W, XS[:n])
        np.testing.assert_allclose(value, want[0], rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(gradient, want[1], rtol=1e-12, atol=1e-15)


def test_memory_of_reverse_mode():
    """What checkpoint= keeps is known before anything runs."""
    n, width = 400, 64

    def peak(checkpoint):
        f = ga.grad(lambda w, xs: ga.scan(lambda c, x: (np.tanh(w * c + x) * np.exp(-c * c), None),
                                          np.zeros(width), xs, checkpoint=checkpoint)[0].sum())  # fmt: skip
        return f.lower(np.zeros(width), np.zeros((n, width))).memory.peak

    state = width * 8
    assert peak("none") >= n * state > 3 * peak("sqrt")
    assert peak("all") > peak("none") > peak("sqrt")


# -- errors --------------------------------------------------------------------------------------
ERRORS = [
    (lambda x: ga.scan(lambda c, r: (r, c), 0.0, x), errors.ShapeError, "carry changes"),
    (lambda x: ga.scan(lambda c, r: c, 0.0, x), errors.TraceError, "return a pair"),
    (lambda x: ga.scan(lambda c, r: (c, c), x), errors.TraceError, "length="),
    (lambda x: ga.scan(lambda c, r: (c, c), 0.0, (x, x[1:])), errors.ShapeError, "numbers of steps"),
    (lambda x: ga.scan(lambda c, r: (c, c), 0.0, x, checkpoint="some"), errors.TraceError, "'sqrt'"),
    (lambda x: ga.cond(x > 0, np.sin, np.cos, x), errors.ShapeError, "must be one number"),
    (lambda x: ga.cond(x.sum() > 0, lambda x: x, lambda x: x[0], x), errors.ShapeError, "branches return"),
    (lambda x: ga.switch(x.sum(), [np.sin], x), errors.TraceError, "must be an integer"),
    (lambda x: ga.switch(0, [], x), errors.TraceError, "no branch"),
    (lambda x: ga.while_loop(lambda c: c > 0, lambda c: c, x), errors.ShapeError, "condition must be"),
]  # fmt: skip


@pytest.mark.parametrize("f, kind, text", ERRORS)
def test_errors_name_the_operation_and_the_fix(f, kind, text):
    with pytest.raises(kind, match=text):
        ga.function(f)(XS)


def test_devices_and_times_that_are_not_there():
    with pytest.raises(errors.TraceError, match="'cpu' or 'cuda'"):
        ga.function(np.sin, device="gpu")
    with pytest.raises(errors.ShapeError, match="not empty"):
        ga.odeint(lambda y, t: -y, 1.0, np.zeros(0))


def test_a_tag_inside_a_loop_is_an_error_at_cut():
    f = ga.function(lambda x: ga.scan(lambda c, r: (ga.tag(c * r, "h"), c), x[0], x)[0])
    with pytest.raises(errors.TraceError, match="control flow"):
        ga.cut(f, at="h")[0](XS[0])


def test_bits_do_not_depend_on_threads(monkeypatch):
    x = RNG.normal(size=(3, 400_000))

    def f(x):
        return ga.scan(lambda c, r: (np.sin(c) + r, np.sum(r * c)), x[0], x)

    one = ga.function(f, parallel=False)(x)
    two = ga.function(f)(x)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_captured_arrays_of_which_one_is_not_needed():
    """The rows go when nothing reads them; the other array keeps its place."""
    unread, table = np.zeros(4), np.array([2.0, 3.0, 5.0])
    got = ga.function(lambda x: ga.scan(lambda c, _: (c * table, None), x, unread)[0])(np.ones(3))
    np.testing.assert_array_equal(got, table**4)


def test_rules_in_loops_may_capture_arrays():
    """What a custom rule reads from around it is brought out of the loops that derivatives make."""
    weights = np.array([1.0, -2.0, 0.5])

    @ga.custom_derivative
    def bend(v):
        return np.tanh(v * weights)

    @bend.define_jvp
    def rule(primals, tangents):
        y = bend(primals[0])
        return y, tangents[0] * weights * (1 - y * y)

    def run(f, x):
        def step(c, row):
            c = ga.cond(row[0] > 0, lambda c: f(c) + row, lambda c: f(c + row), c)
            return c, c.sum()

        carry, ys = ga.scan(step, np.zeros(3), x)
        return (carry * carry).sum() + (ys**2).sum()

    x = np.random.default_rng(0).normal(size=(5, 3))
    plain = lambda x: run(lambda v: np.tanh(v * weights), x)  # noqa: E731
    ruled = lambda x: run(bend, x)  # noqa: E731
    t = np.cos(x)
    np.testing.assert_allclose(ga.grad(ruled)(x), ga.grad(plain)(x), rtol=1e-12)
    np.testing.assert_allclose(ga.jvp(ruled)(x, tangents=t)[1], ga.jvp(plain)(x, tangents=t)[1])
    np.testing.assert_allclose(
        ga.hvp(ruled)(x, tangents=t), ga.hvp(plain)(x, tangents=t), rtol=1e-10
    )
