"""Threads that compile at once, children forked in the midst of anything, Python that ends while
threads run, and Ctrl-C: each in a process of its own."""

import os
import subprocess
import sys

import numpy as np
import pytest
from arrays import at_once

import graphad as ga

HERE = os.path.dirname(__file__)
BEGIN = """
import atexit, faulthandler, os, signal, sys, threading, time, warnings
warnings.filterwarnings("ignore", "This process .* is multi-threaded")  # Python 3.12 on, of forks
import numpy as np
import graphad as ga
faulthandler.dump_traceback_later(100, exit=True)
x = np.linspace(0.0, 1.0, 50)
stop = []

def again(work):
    def run():
        while not stop:
            work()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
"""
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="a platform with fork")


def run(script, quiet=True):
    done = subprocess.run([sys.executable, "-c", BEGIN + script], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert not (quiet and done.stderr), done.stderr
    return done.stdout


def test_threads_that_compile_at_once_for_different_options():
    """The bits are those of one thread."""
    made = [
        (dtype, fastmath, c)
        for dtype in ("f8", "f4")
        for fastmath in (False, True)
        for c in (0.3, 0.7, 1.1)
    ]

    def value(dtype, fastmath, c, cache):
        f = ga.function(
            lambda x: (np.tanh(x * c).sum(), np.exp(x - c)), fastmath=fastmath, cache=cache
        )
        return f(np.linspace(-1, 1, 3001).astype(dtype))

    wanted = [value(*m, True) for m in made]
    found = [None] * len(made)

    def work(k):
        found[k] = value(*made[k], False)

    for _ in range(2):
        assert not at_once(work, range(len(made)))
        for got, want in zip(found, wanted, strict=True):
            for g, w in zip(got, want, strict=True):
                assert g.dtype == w.dtype and g.tobytes() == w.tobytes()


@needs_fork
def test_children_forked_while_others_trace_compile_and_run():
    run("""
big = ga.function(lambda x: np.sin(x) + x)
for _ in range(3):
    big(x)
count = [0.0]

def compiles():
    count[0] += 1.0
    c = count[0]
    ga.function(lambda x: x * c + np.exp(-x), cache=False)(x)

def slow(x):
    for _ in range(200):
        x = x * 1.5 + np.sin(x)
        time.sleep(0)
    return x

shared = [ga.function(slow)]

def traces():
    shared[0] = ga.function(slow)
    shared[0].lower(x)

def runs():
    big(np.ones(100_000))

for work in (compiles, traces, runs):
    again(work)
bad = []
for k in range(10):
    time.sleep(0.011)
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        assert np.allclose(big(x), np.sin(x) + x)
        c = 3.25 + k
        assert np.allclose(ga.function(lambda x: x * c + np.exp(-x))(x), x * c + np.exp(-x))
        want = x
        for _ in range(200):
            want = want * 1.5 + np.sin(want)
        assert np.allclose(shared[0](x), want)  # another thread was tracing it
        for _ in range(3):
            assert np.allclose(big(np.ones(100_000)), np.sin(1.0) + 1.0)
        os._exit(0)
    bad += [s for s in [os.waitpid(child, 0)[1]] if s]
assert not bad, bad
os._exit(0)
""")


@needs_fork
def test_a_child_forked_within_a_trace_goes_on():
    run("""
def f(x):
    global child
    child = os.fork()
    return np.tanh(x) * 1.25

g = ga.function(f)
for _ in range(2):
    assert np.allclose(g(x), np.tanh(x) * 1.25)
assert np.allclose(ga.grad(lambda x: np.sum(x * x))(x), 2 * x)
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
""")


@pytest.mark.parametrize("work", ["f(np.ones(200_000))", "ga.function(lambda x: x * next(count), cache=False)(x)",
                                  "ga.grad(lambda x: np.sum(np.sin(x) * next(count)))(x)"])  # fmt: skip
def test_python_ends_cleanly_while_threads_run(work):
    run(f"""
import itertools
count = (k + 0.5 for k in itertools.count())
lock = threading.Lock()
count = iter(lambda c=count: (lock.acquire(), next(c), lock.release())[1], None)
f = ga.function(lambda x: np.sin(x) * np.exp(x))
for _ in range(3):
    f(np.ones(200_000))
for _ in range(3):
    again(lambda: {work})
time.sleep(0.3)
""")


def test_compiling_while_python_ends():
    out = run("""
c = float(time.time())
atexit.register(lambda: print(float(ga.grad(lambda x: np.sum(x * x) * c, wrt=0)(x)[-1]) / c))
""")
    assert float(out) == pytest.approx(2.0)


@pytest.mark.skipif(sys.platform == "win32", reason="timers of POSIX")
def test_interrupts_leave_nothing_half_made():
    script = "interrupts_soak\nassert sum(interrupts_soak.run(150)) >= 150"
    # Python says so where one comes while an object is freed.
    run(f"sys.path.insert(0, {HERE!r})\nimport {script}", quiet=False)
