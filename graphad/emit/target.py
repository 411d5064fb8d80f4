"""What code is made for: a CPU with its vectors, or a GPU. The module being written knows it.

`GRAPHAD_CPU_FEATURES` adds to or takes from what this CPU has, by LLVM's names:
`-avx512f` for vectors of 256 bits, `-avx512f,-avx2,-avx` for 128.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from graphad.errors import explain
from graphad.process.interrupts import undisturbed


@dataclass(frozen=True)
class Target:
    """A CPU by LLVM's names of it and of its features, or `cuda`; `bits`: of its vectors."""

    kind: str = "cpu"
    triple: str = ""  # none: that of this process
    cpu: str = ""
    features: str = ""
    bits: int = 128

    @property
    def cuda(self) -> bool:
        """Whether it is a GPU."""
        return self.kind == "cuda"

    @property
    def platform(self) -> str:
        """LLVM's name of the platform: processor, maker and system."""
        return self.triple or _own_platform()

    @property
    def x86(self) -> bool:
        """Whether its instructions are those of x86."""
        return not self.cuda and self.platform.startswith("x86")

    @property
    def windows(self) -> bool:
        """Whether its objects are of Windows."""
        return not self.cuda and "windows" in self.platform

    @property
    def threads(self) -> bool:
        """Whether it has what a team of threads is made of (run/team.py)."""
        return not self.cuda and "linux" in self.platform

    @property
    def key(self) -> str:
        """All that code for it depends on."""
        return "|".join((self.kind, self.triple, self.cpu, self.features, str(self.bits)))


CUDA = Target("cuda")


class Module(ir.Module):
    """An LLVM module for one target."""

    def __init__(self, target: Target, name: str = "graphad"):
        super().__init__(name)
        self.target = target
        self.in_main_memory = False  # on a GPU: whether what has a scope is there
        if target.triple:
            self.triple = target.triple
        if target.windows:  # a mark of code with floats, for a C library that is linked
            mark: Any = ir.GlobalVariable(self, ir.IntType(32), "_fltused")
            mark.linkage, mark.initializer = "weak_odr", ir.Constant(ir.IntType(32), 0)


def target_of(module) -> Target:
    """What a module is for; Numba's own are for this CPU."""
    return getattr(module, "target", None) or host()


@lru_cache(maxsize=1)
def _own_platform() -> str:
    return undisturbed(lambda _: llvm.get_process_triple())


@lru_cache(maxsize=1)
def host() -> Target:
    """This CPU, as far as GRAPHAD_CPU_FEATURES lets code use it."""
    return undisturbed(lambda _: masked(os.environ.get("GRAPHAD_CPU_FEATURES", "")))


def masked(changes: str) -> Target:
    """This CPU with features added (`+`) and taken away (`-`)."""
    features = llvm.get_host_cpu_features().flatten()
    wanted = [c.strip() for c in changes.split(",") if c.strip()]
    wrong = [c for c in wanted if c[0] not in "+-"]
    if wrong:
        raise ValueError(explain(
            "GRAPHAD_CPU_FEATURES", "a feature is neither added nor taken away",
            expected="names of LLVM's with + or - before each, such as -avx512f,-avx2",
            got=wrong[0], fix=f"+{wrong[0]} or -{wrong[0]}",
        ))  # fmt: skip
    # Behind the others: what needs a feature that is taken away goes with it.
    features = ",".join([features, *wanted])
    return cpu("", llvm.get_host_cpu_name(), features)


def cpu(triple: str, name: str, features: str) -> Target:
    """A CPU by LLVM's names."""
    has: set[str] = set()
    for feature in features.split(","):
        (has.add if feature.startswith("+") else has.discard)(feature[1:])
    bits = 128
    if {"avx", "avx2"} <= has:
        bits = 512 if "avx512f" in has else 256
    return Target("cpu", triple, name, features, bits)
