"""Source to machine code: each kernel is compiled once, ever, and found again by its content."""

from __future__ import annotations

import ctypes
import os
import re
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from graphad.emit import wide
from graphad.emit.kernel import BUSY, CONTROL
from graphad.runtime import cache, functions
from graphad.runtime.blocks import reduction_text
from graphad.runtime.once import once
from graphad.runtime.translate import translate
from graphad.timings import timed


@dataclass
class Counters:
    """What this process has done: kernels compiled, and loaded from disk."""

    compiled: int = 0
    loaded: int = 0


COUNTERS = Counters()
FASTMATH = "# fast-math: sums and products may be reordered\n"  # first line of such sources
FUNCTION = "# function: "  # then its name, then the source
SPECIAL = re.compile(r"\bspecial_(\w+)\(")
LIBRARY = re.compile(r"\blapack_(\w+)\(")
REDUCTION = "# reduction: "  # then its word, instead of a source
REDUCTIONS = re.compile(
    r"\b((?:chain_)?(?:sum|prod|max|min)_[fiu][1248]|(?:rows|(?:weighted_)?columns)_(?:\d+_)?f[48])\("
)
_ADDRESSES: dict[str, int] = {}
_LOCK = threading.RLock()
_OWN = threading.local()
MOST_PACKED = 200  # lines of straight-line code


def kernel_address(source: str, keep: bool = True) -> int:
    """The address of the function in this source, compiled or loaded at need."""
    name = cache.hash_of(source)
    if name not in _ADDRESSES:
        build([source], keep)
    return _ADDRESSES[name]


def build(sources: Iterable[str], keep: bool = True) -> None:
    """Compile or load what is missing of these kernels, several at a time."""
    sources = with_functions(sources)
    needed = {n for s in sources for n in REDUCTIONS.findall(s)}
    wanted = {cache.hash_of(s): s for s in (*sources, *(REDUCTION + n for n in sorted(needed)))}
    if all(name in _ADDRESSES for name in wanted):
        return
    with _LOCK:
        codes: dict[str, bytes] = {}
        missing = []
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
        for name in sorted(codes, key=lambda n: not wanted[n].startswith((REDUCTION, FUNCTION))):
            _found(name, wanted[name], _linked(name, codes[name]))


def with_functions(sources: Iterable[str]) -> list[str]:
    """The sources, and before them those of our functions that they call; SciPy's are announced."""
    sources = list(sources)
    for name in {n for s in sources for n in LIBRARY.findall(s)}:
        llvm.add_symbol(functions.lapack_symbol(name), functions.lapack_address(name))
    found: dict[str, str] = {}
    todo = [n for s in sources for n in SPECIAL.findall(s)]
    while todo:
        name = todo.pop()
        if name in functions.SCIPY:
            llvm.add_symbol(functions.symbol_of(name), functions.scipy_address(name))
        elif name not in found:
            found[name] = f"{FUNCTION}{name}\n{functions.OURS[name]}"
            todo += SPECIAL.findall(found[name])
    return [*found.values(), *sources]


def _found(name: str, source: str, address: int) -> None:
    """Note an address; kernels find reductions by their symbols."""
    _ADDRESSES[name] = address
    if source.startswith(REDUCTION):
        llvm.add_symbol(f"graphad_{source.removeprefix(REDUCTION)}", address)
    elif source.startswith(FUNCTION):
        function = source.partition("\n")[0].removeprefix(FUNCTION)
        llvm.add_symbol(functions.symbol_of(function), address)


def _text(name: str, source: str) -> str:
    """The LLVM text of a kernel, or of a reduction."""
    with timed("translate"):
        if source.startswith(REDUCTION):
            word = source.removeprefix(REDUCTION)
            return reduction_text(word).replace(f'"graphad_{word}"', f'"{_symbol(name)}"')
        return translate(source, _symbol(name), source.startswith(FASTMATH))


def _compiled(missing: list[tuple[str, str]]) -> list[tuple[str, bytes]]:
    """(name, machine code) of each kernel. LLVM runs outside Python's lock, so threads help."""
    ready: deque[tuple[str, str, str]] = deque()
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
            ready.append((name, source, _text(name, source)))
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


def llvm_of(source: str) -> str:
    """The optimised LLVM text of a kernel."""
    return str(_optimised(source, _text(cache.hash_of(source), source)))


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


def _machine(opt: int = 2):
    """Code for this very CPU; each thread has machines of its own."""
    known = _OWN.__dict__.setdefault("machines", {})
    if opt not in known:
        _initialise()
        known[opt] = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(),
            features=llvm.get_host_cpu_features().flatten(),
            opt=opt,
            jit=True,
        )
    return known[opt]


@once
def _engine():
    """What all kernels are linked into; it lives as long as the process."""
    _initialise()
    own = llvm.Target.from_default_triple().create_target_machine(jit=True)
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), own)


def _optimised(source: str, text: str, context=None) -> Any:
    """The LLVM module of a kernel after LLVM's passes."""
    text, _, rest = text.partition(wide.LINKED)
    with ExitStack() as opened:
        with timed("LLVM parse"):
            module = opened.enter_context(_parsed(source, text, context))
            linked = opened.enter_context(_parsed(source, rest, context)) if rest else None
        run = _unlocked("LLVMPY_RunNewModulePassManager")
        with timed("LLVM passes"):
            builder, passes = _passes(source)
            run(passes, module, builder)
            if linked is not None:
                module.link_in(linked)
            if linked is not None or "graphad_rare_" in text:  # vector forms that are called now
                passes = llvm.create_new_module_pass_manager()
                passes.add_always_inliner_pass()
                run(passes, module, builder)
        opened.pop_all()
    return module


def _parsed(source: str, text: str, context) -> Any:
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


def _passes(source: str):
    """(pass builder, pass manager); long straight-line code is not packed into vectors: slow."""
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = True
    options.loop_unrolling = False
    options.slp_vectorization = "for " not in source and source.count("\n") < MOST_PACKED
    builder = llvm.create_pass_builder(_machine(), options)
    if not source.startswith(CONTROL):
        return builder, builder.getModulePassManager()
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    return builder, passes


def _object(source: str, text: str) -> bytes:
    """The machine code of a translated kernel."""
    with _optimised(source, text, llvm.create_context()) as module, timed("machine code"):
        machine = _machine(_effort(source))
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


def _effort(source: str) -> int:
    """How hard LLVM tries to make good machine code."""
    return int(source.startswith(CONTROL + BUSY)) if source.startswith(CONTROL) else 2


def _unlocked(name: str):
    """A function of llvmlite without its global lock: modules here share no context."""
    function = getattr(ffi.lib, name)
    return getattr(function, "_cfn", function)
