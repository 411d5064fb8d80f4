"""Source to machine code for a target, by LLVM: translated, verified, optimised."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from graphad.bodies import wide
from graphad.compile import cache
from graphad.compile.blocks import reduction_text
from graphad.compile.translate import translate
from graphad.emit.source import BLOCK_FUNCTION, FULL, QUICK, REGISTERS, KernelSource
from graphad.emit.target import Target, host
from graphad.process.forks import Lock, around
from graphad.process.once import once
from graphad.timings import timed

LLVM = Lock()  # whoever has LLVM at work, so that nobody forks in the midst of it
_LLVMLITE: Any = getattr(ffi.lib, "_lock", None) or nullcontext()  # that of all its calls
_FORKING: list[Any] = []
_MACHINES: dict[tuple[Target, int], list[Any]] = {}  # that nobody is using
MOST_PACKED = 200  # lines of straight-line code
EFFORTS = {FULL: 2, REGISTERS: 1, QUICK: 0}  # how hard LLVM tries to make good machine code


def symbol_of(name: str) -> str:
    """The symbol of a kernel's function."""
    return f"graphad_{name}"


def text_of(source: KernelSource, target: Target | None = None) -> str:
    """The LLVM text of a kernel or function."""
    target = target or host()
    symbol = symbol_of(cache.hash_of(source, target))
    with timed("translate"):
        if source.facts.kind == BLOCK_FUNCTION:
            text = reduction_text(source.code, target)
            return text.replace(f'"{source.symbol}"', f'"{symbol}"')
        return translate(source, symbol, target)


def llvm_of(source: KernelSource) -> str:
    """The optimised LLVM text of a kernel."""
    text = text_of(source)
    with LLVM.own, optimised(source, text, host(), llvm.create_context()) as module:
        return str(module)


def object_of(source: KernelSource, target: Target) -> bytes:
    """The object of a kernel for another platform, which is not linked here."""
    with LLVM.own:
        _initialise_all()
        return compiled(source, text_of(source, target), target)


@once
def initialise() -> None:
    """Make LLVM ready for this CPU."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@once
def _initialise_all() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@contextmanager
def _machine(target: Target, opt: int = 2) -> Iterator[Any]:
    """What makes code for a target; nobody else has it meanwhile."""
    free = _MACHINES.setdefault((target, opt), [])
    try:
        found = free.pop()
    except IndexError:
        initialise()
        made = llvm.Target.from_triple(target.triple or llvm.get_default_triple())
        found = made.create_target_machine(
            cpu=target.cpu, features=target.features, opt=opt, jit=not target.triple
        )
    try:
        yield found
    finally:
        free.append(found)


def optimised(source: KernelSource, text: str, target: Target, context=None) -> Any:
    """The LLVM module of a kernel after LLVM's passes."""
    text, _, rest = text.partition(wide.LINKED)
    with ExitStack() as opened:
        with timed("LLVM parse"):
            module = opened.enter_context(_parsed(source, text, context))
            linked = opened.enter_context(_parsed(source, rest, context)) if rest else None
        with timed("LLVM passes"), _machine(target) as machine:
            builder, passes = _passes(source, machine)
            _run(passes, module, builder)
            if linked is not None:
                module.link_in(linked)
            if linked is not None or "graphad_rare_" in text:  # vector forms that are called now
                passes = llvm.create_new_module_pass_manager()
                passes.add_always_inliner_pass()
                _run(passes, module, builder)
        opened.pop_all()
    return module


def _run(passes: Any, module: Any, builder: Any) -> None:
    """Run passes, which are then used up; llvmlite forgets to free them."""
    _unlocked("LLVMPY_RunNewModulePassManager")(passes, module, builder)
    with suppress(AttributeError):  # a version that frees them itself, when they are closed
        ffi.lib.LLVMPY_DisposeNewModulePassManger(passes)
        passes.detach()


def _parsed(source: KernelSource, text: str, context) -> Any:
    """A module that LLVM finds sound: of any other its passes may end the process."""
    try:
        module = llvm.parse_assembly(text, context)
        with ffi.OutputString() as problem:
            if _unlocked("LLVMPY_VerifyModule")(module, problem):
                module.close()  # an error holds it, maybe for longer than its context
                raise RuntimeError(str(problem))
    except RuntimeError as error:
        name = symbol_of(cache.hash_of(source))
        raise RuntimeError(f"LLVM refuses the kernel {name}: {error}\n{source}") from None
    return module


def _passes(source: KernelSource, machine: Any):
    """(pass builder, pass manager); long straight-line code is not packed into vectors: slow."""
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = True
    options.loop_unrolling = False
    options.slp_vectorization = not source.loops and source.code.count("\n") < MOST_PACKED
    builder = llvm.create_pass_builder(machine, options)
    if source.facts.effort == FULL:
        return builder, builder.getModulePassManager()
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    return builder, passes


def compiled(source: KernelSource, text: str, target: Target | None = None) -> bytes:
    """The machine code of a translated kernel."""
    target = target or host()
    with (
        optimised(source, text, target, llvm.create_context()) as module,
        timed("machine code"),
        _machine(target, EFFORTS[source.facts.effort]) as machine,
    ):
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


def _begin_fork() -> None:
    own = LLVM.own
    own.acquire()
    _LLVMLITE.__enter__()
    _FORKING.append(own)


def _end_fork() -> None:
    own = _FORKING.pop()
    _LLVMLITE.__exit__(None, None, None)
    own.release()


around(_begin_fork, _end_fork)
