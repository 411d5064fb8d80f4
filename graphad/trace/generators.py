"""NumPy's generators within a trace: a draw would be frozen for ever, so it is an error.

That a generator's state is another one afterwards may be another thread's doing. Then the trace
begins again, with the functions that generators are made of standing for ones that note which
thread calls them.
"""

from __future__ import annotations

import ctypes
import functools
import pickle
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from graphad.errors import TraceError, Where, user_line
from graphad.trace.code_names import names_in

MOST_REACHED = 500  # objects that are looked at for generators
MOST_ITEMS = 32  # of a list
WRAPPERS = ("__wrapped__", "function", "instance")  # where our own objects have what they are of
NOTED_TRACES = 2  # a legacy generator draws normals in pairs, of which the second changes nothing
# What `bitgen_t` of numpy/random/bitgen.h holds behind the state.
RESULTS = (ctypes.c_uint64, ctypes.c_uint32, ctypes.c_double, ctypes.c_uint64)

_DREW: dict[int, Where] = {}  # threads that drew while somebody looked, and where
_ORIGINALS: dict[int, int] = {}  # by the address of what notes who calls


class Again(Exception):
    """The trace has to begin again."""


class NoDraws:
    """A block in which this thread must not draw, around each run of f. It raises Again where it
    cannot tell who drew."""

    def __init__(self, f: Callable):
        self.f = getattr(f, "__wrapped__", f)
        self.noted = 0  # traces in which callers are noted
        self.generators: list[Any] = []
        self.before: list[bytes] = []

    def __enter__(self) -> None:
        self.ready = "numpy.random" in sys.modules
        self.generators = _generators(self.f) if self.ready else []
        if self.noted:
            _DREW.pop(threading.get_ident(), None)
            for g in self.generators:
                _note(g, True)
        else:
            self.before = [_state(g) for g in self.generators]

    def __exit__(self, kind, error, traceback) -> None:
        if self.noted:
            for g in self.generators:
                _note(g, False)
            where = _DREW.pop(threading.get_ident(), None)
            if kind is None and where is not None:
                raise _drawn(where)
        if kind is not None or self.noted == NOTED_TRACES or not (self.noted or self._changed()):
            return
        self.noted += 1
        raise Again

    def _changed(self) -> bool:
        if not self.ready:
            return "numpy.random" in sys.modules and _started()
        return any(_state(g) != b for g, b in zip(self.generators, self.before, strict=True))


def _drawn(where: Where) -> TraceError:
    return TraceError(
        "np.random inside a traced function",
        "the draw would be frozen into the kernel",
        where=where,
        expected="ga.random with a key, or random numbers as an argument",
        got="a draw while tracing",
        fix="ga.random.normal(key, shape), with key = ga.random.key(0) as an argument",
    )


# -- the generators that a function reaches ------------------------------------------------------
def _is_generator(x) -> bool:
    return isinstance(x, (np.random.Generator, np.random.RandomState))


def _generators(f) -> list[Any]:
    """NumPy's own, and those that the function reaches by names, closures and attributes."""
    found: dict[int, Any] = {}
    names: set[str] = set()
    for _ in range(2):  # the first time finds the names
        todo, seen = [f], set()
        while todo and len(seen) < MOST_REACHED:
            x = todo.pop()
            if id(x) in seen:
                continue
            seen.add(id(x))
            if _is_generator(x):
                found[id(x)] = x
            else:
                todo += _reached(x, names)
    own = np.random.mtrand._rand
    return [own, *(g for g in found.values() if g is not own)]


def _reached(x, names: set[str]) -> Iterator[Any]:
    """What an object leads to, by the names that have been seen in code."""
    if isinstance(x, types.FunctionType):
        if not _of_library(x.__globals__.get("__name__")):
            names |= names_in(x.__code__)
            yield from [x.__globals__[n] for n in names if n in x.__globals__]
        yield from x.__defaults__ or ()
        for cell in x.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # an empty cell: the name is bound later
                continue
    elif isinstance(x, types.MethodType):
        yield from (x.__func__, x.__self__)
    elif isinstance(x, functools.partial):
        yield from (x.func, *x.args, *x.keywords.values())
    elif isinstance(x, (list, tuple, dict)):
        yield from list(x.values() if isinstance(x, dict) else x)[:MOST_ITEMS]
    elif isinstance(x, types.ModuleType):
        if not _of_library(x.__name__):
            yield from [vars(x)[n] for n in names if n in vars(x)]
    elif isinstance(x, weakref.ref):
        yield x()
    elif not isinstance(x, type | np.ndarray):
        held = getattr(x, "__dict__", None)
        if type(held) is dict:
            yield from [held[n] for n in (*names, *WRAPPERS) if n in held]
            if not _of_library(type(x).__module__):
                own = (getattr(type(x), n, None) for n in (*names, "__call__"))
                yield from [m for m in own if isinstance(m, types.FunctionType)]


def _of_library(name) -> bool:
    return str(name).split(".")[0] in ("graphad", "numpy", "scipy", "numba")


# -- who draws -----------------------------------------------------------------------------------
def _bits(generator) -> Any:
    bits = getattr(generator, "bit_generator", None)
    return generator._bit_generator if bits is None else bits


def _state(generator) -> bytes:
    if isinstance(generator, np.random.RandomState):
        return pickle.dumps(generator.get_state(legacy=False))  # with the other normal of a pair
    return pickle.dumps(_bits(generator).state)


def _started() -> bool:
    """Whether NumPy's global generator, new in this process, has been drawn from."""
    return np.random.mtrand._rand._bit_generator.state["state"]["pos"] != 624


def _note(generator, start: bool) -> None:
    """Let the functions of a generator note who calls them, or no longer."""
    bits = _bits(generator)
    with bits.lock:  # nobody is in the midst of a draw
        for words in _tables(generator, bits):
            for k, result in enumerate(RESULTS, 1):
                now = words[k]
                if not start:
                    words[k] = _ORIGINALS.get(now, now)
                elif now not in _ORIGINALS:
                    noting = ctypes.cast(_noting(result, now), ctypes.c_void_p)
                    words[k] = noting.value or now


def _tables(generator, bits) -> list[Any]:
    """The state and functions of a bit generator: its own, and the copy in the generator, which is
    known by them."""
    kind = ctypes.c_uint64 * (1 + len(RESULTS))
    own = kind.from_address(bits.ctypes.bit_generator.value)
    wanted = [_ORIGINALS.get(w, w) for w in own]
    count = type(generator).__basicsize__ // 8
    whole = (ctypes.c_uint64 * count).from_address(id(generator))
    tables = [own]
    for k in range(count - len(RESULTS)):
        if [_ORIGINALS.get(w, w) for w in whole[k : k + len(wanted)]] == wanted:
            tables.append(kind.from_address(id(generator) + 8 * k))
    return tables


@functools.cache
def _noting(result, original: int) -> Any:
    """A function of a generator that notes the thread and does what the original one does."""
    kind = ctypes.CFUNCTYPE(result, ctypes.c_void_p)
    draw = kind(original)

    def call(state):
        _DREW.setdefault(threading.get_ident(), user_line())
        return draw(state)

    made = kind(call)
    _ORIGINALS[ctypes.cast(made, ctypes.c_void_p).value or 0] = original
    return made
