"""A draw of NumPy's in a traced function is an error; one of another thread is none."""

import functools
import threading
import types

import numpy as np
import pytest

import graphad as ga
from graphad.errors import TraceError
from graphad.trace import generators

RNG = np.random.default_rng(0)
X = np.ones(3)


class Model:
    def __init__(self):
        self.rng = np.random.default_rng(1)
        self.parts = [types.SimpleNamespace(source=np.random.RandomState(3))]

    def noisy(self, x):
        return x + self.rng.normal(size=3)

    def deep(self, x):
        return x + self.parts[0].source.uniform()


MODEL = Model()


def helper(x):
    return x * RNG.uniform()


def ways():
    own = np.random.Generator(np.random.Philox(3))
    legacy = np.random.RandomState(4)
    yield "global", lambda x: x + np.random.rand(3)
    yield "pairs", lambda x: x + np.random.normal()
    yield "integers", lambda x: x + np.random.randint(0, 9)
    yield "shuffle", lambda x: x[np.random.permutation(3)]
    yield "generator", lambda x: x + RNG.normal(size=3)
    yield "closure", lambda x: x + own.random()
    yield "legacy", lambda x: x + legacy.standard_gamma(2.0)
    yield "helper", lambda x: helper(x) + 1.0
    yield "attribute", lambda x: x + MODEL.rng.random()
    yield "method", MODEL.noisy
    yield "method called", lambda x: MODEL.deep(x)
    yield "partial", functools.partial(lambda g, x: x + g.exponential(), own)
    yield "default", lambda x, g=own: x + g.random()
    yield "raw", lambda x: x + own.bit_generator.random_raw() / 2.0**64
    yield "gradient", ga.grad(lambda x: np.sum(x * own.random()))


@pytest.mark.parametrize("way", [name for name, _ in ways()])
def test_draws_are_errors_every_time(way):
    f = dict(ways())[way]
    for _ in range(3):
        with pytest.raises(TraceError, match=r"np.random inside(.|\n)*test_draws_in_traces.py"):
            ga.function(f)(X)
    assert not generators._DREW


def test_draws_of_other_threads_are_none():
    stop = []
    state = np.random.RandomState(7)

    def other():
        while not stop:
            np.random.normal()
            state.normal(size=3)
            RNG.random()

    threads = [threading.Thread(target=other) for _ in range(2)]
    for t in threads:
        t.start()
    try:
        for k in range(12):
            c = k + 0.5
            kept = types.SimpleNamespace(g=state)
            f = ga.function(lambda x: np.exp(np.sin(x)) * c + (0.0 if kept.g else RNG))
            np.testing.assert_allclose(f(X), np.exp(np.sin(1.0)) * c)
            with pytest.raises(TraceError, match="inside a traced function"):
                ga.function(lambda x: x * c + np.random.normal())(X)
    finally:
        stop.append(1)
        for t in threads:
            t.join()


def test_generators_draw_the_same_after_they_were_watched():
    for make in (np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64):
        watched, alone = np.random.Generator(make(5)), np.random.Generator(make(5))
        for start in (True, True, False, False):
            generators._note(watched, start)
            got = watched.normal(size=9), watched.integers(0, 1000, 9), watched.random(9, "f4")
            want = alone.normal(size=9), alone.integers(0, 1000, 9), alone.random(9, "f4")
            for g, w in zip(got, want, strict=True):
                np.testing.assert_array_equal(g, w)
    generators._DREW.clear()
