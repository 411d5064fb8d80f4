"""What stands for the GPU in Numba's simulator: memory is the host's, threads are Python's."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from graphad.compile.cuda import package, simulated_entry
from graphad.emit.source import KernelSource

MOST_THREADS = 2  # as few as show that the work is shared


class Block:
    """Bytes of our own."""

    def __init__(self, size: int):
        self.bytes = np.full(max(size, 1), 0xFF, np.uint8)  # nan: what is not written shows
        self.address = self.bytes.ctypes.data


class Simulator:
    """As `gpu.Gpu`."""

    def ready(self):
        """Nothing to do."""

    def memory(self, size: int) -> Block:
        """Bytes of our own."""
        return Block(size)

    def put(self, address: int, host: np.ndarray):
        """Copy an array to the device."""
        host = np.ascontiguousarray(host)
        ctypes.memmove(address, host.ctypes.data, host.nbytes)

    def get(self, address: int, shape, dtype) -> np.ndarray:
        """A copy of an array on the device."""
        host = np.empty(shape, dtype)
        ctypes.memmove(host.ctypes.data, address, host.nbytes)
        return host

    def result(self, shape, dtype) -> tuple[Any, int]:
        """An array for the user, and its address."""
        array = package().device_array(shape, dtype)
        return array, array.ctypes.data

    def wait_for(self, stream):
        """Nothing to wait for."""

    def launcher(self, source: KernelSource, blocks: int, threads: int, words):
        """A function without arguments that launches a kernel with these integers."""
        many = min(blocks, 2)
        return lambda: simulated_entry(source)[many, min(threads, MOST_THREADS)](*words)

    def zeroing(self, address: int, size: int):
        """A function without arguments that zeroes bytes."""
        return lambda: ctypes.memset(address, 0, size)

    def product(self, *_):
        """None: there is no cuBLAS."""
        return None
