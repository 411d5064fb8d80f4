"""Source to machine code: each kernel is compiled once, ever, and found again by its content."""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from graphad.emit import wide
from graphad.emit.source import (
    BLOCK_FUNCTION,
    FULL,
    FUNCTION,
    KERNEL,
    QUICK,
    REGISTERS,
    Facts,
    KernelSource,
)
from graphad.emit.target import Target, host
from graphad.runtime import cache, functions
from graphad.runtime.blocks import is_block_function, reduction_text
from graphad.runtime.once import once
from graphad.runtime.translate import translate
from graphad.timings import timed


@dataclass
class Counters:
    """What this process has done: kernels compiled, and loaded from disk."""

    compiled: int = 0
    loaded: int = 0


COUNTERS = Counters()
_ADDRESSES: dict[str, int] = {}
_LOCK = threading.RLock()
_OWN = threading.local()
MOST_PACKED = 200  # lines of straight-line code
EFFORTS = {FULL: 2, REGISTERS: 1, QUICK: 0}  # how hard LLVM tries to make good machine code


def kernel_address(source: KernelSource, keep: bool = True) -> int:
    """The address of the function in this source, compiled or loaded at need."""
    name = cache.hash_of(source)
    if name not in _ADDRESSES:
        build([source], keep)
    return _ADDRESSES[name]


def build(sources: Iterable[KernelSource], keep: bool = True) -> None:
    """Compile or load what is missing of these kernels, several at a time."""
    wanted = {cache.hash_of(s): s for s in with_functions(sources)}
    if all(name in _ADDRESSES for name in wanted):
        return
    with _LOCK:
        codes: dict[str, bytes] = {}
        missing: list[tuple[str, KernelSource]] = []
        for name, source in wanted.items():
            code = None
            if name not in _ADDRESSES:
                with timed("read the cache"):
                    code = cache.load(name) if keep else None
                if code is None:
                    missing.append((name, source))
                else:
                    codes[name] = code
                    COUNTERS.loaded += 1
        for name, code in _compiled(missing):
            COUNTERS.compiled += 1
            codes[name] = code
            if keep:
                with timed("write the cache"):
                    cache.save(name, code)
        for name in sorted(codes, key=lambda n: wanted[n].facts.kind == KERNEL):
            _found(name, wanted[name], _linked(name, codes[name]))


def with_functions(sources: Iterable[KernelSource]) -> list[KernelSource]:
    """The sources, before them our functions that they call and behind them those of blocks; the
    libraries' are announced."""
    sources = list(sources)
    for name in {n for s in sources for n in s.calls("lapack_")}:
        name = name.removeprefix("lapack_")
        llvm.add_symbol(functions.lapack_symbol(name), functions.lapack_address(name))
    found: dict[str, KernelSource] = {}
    todo = [n for s in sources for n in s.calls("special_")]
    while todo:
        name = todo.pop().removeprefix("special_")
        if name in functions.SCIPY:
            llvm.add_symbol(functions.symbol_of(name), functions.scipy_address(name))
        elif name not in found:
            symbol = functions.symbol_of(name)
            found[name] = KernelSource(functions.OURS[name], Facts(FUNCTION), symbol)
            todo += found[name].calls("special_")
    whole = [*found.values(), *sources]
    blocks = sorted({w for s in whole for w in s.words if is_block_function(w)})
    return whole + [KernelSource(w, Facts(BLOCK_FUNCTION), _symbol(w)) for w in blocks]


def _found(name: str, source: KernelSource, address: int) -> None:
    """Note an address; what has a symbol is found by it."""
    _ADDRESSES[name] = address
    if source.symbol:
        llvm.add_symbol(source.symbol, address)


def text_of(source: KernelSource, target: Target | None = None) -> str:
    """The LLVM text of a kernel or function."""
    target = target or host()
    symbol = _symbol(cache.hash_of(source, target))
    with timed("translate"):
        if source.facts.kind == BLOCK_FUNCTION:
            text = reduction_text(source.code, target)
            return text.replace(f'"{source.symbol}"', f'"{symbol}"')
        return translate(source, symbol, target)


def _compiled(missing: list[tuple[str, KernelSource]]) -> list[tuple[str, bytes]]:
    """(name, machine code) of each kernel. LLVM runs outside Python's lock, so threads help."""
    ready: deque[tuple[str, KernelSource, str]] = deque()
    done: list[tuple[str, bytes]] = []
    failed: list[BaseException] = []
    translated = threading.Event()

    def work():
        try:
            while ready or not translated.is_set():
                try:
                    name, source, text = ready.popleft()
                except IndexError:
                    translated.wait(0.0005)
                    continue
                done.append((name, _object(source, text)))
        except BaseException as error:
            failed.append(error)

    helpers = [threading.Thread(target=work) for _ in range(min(cores(), len(missing)) - 1)]
    for helper in helpers:
        helper.start()
    try:
        for name, source in missing:
            ready.append((name, source, text_of(source)))
    finally:
        translated.set()
    work()
    for helper in helpers:
        helper.join()
    if failed:
        raise failed[0]
    return done


def cores() -> int:
    """How many cores this process may use."""
    counted = getattr(os, "sched_getaffinity", None)
    return len(counted(0)) if counted else (os.cpu_count() or 1)


def llvm_of(source: KernelSource) -> str:
    """The optimised LLVM text of a kernel."""
    return str(_optimised(source, text_of(source), host()))


def _symbol(name: str) -> str:
    return f"graphad_{name}"


def _linked(name: str, code: bytes) -> int:
    with timed("link"):
        engine = _engine()
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        return engine.get_function_address(_symbol(name))


@once
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def _machine(target: Target, opt: int = 2):
    """What makes code for a target; each thread has machines of its own."""
    known = _OWN.__dict__.setdefault("machines", {})
    if (target, opt) not in known:
        _initialise()
        made = llvm.Target.from_triple(target.triple or llvm.get_default_triple())
        known[target, opt] = made.create_target_machine(
            cpu=target.cpu, features=target.features, opt=opt, jit=not target.triple
        )
    return known[target, opt]


@once
def _engine():
    """What all kernels are linked into; it lives as long as the process."""
    _initialise()
    own = llvm.Target.from_default_triple().create_target_machine(jit=True)
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), own)


def _optimised(source: KernelSource, text: str, target: Target, context=None) -> Any:
    """The LLVM module of a kernel after LLVM's passes."""
    text, _, rest = text.partition(wide.LINKED)
    with ExitStack() as opened:
        with timed("LLVM parse"):
            module = opened.enter_context(_parsed(source, text, context))
            linked = opened.enter_context(_parsed(source, rest, context)) if rest else None
        run = _unlocked("LLVMPY_RunNewModulePassManager")
        with timed("LLVM passes"):
            builder, passes = _passes(source, target)
            run(passes, module, builder)
            if linked is not None:
                module.link_in(linked)
            if linked is not None or "graphad_rare_" in text:  # vector forms that are called now
                passes = llvm.create_new_module_pass_manager()
                passes.add_always_inliner_pass()
                run(passes, module, builder)
        opened.pop_all()
    return module


def _parsed(source: KernelSource, text: str, context) -> Any:
    """A module that LLVM finds sound: of any other its passes may end the process."""
    try:
        module = llvm.parse_assembly(text, context)
        with ffi.OutputString() as problem:
            if _unlocked("LLVMPY_VerifyModule")(module, problem):
                module.close()  # an error holds it, maybe for longer than its context
                raise RuntimeError(str(problem))
    except RuntimeError as error:
        name = _symbol(cache.hash_of(source))
        raise RuntimeError(f"LLVM refuses the kernel {name}: {error}\n{source}") from None
    return module


def _passes(source: KernelSource, target: Target):
    """(pass builder, pass manager); long straight-line code is not packed into vectors: slow."""
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = True
    options.loop_unrolling = False
    options.slp_vectorization = not source.loops and source.code.count("\n") < MOST_PACKED
    builder = llvm.create_pass_builder(_machine(target), options)
    if source.facts.effort == FULL:
        return builder, builder.getModulePassManager()
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    return builder, passes


def object_of(source: KernelSource, target: Target) -> bytes:
    """The object of a kernel for another platform, which is not linked here."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return _object(source, text_of(source, target), target)


def _object(source: KernelSource, text: str, target: Target | None = None) -> bytes:
    """The machine code of a translated kernel."""
    target = target or host()
    with _optimised(source, text, target, llvm.create_context()) as module, timed("machine code"):
        machine = _machine(target, EFFORTS[source.facts.effort])
        with ffi.OutputString() as problem:
            emit = _unlocked("LLVMPY_TargetMachineEmitToMemory")
            memory = emit(machine, module, 1, problem)
            if not memory:
                raise RuntimeError(str(problem))
        start = ffi.lib.LLVMPY_GetBufferStart(memory)
        try:
            return ctypes.string_at(start, ffi.lib.LLVMPY_GetBufferSize(memory))
        finally:
            ffi.lib.LLVMPY_DisposeMemoryBuffer(memory)


def _unlocked(name: str):
    """A function of llvmlite without its global lock: modules here share no context."""
    function = getattr(ffi.lib, name)
    return getattr(function, "_cfn", function)
