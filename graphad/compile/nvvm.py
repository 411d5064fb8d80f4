"""Kernels of the second target: sources to PTX and to machine code, as on the CPU by one walk.

`translate.py` appends the same LLVM instructions, but for what NVVM's older LLVM does not know
(`real.on_cuda`), and NVVM (through numba-cuda, which finds it) makes PTX: some 20 ms a kernel,
where Numba's front end takes 250. nvJitLink makes machine code, which is kept on disk.
"""

from __future__ import annotations

import hashlib
import warnings
from functools import lru_cache
from typing import Any

from llvmlite import ir

from graphad.compile import cache
from graphad.compile.cuda import package
from graphad.compile.instructions import I32, I64, STORED, declared
from graphad.compile.translate import inlined
from graphad.compile.words import Primitive, scopes
from graphad.emit import cuda_words
from graphad.emit.gpu import LARGEST_TEAM
from graphad.emit.source import KernelSource
from graphad.emit.target import CUDA, Module
from graphad.errors import NoDeviceError
from graphad.timings import timed

CAPABILITY = (9, 0)  # of PTX that nothing else is said of
SHARED = 3  # the address space of what a block shares


def _register(name: str):
    """A word that reads a register of the thread."""

    def read(b):
        full = f"llvm.nvvm.read.ptx.sreg.{name}"
        return b.zext(b.call(declared(b, full, I32, []), []), I64)

    return Primitive((), "i8", read)


def _barrier(b):
    b.call(declared(b, "llvm.nvvm.barrier0", ir.VoidType(), []), [])


def _over(b, x, y):
    """The quotient of numbers below 2**31, in 32 bits."""
    return b.zext(b.udiv(b.trunc(x, I32), b.trunc(y, I32)), I64)


def _make_shared(name: str, kind):
    """Memory that a block shares, as an address."""

    def shared(b):
        room: Any = b.module.globals.get(name)
        if room is None:
            room = ir.GlobalVariable(b.module, kind, name, addrspace=SHARED)
            room.linkage, room.initializer = "internal", ir.Constant(kind, ir.Undefined)
            room.align = 16
        return b.ptrtoint(b.addrspacecast(room, kind.as_pointer()), I64)

    return Primitive((), "i8", shared)


WORDS = {
    "lane": _register("tid.x"), "lanes": _register("ntid.x"),
    "block": _register("ctaid.x"), "blocks": _register("nctaid.x"),
    "barrier": Primitive((), None, _barrier), "over": Primitive(("i8", "i8"), "i8", _over),
} | {
    (name := f"shared_{code}"): _make_shared(name, ir.ArrayType(STORED[code], LARGEST_TEAM))
    for code in cuda_words.CODES if code != "b1"
}  # fmt: skip


def words_of(source: KernelSource) -> dict[str, Primitive]:
    """What only a GPU has, with the memory of blocks that a source names."""
    return WORDS | {
        name: _make_shared(name, ir.ArrayType(STORED["u1"], size))
        for name, size in cuda_words.own_memory(source)
    }


def compiler() -> Any:
    """NVVM, as numba-cuda finds it."""
    package()
    from numba.cuda.cudadrv import nvvm  # type: ignore[import-not-found]

    try:
        nvvm.NVVM()
    except Exception as error:  # numba-cuda's own, of where it looked
        raise NoDeviceError(
            "device='cuda'", "NVVM, the compiler for GPUs, is not there", expected="libnvvm",
            got=str(error).split("\n")[0][:200], fix="pip install 'graphad[cuda]'",
        ) from error  # fmt: skip
    return nvvm


def llvm_of(source: KernelSource) -> str:
    """The LLVM text of a kernel and of what runs it, in NVVM's dialect."""
    nvvm = compiler()
    module: Any = Module(CUDA)
    module.triple, module.data_layout = "nvptx64-nvidia-cuda", nvvm.NVVM().data_layout
    module.in_main_memory = not source.calls("stack", "block_")
    scopes(module)
    known = words_of(source)
    texts = cuda_words.device_functions(source)
    texts |= {"kernel": source.code, "run": cuda_words.entry_source(source)}
    for name, text in texts.items():
        known[name] = inlined(module, text, f"graphad_{name}", known)
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 6), "entry")
    b = ir.IRBuilder(entry.append_basic_block())
    known["run"].build(b, *entry.args)
    b.ret_void()
    nvvm.add_ir_version(module)
    nvvm.set_cuda_kernel(entry)
    return str(module)


@lru_cache(maxsize=1024)
def ptx_of(source: KernelSource, capability: tuple[int, int] = CAPABILITY) -> str:
    """The PTX of a kernel; needs no GPU."""
    nvvm = compiler()
    with timed("translate"):
        text = llvm_of(source)
    with timed("nvvm"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the LLVM that it is
        made: Any = nvvm.compile_ir(text, arch="compute_{}{}".format(*capability), opt=3)
    return made.decode().strip("\0\n ")


def code_of(source: KernelSource, capability: tuple[int, int] = CAPABILITY) -> bytes:
    """The machine code of a kernel, made or found on disk; needs no GPU."""
    name = _name_of(source, capability)
    code = cache.load(name)
    if code is None:
        from cuda.core import Linker, LinkerOptions, ObjectCode  # type: ignore[import-not-found]

        ptx = ObjectCode.from_ptx(ptx_of(source, capability).encode())
        with timed("link"):
            options = LinkerOptions(arch="sm_{}{}".format(*capability))
            code = bytes(Linker(ptx, options=options).link("cubin").code)
        cache.save(name, code)
    return code


def _name_of(source: KernelSource, capability: tuple[int, int]) -> str:
    """What the machine code of a kernel is kept under."""
    whole: Any = "\0".join((_key(), str(capability), source.text))
    return hashlib.sha256(whole.encode()).hexdigest()[:40]


@lru_cache(maxsize=1)
def _key() -> str:
    """What every kernel depends on besides its source."""
    from importlib.metadata import version

    ours = hashlib.sha256()
    for module in (__file__, cuda_words.__file__):
        with open(module, "rb") as file:
            ours.update(file.read())
    versions = (version("numba-cuda"), str(compiler().NVVM().get_ir_version()))
    return "\0".join((*versions, cache.language_key(), ours.hexdigest()))
