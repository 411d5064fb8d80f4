"""The second target: kernels as numba-cuda kernels, and programs run by them.

A kernel source is the same as on CPU. Its words are intrinsics of numba-cuda, made from the same
LLVM code; what CPU code finds by a symbol is written as device functions. A thread of the GPU runs
the kernel for one iteration of its outermost loop. In the simulator the words are Python functions.

Covered are loops, nests, straight-line code, products and fills; control flow, routines and special
functions that are SciPy's are errors that say so.
"""

from __future__ import annotations

import os
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from graphad.emit import cuda_words, real
from graphad.emit.kernel import Kernel
from graphad.errors import NoDeviceError, NotCoveredError
from graphad.lower.program import Fill, Loop, Nest, Product, Program

CAPABILITY = (9, 0)
THREADS = 128  # of a block


def simulated() -> bool:
    """Whether Numba simulates the GPU in Python."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"


def _package() -> Any:
    try:
        from numba import cuda

        # Without the extra package Numba's own folder is a stub.
        if not hasattr(cuda, "jit"):
            raise ImportError("numba-cuda")
        return cuda
    except ImportError as error:
        raise NoDeviceError(
            "device='cuda'", "the package numba-cuda is missing", expected="numba-cuda",
            got=str(error), fix="pip install 'graphad[cuda]'",
        ) from None  # fmt: skip


def require_device(name: str) -> Any:
    """numba.cuda, if there is a GPU."""
    cuda = _package()
    if simulated() or cuda.is_available():
        return cuda
    raise NoDeviceError(
        name, "there is no GPU here", expected="a CUDA device", got="none",
        fix="leave out device='cuda', or NUMBA_ENABLE_CUDASIM=1 to simulate one",
    )  # fmt: skip


# -- words -----------------------------------------------------------------------------------------
def _intrinsic(primitive):
    """A word as an intrinsic of numba-cuda."""
    from numba.cuda.extending import intrinsic  # type: ignore[import-not-found]

    from graphad.runtime.frame import as_intrinsic

    return as_intrinsic(primitive, intrinsic, real.for_cuda)


def _stack(size: int):
    """`stack(size)` of one size."""
    from graphad.runtime.primitives import WORDS, Primitive

    class Constant:
        constant = size

    return _intrinsic(Primitive((), "i8", lambda b: WORDS["stack"].build(b, Constant())))


def namespace(source: str) -> tuple[str, dict[str, Any]]:
    """(the source, what its names mean) for numba-cuda, or for the simulator."""
    import re

    cuda = _package()
    space: dict[str, Any] = {"np": np, "BLOCK": cuda_words.BLOCK}
    missing = re.findall(r"\b(special_\w+|lapack_\w+)\(", source)
    if missing:
        raise NotCoveredError(
            missing[0], "this function is not covered on a GPU", expected="arithmetic bodies",
            got=missing[0], fix="compute it on the CPU",
        )  # fmt: skip
    for code in cuda_words.CODES:
        space[code] = bool if code == "b1" else getattr(np, np.dtype(code).name)
    if simulated():
        space |= cuda_words.simulated_words()
        for text in cuda_words.device_sources(source).values():
            exec(compile(text, "<graphad device function>", "exec"), space)
        return source, space
    from graphad.runtime.primitives import WORDS

    for size in set(re.findall(r"\bstack\((\d+)\)", source)):
        source = source.replace(f"stack({size})", f"stack_{size}()")
        space[f"stack_{size}"] = _stack(int(size))
    device = cuda_words.device_sources(source)
    for name, primitive in WORDS.items():
        if re.search(rf"\b{name}\(", source + "".join(device.values())) and name not in device:
            space[name] = _intrinsic(primitive)
    for text in device.values():
        exec(compile(text, "<graphad device function>", "exec"), space)
    for name in device:
        space[name] = cuda.jit(device=True)(space[name])
    return source, space


@lru_cache(maxsize=1024)
def entry(source: str) -> Any:
    """The Python function of a launch: entry(table, steps, grain, stop)."""
    text, space = namespace(source)
    space["cuda"] = cuda = _package()
    exec(compile(text, "<graphad kernel>", "exec"), space)
    if not simulated():
        space["kernel"] = cuda.jit(device=True)(space["kernel"])
    launch = (
        "def entry(table, steps, grain, stop):\n"
        "    for k in range(cuda.grid(1), steps, cuda.gridsize(1)):\n"
        "        kernel(table, k * grain, min(stop, (k + 1) * grain))\n"
    )
    exec(compile(launch, "<graphad entry>", "exec"), space)
    return space["entry"]


def ptx_of(source: str) -> str:
    """The PTX of a kernel, for compute capability 9.0; needs no GPU."""
    from numba import types
    from numba.cuda import dispatcher as numbas  # type: ignore[import-not-found]

    dispatcher: Any = numbas
    integer = types.int64
    signature = types.void(integer, integer, integer, integer)
    # Device functions are compiled for the device at hand: here for one that is only named.
    before = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=CAPABILITY)
    try:
        text, _ = _package().compile(entry(source), signature, cc=CAPABILITY, output="ptx")
    finally:
        dispatcher.get_current_device = before
    return text


# -- programs --------------------------------------------------------------------------------------
class DeviceProgram:
    """A program on the GPU: buffers in its memory, and a launch for each region."""

    def __init__(self, program: Program, kernels: list, name: str):
        self.program, self.kernels, self.name = program, kernels, name
        self.cuda = require_device(name)
        for region in program.regions:
            if not isinstance(region, (Loop, Nest, Product, Fill)) and not hasattr(
                region, "kernel"
            ):
                raise NotCoveredError(
                    type(region).__name__.lower(), "this is not covered on a GPU yet",
                    where=region.where, expected="loops, products and straight-line code",
                    got=str(region).split("\n")[0], fix="leave out device='cuda'",
                )  # fmt: skip

    def call(self, leaves, given=()) -> list[Any]:
        """Run on arrays; results are copied back."""
        inputs = [np.ascontiguousarray(x) for x in leaves]
        memory = {}
        for b in self.program.buffers:
            if b.kind == "row":
                continue
            shape = b.spec.shape or (1,)
            if b.kind in ("input", "captured"):
                source = inputs[b.index] if b.kind == "input" else self.program.captured[b.index]
                host = np.array(source, b.spec.dtype, order="C").reshape(shape)
                memory[b.id] = _Placed(self.cuda, host)
            else:
                memory[b.id] = _Placed(self.cuda, np.empty(shape, b.spec.dtype))
        for region, kernel in zip(self.program.regions, self.kernels, strict=True):
            self._run(region, kernel, memory)
        results = []
        for b in self.program.outputs:
            spec = self.program.buffers[b].spec
            out = memory[b].back().reshape(spec.shape)
            results.append(out if spec.ndim else out[()])
        for array, result in zip(given, [r for r in results if np.ndim(r)], strict=False):
            array[...] = result
        return results

    def _run(self, region, kernel, memory):
        if isinstance(region, Fill):
            size = self.program.buffers[region.buffer].bytes
            self._launch(cuda_words.FILL, [memory[region.buffer].address], (), size, 1)
        elif isinstance(region, Product):
            self._launch(cuda_words.PRODUCT, [memory[b].address for b in
                         (region.a, region.b, region.c)], cuda_words.product_sizes(region),
                         region.batch * region.m * region.n, 1,
                         self.program.buffers[region.c].spec.dtype)  # fmt: skip
        else:
            self._kernel(kernel, memory)

    def _kernel(self, kernel: Kernel, memory):
        parts = [_Placed(self.cuda, np.empty(int(t.bytes) + 8, np.uint8)) for t in kernel.totals]

        def place(b, offset):
            if b < 0:
                return parts[-1 - b].address
            item = self.program.buffers[b].spec.dtype.itemsize
            return memory[b].address + int(offset) * item

        addresses = [place(b, offset) for b, offset in kernel.pointers]
        shared = kernel.work != 0 or kernel.totals
        stop = max(int(kernel.stop), 0 if shared else 1)
        grain = kernel.grain if shared else stop
        self._launch(kernel.source, addresses, kernel.integers, stop, grain)
        for total in kernel.totals:
            places = [place(b, offset) for b, offset in total.pointers]
            self._launch(total.source, places, total.integers, 1, 1)

    def _launch(self, source, addresses, integers, stop, grain, dtype=None):
        if dtype is not None:
            source = source.replace("{code}", f"f{dtype.itemsize}")
        words = [*addresses, *map(int, integers)]
        table = _Placed(self.cuda, np.array(words, np.int64))
        steps = -(-stop // max(grain, 1))
        if steps <= 0:
            return
        compiled = _jitted(source)
        blocks = min(-(-steps // THREADS), 4096)
        threads = min(THREADS, steps)
        if simulated():  # one Python thread for each: as few as show that the work is shared
            blocks, threads = 1, min(4, steps)
        compiled[blocks, threads](table.address, steps, grain, stop)


@lru_cache(maxsize=1024)
def _jitted(source: str) -> Any:
    return _package().jit(entry(source))


class _Placed:
    """An array on the device; the simulator's device is the host."""

    def __init__(self, cuda, host: np.ndarray):
        self.host = host
        self.device = None if simulated() else cuda.to_device(host)
        self.address = (
            host.ctypes.data if self.device is None else self.device.device_ctypes_pointer.value
        )

    def back(self) -> np.ndarray:
        """The elements, on the host."""
        return self.host if self.device is None else self.device.copy_to_host()
