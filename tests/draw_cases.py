"""Random cases of draws for many keys at once, and what one call for each key gives."""

from __future__ import annotations

import os
import sys
import traceback
from functools import partial

import numpy as np

import graphad as ga

R = ga.random
SHARED = ("plain", "scan", "cond", "where", "twice", "nested", "folded")
CATEGORIES = (1, 2, 3, 8, 40, 64, 65, 255, 256, 300, 1000)
KEYS = (1, 2, 3, 4, 7, 8, 16, 63, 64, 65, 500, 2000, 5000)


def weights(n: int, dtype="float64"):
    """Some log-weights, some of them impossible."""
    made = np.sin(np.arange(n) * 1.7) * 3.0
    made[1::7] = -np.inf
    return made.astype(dtype)


def draws(n: int):
    """Each draw of ga.random as a function of a key; n is how many categories, or elements."""
    w, single = weights(n), weights(n, "float32")
    few = max(1, n // 3)
    for dtype in ("float64", "float32"):
        for name in ("uniform", "normal", "exponential", "gumbel"):
            draw = getattr(R, name)
            yield f"{name} {dtype}", lambda k, draw=draw, dtype=dtype: draw(k, (n,), dtype)
            yield f"{name} {dtype} one", lambda k, draw=draw, dtype=dtype: draw(k, (), dtype)
    yield "uniform between", lambda k: R.uniform(k, (n,), low=-3.0, high=np.arange(n) + 1.0)
    yield "normal at", lambda k: R.normal(k, None, loc=np.arange(n) + 0.5, scale=2.0)
    yield "bits", lambda k: R.bits(k, (n,))
    yield "bits uint32", lambda k: R.bits(k, (n,), "uint32")
    yield "bernoulli", lambda k: R.bernoulli(k, np.linspace(0.0, 1.0, n))
    yield "integers", lambda k: R.integers(k, -5, n, (n,))
    yield "integers one", lambda k: R.integers(k, n)
    yield "integers uint8", lambda k: R.integers(k, 0, 256, (n,), "uint8")
    yield "permutation", lambda k: R.permutation(k, n)
    yield "permutation of", lambda k: R.permutation(k, np.asarray(np.arange(2.0 * n), like=k))
    yield "choice", lambda k: R.choice(k, n, (3,))
    yield "choice without", lambda k: R.choice(k, n, (few,), replace=False)
    yield "choice by p", lambda k: R.choice(k, n, (3,), p=np.exp(w))
    yield "categorical", lambda k: R.categorical(k, w)
    yield "categorical float32", lambda k: R.categorical(k, single)
    yield "categorical few", lambda k: R.categorical(k, w, 3)
    yield "categorical many", lambda k: R.categorical(k, w, 300)
    yield "categorical distinct", lambda k: R.categorical(k, np.zeros(n), few, replace=False)
    yield "Categorical", lambda k: R.Categorical(w).sample(k, (5,))
    yield "select", lambda k: R.select(k, w, np.arange(2.0 * n).reshape(n, 2))
    yield "gumbel_softmax", lambda k: R.gumbel_softmax(k, np.zeros(n), 0.7)
    yield "split", lambda k: R.split(k, 3)
    yield "fold_in", lambda k: R.fold_in(k, n)


def within(draw, shape: str, n: int):
    """A draw inside another construct."""
    if shape == "scan":

        def scanned(k):
            return ga.scan(lambda c, i: (R.fold_in(c, i), draw(c)), k, np.arange(3))[1]

        return scanned  # fmt: skip
    if shape == "cond":
        return lambda k: ga.cond(k[0] % 2 == 0, draw, lambda k: draw(R.fold_in(k, 1)), k)
    if shape == "where":
        return lambda k: np.where(k[0] % 2 == 0, draw(k), draw(R.fold_in(k, 1)))
    if shape == "twice":

        def twice(k):
            one, two = R.split(k)
            return np.stack([draw(one), draw(two)])

        return twice  # fmt: skip
    if shape == "nested":
        return lambda k: ga.vmap(draw)(R.split(k, 3))
    if shape == "folded":
        return lambda k: draw(R.fold_in(k, n))
    return draw


def some(count: int) -> list[int]:
    """Elements to look at: the ends, and around full vectors."""
    return sorted({k for k in (0, 1, 3, 7, 8, count // 2, count - 2, count - 1) if 0 <= k < count})


def check_draw(name: str, draw, count: int) -> None:
    """`ga.vmap` over keys gives what single calls give: the same bits."""
    keys = R.split(R.key(count), count)
    got = ga.vmap(draw)(keys)
    single = ga.function(draw)
    for k in some(count):
        np.testing.assert_array_equal(got[k], single(keys[k]), err_msg=f"{name}, key {k}")


def check_score(n: int, count: int) -> None:
    """The gradient by the score, with a draw for each key, against the closed form."""
    keys = R.split(R.key(n), count)
    values, logits = np.linspace(0.0, 1.0, n), np.cos(np.arange(1.0 * n))

    def one(x, key):
        i = R.categorical(key, ga.stop_gradient(x))
        return np.asarray(values, like=i)[i] * (x - np.log(np.sum(np.exp(x))))[i]

    got = ga.grad(lambda x: np.mean(ga.vmap(lambda k: one(x, k))(keys)))(logits)
    drawn = np.array([R.categorical(k, logits) for k in keys])
    p = np.exp(logits) / np.exp(logits).sum()
    wanted = (values[drawn][:, None] * ((drawn[:, None] == np.arange(n)) - p)).mean(0)
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-15)


def check_moved(n: int, count: int) -> None:
    """Gradients through draws that are moved and stretched, against sums of the draws."""
    keys = R.split(R.key(n), count)
    for name in ("normal", "uniform", "exponential", "gumbel"):
        draw = getattr(R, name)
        z = np.stack([draw(k, (n,)) for k in keys])
        if name == "uniform":
            got = ga.grad(lambda s: np.sum(ga.vmap(lambda k: R.uniform(k, (n,), high=s))(keys)))
        else:
            got = ga.grad(lambda s, d=draw: np.sum(ga.vmap(lambda k: d(k, (n,), scale=s))(keys)))
        np.testing.assert_allclose(got(2.0), z.sum(), rtol=1e-11)


def groups(rng, count: int):
    """(name, checks) of this many random groups."""
    kinds = [name for name, _ in draws(2)]
    for _ in range(count):
        n, keys = int(rng.choice(CATEGORIES)), int(rng.choice(KEYS))
        if n * keys > 600_000:
            keys = 600_000 // n
        name, shape = str(rng.choice(kinds)), str(rng.choice(SHARED))
        kind = rng.choice(["draw", "draw", "draw", "draw", "score", "moved"])
        if kind != "draw":
            check, most = (check_score, 500) if kind == "score" else (check_moved, 65)
            keys = min(keys, most)
            yield f"{kind}, {n} categories, {keys} keys", partial(check, n, keys)
        else:
            title = f"{name}, {shape}, {n} categories, {keys} keys"
            draw = within(dict(draws(n))[name], shape, n)
            yield title, partial(check_draw, title, draw, keys)


def apart(check) -> str:
    """What goes wrong with a check in a process of its own; '' for nothing."""
    sys.stdout.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            check()
            os._exit(0)
        except BaseException:
            os.write(writing, traceback.format_exc()[-800:].encode())
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)}"
    return said if status else ""
