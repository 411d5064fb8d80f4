"""Source to machine code: each kernel is compiled once, ever, and found again by its content."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm

from graphad.emit.kernel import CONTROL
from graphad.runtime import cache
from graphad.runtime.translate import translate
from graphad.timings import timed


@dataclass
class Counters:
    """What this process has done: kernels compiled, and loaded from disk."""

    compiled: int = 0
    loaded: int = 0


COUNTERS = Counters()
FASTMATH = "# fast-math: sums and products may be reordered\n"  # first line of such sources
_ADDRESSES: dict[str, int] = {}
_LOCK = threading.RLock()


def kernel_address(source: str, keep: bool = True) -> int:
    """The address of the function in this source, compiled or loaded at need."""
    name = cache.hash_of(source)
    found = _ADDRESSES.get(name)
    if found is not None:
        return found
    with _LOCK:
        if name not in _ADDRESSES:
            _ADDRESSES[name] = (keep and _load(name)) or _compile(name, source, keep)
        return _ADDRESSES[name]


def llvm_of(source: str) -> str:
    """The optimised LLVM text of a kernel."""
    with _LOCK:
        return str(_optimised(source, _symbol(cache.hash_of(source))))


def _symbol(name: str) -> str:
    return f"graphad_{name}"


def _load(name: str) -> int:
    with timed("read the cache"):
        code = cache.load(name)
    if code is None:
        return 0
    try:
        address = _linked(name, code)
    except RuntimeError:
        return 0
    COUNTERS.loaded += bool(address)
    return address


def _linked(name: str, code: bytes) -> int:
    with timed("link"):
        engine = _engine()
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        return engine.get_function_address(_symbol(name))


@lru_cache(maxsize=2)
def _machine(opt: int = 2):
    """Code for this very CPU."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=opt,
        jit=True,
    )


@lru_cache(maxsize=1)
def _engine():
    """What all kernels are linked into; it lives as long as the process."""
    _machine()
    own = llvm.Target.from_default_triple().create_target_machine(jit=True)
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), own)


def _optimised(source: str, symbol: str) -> Any:
    """The LLVM module of a kernel after LLVM's passes."""
    machine = _machine()
    with timed("translate"):
        text = translate(source, symbol, source.startswith(FASTMATH))
    with timed("LLVM parse"):
        module = llvm.parse_assembly(text)
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = True
    builder = llvm.create_pass_builder(machine, options)
    if source.startswith(CONTROL):
        passes = llvm.create_new_module_pass_manager()
        passes.add_sroa_pass()
        passes.add_instruction_combine_pass()
        passes.add_simplify_cfg_pass()
    else:
        passes = builder.getModulePassManager()
    with timed("LLVM passes"):
        passes.run(module, builder)
        if "graphad_rare_" in text:  # vector forms that the loop vectoriser has called
            passes = llvm.create_new_module_pass_manager()
            passes.add_always_inliner_pass()
            passes.run(module, builder)
    return module


def _compile(name: str, source: str, keep: bool) -> int:
    machine = _machine(0 if source.startswith(CONTROL) else 2)
    module = _optimised(source, _symbol(name))
    with timed("machine code"):
        code = machine.emit_object(module)
    COUNTERS.compiled += 1
    if keep:
        with timed("write the cache"):
            cache.save(name, code)
    return _linked(name, code)
