"""NumPy turning a traced value into an array: `np.array([1.0, x])`, `np.mean([x, y])`.

It looks at `__array_interface__` of what it is given, and makes an array of objects where there is
none: no arithmetic of NumPy's is for that. So the property tells here that it was asked. Within a
stand-in for NumPy's function (see numpy_names.py) that interrupts the call, which then gets its
lists as traced arrays. Elsewhere the module of the line that called is noted, whose names get
stand-ins before the trace starts again.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import Any


class Asked(Exception):
    """NumPy asked a traced value for an array, within a stand-in."""

    def __init__(self, value):
        super().__init__("NumPy asked a traced value for an array")
        self.value = value


class _Own(threading.local):
    interrupts = False
    noted: list[dict] | None = None  # namespaces of lines that called; None outside of traces


_OWN = _Own()


@contextmanager
def noting():
    """While inside, the namespaces of lines whose calls of NumPy asked for an array, as a list."""
    outer, interrupts = _OWN.noted, _OWN.interrupts
    _OWN.noted, _OWN.interrupts = [], False
    try:
        yield _OWN.noted
    finally:
        _OWN.noted, _OWN.interrupts = outer, interrupts


@contextmanager
def interrupting(yes: bool):
    """While inside, whether being asked for an array is an exception of the call."""
    outer, _OWN.interrupts = _OWN.interrupts, yes
    try:
        yield
    finally:
        _OWN.interrupts = outer


def asked(value) -> Any:
    """What `__array_interface__` of a traced value does."""
    if _OWN.interrupts:
        raise Asked(value)
    if _OWN.noted is not None:
        names = _caller()
        if not any(names is n for n in _OWN.noted):
            _OWN.noted.append(names)
    raise AttributeError("__array_interface__")


def _caller() -> dict:
    """The globals of the first frame outside of NumPy."""
    frame: Any = sys._getframe(3)  # behind this, `asked` and the property
    while frame.f_back and str(frame.f_globals.get("__name__")).split(".")[0] == "numpy":
        frame = frame.f_back
    return frame.f_globals
