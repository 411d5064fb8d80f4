"""Ctrl-C at random moments: `python tests/interrupts_soak.py [INTERRUPTS]`.

After each one the same call works and gives the right value, and nothing is left half made.
"""

import random
import signal
import sys

import numpy as np
import scipy.special

import graphad as ga
from graphad.process.forks import _PROCESS
from graphad.trace import stand_ins
from graphad.trace.run import TRACING, active

X = np.linspace(0.1, 1.0, 40)


def programs(c: float):
    """New functions, with NumPy's value of each."""
    shifted = X - c
    yield (lambda x: np.tanh(x * c) * np.exp(-x) + c), (lambda: np.tanh(X * c) * np.exp(-X) + c)
    yield (
        ga.grad(lambda x: np.sum(np.sin(x * c) + shifted * x)),
        (lambda: c * np.cos(X * c) + shifted),
    )
    yield (lambda x: scipy.special.erf(x * c).sum()), (lambda: scipy.special.erf(X * c).sum())
    yield (
        lambda x: ga.scan(lambda s, v: (s * c + v, s), 0.0, x)[0],
        lambda: sum(v * c ** (len(X) - 1 - k) for k, v in enumerate(X)),
    )


def interrupted(seconds: float, call):
    """The call's value, or None where it was interrupted so many seconds after its start."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return call()
    except KeyboardInterrupt:
        return None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def run(count: int) -> tuple[int, int]:
    """Interrupt so many calls; how many were, and how many came through."""
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    chosen, hit, through = random.Random(3), 0, 0
    erf, process = scipy.special.erf, _PROCESS[0]
    while hit + through < count:
        c = chosen.uniform(0.1, 0.9)
        for f, value in programs(c):
            f, want = ga.function(f), value()
            for _ in range(2):
                try:
                    got = interrupted(10 ** chosen.uniform(-5, -1.5), lambda f=f: f(X))
                except KeyboardInterrupt:  # of the timer, in the last line of all
                    got = None
                hit, through = hit + (got is None), through + (got is not None)
                assert active() is None and TRACING[0] == 0, "a trace was left"
                assert not stand_ins._TRACES and _PROCESS[0] is process
            np.testing.assert_allclose(f(X), want, rtol=1e-12)
            np.testing.assert_allclose(f(X), want, rtol=1e-12)
            np.testing.assert_allclose(f(X + 0.0), want, rtol=1e-12)
            assert scipy.special.erf is erf, "a name of SciPy's was left"
    return hit, through


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print("{} calls interrupted, {} came through".format(*run(count)))
