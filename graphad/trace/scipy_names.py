"""SciPy's Python functions in a trace.

They turn their arguments into arrays, which traced values are not, and have no protocol to be told
otherwise. Where a trace fails inside one of them it starts again, with names that lead to it
standing for a dispatcher: see stand_ins.py.
"""

from __future__ import annotations

import functools
import itertools
import sys
import traceback
from collections.abc import Callable

from graphad.ops.scipy_functions import FUNCTIONS, IGNORED
from graphad.ops.value import holds_traced
from graphad.trace import pytree
from graphad.trace.stand_ins import learn, register
from graphad.trace.tensor import covered


def learned(error: Exception, before: int) -> bool:
    """Whether an error came out of one of SciPy's functions whose names were not known when the
    trace began, after `before` lessons; now they are, by this thread or another."""
    found = [caller.f_globals for caller in _callers(error)]
    if not found:
        return False
    found += [vars(sys.modules[m]) for m in FUNCTIONS if m in sys.modules]
    _register()
    return learn(found, before)


def _callers(error: BaseException | None):
    """The frames that called SciPy, in the tracebacks of an error and of what caused it."""
    while error is not None:
        for frame, _ in calls(error):
            yield frame
        error = error.__cause__


def calls(error: BaseException):
    """The calls of SciPy in a traceback: (the frame that called, the frame of its function)."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame, inner in itertools.pairwise(frames):
        if is_scipys(inner) and not is_scipys(frame):
            yield frame, inner


def is_scipys(frame) -> bool:
    """Whether a frame runs code of SciPy's."""
    return frame.f_globals.get("__name__", "").startswith("scipy.")


@functools.lru_cache(maxsize=1)
def _register() -> None:
    """Dispatchers for SciPy's functions."""
    import scipy.linalg
    import scipy.special  # noqa: F401

    found = []
    for module, functions in FUNCTIONS.items():
        for name, implementation in functions.items():
            original = getattr(sys.modules[module], name)
            found.append((original, _dispatcher(original, implementation, f"{module}.{name}")))
    register(found)


def _dispatcher(original: Callable, implementation: Callable, name: str) -> Callable:
    @functools.wraps(original)
    def call(*args, **kwargs):
        leaves, _ = pytree.flatten((args, kwargs))
        if not any(map(holds_traced, leaves)):
            return original(*args, **kwargs)
        kept = {k: v for k, v in kwargs.items() if k not in IGNORED}
        return covered(name, implementation, args, kept)

    return call
