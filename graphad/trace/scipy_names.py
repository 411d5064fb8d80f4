"""SciPy's Python functions in a trace.

They turn their arguments into arrays, which traced values are not, and have no protocol to be told
otherwise. So where a trace fails inside one of them, the names that hold it (in SciPy's module and
in the module of the line that called it) stand for a dispatcher while a trace is under way, and
the trace starts again. A dispatcher calls SciPy's function unless an argument is traced.
"""

from __future__ import annotations

import functools
import itertools
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np

from graphad.forks import Lock, in_child
from graphad.ops.scipy_functions import FUNCTIONS, IGNORED
from graphad.ops.value import Value
from graphad.trace import pytree
from graphad.trace.tensor import covered

_LOCK = Lock()
_KNOWN: list[dict] = []  # namespaces with names to put a dispatcher behind
_TRACES: list[int] = []  # the threads of the traces under way
_LEARNED = 0  # how often names were learned


def lessons() -> int:
    """How often names were learned so far."""
    return _LEARNED


@contextmanager
def dispatching():
    """While inside, known names of SciPy's functions take traced values."""
    own = threading.get_ident()
    try:
        _TRACES.append(own)
        _arrange()
        yield
    finally:
        _TRACES.remove(own)
        _arrange()


def _arrange() -> None:
    """Make the known names stand for what they should now; begun again after an interrupt."""
    if _KNOWN:
        with _LOCK.own:
            for names in _KNOWN:
                (_put if _TRACES else _take_back)(names)


def _only_own() -> None:
    own = threading.get_ident()
    _TRACES[:] = [t for t in _TRACES if t == own]


in_child(_only_own)


def learned(error: Exception, before: int) -> bool:
    """Whether an error came out of one of SciPy's functions whose names were not known when the
    trace began, after `before` lessons; now they are, by this thread or another."""
    global _LEARNED
    found = [caller.f_globals for caller in _callers(error)]
    if not found:
        return False
    found += [vars(sys.modules[m]) for m in FUNCTIONS if m in sys.modules]
    with _LOCK.own:
        new = [names for names in found if not any(names is k for k in _KNOWN) and _holds(names)]
        _KNOWN.extend(new)
        for names in new:
            _put(names)
        _LEARNED += bool(new)
        return before < _LEARNED


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
        if _is_scipy(inner) and not _is_scipy(frame):
            yield frame, inner


def _is_scipy(frame) -> bool:
    return frame.f_globals.get("__name__", "").startswith("scipy.")


@functools.lru_cache(maxsize=1)
def _originals() -> dict[int, tuple[Callable, Callable]]:
    """id -> (SciPy's function, its dispatcher)."""
    import scipy.linalg
    import scipy.special  # noqa: F401

    found = {}
    for module, functions in FUNCTIONS.items():
        for name, implementation in functions.items():
            original = getattr(sys.modules[module], name)
            dispatcher = _dispatcher(original, implementation, f"{module}.{name}")
            found[id(original)] = original, dispatcher
    return found


def _holds(names: dict) -> bool:
    originals = _originals()
    return any(id(v) in originals for v in list(names.values()))


def _put(names: dict) -> None:
    originals = _originals()
    for name, value in list(names.items()):
        if id(value) in originals:
            names[name] = originals[id(value)][1]


def _take_back(names: dict) -> None:
    dispatchers = {id(dispatcher): original for original, dispatcher in _originals().values()}
    for name, value in list(names.items()):
        if id(value) in dispatchers:  # or someone has put another there
            names[name] = dispatchers[id(value)]


def _dispatcher(original: Callable, implementation: Callable, name: str) -> Callable:
    @functools.wraps(original)
    def call(*args, **kwargs):
        leaves, _ = pytree.flatten((args, kwargs))
        if not any(map(_is_traced, leaves)):
            return original(*args, **kwargs)
        kept = {k: v for k, v in kwargs.items() if k not in IGNORED}
        return covered(name, implementation, args, kept)

    return call


def _is_traced(x: Any) -> bool:
    if isinstance(x, np.ndarray) and x.dtype == object:
        return any(isinstance(i, Value) for i in x.flat)
    return isinstance(x, Value)
