"""Products and loops that run strip by strip: what they give, at any number of threads and rows."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

import graphad as ga
from graphad.lower.program import Loop, Product, Strips
from graphad.reference import evaluate

RNG = np.random.default_rng(0)


def layers(dtype, sizes):
    return [((RNG.normal(size=(a, b)) / np.sqrt(a)).astype(dtype), RNG.normal(size=b).astype(dtype))
            for a, b in itertools.pairwise(sizes)]  # fmt: skip


def network(params, x):
    for weight, bias in params[:-1]:
        x = np.tanh(x @ weight + bias)
    return x @ params[-1][0] + params[-1][1]


def gated(params, x):
    """Rows that are split, joined, normalised and used twice."""
    kept, moved = x[:, :3], x[:, 3:]
    raw = network(params, kept)
    moved = moved * np.exp(np.tanh(raw[:, :5])) + raw[:, 5:]
    whole = np.concatenate([moved, kept], 1)
    return whole - whole.mean(1, keepdims=True)


PROGRAMS = {
    "network": (network, (8, 64, 32, 3), 8),
    "coupling": (gated, (3, 48, 48, 10), 8),
}


def close(got, want, dtype):
    tolerance = 2e-5 if dtype == "f4" else 1e-11
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * np.abs(want).max())


def strips_of(f, *args):
    return [r for r in f.lower(*args).program.regions if isinstance(r, Strips)]


@pytest.mark.parametrize("rows", [512, 1000, 4099])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_values_and_gradients(name, dtype, rows):
    f, sizes, width = PROGRAMS[name]
    params, x = layers(dtype, sizes), RNG.normal(size=(rows, width)).astype(dtype)
    value = ga.function(f)
    assert strips_of(value, params, x)
    close(value(params, x), f(params, x), dtype)
    loss = ga.value_and_grad(lambda p, x: (f(p, x) ** 2).mean(), wrt=(0, 1))
    assert strips_of(loss, params, x)
    flat = [a for pair in params for a in pair]
    want = evaluate(loss.lower(params, x).traced, [*flat, x])
    got, (by_params, by_x) = loss(params, x)
    for g, w in zip([got, *[a for pair in by_params for a in pair], by_x], want, strict=True):
        close(g, w, dtype)


def test_a_training_step_is_one_group_with_memory_for_strips():
    params = layers("f4", (8, 64, 64, 8))
    x = RNG.normal(size=(4096, 8)).astype("f4")
    step = ga.grad(lambda p, x: (network(p, x) ** 2).mean())
    (group,) = strips_of(step, params, x)
    kinds = [type(r) for r in group.program.regions]
    assert kinds.count(Product) == 8 and Loop in kinds  # three forward, two back, three sums
    assert step.lower(params, x).program.arena_bytes < 100_000  # no array of 4096 rows of 64


def test_what_reads_all_rows_comes_after():
    params = layers("f8", (6, 32, 32))
    x = RNG.normal(size=(1024, 6))

    def f(params, x):
        h = np.tanh(x @ params[0][0] + params[0][1])
        centred = h - h.mean(0)  # needs all rows of h
        return np.tanh(centred @ params[1][0]) @ params[1][0].T

    got = ga.function(f)(params, x)
    close(got, f(params, x), "f8")
    rolled = lambda p, x: np.tanh(network(p, x))[::-1] @ p[1][0]  # noqa: E731
    close(ga.function(rolled)(params, x), rolled(params, x), "f8")


def test_errors_inside_strips_name_the_line():
    params, x = layers("f8", (4, 16, 16)), RNG.normal(size=(600, 4))

    def f(params, x, index):
        h = np.tanh(x @ params[0][0])
        return (h * params[0][1][index]) @ params[1][0]

    index = np.arange(16)
    close(ga.function(f)(params, x, index), f(params, x, index), "f8")
    index[3] = 99
    with pytest.raises(ga.errors.GraphIndexError, match=r"params\[0\]\[1\]\[index\]"):
        ga.function(f)(params, x, index)
    assert np.isfinite(ga.function(f)(params, x, np.arange(16))).all()  # memory was given back


def test_the_same_bits_for_any_number_of_threads():
    code = (
        "import numpy as np, graphad as ga, hashlib\n"
        "from tests.test_strips import layers, gated, RNG\n"
        "p = layers('f4', (3, 48, 48, 10)); x = RNG.normal(size=(20000, 8)).astype('f4')\n"
        "g = ga.value_and_grad(lambda p, x: (gated(p, x) ** 2).mean())(p, x)\n"
        "flat = [g[0], *[a for pair in g[1] for a in pair]]\n"
        "print(hashlib.sha256(b''.join(np.asarray(a).tobytes() for a in flat)).hexdigest())\n"
    )
    found = set()
    for threads in ("1", "2", "3"):
        env = {**__import__("os").environ, "GRAPHAD_NUM_THREADS": threads,
               "OPENBLAS_NUM_THREADS": "1"}  # fmt: skip
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1


def test_blas_keeps_the_threads_that_it_had():
    import ctypes

    from graphad.compile.functions import blas_threads

    params, x = layers("f8", (64, 128, 128)), RNG.normal(size=(4096, 64))
    network_ = ga.function(network)
    network_(params, x)
    get, _ = blas_threads()
    if get:
        count = ctypes.CFUNCTYPE(ctypes.c_int)(get)
        before = count()
        network_(params, x)
        assert count() == before


PIECES = {
    "slice of joined": (lambda x: np.concatenate([x, 2 * x], 1)[:, 4:6], 3),
    "slice over a joint": (lambda x: np.concatenate([x, 2 * x], 1)[:, 2:6], 3),
    "backward slice of joined": (lambda x: np.concatenate([x, 2 * x], 1)[:, 7:4:-1], 3),
    "slice of padded": (lambda x: np.pad(x, ((0, 0), (2, 3)))[:, 1:5], 3),
    "zeros of padded": (lambda x: np.pad(x, ((0, 0), (2, 3)))[:, :2], 3),
    "slice of slices": (lambda x: x[:, ::2][:, 1:][:, ::-1], 3),
    "sum of padded": (lambda x: np.pad(x, ((0, 0), (0, 4))) + np.pad(x, ((0, 0), (4, 0))), 3),
    "padded neighbours": (lambda x: np.pad(x[:, :2], ((0, 0), (1, 5)))
                          + np.pad(x[:, 2:3], ((0, 0), (3, 4))), 3),
}  # fmt: skip


@pytest.mark.parametrize("name", PIECES)
def test_pieces(name):
    f, _ = PIECES[name]
    x = RNG.normal(size=(3, 4))
    np.testing.assert_array_equal(ga.function(f)(x), f(x))
    np.testing.assert_array_equal(ga.grad(lambda x: (f(x) ** 2).sum())(x).round(12),
                                  (ga.jacobian(f)(x) * 2 * f(x)[..., None, None]).sum((0, 1)).round(12))  # fmt: skip


def test_cotangents_of_many_slices_are_joined():
    def f(x):
        return sum(np.sin(x[:, k : k + 1]) * k for k in range(8)).sum()

    graph = ga.grad(f).lower(ga.spec("100 8")).graph
    names = [n.op.name for n in graph.nodes]
    assert "embed" not in names and names.count("concatenate") == 1


def test_what_reads_a_transpose_keeps_its_rows_whole():
    x, w, v = RNG.normal(size=(64, 1024)), RNG.normal(size=(64, 32)), RNG.normal(size=(32, 16))

    def f(x, w, v):
        return np.tanh((x.T * 2.0) @ w) @ v

    lowered = ga.function(f).lower(x, w, v)
    assert any(isinstance(r, Strips) for r in lowered.program.regions)
    np.testing.assert_allclose(ga.function(f)(x, w, v), f(x, w, v), rtol=1e-12, atol=1e-13)
    got = ga.grad(lambda x: f(x, w, v).sum())(x)
    h = np.tanh((x.T * 2.0) @ w)
    np.testing.assert_allclose(
        got, (2.0 * ((1 - h * h) * v.sum(1)) @ w.T).T, rtol=1e-10, atol=1e-11
    )
