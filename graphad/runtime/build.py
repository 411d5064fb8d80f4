"""Source to machine code: each kernel is compiled once, ever, and found again by its content."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm

from graphad.runtime import cache


@dataclass
class Counters:
    """What this process has done: kernels compiled, and loaded from disk."""

    compiled: int = 0
    loaded: int = 0
    entries: int = 0


COUNTERS = Counters()
FASTMATH = "# fast-math: sums and products may be reordered\n"  # first line of such sources
_ADDRESSES: dict[str, int] = {}
_ALIVE: list[Any] = []
_LLVM: dict[str, str] = {}
_LOCK = threading.RLock()


def kernel_address(source: str, keep: bool = True) -> int:
    """The address of the function `kernel` in this source, compiled or loaded at need."""
    name = cache.hash_of(source)
    found = _ADDRESSES.get(name)
    if found is not None:
        return found
    with _LOCK:
        if name not in _ADDRESSES:
            _ADDRESSES[name] = (keep and _load(name)) or _compile(name, source, keep)
        return _ADDRESSES[name]


def llvm_of(source: str) -> str:
    """The LLVM text of a kernel, compiled afresh if it came from disk."""
    name = cache.hash_of(source)
    with _LOCK:
        if name not in _LLVM:
            result = _compiled(source)
            _ALIVE.append(result)
            _LLVM[name] = result.library.get_llvm_str()
        return _LLVM[name]


def _load(name: str) -> int:
    kept = cache.load(name)
    if kept is None:
        return 0
    symbol, code = kept
    try:
        engine = _engine()
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        address = engine.get_function_address(symbol)
    except RuntimeError:
        return 0
    COUNTERS.loaded += bool(address)
    return address


def _engine():
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    _ALIVE.append(engine)
    return engine


def _compiled(source: str):
    """The compile result of `kernel(table, start, stop) -> status`, without any wrapper."""
    from numba.core import compiler, registry
    from numba.core.compiler_lock import global_compiler_lock

    from graphad.runtime.intrinsics import KERNEL_SIGNATURE, NAMESPACE

    space = dict(NAMESPACE)
    exec(compile(source, "<graphad kernel>", "exec"), space)
    flags: Any = compiler.Flags()
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    flags.nrt = False
    if source.startswith(FASTMATH):
        flags.fastmath = True
    target = registry.cpu_target
    with global_compiler_lock:
        return compiler.compile_extra(
            target.typing_context,
            target.target_context,
            space["kernel"],
            KERNEL_SIGNATURE.args,
            KERNEL_SIGNATURE.return_type,
            flags,
            {},
        )


def _compile(name: str, source: str, keep: bool) -> int:
    result = _compiled(source)
    _ALIVE.append(result)
    symbol = result.fndesc.llvm_func_name
    address = result.library.get_pointer_to_function(symbol)
    COUNTERS.compiled += 1
    if keep:
        cache.save(name, symbol, bytes(result.library._get_compiled_object()))
    return address
