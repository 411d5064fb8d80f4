"""Arrays that are on a GPU already: what they are, without touching them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Described:
    """An array on the device, as the CUDA array interface (version 3) describes it."""

    array: Any
    shape: tuple[int, ...]
    dtype: np.dtype
    strides: tuple[int, ...] | None
    address: int
    stream: int | None = None  # whose work it waits for

    @property
    def contiguous(self) -> bool:
        """Whether it is in C order."""
        expected = self.dtype.itemsize
        for size, stride in zip(reversed(self.shape), reversed(self.strides or ()), strict=False):
            if size > 1 and stride != expected:
                return False
            expected *= size
        return True


def described(x) -> Described | None:
    """What an array on the device is, also one of the simulator's; None of anything else."""
    said = getattr(x, "__cuda_array_interface__", None)
    if said is not None:
        shape, dtype = tuple(said["shape"]), np.dtype(said["typestr"])
        address, stream = int(said["data"][0] or 0), said.get("stream")
        return Described(x, shape, dtype, said.get("strides"), address, stream)
    if hasattr(x, "__cuda_ndarray__"):  # wraps one of NumPy
        return Described(x, tuple(x.shape), x.dtype, tuple(x.strides), x.ctypes.data)
    return None
