"""Machine code in memory: objects become libraries, which stay as long as their code is used."""

from __future__ import annotations

import itertools
import platform
import weakref
from collections.abc import Mapping
from typing import Any

import llvmlite.binding as llvm

from graphad.timings import timed

MOST_TOGETHER = 16  # objects of a library: one costs a third of one alone, but they go together
MOST_LIBRARIES = 256  # of an engine, which keeps nine kilobytes of each as long as it is there
JIT_LINK = platform.machine().lower() in ("x86_64", "amd64", "arm64", "aarch64")

_TRACKERS: dict[Any, Any] = {}  # by a reference to a library: what unloads it
_GONE: list[Any] = []  # references to libraries that nobody uses; the next one to come unloads them
_NUMBERS = itertools.count()
_ENGINE: list[Any] = []  # the engine, and how many libraries it has had


class _Library:
    """What all code of a library refers to."""

    __slots__ = ("__weakref__",)


class Code:
    """A function in memory: its address is good as long as this object is there."""

    __slots__ = ("__weakref__", "_library", "address")

    def __init__(self, address: int, library: object):
        self.address, self._library = address, library


def link(objects: Mapping[str, bytes], imports: Mapping[str, int]) -> dict[str, Code]:
    """The functions of these objects, by their symbols; `imports`: addresses of what they call
    beside the C library's. One thread at a time may link."""
    with timed("link"):
        while _GONE:
            del _TRACKERS[_GONE.pop()]
        found: dict[str, Code] = {}
        symbols = list(objects)
        for k in range(0, len(symbols), MOST_TOGETHER):
            some = {symbol: objects[symbol] for symbol in symbols[k : k + MOST_TOGETHER]}
            found |= _linked(some, imports)
        return found


def _linked(objects: Mapping[str, bytes], imports: Mapping[str, int]) -> dict[str, Code]:
    builder = llvm.JITLibraryBuilder().add_current_process()
    for symbol, address in imports.items():
        builder.import_symbol(symbol, address)
        llvm.add_symbol(symbol, address)  # for code of Numba's, which may call it, too
    for symbol, code in objects.items():
        builder.add_object_img(code).export_symbol(symbol)
    tracker = builder.link(_engine(), f"graphad {next(_NUMBERS)}")
    library = _Library()
    # No Python code runs when it goes: whoever drops it may be in the midst of anything.
    _TRACKERS[weakref.ref(library, _GONE.append)] = tracker
    return {symbol: Code(tracker[symbol], library) for symbol in objects}


def _engine() -> Any:
    """What libraries are linked by; each keeps its own alive."""
    if not _ENGINE or _ENGINE[1] == MOST_LIBRARIES:
        machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
        _ENGINE[:] = [llvm.create_lljit_compiler(machine, use_jit_link=JIT_LINK), 0]
    _ENGINE[1] += 1
    return _ENGINE[0]
