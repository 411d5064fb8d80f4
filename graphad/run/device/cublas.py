"""Products of matrices on the GPU by cuBLAS, where it is installed (package nvidia-cublas)."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from graphad.compile.cuda import simulated

_LOCAL = threading.local()  # a handle belongs to one thread
_KINDS = {8: ("cublasDgemmStridedBatched", ctypes.c_double),
          4: ("cublasSgemmStridedBatched", ctypes.c_float)}  # fmt: skip


@lru_cache(maxsize=1)
def library() -> Any:
    """The library, or None where there is none."""
    if simulated():
        return None
    try:
        from cuda import pathfinder  # type: ignore[import-not-found]

        return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublas").abs_path)
    except Exception:  # each version of pathfinder has errors of its own
        return None


def _checked(status: int, what: str):
    if status != 0:
        raise RuntimeError(f"graphad: cuBLAS: {what} gave status {status}")


def _handle() -> ctypes.c_void_p:
    found = getattr(_LOCAL, "handle", None)
    if found is None:
        found = ctypes.c_void_p()
        _checked(library().cublasCreate_v2(ctypes.byref(found)), "cublasCreate")
        _LOCAL.handle = found
    return found


def multiplier(region, a: int, b: int, c: int, itemsize: int) -> Callable[[], None]:
    """C = A B of a Product region, at these addresses, on the default stream.

    cuBLAS is column-major: what it is asked for is the transpose, B' A'.
    """
    if 0 in (region.m, region.n, region.batch):
        return lambda: None
    name, real = _KINDS[itemsize]
    function = getattr(library(), name)
    integer, step, pointer = ctypes.c_int, ctypes.c_longlong, ctypes.c_void_p
    leads = [integer(max(int(lead), 1)) for lead in region.leads]
    steps = [step(int(s)) for s in region.steps]
    given = (
        integer(region.b_turned), integer(region.a_turned),
        integer(region.n), integer(region.m), integer(region.k), ctypes.byref(real(1.0)),
        pointer(b), leads[1], steps[1], pointer(a), leads[0], steps[0],
        ctypes.byref(real(0.0)), pointer(c), leads[2], steps[2], integer(region.batch),
    )  # fmt: skip

    def multiply():
        _checked(function(_handle(), *given), name)

    return multiply
