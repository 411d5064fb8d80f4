"""Names of NumPy and SciPy that stand for something else while a trace is under way.

Some of their functions turn arguments into arrays without asking them. Where a trace meets one,
the names that lead to it (in the module of the line that called) stand for what asks first, and
the trace starts again. What stands in does the same as the original but for traced arguments.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import contextmanager
from typing import Any

from graphad.process.forks import Lock, in_child

_LOCK = Lock()
_KNOWN: list[dict] = []  # namespaces with names to put a stand-in behind
_STAND_INS: dict[int, tuple[Any, Any]] = {}  # id of an original -> (it, what stands in)
_ORIGINALS: dict[int, Any] = {}  # id of what stands in -> the original
_TRACES: list[int] = []  # the threads of the traces under way
_LEARNED = 0  # how often names were learned


def lessons() -> int:
    """How often names were learned so far."""
    return _LEARNED


@contextmanager
def standing():
    """While inside, known names stand for what takes traced values."""
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


def register(pairs: Iterable[tuple[Any, Any]]) -> None:
    """Declare (original, what stands in) for names that are learned from now on."""
    with _LOCK.own:
        for original, other in pairs:
            if id(original) not in _STAND_INS:  # another thread was first
                _STAND_INS[id(original)] = original, other
                _ORIGINALS[id(other)] = original


def stand_in(original) -> Any:
    """What stands in for something; itself where nothing does."""
    return _STAND_INS.get(id(original), (None, original))[1]


def learn(namespaces: Iterable[dict], before: int) -> bool:
    """Whether there are names to begin again with that were not known after `before` lessons: of
    registered originals in these namespaces."""
    global _LEARNED
    with _LOCK.own:
        new = [n for n in namespaces if not any(n is k for k in _KNOWN) and _holds(n)]
        _KNOWN.extend(new)
        for names in new:
            _put(names)
        _LEARNED += bool(new)
        return before < _LEARNED


def _holds(names: dict) -> bool:
    return any(id(v) in _STAND_INS for v in list(names.values()))


def _put(names: dict) -> None:
    for name, value in list(names.items()):
        if id(value) in _STAND_INS:
            names[name] = stand_in(value)


def _take_back(names: dict) -> None:
    for name, value in list(names.items()):
        if id(value) in _ORIGINALS:  # or someone has put another there
            names[name] = _ORIGINALS[id(value)]
