"""numba-cuda: whether it is there, and kernel sources as its own kernels, which its simulator runs.

On a GPU sources go by `nvvm.py`, past Numba's front end; tests compile them by numba-cuda too.
"""

from __future__ import annotations

import importlib.util
import os
from functools import lru_cache
from typing import Any

import numpy as np

from graphad.emit import cuda_words
from graphad.emit.source import KernelSource
from graphad.errors import NoDeviceError, NotCoveredError


def simulated() -> bool:
    """Whether Numba simulates the GPU in Python."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"


def package() -> Any:
    """numba.cuda."""
    try:
        # Numba has a folder of this name, too, which is no longer kept up.
        if importlib.util.find_spec("numba_cuda") is None:
            raise ImportError("no package of this name")
        from numba import cuda

        return cuda
    except ImportError as error:
        raise NoDeviceError(
            "device='cuda'", "the package numba-cuda is missing", expected="numba-cuda",
            got=str(error), fix="pip install 'graphad[cuda]'",
        ) from None  # fmt: skip


def require_device(name: str) -> Any:
    """numba.cuda, if there is a GPU."""
    cuda = package()
    if simulated() or cuda.is_available():
        return cuda
    raise NoDeviceError(
        name, "there is no GPU here", expected="a CUDA device", got="none",
        fix="leave out device='cuda', or NUMBA_ENABLE_CUDASIM=1 to simulate one",
    )  # fmt: skip


def check_words(source: KernelSource, where) -> None:
    """An error where a source needs code of the CPU."""
    missing = source.calls("special_", "lapack_")
    if missing:
        raise NotCoveredError(
            missing[0], "this function is not covered on a GPU", where=where,
            expected="arithmetic bodies", got=missing[0], fix="compute it on the CPU",
        )  # fmt: skip


@lru_cache(maxsize=1024)
def simulated_entry(source: KernelSource) -> Any:
    """The launch of a kernel for the simulator: of (table, steps, grain, stop, failed, mark)."""
    space: dict[str, Any] = {"np": np, "cuda": package(), "BLOCK": cuda_words.BLOCK}
    space |= cuda_words.simulated_words()
    texts = cuda_words.simulated_sources(source) | cuda_words.device_functions(source)
    texts |= {"kernel": source.code, "": cuda_words.entry_source(source)}
    for name, text in texts.items():
        exec(compile(text, f"<graphad {name}>", "exec"), space)
    return package().jit(space["entry"])
