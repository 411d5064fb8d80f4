"""Kernels in memory: each is compiled once, ever, and found again by its content."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from graphad.compile import cache, functions
from graphad.compile.address import Address
from graphad.compile.blocks import is_block_function
from graphad.compile.linker import Code, link
from graphad.compile.machine_code import LLVM, compiled, initialise, symbol_of, text_of
from graphad.emit.source import BLOCK_FUNCTION, FUNCTION, KERNEL, Facts, KernelSource
from graphad.process.interrupts import started, undisturbed
from graphad.timings import timed

MOST_RECENT = 512  # kernels that stay in memory when nobody uses them any more


@dataclass
class Counters:
    """What this process has done: kernels compiled, and loaded from disk."""

    compiled: int = 0
    loaded: int = 0


COUNTERS = Counters()
_CODES: weakref.WeakValueDictionary[str, Code] = weakref.WeakValueDictionary()  # by name
_RECENT: deque[Code] = deque(maxlen=MOST_RECENT)
_FOREVER: dict[str, Code] = {}  # what has a symbol, by it, and what is asked for by its address


def kernel_address(source: KernelSource, keep: bool = True) -> int:
    """The address of a function that stays in memory as long as the process."""
    name = cache.hash_of(source)
    found = _FOREVER.get(name)
    if found is None:
        found = _FOREVER[name] = code_of(source, keep)
    return Address(found.address, "kernel", source)


def code_of(source: KernelSource, keep: bool = True) -> Code:
    """The function of a source, compiled or loaded at need."""
    found = _CODES.get(cache.hash_of(source))
    return build([source], keep)[-1] if found is None else found


def build(sources: Iterable[KernelSource], keep: bool = True) -> list[Code]:
    """The functions of these sources, after compiling or loading what is missing, several at a
    time. They are in memory as long as what is given back is there."""
    wanted = list(sources)
    names = [cache.hash_of(s) for s in wanted]
    found = [_CODES.get(n) for n in names]
    if None in found:
        built = undisturbed(lambda gone: _built(with_functions(wanted), keep, gone))
        found = [built[n] for n in names]
    return found  # type: ignore[return-value]


class _Gone(Exception):
    """Nobody waits for what is being built."""


def _built(sources: list[KernelSource], keep: bool, gone: threading.Event) -> dict[str, Code]:
    """The functions of these sources, by their names."""
    wanted = {cache.hash_of(s): s for s in sources}
    with LLVM.own:
        initialise()
        found = {name: code for name in wanted if (code := _CODES.get(name)) is not None}
        objects: dict[str, bytes] = {}
        missing: list[tuple[str, KernelSource]] = []
        for name in [n for n in wanted if n not in found]:
            with timed("read the cache"):
                code = cache.load(name) if keep else None
            if code is None:
                missing.append((name, wanted[name]))
            else:
                objects[name] = code
                COUNTERS.loaded += 1
        for name, code in _compiled(missing, gone):
            COUNTERS.compiled += 1
            objects[name] = code
            if keep:
                with timed("write the cache"):
                    cache.save(name, code)
        # Functions that others call, then the others.
        for kind in (BLOCK_FUNCTION, FUNCTION, KERNEL):
            found |= _linked(
                {n: wanted[n] for n in objects if wanted[n].facts.kind == kind}, objects
            )
    return found


def _linked(sources: dict[str, KernelSource], objects: dict[str, bytes]) -> dict[str, Code]:
    """The functions of one kind, in memory and known."""
    if not sources:
        return {}
    imports: dict[str, int] = {}
    for source in sources.values():
        imports |= _imports(source)
    made = link({symbol_of(n): objects[n] for n in sources}, imports)
    found = {name: made[symbol_of(name)] for name in sources}
    for name, source in sources.items():
        if source.symbol:
            _FOREVER[source.symbol] = found[name]
    _RECENT.extend(found.values())
    _CODES.update(found)
    return found


def _imports(source: KernelSource) -> dict[str, int]:
    """The addresses of the functions that a source calls, by their symbols."""
    found: dict[str, int] = {}
    for name in source.calls("lapack_"):
        name = name.removeprefix("lapack_")
        found[functions.lapack_symbol(name)] = functions.lapack_address(name)
    for name in source.calls("special_"):
        name = name.removeprefix("special_")
        symbol = functions.symbol_of(name)
        scipy = name in functions.SCIPY
        found[symbol] = functions.scipy_address(name) if scipy else _FOREVER[symbol].address
    for word in source.words:
        if is_block_function(word):
            found[symbol_of(word)] = _FOREVER[symbol_of(word)].address
    return found


def with_functions(sources: Iterable[KernelSource]) -> list[KernelSource]:
    """The sources, before them our functions that they call and behind them those of blocks."""
    sources = list(sources)
    found: dict[str, KernelSource] = {}
    todo = [n for s in sources for n in s.calls("special_")]
    while todo:
        name = todo.pop().removeprefix("special_")
        if name not in functions.SCIPY and name not in found:
            symbol = functions.symbol_of(name)
            found[name] = KernelSource(functions.OURS[name], Facts(FUNCTION), symbol)
            todo += found[name].calls("special_")
    whole = [*found.values(), *sources]
    blocks = sorted({w for s in whole for w in s.words if is_block_function(w)})
    return whole + [KernelSource(w, Facts(BLOCK_FUNCTION), symbol_of(w)) for w in blocks]


def _compiled(missing: list[tuple[str, KernelSource]], gone: threading.Event
              ) -> list[tuple[str, bytes]]:  # fmt: skip
    """(name, machine code) of each kernel. LLVM runs outside Python's lock, so threads help: what
    is translated later overlaps with the compilation of what came first."""
    ready: deque[tuple[str, KernelSource, str]] = deque()
    done: list[tuple[str, bytes]] = []
    failed: list[BaseException] = []
    translated = threading.Event()

    def work():
        try:
            while ready or not translated.is_set():
                if gone.is_set():
                    raise _Gone
                try:
                    name, source, text = ready.popleft()
                except IndexError:
                    translated.wait(0.0005)
                    continue
                done.append((name, compiled(source, text)))
        except BaseException as error:
            failed.append(error)

    helpers = [started(work) for _ in range(min(cores(), len(missing)) - 1)]
    try:
        for name, source in missing:
            if gone.is_set():
                raise _Gone
            ready.append((name, source, text_of(source)))
    finally:
        translated.set()
        work()
        for helper in helpers:
            if helper is not None:
                helper.join()
    if failed:
        raise failed.pop()
    return done


def cores() -> int:
    """How many cores this process may use."""
    counted = getattr(os, "sched_getaffinity", None)
    return len(counted(0)) if counted else (os.cpu_count() or 1)
