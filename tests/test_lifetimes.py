"""What compiled code uses stays where it is, and what nobody uses any more is freed."""

import array
import gc
import mmap
import weakref

import numpy as np
import pytest

import graphad as ga
from graphad.compile import build
from graphad.compile.build import COUNTERS


def resized():
    """(what is captured, a call that moves its memory, or changes its shape)"""
    own = np.arange(6.0)
    yield own, lambda: own.resize(600_000, refcheck=False)
    large = np.arange(600_000.0)
    yield large, lambda: large.resize(6, refcheck=False)
    whole = np.arange(12.0)
    yield whole[3:9], lambda: whole.resize(600_000, refcheck=False)
    flat = np.arange(6.0)
    yield flat, lambda: setattr(flat, "shape", (2, 3))
    flat_too = np.arange(6.0)
    yield flat_too.reshape(2, 3)[1], lambda: flat_too.resize(0, refcheck=False)
    changed = np.arange(6.0)
    yield changed, lambda: changed.__setstate__((1, (3,), np.dtype("f8"), False, bytes(24)))


def lent(tmp_path):
    """(what is captured, a call that would move its memory)"""
    buffer = bytearray(np.arange(6.0).tobytes())
    yield np.ndarray(6, buffer=buffer), buffer.clear
    buffer = bytearray(np.arange(6.0).tobytes())
    yield np.ndarray((3, 2), buffer=buffer)[:, 0], lambda: buffer.extend(bytes(100_000))
    numbers = array.array("d", range(6))
    yield np.frombuffer(numbers), lambda: numbers.extend(range(100_000))
    there = mmap.mmap(-1, 4096)
    yield np.ndarray(6, buffer=there), there.close
    file = np.memmap(tmp_path / "file", "f8", "w+", shape=6)
    yield file, file._mmap.close


@pytest.mark.filterwarnings("ignore:Setting the shape")
def test_captured_arrays_that_are_resized_are_an_error():
    for captured, move in resized():
        f = ga.function(lambda x: x + captured)
        argument = np.ones(captured.shape)
        for _ in range(3):
            np.testing.assert_array_equal(f(argument), 1.0 + captured)
        captured[...] = 2.0
        np.testing.assert_array_equal(f(argument), np.full(captured.shape, 3.0))
        move()
        for _ in range(3):
            with pytest.raises(ValueError, match="was resized"):
                f(argument)
        with pytest.raises(ValueError, match="was resized"):
            f(argument, out=np.empty(argument.shape))


def test_captured_arrays_that_are_resized_between_trace_and_call():
    big = np.ones(50_000)
    f = ga.function(lambda x: x + big)
    f.lower(np.ones(50_000))
    big.resize(5, refcheck=False)
    with pytest.raises(ValueError, match="was resized"):
        f(np.ones(50_000))


def test_what_lends_memory_to_captured_arrays_keeps_it(tmp_path):
    for captured, move in lent(tmp_path):
        f = ga.function(lambda x: x + captured)
        want = 1.0 + np.array(captured)
        for _ in range(3):
            np.testing.assert_array_equal(f(np.ones(captured.shape)), want)
        with pytest.raises(BufferError):
            move()
        np.testing.assert_array_equal(f(np.ones(captured.shape)), want)


def test_what_was_captured_is_free_afterwards(tmp_path):
    def call(captured):
        ga.function(lambda x: x + captured)(np.ones(captured.shape))
        return weakref.ref(captured)

    buffer = bytearray(np.arange(6.0).tobytes())
    seen = call(np.ndarray(6, buffer=buffer))
    gc.collect()
    assert seen() is None
    buffer.clear()


def test_kernels_of_functions_that_are_gone_are_unloaded(monkeypatch):
    monkeypatch.setattr(build, "_RECENT", type(build._RECENT)(maxlen=2))
    kept = ga.function(lambda x: x * 3.0)
    want = kept(np.ones(3))
    gc.collect()
    before = len(build._CODES)
    for k in range(20):
        c = 0.5 + k
        f = ga.function(lambda x: x * c - 1.0, cache=False)
        np.testing.assert_array_equal(f(np.ones(3)), np.ones(3) * c - 1.0)
    del f
    gc.collect()
    assert len(build._CODES) <= before + 2
    np.testing.assert_array_equal(kept(np.ones(3)), want)
    gate = [kept(np.ones(3)) for _ in range(3)]
    np.testing.assert_array_equal(gate[-1], want)


def test_kernels_that_are_used_again_are_there():
    f = ga.function(lambda x: x * 7.125 - 3.0)
    f(np.ones(3))
    del f
    gc.collect()
    before = COUNTERS.compiled + COUNTERS.loaded
    ga.function(lambda x: x * 7.125 - 3.0)(np.ones(3))
    assert COUNTERS.compiled + COUNTERS.loaded == before


@pytest.mark.parametrize("loop", ["scan", "fori", "while"])
def test_functions_given_to_loops_outside_of_a_trace_are_freed(loop):
    seen = []
    for k in range(4):

        def step(c, x, k=k):
            return c + x * k, c

        def body(i, c, k=k):
            return c + i * k

        def test(c, k=k):
            return c < k

        def double(c, k=k):
            return c + 1.0

        if loop == "scan":
            ga.scan(step, 0.0, np.ones(3))
        elif loop == "fori":
            ga.fori_loop(0, 4, body, 1.0)
        else:
            ga.while_loop(test, double, 0.0)
        seen += [weakref.ref(g) for g in (step, body, test, double)]
        del step, body, test, double
    gc.collect()
    assert not any(r() for r in seen)
