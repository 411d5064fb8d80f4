"""The GPU at hand by its driver: memory from a pool in the order of the stream, copies, launches.

Everything goes on the default stream. Memory that is freed is used again by what comes after on the
stream, so a call neither waits nor asks the driver for more.
"""

from __future__ import annotations

import ctypes
import math
import threading
from functools import lru_cache
from typing import Any

import numpy as np

from graphad.compile import nvvm
from graphad.compile.cuda import package
from graphad.emit.source import KernelSource
from graphad.process.forks import Lock
from graphad.run.device import cublas

DEFAULT = (None, 0, 1)  # streams whose work comes before ours anyway


def _driver() -> Any:
    from cuda.bindings import driver  # type: ignore[import-not-found]

    return driver


def _done(results, what: str):
    """What a function of the driver gives, after its status."""
    status, *rest = results
    if int(status) != 0:
        raise RuntimeError(f"graphad: the GPU: {what} gave {getattr(status, 'name', status)}")
    return rest[0] if len(rest) == 1 else rest


class Block:
    """Bytes on the device, given back when nothing refers to them any more."""

    def __init__(self, gpu: Gpu, size: int):
        self.gpu = gpu
        self.address = gpu.take(max(size, 1))

    def __del__(self):
        self.gpu.give(self.address)


class Result:
    """A result on the device as any library takes it (CUDA array interface, version 3)."""

    def __init__(self, block: Block, shape, dtype):
        self.block = block
        self.__cuda_array_interface__ = {
            "shape": shape, "typestr": dtype.str, "strides": None,
            "data": (block.address if 0 not in shape else 0, False), "version": 3, "stream": None,
        }  # fmt: skip


class Gpu:
    """Memory and launches of one device."""

    def __init__(self):
        self.cuda = package()
        self.driver = _driver()
        self.local = threading.local()
        self.ready()
        device = self.cuda.get_current_device()
        self.capability = tuple(device.compute_capability)
        self.pool = self._pool(int(device.id))
        self.kernels: dict[KernelSource, Any] = {}
        self.lock = Lock()

    def ready(self):
        """Make the device's context that of this thread."""
        if not getattr(self.local, "ready", False):
            self.cuda.current_context()
            self.local.ready = True

    def _pool(self, number: int):
        """A pool that keeps what is given back."""
        d = self.driver
        wanted = d.CUmemPoolProps()
        wanted.allocType = d.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
        wanted.location.type = d.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
        wanted.location.id = number
        pool = _done(d.cuMemPoolCreate(wanted), "cuMemPoolCreate")
        keep = d.CUmemPool_attribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
        most = d.cuuint64_t(2**64 - 1)
        _done(d.cuMemPoolSetAttribute(pool, keep, most), "cuMemPoolSetAttribute")
        return pool

    # -- memory ----------------------------------------------------------------------------------
    def take(self, size: int) -> int:
        """The address of so many bytes."""
        status, address = self.driver.cuMemAllocFromPoolAsync(size, self.pool, 0)
        if int(status) != 0:
            raise MemoryError(f"graphad: no memory on the GPU for {size} bytes ({status.name})")
        return int(address)

    def give(self, address: int):
        """Give bytes back."""
        try:
            self.ready()  # whatever thread this is
            self.driver.cuMemFreeAsync(address, 0)
        except Exception:  # the interpreter is going down
            return

    def memory(self, size: int) -> Block:
        """Bytes of our own."""
        return Block(self, size)

    def put(self, address: int, host: np.ndarray):
        """Copy an array to the device."""
        host = np.ascontiguousarray(host)
        if host.nbytes:
            d = self.driver
            _done(d.cuMemcpyHtoDAsync(address, host.ctypes.data, host.nbytes, 0), "copying there")

    def get(self, address: int, shape, dtype) -> np.ndarray:
        """A copy of an array on the host, after all that was asked for before."""
        host = np.empty(shape, dtype)
        if host.nbytes:
            copied = self.driver.cuMemcpyDtoH(host.ctypes.data, address, host.nbytes)
            _done(copied, "copying back")
        return host

    def result(self, shape, dtype) -> tuple[Any, int]:
        """An array for the user, Numba's, and its address."""
        block = Block(self, math.prod(shape) * dtype.itemsize)
        return self.cuda.as_cuda_array(Result(block, shape, dtype), sync=False), block.address

    def wait_for(self, stream):
        """Wait for another stream."""
        if stream not in DEFAULT:
            self.cuda.external_stream(stream).synchronize()

    # -- work ------------------------------------------------------------------------------------
    def kernel(self, source: KernelSource) -> Any:
        """The function of a kernel on the device."""
        with self.lock.own:
            found = self.kernels.get(source)
            if found is None:
                code = nvvm.code_of(source, self.capability)
                module = _done(self.driver.cuModuleLoadData(code), "loading a kernel")
                found = _done(self.driver.cuModuleGetFunction(module, b"entry"), "finding it")
                self.kernels[source] = found
        return found

    def launcher(self, source: KernelSource, blocks: int, threads: int, words):
        """A function without arguments that launches a kernel with these integers."""
        launch, kernel = self.driver.cuLaunchKernel, self.kernel(source)
        values = (ctypes.c_int64 * len(words))(*words)
        places = (ctypes.c_void_p * len(words))(
            *[ctypes.addressof(values) + 8 * k for k in range(len(words))]
        )
        at = ctypes.addressof(places)

        def run(keep=(values, places)):
            _done(launch(kernel, blocks, 1, 1, threads, 1, 1, 0, 0, at, 0), "a launch")

        return run

    def zeroing(self, address: int, size: int):
        """A function without arguments that zeroes bytes."""
        zero = self.driver.cuMemsetD8Async
        return lambda: _done(zero(address, 0, size, 0), "zeroing") if size else None

    def product(self, region, a: int, b: int, c: int, itemsize: int):
        """A function without arguments that multiplies, or None where there is no cuBLAS."""
        return None if cublas.library() is None else cublas.multiplier(region, a, b, c, itemsize)


@lru_cache(maxsize=1)
def gpu() -> Gpu:
    """The device at hand."""
    return Gpu()
